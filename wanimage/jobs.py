"""Jobs, seen from who wants them: submit, wait, follow, cancel. `worker.py` is the other side.

A job is named by its content (`job_id`), and its outcome is one `JobResult` under that name in the KV bucket
`RESULTS`. The rules, which make lost wake-ups, restarts and duplicate deliveries harmless:

- A success is committed once and is final: a second commit gets the first result back, and an equal request
  is
  served from it without work.
- A failure belongs to an attempt. It ends the waiting of that attempt at once, but not the name: the next
  submission starts attempt n + 1, and its outcome replaces the failure. A transient failure is never served
  to a later request, and a success always beats a failure.
- An ack is not a fence, the commit is: it compares and sets on the KV revision.
- Waiting reads the KV and uses messages only as wake-ups, so nothing is lost between submit and wait.
- A cancelled job is committed as failed with `Cancelled`, so that a worker that meets it later skips it.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, timedelta

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from wanimage import clock, metrics, spans, telemetry
from wanimage.admission import DEFAULT_MAX_PENDING, DEFAULT_MAX_WAIT_SECONDS, Admission
from wanimage.bus import Bus
from wanimage.errors import (
    Cancelled,
    Conflict,
    DataLoss,
    DeadlineExceeded,
    NotFound,
    SchemaMismatch,
    WanError,
    restore,
)
from wanimage.messages import Stored
from wanimage.references import blob_refs
from wanimage.subjects import ATTEMPT_HEADER, FAMILY_HEADER, RESULTS, token
from wanimage.v1.jobs_pb2 import Job, JobCancel, JobProgress, JobResult
from wanimage.v1.types_pb2 import BlobRef, Failure

KINDS = tuple(each.name for each in Job.DESCRIPTOR.oneofs_by_name["payload"].fields)
"""("turn", "enhance", "render", "encode", "decode", "refine")"""
RECHECK_SECONDS = 2.0
"""How often a waiter reads the result although nothing woke it (a wake-up is lost when NATS restarts)."""
RESUBMISSIONS = 3
"""How often `run` submits again after somebody else's cancellation or shorter deadline ended an equal job."""

_CANCELLED = " was cancelled: "

log = telemetry.logger(__name__)


def job_id(tenant: str, family: str, kind: str, payload: Message) -> str:
    """SHA-256 over tenant, family, kind and the payload's deterministic encoding, each after its length.

    Equal requests of one tenant to one family have one id; the deadline is not part of it.
    """
    digest = hashlib.sha256()
    for part in (
        tenant.encode(),
        family.encode(),
        kind.encode(),
        payload.SerializeToString(deterministic=True),
    ):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def make_job(tenant: str, family: str, payload: Message, seconds: float) -> Job:
    """A `Job` whose kind follows from the payload's type, due in `seconds`. Raises InvalidInput for a bad
    tenant."""
    job = Job(tenant=token("tenant", tenant), family=family)
    for each in Job.DESCRIPTOR.oneofs_by_name["payload"].fields:
        if each.message_type is payload.DESCRIPTOR:
            getattr(job, each.name).CopyFrom(payload)
            job.id = job_id(tenant, family, each.name, payload)
            job.deadline.FromDatetime(clock.now() + timedelta(seconds=seconds))
            return job
    raise AssertionError(f"{payload.DESCRIPTOR.full_name} is not a job payload; payloads are {KINDS}")


def kind_of(job: Job) -> str:
    """Which payload the job carries; "" for none."""
    return job.WhichOneof("payload") or ""


def attempt_of(headers: Mapping[str, str]) -> int:
    """The attempt a job or result belongs to, from 1. Raises ValueError for any other header."""
    stated = headers.get(ATTEMPT_HEADER, "1")
    if not stated.isascii() or not stated.isdigit() or not 1 <= len(stated) <= 9:
        raise ValueError(f"{ATTEMPT_HEADER} is {stated[:20]!r}, not a number of an attempt")
    return int(stated)


def seconds_left(job: Job) -> float:
    """Until the job's deadline, by the common clock; negative once it has passed."""
    return clock.seconds_until(job.deadline.ToDatetime(UTC))


def failure(error: WanError) -> Failure:
    """The error as it travels in results and events; `error_of` is the way back."""
    now = Timestamp()
    now.FromDatetime(clock.now())
    return Failure(reason=error.reason, message=str(error), code=int(error.status.value[0]), time=now)


