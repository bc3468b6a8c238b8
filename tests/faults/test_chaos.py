"""Conversations while services, NATS and S3 are killed at random: nothing is lost, nothing comes twice."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.chaos import Chaos
from tests.faults.logs import faults_of_log, silence_after, turns_of
from tests.faults.people import Person, sessions_of
from tests.standins.deployment import Deployment, deployed
from wanimage import rpc
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.sessions import Sessions
from wanimage.stack import LocalStack
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SEED = 23
RECOVERY_SECONDS = 60.0
"""After the last kill every turn has ended."""
TENANT = "default"


@dataclass(frozen=True)
class Size:
    """How much of it."""

    people: int
    seconds: float
    every: float


SIZES = {"slice": Size(6, 12.5, 2.5), "full": Size(60, 600.0, 5.0)}


async def test_random_kills_lose_no_turn_and_repeat_no_picture(
    breakable: LocalStack, tmp_path: Path, scale: str
) -> None:
    size = SIZES[scale]
    replicas = {"planner": 2, "visualizer": 2, "vae": 2}
    async with deployed(breakable, tmp_path, replicas=replicas, WAN_ACK_WAIT=2) as deployment:
        chaos = Chaos(deployment, SEED, size.every)
        async with AsyncExitStack() as exits:
            stubs = [
                planner_pb2_grpc.PlannerServiceStub(
                    await exits.enter_async_context(rpc.channel(deployment.target("planner", first)))
                )
                for first in range(replicas["planner"])
            ]
            people = [Person(f"person {number}", stubs[number % len(stubs)]) for number in range(size.people)]
            until = asyncio.get_running_loop().time() + size.seconds
            talking = asyncio.gather(*(person.talk(until) for person in people))
            await chaos.rage(size.seconds)
            calm = time.time()
            await asyncio.wait_for(talking, RECOVERY_SECONDS + 60)
            await _hear_out(stubs[0])
        logs = await _logs(deployment)
    _report(people, chaos, logs, calm)
    assert not chaos.died
    assert not [fault for person in people for fault in person.lost]
    assert not [f"{name}: {fault}" for name, events in logs.items() for fault in faults_of_log(events)]
    for person in people:
        assert person.seen == logs[person.session], f"{person.name} was shown something else"
    ended = max(events[-1].time.ToDatetime().timestamp() for events in logs.values())
    assert ended - calm < RECOVERY_SECONDS


async def _hear_out(stub: planner_pb2_grpc.PlannerServiceStub) -> None:
    """Open what nobody holds any more: sessions whose client never learnt their name."""

    async def hear(session: planner_pb2.Session) -> None:
        request = planner_pb2.WatchRequest(session_id=session.session_id, until_idle=True)
        async for _ in stub.Watch(request, timeout=RECOVERY_SECONDS):
            pass

    await asyncio.gather(*[hear(each) async for each in sessions_of(stub) if each.running_turn_id])


async def _logs(deployment: Deployment) -> dict[str, list[events_pb2.Event]]:
    """Every session's events; every picture in them is in S3, whole."""
    async with (
        await Bus.connect(deployment.settings) as bus,
        await Blobs.connect(deployment.settings) as blobs,
    ):
        sessions = Sessions(bus)
        names = await sessions.list(TENANT)
        logs = {name: [event async for event in sessions.replay(TENANT, name)] for name in names}
        for event in (event for events in logs.values() for event in events):
            if event.HasField("image_ready"):
                await blobs.get(TENANT, event.image_ready.image.base)
    return logs


def _report(people: list[Person], chaos: Chaos, logs: dict[str, list[events_pb2.Event]], calm: float) -> None:
    turns = [turn for events in logs.values() for turn in turns_of(events)]
    pictures = sum(event.HasField("image_ready") for turn in turns for event in turn)
    recovery, victim = max(
        (max((silence_after(turn, moment) for turn in turns), default=0.0), victim)
        for moment, victim in chaos.kills
    )
    errors: Counter[str] = sum((person.errors for person in people), Counter())
    finished = sum(len(person.finished) for person in people)
    unheard = len(logs) - len(people)
    ended = max(events[-1].time.ToDatetime().timestamp() for events in logs.values())
    print(
        f"\nseed {SEED}: {finished} turns finished of {len(turns)} begun, {pictures} pictures, "
        f"{sum(person.refused for person in people)} refused at their start, {unheard} sessions unheard of; "
        f"kills {dict(chaos.by_victim)}; longest recovery {recovery:.1f} s (after {victim}); "
        f"the last turn ended {ended - calm:.1f} s after calm; broken calls {dict(errors)}; "
        f"lost {sum(len(person.lost) for person in people)}, died {len(chaos.died)}"
    )
