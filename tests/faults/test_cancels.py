"""Callers who cancel or hang up: within a second nobody works for them any more."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.conftest import eventually
from tests.standins.deployment import deployed
from wanimage import rpc
from wanimage.bus import Bus
from wanimage.sessions import Sessions
from wanimage.stack import LocalStack
from wanimage.subjects import JOBS
from wanimage.v1 import planner_pb2, planner_pb2_grpc, types_pb2, visualizer_pb2, visualizer_pb2_grpc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COUNT = {"slice": 30, "full": 500}
AT_ONCE = 15
"""All are worked on when they are cancelled: a worker holds 16."""
STEP_MS = 50
IDLE_SECONDS = 1.0
SECONDS = 60.0
TENANT = "default"


@dataclass
class Leaver:
    """A call that is under way, and how its caller ends it."""

    call: Any
    way: str
    session: str = ""

    async def until_it_is_drawn(self) -> None:
        """Wait for the first step of a picture."""
        async for answer in self.call:
            if self.way == "hang up a render":
                assert answer.HasField("progress")
                return
            self.session = answer.event.session_id
            if answer.event.HasField("image_progress"):
                return

    async def leave(self, planner: planner_pb2_grpc.PlannerServiceStub) -> None:
        """Cancel, or hang up."""
        if self.way == "cancel a turn":
            request = planner_pb2.CancelRequest(session_id=self.session, reason="test")
            await planner.Cancel(request, timeout=SECONDS)
        else:
            self.call.cancel()


@dataclass(frozen=True)
class Callers:
    """Starts calls that take five seconds, of each way to leave in turn."""

    planner: planner_pb2_grpc.PlannerServiceStub
    visualizer: visualizer_pb2_grpc.VisualizerServiceStub
    ways: Iterator[str] = field(
        default_factory=lambda: cycle(["cancel a turn", "hang up a turn", "hang up a render"])
    )

    def start(self, number: int) -> Leaver:
        """Begin call `number`."""
        way = next(self.ways)
        if way == "hang up a render":
            sampling = types_pb2.SamplingOptions(seed=number)
            request = visualizer_pb2.RenderRequest(prompts=[f"picture {number}"], sampling=sampling)
            return Leaver(self.visualizer.Render(request, timeout=SECONDS), way)
        user = types_pb2.UserMessage(text=f"3 pictures for number {number}")
        options = types_pb2.TurnOptions(cancel_on_disconnect=way == "hang up a turn")
        request = planner_pb2.GenerateRequest(user=user, options=options)
        return Leaver(self.planner.Generate(request, timeout=SECONDS), way)


async def test_workers_are_idle_a_second_after_their_callers_left(
    breakable: LocalStack, tmp_path: Path, scale: str
) -> None:
    slow = {"STANDIN_STEPS": 100, "STANDIN_STEP_MS": STEP_MS}
    async with deployed(breakable, tmp_path, **slow) as deployment, AsyncExitStack() as exits:
        bus = await exits.enter_async_context(await Bus.connect(deployment.settings))
        planner, visualizer = [
            await exits.enter_async_context(rpc.channel(deployment.target(name)))
            for name in ("planner", "visualizer")
        ]
        callers = Callers(
            planner_pb2_grpc.PlannerServiceStub(planner),
            visualizer_pb2_grpc.VisualizerServiceStub(visualizer),
        )
        seconds: list[float] = []
        for start in range(0, COUNT[scale], AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, COUNT[scale]))
            seconds.append(await _one_round(bus, callers, [callers.start(number) for number in numbers]))
    print(
        f"\n{COUNT[scale]} callers left, {AT_ONCE} at a time: workers idle after "
        f"{sorted(seconds)[len(seconds) // 2]:.2f} s (median), {max(seconds):.2f} s (longest)"
    )
    assert max(seconds) < IDLE_SECONDS


async def _one_round(bus: Bus, callers: Callers, leavers: list[Leaver]) -> float:
    """All leave at once; the seconds until no job is left, waiting or held."""

    late: dict[str, int] = {}

    async def idle() -> bool:
        left = await bus.subjects(JOBS, ">")
        if time.monotonic() - began > IDLE_SECONDS:
            late.update(left)
        return not left

    await asyncio.gather(*(leaver.until_it_is_drawn() for leaver in leavers))
    began = time.monotonic()
    await asyncio.gather(*(leaver.leave(callers.planner) for leaver in leavers))
    await eventually(idle)
    seconds = time.monotonic() - began
    assert not late, f"still there after {IDLE_SECONDS} s: {late}; idle after {seconds:.1f} s"
    async with bus.listen("wan.progress.*") as steps:
        assert await steps.next(2 * STEP_MS / 1000) is None, "somebody still draws"
    sessions = Sessions(bus)
    for leaver in leavers:
        if leaver.session:
            assert (await sessions.last(TENANT, leaver.session)).HasField("turn_cancelled"), leaver.way
        if leaver.way != "cancel a turn":
            assert await leaver.call.code() is grpc.StatusCode.CANCELLED
    return seconds
