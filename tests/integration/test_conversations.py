"""Conversations on one stream: turns one after the other, cancels at any time, and how many messages wait."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from services.planner.__main__ import SERVICE
from services.planner.turn import TurnRunner
from tests.families import build_family
from tests.fronts import SECONDS, calling, for_tenants
from tests.scripted import ScriptedEngine
from wanimage import serve
from wanimage.config import Settings
from wanimage.sessions import Sessions
from wanimage.v1 import planner_pb2, planner_pb2_grpc, types_pb2

Stub = planner_pb2_grpc.PlannerServiceStub
TENANT = "conversations"
ENGINE = ScriptedEngine("Once upon a time.")
START = planner_pb2.ConverseRequest(start=planner_pb2.ConverseStart())


@asynccontextmanager
async def scripted_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    runner = TurnRunner(ENGINE, Sessions(ground.bus), ground.jobs, ground.blobs, ground.family.digest)
    yield [serve.Work("turn", runner.run, 4)]


@pytest.fixture(autouse=True)
def _script() -> None:
    ENGINE.pause = lambda: None


@pytest.fixture(scope="module")
async def planner(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[serve.Process]:
    family: Path = build_family(tmp_path_factory.mktemp("family")).path
    service = replace(SERVICE, open_worker=scripted_worker)
    async with serve.running(service, for_tenants(settings, family, TENANT)) as process:
        yield process


@pytest.fixture
async def stub(planner: serve.Process) -> AsyncIterator[Stub]:
    async with calling(planner, TENANT, Stub) as found:
        yield found


def message(text: str) -> planner_pb2.ConverseRequest:
    said = planner_pb2.ConverseMessage(user=types_pb2.UserMessage(text=text))
    return planner_pb2.ConverseRequest(message=said)


async def test_converse_holds_a_conversation_on_one_stream(stub: Stub) -> None:
    stream = stub.Converse(iter([START, message("one"), message("two")]), timeout=SECONDS)
    events = [response.event async for response in stream if response.event.seq]
    assert [e.turn_started.text for e in events if e.HasField("turn_started")] == ["one", "two"]
    assert sum(e.HasField("turn_finished") for e in events) == 2
    assert len({e.session_id for e in events}) == 1
    assert [e.seq for e in events] == list(range(1, len(events) + 1))


async def test_a_cancel_right_behind_the_first_message_cancels_its_turn(stub: Stub) -> None:
    ENGINE.pause = asyncio.get_running_loop().create_future  # it writes for ever
    cancel = planner_pb2.ConverseRequest(cancel=planner_pb2.ConverseCancel(reason="a typo"))
    stream = stub.Converse(iter([START, message("one"), cancel]), timeout=SECONDS)
    events = [response.event async for response in stream]
    assert events[-1].turn_cancelled.reason == "a typo"


async def test_few_messages_wait_for_the_turns_before_them(stub: Stub) -> None:
    stream = stub.Converse(iter([START, *(message(str(n)) for n in range(30))]), timeout=SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stream:
            pass
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "limit 4" in str(caught.value.details())
