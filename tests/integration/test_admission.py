"""Who may queue, against a real nats-server: shares, bounds by time, and what asking costs."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.conftest import eventually
from tests.decode_jobs import FAMILY, decode_job, decoded, running
from wanimage import admission
from wanimage.admission import BUSY_PENDING, MIN_PENDING, Admission
from wanimage.bus import Bus
from wanimage.errors import Overloaded
from wanimage.jobs import Jobs, make_job
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeJob, DecodeResult, EncodeJob
from wanimage.v1.types_pb2 import BlobRef


async def enter(jobs: Jobs, tenant: str, name: str) -> None:
    async with jobs.place("decode", tenant):
        await jobs.submit(decode_job(name, tenant=tenant))


async def test_a_tenant_may_hold_as_much_as_is_free(bus: Bus) -> None:
    jobs = Jobs(bus, max_pending=6)
    for name in "abc":
        await enter(jobs, "first", name)
    with pytest.raises(Overloaded, match="tenant first's share of the decode queue is full") as caught:
        await enter(jobs, "first", "d")
    assert caught.value.retry_after > 0
    for name in "ab":
        await enter(jobs, "second", name)
    with pytest.raises(Overloaded, match="tenant second's share"):
        await enter(jobs, "second", "c")
    await enter(jobs, "third", "a")
    with pytest.raises(Overloaded, match="the decode queue is full"):
        await enter(jobs, "fourth", "a")


async def test_kinds_do_not_stand_in_each_others_way(bus: Bus) -> None:
    jobs = Jobs(bus, max_pending=1)
    await enter(jobs, "acme", "a")
    async with jobs.place("encode", "acme"):
        encode = make_job("acme", FAMILY, EncodeJob(image=BlobRef(sha256="a" * 64)), 60)
        assert (await jobs.submit(encode)).attempt == 1


async def test_jobs_of_a_request_that_was_let_in_are_never_refused(bus: Bus) -> None:
    jobs = Jobs(bus, max_pending=1)
    for name in "abc":
        await jobs.submit(decode_job(name))
    with pytest.raises(Overloaded):
        await enter(jobs, "acme", "d")


async def test_places_that_are_held_count_until_they_are_left(bus: Bus) -> None:
    jobs = Jobs(bus, max_pending=4)
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(jobs.place("decode", "acme"))
        with pytest.raises(Overloaded):
            await enter(jobs, "acme", "a")
    await enter(jobs, "acme", "a")


async def test_asking_costs_nats_the_same_under_any_load(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    subjects = bus.subjects

    async def counted(stream: str, pattern: str) -> dict[str, int]:
        looks.append(pattern)
        return await subjects(stream, pattern)

    monkeypatch.setattr(bus, "subjects", counted)
    monkeypatch.setattr(admission, "LOOK_SECONDS", 60.0)
    jobs = Jobs(bus, max_pending=20)
    await asyncio.gather(*(enter(jobs, "acme", name) for name in "abcdefgh"))
    for tenant in ("second", "third"):
        await enter(jobs, tenant, "a")
    assert looks == ["wan.jobs.decode.*"]

    async def heard() -> bool:  # what others queued is known without another look
        return jobs._admissions["decode"]._heard.total() == 10

    await eventually(heard)
    with pytest.raises(Overloaded):
        for number in range(10):
            await enter(jobs, f"more-{number}", "a")
            await enter(jobs, f"more-{number}", "b")
    assert looks == ["wan.jobs.decode.*"]


async def test_finished_jobs_make_room(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "LOOK_SECONDS", 0.0)
    jobs = Jobs(bus, max_pending=2)
    await enter(jobs, "acme", "a")

    async def handler(taken: TakenJob) -> DecodeResult:
        return decoded()

    async with running(jobs, handler):
        await jobs.run(make_job("acme", FAMILY, DecodeJob(latent=BlobRef(sha256="a" * 64)), 60))

        async def entered() -> bool:
            try:
                await enter(jobs, "acme", "b")
            except Overloaded:
                return False
            return True

        await eventually(entered)


def worked_off(rate: float, there: int, seconds: int = 20) -> Admission:
    """An admission that has seen a queue of `there` worked off at `rate` for `seconds`."""
    found = Admission(None, "turn", max_pending=1000, max_wait=30)  # type: ignore[arg-type]
    for now in range(seconds + 1):
        found._pace.note(float(now), round(rate * now) + there, there)
    return found


@pytest.mark.parametrize(("rate", "limit"), [(0.1, MIN_PENDING), (5.0, 150), (100.0, 1000)])
def test_a_queue_is_as_long_as_is_done_in_time(rate: float, limit: int) -> None:
    assert worked_off(rate, there=50, seconds=100).limit == pytest.approx(limit, rel=0.05)


def test_nothing_is_known_of_a_queue_nobody_has_watched() -> None:
    assert worked_off(5.0, there=50, seconds=5).limit == 1000


def test_an_idle_queue_does_not_look_slow() -> None:
    seen = worked_off(5.0, there=50)
    for now in range(21, 60):
        seen._pace.note(float(now), 99 + BUSY_PENDING, BUSY_PENDING - 1)
    assert seen._pace.rate == pytest.approx(5.0, rel=0.1)


def test_a_queue_that_became_slow_is_shortened() -> None:
    seen = worked_off(10.0, there=50)
    for now in range(21, 60):
        seen._pace.note(float(now), 250 + (now - 20), 50)
    assert seen._pace.rate == pytest.approx(1.0, rel=0.3)


def test_the_longer_the_queue_the_later_one_is_sent_back() -> None:
    seen = worked_off(4.0, there=50)
    short, long = ([seen._retry_after(total) for _ in range(200)] for total in (40, 160))
    assert 3.7 < min(short) < max(short) < 6.3  # 40 / 2 / 4 = 5 s, spread by a quarter
    assert min(long) > 14
    assert max(long) < 26
    assert len({round(each, 6) for each in short}) > 100
