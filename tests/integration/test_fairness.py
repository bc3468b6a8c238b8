"""One tenant beside another that floods the queue: what admission, queue and worker each do for it."""

import asyncio

import pytest

from tests.conftest import eventually
from tests.decode_jobs import decode_job, decoded, running
from wanimage.admission import Admission
from wanimage.bus import Bus
from wanimage.errors import Overloaded
from wanimage.jobs import Jobs
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeResult


async def test_a_tenant_that_fills_the_worker_leaves_slots_for_others(jobs: Jobs) -> None:
    held: list[str] = []
    release = asyncio.Event()

    async def handler(taken: TakenJob) -> DecodeResult:
        held.append(taken.tenant)
        await release.wait()
        return decoded()

    flood = [await jobs.submit(decode_job(name, tenant="big")) for name in "0123456789"]
    async with running(jobs, handler, slots=4):
        await eventually(lambda: len(held) == 3)
        late = await jobs.submit(decode_job("a", tenant="small"))
        await eventually(lambda: held == ["big"] * 3 + ["small"])
        release.set()
        await asyncio.gather(*(jobs.result(each) for each in [*flood, late]))


async def test_a_queue_that_has_become_too_long_still_takes_a_tenant_who_has_nothing_in_it(bus: Bus) -> None:
    queue = Admission(bus, "decode", max_pending=1000, max_wait=30)
    for now in range(21):
        queue._pace.note(float(now), 2 * now + 100, 100)  # two a second: 60 may wait
    jobs = Jobs(bus)
    await asyncio.gather(*(jobs.submit(decode_job(f"{number:02}", tenant="big")) for number in range(70)))

    with pytest.raises(Overloaded, match="tenant big's share"):
        async with queue.place("big"):
            pass
    async with queue.place("small"):
        pass


async def test_a_small_tenant_waits_for_one_job_of_a_flood_and_not_for_the_flood(jobs: Jobs) -> None:
    done: list[str] = []

    async def handler(taken: TakenJob) -> DecodeResult:
        done.append(taken.tenant)
        await asyncio.sleep(0)
        return decoded()

    flood = [await jobs.submit(decode_job(f"{number:02}", tenant="big")) for number in range(50)]
    small = [await jobs.submit(decode_job(name, tenant="small")) for name in "abc"]
    # A job of the flood counts sixteen times as much.
    async with running(jobs, handler, cost=lambda job: 16.0 if job.tenant == "big" else 1.0):
        await asyncio.gather(*(jobs.result(each) for each in [*flood, *small]))

    assert done.index("small") <= 1
    assert [index for index, tenant in enumerate(done) if tenant == "small"][-1] <= 4
