"""Jobs delivered twice, and jobs nobody can do, among many that are fine."""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import pytest

from tests.conftest import eventually, nats_settings
from tests.decode_jobs import FAMILY, decode_job, running
from wanimage.bus import Bus
from wanimage.deadletters import DeadLetter, DeadLetters
from wanimage.errors import Conflict, InvalidInput, JobFailed, WanError
from wanimage.jobs import Jobs, Submission
from wanimage.stack import NatsServer
from wanimage.subjects import ATTEMPT_HEADER, FAMILY_HEADER, JOBS, RESULTS
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeResult, Job
from wanimage.v1.types_pb2 import Size

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SUBJECT = "wan.jobs.decode.acme"
DUPLICATES = {"slice": 200, "full": 5000}
JOB_COUNT, POISON = {"slice": 100, "full": 1000}, {"slice": 10, "full": 100}
SECONDS = 600.0

T = TypeVar("T")


async def test_every_job_delivered_twice_is_committed_once(
    nats_server: NatsServer, bus: Bus, scale: str
) -> None:
    count = DUPLICATES[scale]
    runs: Counter[str] = Counter()

    async def handler(taken: TakenJob) -> DecodeResult:
        runs[taken.job.id] += 1
        await asyncio.sleep(0.02)  # so that the twin comes meanwhile
        return DecodeResult(size=Size(height=sum(runs.values())))  # no two runs answer alike

    jobs = Jobs(bus, max_pending=4 * count)
    named = [decode_job(f"{number:064x}", seconds=SECONDS) for number in range(count)]
    commits: Counter[str] = Counter()

    async def on_commit(message) -> None:
        commits[message.subject.rsplit(".", 1)[1]] += 1

    await bus.on("wan.result.*", on_commit)
    await _all([_store_twice(bus, job) for job in named], at_once=4)
    async with (
        await Bus.connect(nats_settings(nats_server)) as other,
        running(jobs, handler, slots=16),
        running(Jobs(other), handler, slots=16),
    ):
        results = await _all([jobs.result(Submission(job, 1, None)) for job in named])
        await eventually(lambda: _nothing_waits(bus))
    again = await _all([jobs.held(job.id) for job in named])
    stored = (await bus.jetstream.stream_info(RESULTS)).state.last_seq
    print(f"\n{count} duplicate deliveries: {sum(runs.values())} runs, {stored} commits of {count} jobs")
    assert sum(runs.values()) > count, "no twin came while the other was worked on"
    assert stored == count
    assert commits == Counter({job.id: 1 for job in named})
    assert [each.result for each in again] == list(results)


async def _store_twice(bus: Bus, job: Job) -> None:
    """Two messages of one job, as no submitter makes them: without the id that would merge them."""
    headers = {ATTEMPT_HEADER: "1", FAMILY_HEADER: job.family}
    for _ in range(2):
        await bus.store(SUBJECT, job.SerializeToString(), headers=headers)


async def test_a_worker_that_lost_to_another_writer_leaves_the_job_to_it(jobs: Jobs) -> None:
    deliveries: list[int] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        deliveries.append(taken.delivery)
        if taken.delivery == 1:
            raise Conflict("somebody else wrote first")
        return DecodeResult(size=Size(height=1))

    async with running(jobs, handler):
        # The one that wrote first died since: the job must come again, not be settled by the loser.
        assert (await jobs.run(decode_job())).decode.size.height == 1
    assert deliveries == [1, 2]


