"""Workers against a real nats-server: one result a job, whatever dies, restarts or is delivered twice."""

import asyncio
import os
import signal
import sys

import pytest

from tests.conftest import eventually, nats_settings
from tests.decode_jobs import ACK_WAIT, FAMILY, dead_letters, decode_job, decoded, running
from wanimage.bus import Bus
from wanimage.errors import Cancelled, DeadlineExceeded, FamilyMismatch, JobFailed, Unavailable
from wanimage.jobs import Jobs, error_of
from wanimage.stack import NatsServer
from wanimage.subjects import JOBS
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeResult, Job, JobProgress
from wanimage.worker import Worker


async def test_progress_reaches_the_submitter_while_it_waits(jobs: Jobs) -> None:
    seen: list[int] = []
    watched = asyncio.Event()

    async def handler(taken: TakenJob) -> DecodeResult:
        while not watched.is_set():
            await taken.progress(JobProgress(step=3, steps=8))
            await asyncio.sleep(0.01)
        return decoded()

    async def on_progress(progress: JobProgress) -> None:
        seen.append(progress.step)
        watched.set()

    async with running(jobs, handler):
        await jobs.run(decode_job(), on_progress)

    assert set(seen) == {3}


async def test_cancelling_the_submitter_stops_the_handler(jobs: Jobs) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def handler(taken: TakenJob) -> DecodeResult:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError("unreachable")

    async with running(jobs, handler):
        submitter = asyncio.create_task(jobs.run(decode_job()))
        await started.wait()
        submitter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitter
        await asyncio.wait_for(stopped.wait(), 5)

    held = await jobs.held(decode_job().id)
    assert held is not None
    assert isinstance(error_of(held.result), Cancelled)


async def test_job_cancelled_while_queued_is_skipped(jobs: Jobs, bus: Bus) -> None:
    worked: list[str] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        worked.append(taken.job.id)
        return decoded()

    submission = await jobs.submit(decode_job("a"))
    await jobs.cancel(submission.job.id, "changed my mind")
    with pytest.raises(Cancelled, match="changed my mind"):
        await jobs.result(submission)
    async with running(jobs, handler):
        await jobs.run(decode_job("b"))
        await eventually(lambda: _is_empty(bus))

    assert worked == [decode_job("b").id]


async def _is_empty(bus: Bus) -> bool:
    return not await bus.subjects(JOBS, "wan.jobs.decode.*")


async def test_cancel_of_one_submitter_does_not_cost_the_other_its_result(jobs: Jobs) -> None:
    attempts: list[int] = []
    first_started, release = asyncio.Event(), asyncio.Event()

    async def handler(taken: TakenJob) -> DecodeResult:
        attempts.append(taken.attempt)
        first_started.set()
        if taken.attempt == 1:
            await release.wait()
        return decoded()

    async with running(jobs, handler):
        leaver = asyncio.create_task(jobs.run(decode_job()))
        stayer = asyncio.create_task(jobs.run(decode_job()))
        await first_started.wait()
        leaver.cancel()
        result = await asyncio.wait_for(stayer, 10)

    assert result.decode == decoded()
    assert attempts == [1, 2]


async def test_handler_is_stopped_at_the_deadline(jobs: Jobs) -> None:
    stopped = asyncio.Event()

    async def handler(taken: TakenJob) -> DecodeResult:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError("unreachable")

    async with running(jobs, handler):
        with pytest.raises(DeadlineExceeded):
            await jobs.run(decode_job(seconds=0.5))
        await asyncio.wait_for(stopped.wait(), 5)


async def test_job_of_another_family_is_refused(jobs: Jobs) -> None:
    async def handler(taken: TakenJob) -> DecodeResult:
        raise AssertionError("must not be handled")

    async with running(jobs, handler):
        with pytest.raises(
            FamilyMismatch, match="made for family eeeeeeeeeeee, this service holds ffffffffffff"
        ):
            await jobs.run(decode_job(family="e" * 64))


