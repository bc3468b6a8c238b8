"""Jobs whose outcome cannot be committed: their worker goes on, and says what it can."""

import asyncio

import pytest

from tests.conftest import eventually, nats_settings
from tests.decode_jobs import dead_letters, decode_job, decoded, running
from wanimage.bus import Bus
from wanimage.errors import JobFailed
from wanimage.jobs import Jobs
from wanimage.stack import NatsServer
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeResult

MEGABYTE = 1 << 20
"""The most that NATS takes as one message, unless told otherwise."""


async def test_worker_goes_on_when_nats_stays_away_past_the_deadline_of_a_finished_job(
    nats_server: NatsServer,
) -> None:
    handled: list[str] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        if taken.seconds_left < 30:
            nats_server.kill()
        handled.append(taken.job.id)
        return decoded()

    async with await Bus.connect(nats_settings(nats_server), patience=0.5) as bus:
        jobs = Jobs(bus)
        async with running(jobs, handler) as worker:
            await jobs.submit(decode_job("a", seconds=2))
            await eventually(lambda: bool(handled) and not worker._active)
            await asyncio.to_thread(nats_server.start)
            await bus.check()
            assert (await jobs.run(decode_job("b"))).decode == decoded()


async def test_worker_goes_on_when_the_name_of_a_finished_job_holds_what_is_no_result(
    jobs: Jobs, bus: Bus
) -> None:
    handled: list[str] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        handled.append(taken.job.id)
        if taken.job.id == decode_job("a").id:
            await bus.store(f"$KV.RESULTS.{taken.job.id}", b"\xff\xff no result")
        return decoded()

    async with running(jobs, handler) as worker:
        await jobs.submit(decode_job("a"))
        await eventually(lambda: bool(handled) and not worker._active)
        assert (await jobs.run(decode_job("b"))).decode == decoded()


async def test_a_result_larger_than_a_message_fails_its_job_and_leaves_a_dead_letter(
    jobs: Jobs, bus: Bus
) -> None:
    async def handler(taken: TakenJob) -> DecodeResult:
        large = decoded()
        if taken.job.id == decode_job("a").id:
            large.image.media_type = "x" * MEGABYTE
        return large

    async with running(jobs, handler):
        with pytest.raises(JobFailed, match="unexpected error"):
            await jobs.run(decode_job("a", seconds=20))
        assert (await jobs.run(decode_job("b"))).decode == decoded()

    assert len(await dead_letters(bus)) == 1