async def test_poison_among_many_jobs_ends_in_the_dead_letters_and_the_rest_is_done(
    bus: Bus, scale: str
) -> None:
    count, poison = JOB_COUNT[scale], POISON[scale]
    crashing = poison - poison // 10
    every = count // poison

    async def handler(taken: TakenJob) -> DecodeResult:
        if taken.job.decode.format == 3:
            raise ZeroDivisionError("poison")
        return DecodeResult(size=Size(height=1))

    jobs = Jobs(bus, max_pending=4 * count)
    named = [decode_job(f"{number:064x}", seconds=SECONDS) for number in range(count - poison // 10)]
    bad = named[::every][:crashing]
    for job in bad:
        job.MergeFrom(Job(decode={"format": 3}))

    async with running(jobs, handler, slots=16):
        for number in range(poison // 10):
            await bus.store(SUBJECT, b"\xff no job %d" % number)
        outcomes = await _all([_outcome(jobs, job) for job in named])
        await eventually(lambda: _nothing_waits(bus))
    letters = [letter async for letter in DeadLetters(bus).all()]
    done = sum(outcome is None for outcome in outcomes)
    print(f"\n{count} jobs, {poison} of them poison: {done} done, {len(letters)} dead letters")
    assert done == count - poison
    assert len(letters) == poison
    by_name = {letter.name: letter for letter in letters if letter.job}
    for job, outcome in zip(named, outcomes, strict=True):
        if job in bad:
            assert isinstance(outcome, JobFailed)
            assert by_name[job.id].reason in str(outcome), "the submitter and the letter give one number"
    assert sum("not a Job" in letter.reason for letter in letters) == poison // 10


DOOMED_WORKER = """
import asyncio, os, sys
from wanimage import telemetry
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.jobs import Jobs
from wanimage.v1.jobs_pb2 import DecodeResult
from wanimage.worker import Worker

async def handle(taken):
    await asyncio.sleep(0.1)
    if taken.job.decode.latent.sha256.startswith("f"):
        os._exit(1)
    await asyncio.sleep(0.1)
    return DecodeResult()

async def main():
    telemetry.configure("doomed")  # logs to stderr
    async with await Bus.connect(Settings(_env_file=None, nats_url=sys.argv[1])) as bus:
        options = {"family": "f" * 64, "slots": 16, "ack_wait": 1.5, "max_deliver": 3}
        async with Worker(Jobs(bus), "decode", **options) as worker:
            await worker.run(handle)

asyncio.run(main())
"""


async def test_a_job_that_kills_its_worker_takes_none_of_those_beside_it_along(
    bus: Bus, jobs: Jobs, nats_server: NatsServer
) -> None:
    named = [decode_job(name) for name in "0123f456789"]
    waiting = asyncio.gather(*(_outcome(jobs, job) for job in named))
    deaths = 0
    while not waiting.done():
        command = (sys.executable, "-c", DOOMED_WORKER, nats_server.url)
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        exited = asyncio.ensure_future(process.wait())
        await asyncio.wait({waiting, exited}, return_when=asyncio.FIRST_COMPLETED)
        deaths += exited.done()
        if not exited.done():
            process.kill()
            await exited
    failed = [job.decode.latent.sha256[0] for job, error in zip(named, await waiting, strict=True) if error]
    assert failed == ["f"], f"after {deaths} deaths"
    assert deaths == 3
    (letter,) = [each async for each in DeadLetters(bus).all()]
    assert letter.name == decode_job("f").id
    assert "3 workers died on it" in letter.reason


async def _outcome(jobs: Jobs, job: Job) -> WanError | None:
    try:
        await jobs.result(await jobs.submit(job))
    except WanError as error:
        return error
    return None


async def _nothing_waits(bus: Bus) -> bool:
    return not await bus.subjects(JOBS, SUBJECT)


async def _all(work: Sequence[Awaitable[T]], at_once: int = 100) -> list[T]:
    """Await all, not all at once; results in order."""
    found: list[T] = []
    for start in range(0, len(work), at_once):
        found += await asyncio.gather(*work[start : start + at_once])
    return found


class Refuses:
    """A handler that fails until it is told better, and counts."""

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.mended = False

    async def __call__(self, taken: TakenJob) -> DecodeResult:
        self.attempts.append(taken.attempt)
        if not self.mended:
            raise ZeroDivisionError("poison")
        return DecodeResult(size=Size(height=1))


async def _one_letter(bus: Bus, jobs: Jobs, handler: Refuses) -> DeadLetter:
    async with running(jobs, handler):
        with pytest.raises(JobFailed):
            await jobs.run(decode_job())
    (letter,) = await DeadLetters(bus).find(decode_job().id)
    return letter


async def test_a_retried_letter_runs_as_a_fresh_attempt_and_leaves_the_list(bus: Bus, jobs: Jobs) -> None:
    handler = Refuses()
    letter = await _one_letter(bus, jobs, handler)
    letters = DeadLetters(bus)
    submission = await letters.retry([letter], 60)
    assert [each async for each in letters.all()] == []
    handler.mended = True
    async with running(jobs, handler):
        assert (await jobs.result(submission)).decode.size.height == 1
    assert handler.attempts == [1, 2]


async def test_a_retry_that_broke_off_before_the_letter_was_removed_runs_the_job_once(
    bus: Bus, jobs: Jobs
) -> None:
    handler = Refuses()
    letter = await _one_letter(bus, jobs, handler)
    letters = DeadLetters(bus)
    handler.mended = True
    await jobs.submit(letter.job)  # as `retry` does first; then the operator's machine died
    submission = await letters.retry(await letters.find(letter.name), 60)
    async with running(jobs, handler):
        await jobs.result(submission)
        await eventually(lambda: _nothing_waits(bus))
    assert handler.attempts == [1, 2]
    assert (await letters.retry([letter], 60)).result is not None, "a job that was done is not done again"


async def test_a_retried_job_that_fails_again_is_a_letter_again_and_waits(bus: Bus, jobs: Jobs) -> None:
    handler = Refuses()
    letter = await _one_letter(bus, jobs, handler)
    letters = DeadLetters(bus)
    submission = await letters.retry([letter], 60)
    async with running(jobs, handler):
        with pytest.raises(JobFailed):
            await jobs.result(submission)
    (again,) = await letters.find(letter.name)
    assert again.position != letter.position
    assert handler.attempts == [1, 2]


async def test_a_message_that_is_no_job_can_be_dropped_but_not_retried(bus: Bus, jobs: Jobs) -> None:
    async with running(jobs, Refuses()):
        await bus.store(SUBJECT, b"\xff")
        letters = DeadLetters(bus)
        await eventually(lambda: _nothing_waits(bus))
        found = [each async for each in letters.all(kind="decode", tenant="acme")]
    with pytest.raises(InvalidInput, match="can only be dropped"):
        await letters.retry(found, 60)
    await letters.drop(found)
    await letters.drop(found)  # harmless
    assert [each async for each in letters.all()] == []


@pytest.mark.parametrize("name", ["f", FAMILY])
async def test_a_letter_that_is_not_there_is_named_in_the_refusal(bus: Bus, name: str) -> None:
    with pytest.raises(WanError, match=name):
        await DeadLetters(bus).find(name)