def error_of(result: JobResult) -> WanError | None:
    """The error a result carries, as the class it was raised as; None for a success."""
    if result.WhichOneof("outcome") != "failure":
        return None
    return restore(result.failure.reason, result.failure.message)


def why_cancelled(error: WanError | None) -> str:
    """The reason that `Jobs.cancel` was given for it; empty for any other error."""
    return str(error).partition(_CANCELLED)[2] if isinstance(error, Cancelled) else ""


@dataclass(frozen=True)
class Submission:
    """What `submit` did."""

    job: Job
    attempt: int
    """1 for the first submission under this id, one more after each failure."""
    result: JobResult | None
    """Set when an equal job had already succeeded: nothing was queued."""


@dataclass(frozen=True)
class Held:
    """The outcome now under a job's name."""

    result: JobResult
    attempt: int
    revision: int

    @property
    def succeeded(self) -> bool:
        return self.result.WhichOneof("outcome") != "failure"

    def settles(self, attempt: int) -> bool:
        """Whether attempt number `attempt` need not be worked on any more."""
        return self.succeeded or self.attempt >= attempt

    @classmethod
    def from_stored(cls, stored: Stored) -> "Held":
        """Raises DataLoss when the message is no result."""
        try:
            return cls(JobResult.FromString(stored.data), attempt_of(stored.headers), stored.seq)
        except (DecodeError, ValueError) as error:
            raise DataLoss(f"message {stored.seq} of {stored.subject} is no JobResult: {error}") from error


