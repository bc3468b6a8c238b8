"""Services whose clocks are ten minutes wrong, in both directions: nothing is early, late or twice."""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from tests.conftest import SHIPPED, eventually
from tests.processes import ServiceProcess
from tests.standins.deployment import Deployment
from wanimage import rpc
from wanimage.bus import Bus
from wanimage.errors import DeadlineExceeded
from wanimage.jobs import Jobs, error_of, job_id, make_job
from wanimage.sessions import Sessions
from wanimage.subjects import ATTEMPT_HEADER, RESULTS
from wanimage.v1 import events_pb2, jobs_pb2, planner_pb2, planner_pb2_grpc, types_pb2
from wanimage.weights import Family

pytestmark = pytest.mark.timeout(180)

SKEW = 600
"""Seconds."""
SLACK = 2.0
"""Seconds by which a deadline or a time may be off."""
CLOCKS = {"planner": (SKEW, -SKEW), "visualizer": (-SKEW,), "vae": (SKEW,)}
"""Each replica's error; the servers' clocks are right."""


def wrong_clock(seconds: int) -> dict[str, str]:
    """Environment of a process whose wall clock is ahead by so many seconds; its monotonic clock is right."""
    found = importlib.util.find_spec("libfaketime")
    library = Path(found.origin or "").parent / "vendor/libfaketime/src/libfaketime.so.1" if found else None
    if library is None or not library.exists():
        pytest.skip("no libfaketime for this platform; see requirements/dev.in")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}s", "DONT_FAKE_MONOTONIC": "1"}


@pytest.fixture(scope="module")
async def services(stack, tmp_path_factory) -> AsyncIterator[Deployment]:
    """Two planners that disagree by twenty minutes, and the rest."""
    shared = {**stack.environment, "WAN_WEIGHTS": str(SHIPPED), "STANDIN_TOKEN_MS": "0"}
    folder = tmp_path_factory.mktemp("clocks")
    deployment = Deployment(
        stack,
        {
            name: [
                ServiceProcess(
                    name, shared | wrong_clock(error), folder, command=("-m", "tests.standins", name)
                )
                for error in errors
            ]
            for name, errors in CLOCKS.items()
        },
    )
    for process in deployment:
        process.start()
    try:
        await deployment.ready()
        yield deployment
    finally:
        for process in deployment:
            process.kill()


@pytest.fixture
async def planners(services) -> AsyncIterator[list[planner_pb2_grpc.PlannerServiceStub]]:
    """The planner ahead, and the one behind."""
    ahead, behind = services.services["planner"]
    async with rpc.channel(ahead.address) as first, rpc.channel(behind.address) as second:
        yield [planner_pb2_grpc.PlannerServiceStub(each) for each in (first, second)]


@pytest.fixture
async def bus(services) -> AsyncIterator[Bus]:
    async with await Bus.connect(services.settings) as connected:
        yield connected


def request(text: str, steps: int = 5) -> planner_pb2.GenerateRequest:
    sampling = types_pb2.SamplingOptions(steps=steps, seed=time.monotonic_ns() % 2**32)
    return planner_pb2.GenerateRequest(
        user=types_pb2.UserMessage(text=text), options=types_pb2.TurnOptions(sampling=sampling)
    )


async def finished(planner, text: str) -> list[events_pb2.Event]:
    """The stored events of a whole turn."""
    stream = planner.Generate(request(text), timeout=60)
    return [response.event async for response in stream if response.event.seq]


async def attempts(bus: Bus, event: events_pb2.Event) -> int:
    """How often the turn of `event` was submitted."""
    turn = jobs_pb2.TurnJob(session_id=event.session_id, turn_id=event.turn_id)
    name = job_id("default", Family.load(SHIPPED, parts=()).digest, "turn", turn)

    async def committed() -> bool:
        return await bus.last(RESULTS, f"$KV.RESULTS.{name}") is not None

    await eventually(committed)  # which follows the turn's last event
    held = await bus.last(RESULTS, f"$KV.RESULTS.{name}")
    return int(held.headers[ATTEMPT_HEADER]) if held else 0


