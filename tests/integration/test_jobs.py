"""Jobs, seen from who submits them, against a real nats-server."""

import asyncio
from contextlib import aclosing

import pytest

from tests.conftest import eventually, nats_settings
from tests.decode_jobs import FAMILY, decode_job, decoded, running
from wanimage.bus import Bus
from wanimage.errors import DataLoss, DeadlineExceeded, InvalidInput, JobFailed, Unavailable
from wanimage.jobs import Jobs, failure, job_id
from wanimage.stack import NatsServer
from wanimage.subjects import JOBS, streams
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeJob, DecodeResult, JobProgress, JobResult
from wanimage.v1.types_pb2 import BlobRef


async def test_equal_requests_are_worked_on_once(jobs: Jobs) -> None:
    worked: list[str] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        worked.append(taken.job.id)
        return decoded()

    async with running(jobs, handler, slots=4):
        results = await asyncio.gather(*(jobs.run(decode_job("a")) for _ in range(10)))
        later = await jobs.run(decode_job("a", seconds=30))

    assert worked == [decode_job("a").id]
    assert all(each == later for each in results)
    assert later.decode.size.height == 128
    assert later.family == FAMILY


async def test_submit_returns_a_committed_result_without_queueing(jobs: Jobs, bus: Bus) -> None:
    job = decode_job()
    await jobs.commit(JobResult(job_id=job.id, decode=decoded()), attempt=1)

    submission = await jobs.submit(job)

    assert submission.result is not None
    assert submission.result.decode == decoded()
    assert await bus.subjects(JOBS, "wan.jobs.decode.*") == {}


async def test_result_committed_between_submit_and_wait_is_not_missed(jobs: Jobs) -> None:
    submission = await jobs.submit(decode_job())
    await jobs.commit(JobResult(job_id=submission.job.id, decode=decoded()), attempt=1)

    assert (await jobs.result(submission)).decode == decoded()


async def test_second_commit_gets_the_first_result(jobs: Jobs) -> None:
    job = decode_job()
    outcomes = await asyncio.gather(
        *(jobs.commit(JobResult(job_id=job.id, decode=decoded(height)), attempt=1) for height in (16, 32, 48))
    )

    held = await jobs.held(job.id)
    assert held is not None
    assert all(each == held.result for each in outcomes)


async def test_failure_is_not_served_to_the_next_request(jobs: Jobs) -> None:
    calls: list[int] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        calls.append(taken.attempt)
        if len(calls) == 1:
            raise DataLoss("blob abc: expected 3 bytes, got 2")
        return decoded()

    async with running(jobs, handler):
        with pytest.raises(DataLoss, match="expected 3 bytes, got 2"):
            await jobs.run(decode_job())
        result = await jobs.run(decode_job())

    assert calls == [1, 2]
    assert result.decode == decoded()


async def test_success_of_a_late_worker_beats_a_failure(jobs: Jobs) -> None:
    job = decode_job()
    await jobs.commit(JobResult(job_id=job.id, failure=failure(JobFailed("broke"))), attempt=2)
    await jobs.commit(JobResult(job_id=job.id, decode=decoded()), attempt=1)
    kept = await jobs.commit(JobResult(job_id=job.id, failure=failure(JobFailed("broke again"))), attempt=3)

    assert kept.decode == decoded()


async def test_failure_of_an_old_attempt_does_not_end_a_newer_one(jobs: Jobs) -> None:
    job = decode_job()
    await jobs.commit(JobResult(job_id=job.id, failure=failure(JobFailed("first"))), attempt=1)
    submission = await jobs.submit(job)
    waiting = asyncio.create_task(jobs.result(submission))
    await jobs.commit(JobResult(job_id=job.id, failure=failure(JobFailed("first, again"))), attempt=1)
    await jobs.commit(JobResult(job_id=job.id, decode=decoded()), attempt=submission.attempt)

    assert submission.attempt == 2
    assert (await waiting).decode == decoded()


async def test_result_ends_at_the_deadline_when_no_worker_exists(jobs: Jobs) -> None:
    with pytest.raises(DeadlineExceeded):
        await jobs.run(decode_job(seconds=0.3))


async def test_waiting_is_unavailable_when_nats_stays_away(jobs: Jobs, nats_server: NatsServer) -> None:
    submission = await jobs.submit(decode_job())
    waiting = asyncio.create_task(jobs.result(submission))
    nats_server.kill()
    with pytest.raises(Unavailable):
        await waiting


async def test_job_id_does_not_depend_on_the_deadline_but_on_all_else() -> None:
    payload = DecodeJob(latent=BlobRef(sha256="a" * 64))
    ids = {
        job_id("acme", FAMILY, "decode", payload),
        job_id("acme", "e" * 64, "decode", payload),
        job_id("other", FAMILY, "decode", payload),
        job_id("acme", FAMILY, "decode", DecodeJob(latent=BlobRef(sha256="b" * 64))),
        job_id("acme", FAMILY, "encode", payload),
    }
    assert len(ids) == 5
    assert (
        decode_job("a", seconds=1).id
        == decode_job("a", seconds=600).id
        == job_id("acme", FAMILY, "decode", payload)
    )


async def test_watch_progress_ends_when_its_reader_leaves(jobs: Jobs, bus: Bus) -> None:
    async with aclosing(jobs.watch_progress("x")) as progress:
        waiting = asyncio.ensure_future(anext(progress))

        async def heard() -> bool:
            await bus.tell("wan.progress.x", JobProgress(job_id="x", step=1).SerializeToString())
            return waiting.done()

        await eventually(heard)
        assert (await waiting).step == 1


def test_make_job_refuses_a_tenant_that_is_no_name() -> None:
    with pytest.raises(InvalidInput, match="tenant"):
        decode_job(tenant="a.b")


async def test_an_equal_job_is_stored_once_for_as_long_as_it_may_be_queued_or_worked_on(
    nats_server: NatsServer,
) -> None:
    settings = nats_settings(nats_server)
    async with await Bus.connect(settings) as bus:
        (config,) = [each for each in streams() if each.name == JOBS]
        config.duplicate_window = 600.0  # as an earlier version made it
        await bus.jetstream.update_stream(config)
    async with await Bus.connect(settings) as bus:
        config = (await bus.jetstream.stream_info(JOBS)).config
    assert config.duplicate_window == config.max_age > settings.max_deadline


async def test_a_result_with_more_than_this_version_knows_is_served(bus: Bus) -> None:
    async def holds(tenant: str, blob: BlobRef) -> bool:
        return True

    job, jobs = decode_job(), Jobs(bus, holds=holds)
    newer = JobResult(job_id=job.id, decode=decoded()).SerializeToString() + b"\xc0\x3e\x01"  # field 1000
    await bus.store(f"$KV.RESULTS.{job.id}", newer)

    assert (await jobs.run(job)).decode == decoded()