async def test_unexpected_error_fails_the_job_without_its_text_and_keeps_it(jobs: Jobs, bus: Bus) -> None:
    async def handler(taken: TakenJob) -> DecodeResult:
        raise ZeroDivisionError("secret detail")

    async with running(jobs, handler):
        with pytest.raises(JobFailed, match=r"unexpected error [0-9a-f]{12}$") as caught:
            await jobs.run(decode_job())

    assert "secret" not in str(caught.value)
    ((data, reason),) = await dead_letters(bus)
    assert Job.FromString(data).id == decode_job().id
    assert reason in str(caught.value)


async def test_passing_error_is_tried_again_by_the_worker(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wanimage.takenjob.RETRY_DELAY_SECONDS", 0.05)
    deliveries: list[int] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        deliveries.append(taken.delivery)
        if len(deliveries) < 3:
            raise Unavailable("S3", "connection refused")
        return decoded()

    async with running(jobs, handler):
        assert (await jobs.run(decode_job())).decode == decoded()

    assert deliveries == [1, 1, 1]  # only a death or a drain counts as a delivery


async def test_passing_error_that_stays_fails_the_job(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanimage.takenjob.RETRY_DELAY_SECONDS", 0.05)

    async def handler(taken: TakenJob) -> DecodeResult:
        raise Unavailable("S3", "connection refused")

    async with running(jobs, handler, max_deliver=2):
        with pytest.raises(Unavailable, match="S3 does not answer"):
            await jobs.run(decode_job())


async def test_garbage_in_the_queue_is_dead_lettered_and_the_worker_goes_on(jobs: Jobs, bus: Bus) -> None:
    async def handler(taken: TakenJob) -> DecodeResult:
        return decoded()

    await bus.store("wan.jobs.decode.acme", b"\xff\xff not a job")
    async with running(jobs, handler):
        assert (await jobs.run(decode_job())).decode == decoded()

    assert [data for data, _ in await dead_letters(bus)] == [b"\xff\xff not a job"]


async def test_heartbeats_keep_a_long_job_with_its_worker(jobs: Jobs) -> None:
    deliveries: list[int] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        deliveries.append(taken.delivery)
        await asyncio.sleep(3 * ACK_WAIT)
        return decoded()

    async with running(jobs, handler, slots=2):
        await jobs.run(decode_job())

    assert deliveries == [1]


async def test_slots_bound_the_jobs_held_at_once(jobs: Jobs) -> None:
    held, most, full = 0, 0, asyncio.Event()

    async def handler(taken: TakenJob) -> DecodeResult:
        nonlocal held, most
        held += 1
        most = max(most, held)
        if held == 3:
            full.set()
        await full.wait()
        held -= 1
        return decoded()

    async with running(jobs, handler, slots=3):
        await asyncio.gather(*(jobs.run(decode_job(name)) for name in "abcdef0123"))

    assert most == 3


async def test_tenants_share_a_worker_by_cost(jobs: Jobs) -> None:
    # "big" queued its jobs first; each of its jobs costs three of "small"'s.
    order: list[str] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        order.append(taken.tenant)
        return decoded()

    for name in "abcdef":
        await jobs.submit(decode_job(name, tenant="big"))
    submissions = [await jobs.submit(decode_job(name, tenant="small")) for name in "abcdef"]
    async with running(jobs, handler, cost=lambda job: 3.0 if job.tenant == "big" else 1.0):
        await asyncio.gather(*(jobs.result(each) for each in submissions))

    assert order[:8].count("small") == 6
    assert order[:8].count("big") == 2


async def test_batching_worker_takes_and_settles_jobs_one_by_one(jobs: Jobs) -> None:
    submissions = [await jobs.submit(decode_job(name)) for name in "abcd"]
    async with Worker(jobs, "decode", family=FAMILY, slots=3, ack_wait=ACK_WAIT) as worker:
        batch: list[TakenJob] = []
        while (taken := await worker.take(timeout=0)) is not None:
            batch.append(taken)
        assert len(batch) == 3
        await batch.pop(1).commit(decoded())
        joined = await worker.take(timeout=5)
        assert joined is not None
        for taken in [*batch, joined]:
            await taken.commit(decoded())
        assert await worker.take(timeout=0) is None

    for submission in submissions:
        assert (await jobs.result(submission)).decode == decoded()


async def test_result_survives_an_outage_of_nats(jobs: Jobs, nats_server: NatsServer) -> None:
    computed: list[str] = []
    killed = asyncio.Event()

    async def handler(taken: TakenJob) -> DecodeResult:
        nats_server.kill()
        killed.set()
        computed.append(taken.job.id)
        return decoded()

    submission = await jobs.submit(decode_job())
    async with running(jobs, handler):
        await killed.wait()
        with pytest.raises(Unavailable):
            await jobs.bus.check()
        await asyncio.to_thread(nats_server.start)
        assert (await jobs.result(submission)).decode == decoded()

    assert computed == [submission.job.id]


# Killed workers. ---------------------------------------------------------------------------------------

DOOMED_WORKER = """
import asyncio, sys
from wanimage import telemetry
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.jobs import Jobs
from wanimage.worker import Worker

async def main():
    telemetry.configure("doomed")  # logs to stderr
    async with await Bus.connect(Settings(_env_file=None, nats_url=sys.argv[1])) as bus:
        async with Worker(Jobs(bus), "decode", family="f" * 64, ack_wait=float(sys.argv[2])) as worker:
            taken = await worker.take(30)
            print("taken", taken.delivery, flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


async def take_and_die(server: NatsServer) -> int:
    """A worker process that takes one job and is killed; the job's delivery number."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DOOMED_WORKER, server.url, str(ACK_WAIT), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        word, number = (await asyncio.wait_for(process.stdout.readline(), 30)).split()
        assert word == b"taken"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    return int(number)


@pytest.mark.slow
async def test_job_of_a_killed_worker_is_finished_by_another(jobs: Jobs, nats_server: NatsServer) -> None:
    deliveries: list[int] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        deliveries.append(taken.delivery)
        return decoded()

    submission = await jobs.submit(decode_job())
    assert await take_and_die(nats_server) == 1
    async with running(jobs, handler):
        assert (await jobs.result(submission)).decode == decoded()

    assert deliveries == [2]


@pytest.mark.slow
async def test_job_that_kills_its_workers_is_dead_lettered_and_its_submitter_told(
    jobs: Jobs, bus: Bus, nats_server: NatsServer
) -> None:
    async def handler(taken: TakenJob) -> DecodeResult:
        raise AssertionError("must not be handled again")

    submission = await jobs.submit(decode_job())
    assert [await take_and_die(nats_server) for _ in range(2)] == [1, 2]
    async with running(jobs, handler, max_deliver=2):
        with pytest.raises(JobFailed, match="2 workers died on it"):
            await jobs.result(submission)

    assert [reason for _, reason in await dead_letters(bus)] == ["2 workers died on it or gave it back"]


async def test_jobs_survive_a_killed_nats(jobs: Jobs, nats_server: NatsServer) -> None:
    submission = await jobs.submit(decode_job())
    nats_server.kill()
    await asyncio.to_thread(nats_server.start)

    async def handler(taken: TakenJob) -> DecodeResult:
        return decoded()

    async with await Bus.connect(nats_settings(nats_server)) as second, running(Jobs(second), handler):
        assert (await jobs.result(submission)).decode == decoded()


async def test_worker_goes_on_after_its_client_gave_up(jobs: Jobs, nats_server: NatsServer) -> None:
    async def handler(taken: TakenJob) -> DecodeResult:
        return decoded()

    async with await Bus.connect(nats_settings(nats_server)) as second, running(Jobs(second), handler):
        await jobs.run(decode_job("a"))
        before = second.client.client_id
        await second.client._process_err("'authentication timeout'")
        await eventually(lambda: second.client.client_id not in (before, None))
        assert (await jobs.run(decode_job("b"))).decode == decoded()