@pytest.mark.parametrize("planner", [0, 1], ids=["ahead", "behind"])
async def test_turns_finish_at_the_servers_time_wherever_the_clocks_stand(planners, bus, planner):
    began = datetime.now(UTC)
    events = await finished(planners[planner], "2 foxes")
    ended = datetime.now(UTC)

    assert events[-1].HasField("turn_finished")
    times = [event.time.ToDatetime(UTC) for event in events]
    late = [max((began - each).total_seconds(), (each - ended).total_seconds()) for each in times]
    assert max(late) < 0.5
    ready = [event.image_ready for event in events if event.HasField("image_ready")]
    assert len(ready) == 2
    assert all(0 <= each.stage_seconds["queue"] < SLACK for each in ready)
    assert all(0 < each.stage_seconds["render"] < SLACK for each in ready)
    assert await attempts(bus, events[-1]) == 1


@pytest.mark.parametrize("planner", [0, 1], ids=["ahead", "behind"])
async def test_turn_ends_at_its_deadline_wherever_the_clocks_stand(planners, bus, planner):
    seconds, began = 2.0, time.monotonic()
    session, turn = "", ""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for response in planners[planner].Generate(request("9 foxes", steps=100), timeout=seconds):
            session, turn = response.event.session_id, response.event.turn_id or turn
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    async def over() -> bool:
        return (await Sessions(bus).last("default", session)).HasField("turn_failed")

    await eventually(over)
    assert seconds - 0.5 < time.monotonic() - began < seconds + SLACK
    failed = (await Sessions(bus).last("default", session)).turn_failed
    assert failed.failure.reason == "DeadlineExceeded"


async def test_job_is_stopped_at_its_deadline_by_a_worker_that_is_behind(services, bus):
    family = Family.load(SHIPPED, parts=()).digest
    jobs = Jobs(bus)
    picture = jobs_pb2.RenderPicture(prompt="slow", grid=types_pb2.Grid(height_cells=8, width_cells=8))
    sampling = types_pb2.SamplingOptions(steps=2000, seed=time.monotonic_ns() % 2**32)
    job = make_job("default", family, jobs_pb2.RenderJob(pictures=[picture], sampling=sampling), 2.0)
    began = time.monotonic()
    await jobs.submit(job)

    async def failed() -> bool:
        return await jobs.held(job.id) is not None

    await eventually(failed)  # the worker's doing: nobody waits for the job here
    assert 1.5 < time.monotonic() - began < 2.0 + SLACK
    held = await jobs.held(job.id)
    assert held is not None
    assert isinstance(error_of(held.result), DeadlineExceeded)


async def test_running_turn_is_neither_ended_nor_begun_again_by_a_planner_ahead(planners, bus):
    ahead, behind = planners
    stream = behind.Generate(request("a fox", steps=100), timeout=60)  # two seconds
    responses = aiter(stream)
    first = (await anext(responses)).event
    watch = planner_pb2.WatchRequest(session_id=first.session_id, until_idle=True)
    seen = [response.event async for response in ahead.Watch(watch, timeout=60) if response.event.seq]
    async for _ in responses:
        pass
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].HasField("turn_finished")
    assert await attempts(bus, seen[-1]) == 1


async def test_sessions_are_listed_in_the_order_they_began_whoever_began_them(planners):
    began = []
    for number in range(4):
        events = await finished(planners[number % 2], "no picture: 0")
        began.append(events[0].session_id)
        await asyncio.sleep(0.01)  # ids of one millisecond are in no order
    listed = await planners[0].ListSessions(planner_pb2.ListSessionsRequest(page_size=4), timeout=10)
    assert [session.session_id for session in listed.sessions] == began[::-1]
