"""SIGKILL in the middle of a story, on the real services with the shipped weights."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from tests.conftest import SHIPPED
from tests.processes import ServiceProcess
from wanimage import rpc
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc, types_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STORY = "Tell a three-picture story about a fox who finds a red balloon."
SECONDS = 500.0


@pytest.fixture
async def services(stack, tmp_path) -> AsyncIterator[dict[str, ServiceProcess]]:
    """All three, ready; jobs of the dead are given to the living after two seconds."""
    environment = stack.environment | {"WAN_WEIGHTS": str(SHIPPED), "WAN_ACK_WAIT": "2"}
    names = ("planner", "visualizer", "vae")
    processes = {name: ServiceProcess(name, environment, tmp_path) for name in names}
    for process in processes.values():
        process.start()
    try:
        await asyncio.gather(*(process.ready() for process in processes.values()))
        yield processes
    finally:
        for process in processes.values():
            process.kill()


async def test_a_story_survives_the_death_of_the_visualizer_and_of_the_planner(services):
    planner, visualizer = services["planner"], services["visualizer"]
    options = types_pb2.TurnOptions(sampling=types_pb2.SamplingOptions(seed=5, steps=40), image_count=3)
    request = planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text=STORY), options=options)
    session, killed = "", False
    async with rpc.channel(planner.address) as channel:
        stream = planner_pb2_grpc.PlannerServiceStub(channel).Generate(request, timeout=SECONDS)
        with pytest.raises(grpc.aio.AioRpcError):
            async for response in stream:
                session = response.event.session_id
                progress = response.event.image_progress
                if progress.step and not killed:
                    killed = True
                    visualizer.kill()
                    visualizer.start()  # in the middle of the first picture
                if response.event.image_ready.turn_index == 0 and response.event.HasField("image_ready"):
                    planner.kill()  # in the middle of the turn: the stream breaks
    planner.start()
    await planner.ready()
    async with rpc.channel(planner.address) as channel:
        watch = planner_pb2.WatchRequest(session_id=session, until_idle=True)
        stream = planner_pb2_grpc.PlannerServiceStub(channel).Watch(watch, timeout=SECONDS)
        events = [response.event async for response in stream if response.event.seq]
    assert_whole(events, pictures=3)


def assert_whole(events: list[events_pb2.Event], pictures: int) -> None:
    """One unbroken sequence, each picture planned and committed once and in order, and a proper end."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    planned = [e.image_planned.index for e in events if e.HasField("image_planned")]
    ready = [e.image_ready.image.index for e in events if e.HasField("image_ready")]
    assert planned == ready == list(range(pictures))
    assert events[-1].HasField("turn_finished"), events[-1]
    assert sum(event.HasField("turn_started") for event in events) == 1
