"""A job that a worker holds: what its handler sees, how it reports, and the two ways to settle it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import Protocol

from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg

from wanimage import clock, spans, telemetry
from wanimage.errors import (
    Cancelled,
    Conflict,
    DataLoss,
    DeadlineExceeded,
    Overloaded,
    Unavailable,
    WanError,
)
from wanimage.jobs import Jobs, attempt_of, failure, kind_of, seconds_left
from wanimage.v1.jobs_pb2 import Job, JobProgress, JobResult

RETRY_DELAY_SECONDS = 1.0
"""Pause before a job that failed with Unavailable is tried again; doubles with each try."""
MAX_RETRY_DELAY_SECONDS = 10.0

log = telemetry.logger(__name__)


def read_job(message: Msg) -> Job:
    """The job in a message of the work queue.

    Raises DataLoss when it is no job, or not one of the queue it lies in: no worker could even fail it.
    """
    kind, tenant = message.subject.split(".")[2:4]
    try:
        job = Job.FromString(message.data)
        seconds_left(job)
        attempt_of(message.headers or {})
    except (DecodeError, ValueError, OverflowError) as error:
        raise DataLoss(f"not a Job: {error}") from error
    if (kind_of(job), job.tenant) != (kind, tenant):
        raise DataLoss(
            f"a {kind_of(job) or 'nameless'} job of {job.tenant[:80]!r} in the queue of {kind} {tenant}"
        )
    if len(job.id) != 64 or not set(job.id) <= set("0123456789abcdef"):
        raise DataLoss(f"a job named {job.id[:80]!r}; a name is 64 lower-case hexadecimal characters")
    return job


class Holder(Protocol):
    """What a held job needs of its worker (worker.py)."""

    client: Jobs
    family: str
    max_deliver: int

    async def settle(self, taken: "TakenJob", result: JobResult) -> JobResult: ...

    async def put_back(self, taken: "TakenJob", delay: float) -> None: ...

    def let_go(self, taken: "TakenJob") -> None: ...


class TakenJob:
    """A job this process holds. Settle it exactly once: `commit` or `fail`."""

    def __init__(self, worker: "Holder", message: Msg, job: Job) -> None:
        headers = message.headers or {}
        self.job = job
        self.kind = kind_of(job)
        self.tenant = job.tenant
        self.attempt = attempt_of(headers)
        self.delivery = message.metadata.num_delivered
        """1, or more when earlier workers died or put the job back."""
        self.headers = headers
        self.message = message
        self.tries = 1
        """How often this worker has begun it. An outage costs a try, a death or a drain a delivery."""
        self.settled = False
        self.given_back = False
        self.cancelled = asyncio.Event()
        self.why_cancelled = ""
        """What whoever cancelled it gave as the reason; empty when it is only given back."""
        self._worker = worker
        self._taken_at = time.monotonic()
        self.queue_seconds = max(-clock.seconds_until(message.metadata.timestamp.astimezone(UTC)), 0.0)
        """From submission to this delivery."""

    @property
    def payload(self) -> Message:
        """The RenderJob, DecodeJob, ... itself."""
        return getattr(self.job, self.kind)

    @property
    def seconds_left(self) -> float:
        return seconds_left(self.job)

    @property
    def stopped(self) -> bool:
        """Whether going on is pointless: look at every denoising step or token."""
        return self.cancelled.is_set() or self.seconds_left <= 0

    def raise_if_stopped(self) -> None:
        """Raises Cancelled or DeadlineExceeded; both are what `fail` wants to hear."""
        if self.cancelled.is_set():
            raise Cancelled(f"{self.kind} job {self.job.id[:12]} was cancelled")
        if self.seconds_left <= 0:
            raise DeadlineExceeded(
                f"{self.kind} job {self.job.id[:12]} passed its deadline; ask for more time"
            )

    async def progress(self, progress: JobProgress) -> None:
        """Tell whoever watches; lost when nobody does."""
        progress.job_id = self.job.id
        await self._worker.client.bus.tell(f"wan.progress.{self.job.id}", progress.SerializeToString())

    async def commit(self, payload: Message) -> JobResult:
        """Commit a success (a RenderResult, ...); returns what holds, the first result if there was one."""
        result = self._result()
        for each in JobResult.DESCRIPTOR.oneofs_by_name["outcome"].fields:
            if each.message_type is payload.DESCRIPTOR:
                getattr(result, each.name).CopyFrom(payload)
                return await self._worker.settle(self, result)
        raise AssertionError(f"{payload.DESCRIPTOR.full_name} is not a job's result")

    async def fail(self, error: WanError) -> None:
        """Commit a failure. Conflict means that another worker holds the job too and is ahead: it is left to
        that one."""
        spans.failed(error)
        if isinstance(error, Conflict):
            log.warning("job_let_go", job=self.job.id, kind=self.kind, error=str(error))
            self._worker.let_go(self)
            return
        log.warning("job_failed", job=self.job.id, kind=self.kind, reason=error.reason, error=str(error))
        await self._worker.settle(self, self._result(error))

    def will_be_tried_again(self, error: WanError) -> bool:
        """Whether the worker begins the job again after `error`: it passes, and tries and time are left."""
        passing = isinstance(error, Unavailable | Overloaded)
        left = self.tries < self._worker.max_deliver and self.seconds_left > self._retry_delay
        return passing and left and not self.cancelled.is_set()

    async def pause(self, error: WanError) -> None:
        """Wait for the next try; at most as long as anybody wants the job."""
        log.warning(
            "job_tried_again", job=self.job.id, kind=self.kind, delay=self._retry_delay, error=str(error)
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(self._retry_delay):
                await self.cancelled.wait()
        self.tries += 1

    @property
    def _retry_delay(self) -> float:
        return min(RETRY_DELAY_SECONDS * 2 ** (self.tries - 1), MAX_RETRY_DELAY_SECONDS)

    def _result(self, error: WanError | None = None) -> JobResult:
        return JobResult(
            job_id=self.job.id,
            family=self._worker.family,
            queue_seconds=self.queue_seconds,
            work_seconds=time.monotonic() - self._taken_at,
            failure=failure(error) if error else None,
        )


@dataclass
class Reporter:
    """Publishes progress of one job, newest first: while one message is under way, older steps are
    skipped."""

    taken: TakenJob
    _sending: asyncio.Task[None] | None = None
    _next: Callable[[], JobProgress] | None = field(default=None, repr=False)

    def report(self, make: Callable[[], JobProgress]) -> None:
        """Send what `make` returns, unless something newer comes first. It is called in a thread, since
        previews take time to encode."""
        self._next = make
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._next is not None:
                make, self._next = self._next, None
                await self.taken.progress(await asyncio.to_thread(make))
        finally:
            self._sending = None
