"""The worker's side of jobs: take them, keep them alive, settle them.

`Worker.run(handler)` is the plain loop. A worker that batches (the visualizer joins jobs between denoising
steps) uses `take(timeout=0)` or `async for job in worker.jobs()` and settles each job by itself:

    async with Worker(jobs, "decode", family=digest, slots=4) as worker:
        await worker.run(handler)                  # async def handler(job: TakenJob) -> DecodeResult

What the worker does so that handlers need not: it skips jobs that are settled or cancelled already, refuses
those past their deadline or made for another family, sends heartbeats, counts deliveries and dead-letters a
job that killed `max_deliver` workers, repeats a job that failed with `Unavailable`, and holds a result while
NATS is away. Heartbeats need the event loop: computation belongs into a thread.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import nats.errors
from google.protobuf.message import Message
from nats.aio.msg import Msg

from wanimage import metrics, spans, telemetry
from wanimage.errors import (
    DataLoss,
    DeadlineExceeded,
    FamilyMismatch,
    JobFailed,
    Unavailable,
    WanError,
)
from wanimage.fairqueue import FairQueue
from wanimage.jobs import Jobs, error_of, why_cancelled
from wanimage.messages import Standing
from wanimage.subjects import REASON_HEADER
from wanimage.takenjob import TakenJob, read_job
from wanimage.v1.jobs_pb2 import Job, JobResult

ACK_WAIT_SECONDS = 10.0
MAX_DELIVER = 5
HEARTBEATS_PER_ACK_WAIT = 5
TAKE_SECONDS = 60.0
HELD_RESULT_PAUSE_SECONDS = 0.5
RESERVED = 0.25
"""Share of the slots kept for tenants of whom nothing is held: who sends most must not hold them all."""

log = telemetry.logger(__name__)


Handler = Callable[[TakenJob], Awaitable[Message]]


class Worker:
    """Takes jobs of one kind, at most `slots` at a time. An async context manager; leaving it drains."""

    def __init__(
        self,
        jobs: Jobs,
        kind: str,
        *,
        family: str,
        slots: int = 1,
        cost: Callable[[Job], float] = lambda job: 1.0,
        ack_wait: float = ACK_WAIT_SECONDS,
        max_deliver: int = MAX_DELIVER,
        drain_seconds: float = 20.0,
    ) -> None:
        """`family` is the digest of the weights held; `cost` is what a job counts in the fair share."""
        self.client, self.kind, self.family, self.max_deliver = jobs, kind, family, max_deliver
        self._cost, self._ack_wait, self._drain_seconds = cost, ack_wait, drain_seconds
        self._queue = FairQueue(jobs.bus, kind, ack_wait=ack_wait)
        self._slots = slots
        self._room = asyncio.Event()
        self._room.set()
        self._active: dict[int, TakenJob] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = asyncio.Event()
        self._draining = asyncio.Event()
        self._cancels: Standing | None = None
        self._heart: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Worker":
        self._cancels = await self.client.bus.on("wan.cancel.*", self._on_cancel)
        await self._queue.open()
        self._heart = asyncio.create_task(self._beat())
        metrics.worker_opens(self.kind, self._slots)
        log.info("worker_ready", kind=self.kind, family=self.family[:12])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain(self._drain_seconds)

    def stop_taking(self) -> None:
        """Take no more jobs; `jobs()` and `run()` end once what is held is settled. Safe in a signal
        handler."""
        self._draining.set()
        self._room.set()
        self._dropped.set()
        self._queue.wake()

    async def drain(self, grace: float) -> None:
        """Stop in order: take nothing new, let held jobs finish for `grace` seconds, put the rest back, go
        silent.

        Heartbeats go on until the last job is settled, else it would be given to a second worker meanwhile.
        """
        self.stop_taking()
        await self._finish(grace)
        if self._heart:
            self._heart.cancel()
        if self._cancels:
            await self._cancels.unsubscribe()
        await self._queue.close()

    async def run(self, handler: Handler) -> None:
        """Hand every job to `handler` in its own task; what it returns is committed.

        A handler that raises fails its job; at cancel or deadline the handler's task is cancelled. Ends after
        `stop_taking`: with what is held settled, or put back after `drain_seconds`.
        """
        async with asyncio.TaskGroup() as group:
            async for taken in self.jobs():
                group.create_task(self._handle(handler, taken))
            await self._finish(self._drain_seconds)

    async def _finish(self, grace: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._idle.wait()
        for taken in list(self._active.values()):
            log.warning("job_given_back", job=taken.job.id, kind=self.kind)
            await self.put_back(taken, 0)

    async def jobs(self) -> AsyncIterator[TakenJob]:
        """Jobs as slots are free, until `stop_taking`. NATS being away is waited out."""
        while not self._draining.is_set():
            try:
                taken = await self.take(TAKE_SECONDS)
            except Unavailable as error:
                log.warning("worker_waits", kind=self.kind, error=str(error))
                continue
            if taken:
                yield taken

    async def take(self, timeout: float) -> TakenJob | None:
        """The next job worth doing, or None after `timeout` seconds (0: only what is there) or while
        draining.

        Raises Unavailable. Call from one task at a time.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while not self._draining.is_set():
            left = max(deadline - clock(), 0.0)
            if self._full:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._room.wait()
            elif message := await self._queue.take(left, self._may_take):
                if (taken := await self._accept(message)) and await self._others_done(taken):
                    return taken
                continue
            if clock() >= deadline:
                return None
        return None

    async def _accept(self, message: Msg) -> TakenJob | None:
        """Turn a message into held work, or settle it here when there is nothing (good) to do with it."""
        try:
            job = read_job(message)
        except DataLoss as error:
            await self._bury(message, str(error))
            return None
        taken = TakenJob(self, message, job)
        self._queue.charge(taken.tenant, self._cost(job))
        self._hold(taken)
        if taken.delivery > 1:
            metrics.JOBS_REDELIVERED.labels(self.kind).inc()
        try:
            held = await self.client.held(job.id)
            if held and held.settles(taken.attempt):
                await self._release(taken, message.ack)
            elif taken.delivery > self.max_deliver:
                why = f"{taken.delivery - 1} workers died on it or gave it back"
                await self._bury(message, why, ack=False)
                await taken.fail(
                    JobFailed(f"{self.kind} job {job.id[:12]} was given up: {why}; see stream DLQ")
                )
            elif taken.seconds_left <= 0:
                await taken.fail(
                    DeadlineExceeded(f"{self.kind} job {job.id[:12]} was still queued at its deadline")
                )
            elif job.family != self.family:
                await taken.fail(FamilyMismatch(job.family, self.family))
            else:
                metrics.JOB_QUEUE_SECONDS.labels(self.kind).observe(taken.queue_seconds)
                return taken
        except DataLoss as error:  # what its name holds is no result: no worker could settle it
            self._drop(taken)
            await self._bury(message, str(error))
        except BaseException:
            self._drop(taken)  # unsettled: it is redelivered after ack_wait
            raise
        return None

    async def _handle(self, handler: Handler, taken: TakenJob) -> None:
        with (
            telemetry.bound(job=taken.job.id[:12], tenant=taken.tenant),
            spans.processing(self.kind, taken.tenant, taken.headers, taken.job.id, taken.delivery),
        ):
            try:
                await taken.commit(await self._tried(handler, taken))
            except WanError as error:
                await self._try(taken.fail(error))
            except asyncio.CancelledError:
                await self.put_back(taken, 0)
                raise
            except Exception:
                await self._try(self._fail_unexpectedly(taken))

    async def _tried(self, handler: Handler, taken: TakenJob) -> Message:
        """What the handler makes of the job, begun again here after an outage: were it put back, an outage
        would count as a delivery, and a job that met several be taken for one that kills workers."""
        while True:
            try:
                return await self._work(handler, taken)
            except WanError as error:
                if not taken.will_be_tried_again(error):
                    raise
                await taken.pause(error)

    async def _work(self, handler: Handler, taken: TakenJob) -> Message:
        work = asyncio.ensure_future(handler(taken))
        stop = asyncio.ensure_future(taken.cancelled.wait())
        try:
            # Again where the loop's clock was ahead: a handler that is cancelled sees its deadline passed.
            while not (work.done() or stop.done()) and (left := taken.seconds_left) > 0:
                await asyncio.wait({work, stop}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
            if work.cancelled():
                taken.raise_if_stopped()
                raise JobFailed(f"{self.kind} job {taken.job.id[:12]}: its handler was cancelled from inside")
            return work.result()
        finally:
            stop.cancel()
            work.cancel()

    async def _try(self, settling: Awaitable[None]) -> None:
        # One job that cannot be settled must not end the loop: it is redelivered when NATS is back.
        try:
            await settling
        except WanError as error:
            log.error("job_unsettled", kind=self.kind, error=str(error))

    async def _fail_unexpectedly(self, taken: TakenJob) -> None:
        # The traceback stays here, under a number the client can quote.
        correlation = uuid.uuid4().hex[:12]
        log.exception("job_crashed", kind=self.kind, correlation=correlation)
        with suppress(Unavailable):
            await self._bury(taken.message, f"unexpected error {correlation}", ack=False)
        await taken.fail(
            JobFailed(f"{self.kind} job {taken.job.id[:12]} met an unexpected error {correlation}")
        )

    # Settling. -------------------------------------------------------------------------------------------

    async def settle(self, taken: TakenJob, result: JobResult) -> JobResult:
        """Commit and ack. Waits for NATS to return until the job's deadline: the work is done and worth
        keeping."""
        if (taken.given_back or taken.settled) and result.HasField("failure"):
            return result  # another worker has it, or will; only a success is news
        assert taken.given_back or not taken.settled, f"job {taken.job.id} was settled twice"
        taken.settled = True
        try:
            held = await self._committed(taken, result)
        except WanError:
            self._drop(taken)  # unsettled: it is redelivered after ack_wait
            raise
        except nats.errors.Error:
            taken.settled = False  # a result that no message can hold; a failure can say so
            raise
        metrics.JOB_WORK_SECONDS.labels(self.kind).observe(result.work_seconds)
        metrics.JOBS_SETTLED.labels(self.kind, result.failure.reason or "ok").inc()
        await self._release(taken, taken.message.ack)
        return held

    async def _committed(self, taken: TakenJob, result: JobResult) -> JobResult:
        while True:
            try:
                return await self.client.commit(result, taken.attempt)
            except Unavailable as error:
                if taken.seconds_left <= 0:
                    raise
                log.warning("result_held", job=taken.job.id, error=str(error))
                await asyncio.sleep(HELD_RESULT_PAUSE_SECONDS)

    async def put_back(self, taken: TakenJob, delay: float) -> None:
        """Give the job back to the queue, for any worker to take after `delay` seconds. Its handler is
        stopped."""
        if taken.settled:
            return
        taken.given_back = True
        metrics.JOBS_PUT_BACK.labels(self.kind).inc()
        taken.cancelled.set()
        await self._release(taken, lambda: taken.message.nak(delay=delay or None))

    def let_go(self, taken: TakenJob) -> None:
        """Leave the job to the worker that holds it too. Nothing is acknowledged: both hold one message, and
        when the other dies it must be delivered again."""
        taken.settled = True
        self._drop(taken)

    async def _release(self, taken: TakenJob, settle: Callable[[], Awaitable[None]]) -> None:
        # A lost ack costs a redelivery, which finds the committed result and is skipped; after a put-back
        # there is nothing left to ack.
        taken.settled = True
        with suppress(nats.errors.Error):
            await settle()
        self._drop(taken)

    async def _bury(self, message: Msg, why: str, *, ack: bool = True) -> None:
        tenant = message.subject.rsplit(".", 1)[1]
        metrics.DEAD_LETTERS.labels(self.kind).inc()
        log.error("job_dead_lettered", kind=self.kind, tenant=tenant, why=why)
        await self.client.bus.store(
            f"wan.dlq.{self.kind}.{tenant}",
            message.data,
            msg_id=f"dlq.{message.metadata.sequence.stream}",
            headers={REASON_HEADER: why},
        )
        if ack:
            with suppress(nats.errors.Error):
                await message.ack()

    def _may_take(self, tenant: str) -> bool:
        held = any(taken.tenant == tenant for taken in self._active.values())
        return len(self._active) < self._slots - (int(self._slots * RESERVED) if held else 0)

    @property
    def _full(self) -> bool:
        return len(self._active) >= self._slots or any(map(self._suspect, self._active.values()))

    def _suspect(self, taken: TakenJob) -> bool:
        # A job that kills its workers takes those held beside it along, up to their last delivery too. That
        # one each has for itself: the guilty is given up after it, the others are done.
        return taken.delivery == self.max_deliver > 1

    async def _others_done(self, taken: TakenJob) -> bool:
        """Wait until a suspect is held alone; False when draining came first, and it was put back."""
        while self._suspect(taken) and len(self._active) > 1:
            if self._draining.is_set():
                await self.put_back(taken, 0)
                return False
            self._dropped.clear()
            await self._dropped.wait()
        return True

    def _hold(self, taken: TakenJob) -> None:
        self._active[id(taken)] = taken
        metrics.JOBS_HELD.labels(self.kind).set(len(self._active))
        self._idle.clear()
        if self._full:
            self._room.clear()

    def _drop(self, taken: TakenJob) -> None:
        self._active.pop(id(taken), None)
        metrics.JOBS_HELD.labels(self.kind).set(len(self._active))
        self._dropped.set()
        if not self._full:
            self._room.set()
            self._queue.wake()  # a tenant that had its share may take again
        if not self._active:
            self._idle.set()

    async def _on_cancel(self, message: Msg) -> None:
        job_id = message.subject.rsplit(".", 1)[1]
        for taken in list(self._active.values()):
            if taken.job.id != job_id:
                continue
            # The message names no attempt; the committed outcome does. A newer attempt is not ours to stop.
            with suppress(Unavailable):
                held = await self.client.held(job_id)
                if held and held.settles(taken.attempt):
                    taken.why_cancelled = why_cancelled(error_of(held.result))
                    taken.cancelled.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._ack_wait / HEARTBEATS_PER_ACK_WAIT)
            for taken in list(self._active.values()):
                with suppress(nats.errors.Error):
                    await taken.message.in_progress()