class Jobs:
    """Submits jobs and waits for them. Cheap: one a process, over its `Bus`."""

    def __init__(
        self,
        bus: Bus,
        *,
        max_pending: int = DEFAULT_MAX_PENDING,
        max_wait: float = DEFAULT_MAX_WAIT_SECONDS,
        holds: Callable[[str, BlobRef], Awaitable[bool]] | None = None,
    ) -> None:
        """The limits are those of `Admission`, for each kind. `holds(tenant, blob)` is asked of every blob of
        an earlier result before it is served."""
        self.bus = bus
        self._holds = holds
        self._admissions = {
            kind: Admission(bus, kind, max_pending=max_pending, max_wait=max_wait) for kind in KINDS
        }

    def place(self, kind: str, tenant: str) -> AbstractAsyncContextManager[None]:
        """A place in a kind's queue: what a front asks for before it takes a request on (`admission.py`)."""
        return self._admissions[kind].place(tenant)

    async def submit(self, job: Job) -> Submission:
        """Queue a job unless an equal one has succeeded or is queued already.

        Never refused for the load: whose request it belongs to was asked (`place`). Raises DeadlineExceeded
        when the job's time is over already, Unavailable.
        """
        if seconds_left(job) <= 0:
            raise DeadlineExceeded(
                f"the deadline of {kind_of(job)} job {job.id[:12]} has passed; ask for more time"
            )
        held = await self.held(job.id)
        if held and held.succeeded:
            if (lost := await self._lost(job.tenant, held.result)) is None:
                metrics.JOB_RESULT_HITS.labels(kind_of(job)).inc()
                return Submission(job, held.attempt, held.result)
            await self._revoke(held, lost)
        attempt = held.attempt + 1 if held else 1
        await self.bus.store(
            f"wan.jobs.{kind_of(job)}.{job.tenant}",
            job.SerializeToString(),
            msg_id=f"{job.id}.{attempt}",
            headers={ATTEMPT_HEADER: str(attempt), FAMILY_HEADER: job.family},
        )
        metrics.JOBS_SUBMITTED.labels(kind_of(job)).inc()
        return Submission(job, attempt, None)

    async def _lost(self, tenant: str, result: JobResult) -> BlobRef | None:
        """A blob that a result names and S3 does not have. What a newer version's names is not known to be
        lost."""
        with suppress(SchemaMismatch):
            for ref in blob_refs(result, f"the result of job {result.job_id[:12]}") if self._holds else ():
                assert self._holds is not None
                if not await self._holds(tenant, ref):
                    return ref
        return None

    async def _revoke(self, held: Held, lost: BlobRef) -> None:
        """Make a failure of a success whose blobs are gone, so that the next attempt counts."""
        gone = NotFound("blob", lost.sha256, "the result that named it is void; the job is done again")
        log.warning("result_void", job=held.result.job_id, blob=lost.sha256)
        with suppress(Conflict):  # somebody else was faster, with a failure or with the new result
            await self.bus.store(
                f"$KV.RESULTS.{held.result.job_id}",
                JobResult(job_id=held.result.job_id, failure=failure(gone)).SerializeToString(),
                expected_last=held.revision,
                headers={ATTEMPT_HEADER: str(held.attempt)},
            )

    async def result(self, submission: Submission) -> JobResult:
        """Wait for the outcome, until the job's deadline.

        Raises the error the attempt failed with, DeadlineExceeded, or Unavailable when NATS stays away.
        """
        if submission.result is not None:
            return submission.result
        job = submission.job
        async with self.bus.listen(f"wan.result.{job.id}") as wake_up:
            while True:
                held = await self.held(job.id)
                if held and held.settles(submission.attempt):
                    if error := error_of(held.result):
                        raise error
                    return held.result
                left = seconds_left(job)
                if left <= 0:
                    raise DeadlineExceeded(
                        f"{kind_of(job)} job {job.id[:12]} did not finish before its deadline; "
                        "send the request again with more time"
                    )
                await wake_up.next(min(left, RECHECK_SECONDS))

    async def run(
        self,
        job: Job,
        on_progress: Callable[[JobProgress], Awaitable[None]] | None = None,
        *,
        keep: Callable[[], bool] = lambda: False,
    ) -> JobResult:
        """Submit, wait, and pass progress on. Cancelling the calling task cancels the job, unless `keep()`
        says that somebody else will ask for it.

        When another caller's cancellation or shorter deadline ended an equal job that this caller still
        wants, it is submitted again. Raises as `submit` and `result` do.
        """
        with spans.wanted(kind_of(job), job.tenant, job.id):
            pump = asyncio.create_task(self._pump(job.id, on_progress)) if on_progress else None
            try:
                for _ in range(RESUBMISSIONS):
                    with suppress(Cancelled, DeadlineExceeded):
                        return await self.result(await self.submit(job))
                    if seconds_left(job) <= 0:
                        break
                    log.info("job_resubmitted", job=job.id, kind=kind_of(job))
                return await self.result(await self.submit(job))
            except asyncio.CancelledError:
                if not keep():
                    with suppress(WanError):
                        await asyncio.shield(self.cancel(job.id, "its submitter left"))
                raise
            finally:
                if pump:
                    pump.cancel()
                    await asyncio.wait({pump})

    async def _pump(self, job_id: str, on_progress: Callable[[JobProgress], Awaitable[None]]) -> None:
        async with aclosing(self.watch_progress(job_id)) as messages:
            try:
                async for progress in messages:
                    await on_progress(progress)
            except Exception:
                # Progress is a courtesy: the result still comes.
                log.exception("progress_stopped", job=job_id)

    async def held(self, job_id: str) -> Held | None:
        """The outcome under a job's name now, or None while there is none."""
        stored = await self.bus.last(RESULTS, f"$KV.RESULTS.{job_id}")
        return Held.from_stored(stored) if stored else None

    async def commit(self, result: JobResult, attempt: int) -> JobResult:
        """Settle a job; returns what holds, which is an earlier result if there was one. Raises
        Unavailable."""
        succeeded = error_of(result) is None
        revision = 0
        while True:
            try:
                await self.bus.store(
                    f"$KV.RESULTS.{result.job_id}",
                    result.SerializeToString(),
                    expected_last=revision,
                    headers={ATTEMPT_HEADER: str(attempt)},
                )
                return result
            except Conflict:
                held = await self.held(result.job_id)
                if held and (held.succeeded or (not succeeded and held.attempt >= attempt)):
                    return held.result
                revision = held.revision if held else 0

    async def cancel(self, job_id: str, reason: str) -> None:
        """End a job's current attempt for everybody: waiters get Cancelled, a worker stops at its next step.

        Harmless for a job that has succeeded or was never submitted.
        """
        held = await self.held(job_id)
        if held and held.succeeded:
            return
        result = JobResult(
            job_id=job_id, failure=failure(Cancelled(f"job {job_id[:12]}{_CANCELLED}{reason}"))
        )
        await self.commit(result, held.attempt + 1 if held else 1)
        await self.bus.tell(
            f"wan.cancel.{job_id}", JobCancel(job_id=job_id, reason=reason).SerializeToString()
        )

    async def watch_progress(self, job_id: str) -> AsyncGenerator[JobProgress, None]:
        """Progress messages from now on, until the caller leaves; some may be missing."""
        async with self.bus.listen(f"wan.progress.{job_id}") as messages:
            while True:
                if message := await messages.next(RECHECK_SECONDS):
                    yield JobProgress.FromString(message.data)
