"""Workers that stop: what they hold is finished in time or given to another."""

import asyncio

from tests.conftest import eventually
from tests.decode_jobs import ACK_WAIT, FAMILY, decode_job, decoded, running
from wanimage.jobs import Jobs
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeResult
from wanimage.worker import Worker


async def test_draining_worker_gives_unfinished_jobs_to_another(jobs: Jobs) -> None:
    started = asyncio.Event()

    async def stuck(taken: TakenJob) -> DecodeResult:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def quick(taken: TakenJob) -> DecodeResult:
        assert taken.delivery == 2
        return decoded()

    submission = await jobs.submit(decode_job())
    async with running(jobs, stuck, drain_seconds=0.1):
        await started.wait()
    async with running(jobs, quick):
        assert (await jobs.result(submission)).decode == decoded()


async def test_draining_does_not_wait_for_a_job_that_waits_to_be_alone(jobs: Jobs) -> None:
    # At its last delivery a job waits for those beside it, perhaps for longer than draining may take.
    working: list[str] = []

    async def stuck(taken: TakenJob) -> DecodeResult:
        working.append(taken.job.id)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    last, other = decode_job("a"), decode_job("b")
    await jobs.submit(last)
    async with Worker(jobs, "decode", family=FAMILY, ack_wait=ACK_WAIT) as first:
        taken = await first.take(5)
        assert taken is not None
        await first.put_back(taken, 0.5)
    await jobs.submit(other)
    async with Worker(jobs, "decode", family=FAMILY, slots=2, max_deliver=2, drain_seconds=0.1) as worker:
        held = worker._active
        run = asyncio.create_task(worker.run(stuck))
        await eventually(lambda: len(held) == 2)
        worker.stop_taking()
        async with asyncio.timeout(5):
            await run
    assert working == [other.id]
