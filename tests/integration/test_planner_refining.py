"""Turns that ask for refinement at a planner's front, and `wan refine`, with the tiny family's refiner."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from services.planner.__main__ import SERVICE
from services.planner.turn import TurnRunner
from services.refiner.__main__ import SERVICE as REFINER
from tests.families import build_family
from tests.fronts import KEY, SECONDS, Stored, calling, for_tenants, picture_of
from tests.scripted import ScriptedEngine
from tests.standins.engines import SteppedDrawing
from wanimage import rpc, serve
from wanimage.cli.main import app
from wanimage.config import Settings
from wanimage.sessions import Sessions
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc, types_pb2

Stub = planner_pb2_grpc.PlannerServiceStub
TENANT = "planner-refining"
FOX = "<imagine>a fox</imagine><size>3*24</size><BOI>"
REFINE = types_pb2.RefineOptions(target_long_edge=2048)


@asynccontextmanager
async def scripted_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    """A planner that follows a script, and pictures from latents that mean nothing."""
    engine = ScriptedEngine(f"Look.{FOX}There.")
    runner = TurnRunner(engine, Sessions(ground.bus), ground.jobs, ground.blobs, ground.family.digest)  # type: ignore[arg-type]
    drawing = SteppedDrawing(ground.blobs, family=ground.family.digest, steps=1, step_seconds=0)
    works = [serve.Work(kind, getattr(drawing, kind), 4) for kind in ("render", "decode")]
    yield [serve.Work("turn", runner.run, 4), *works]


@asynccontextmanager
async def planning(settings: Settings, path: Path) -> AsyncIterator[serve.Process]:
    service = replace(SERVICE, open_worker=scripted_worker)
    async with serve.running(service, for_tenants(settings, path, TENANT)) as process:
        yield process


@pytest.fixture(scope="module")
def family_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family"), refiner=True).path


@pytest.fixture(scope="module")
async def planner(settings: Settings, family_path: Path) -> AsyncIterator[serve.Process]:
    async with planning(settings, family_path) as process:
        yield process


@pytest.fixture(scope="module")
async def refiner(settings: Settings, family_path: Path) -> AsyncIterator[serve.Process]:
    async with serve.running(REFINER, for_tenants(settings, family_path, TENANT)) as process:
        yield process


def asking(**options: object) -> planner_pb2.GenerateRequest:
    user = types_pb2.UserMessage(text="a fox")
    return planner_pb2.GenerateRequest(user=user, options=types_pb2.TurnOptions(**options))


async def told(process: serve.Process, request: planner_pb2.GenerateRequest) -> list[events_pb2.Event]:
    async with calling(process, TENANT, Stub) as stub:
        return [answer.event async for answer in stub.Generate(request, timeout=SECONDS)]


async def refused(
    settings: Settings, process: serve.Process, request: planner_pb2.GenerateRequest
) -> rpc.ErrorDetails:
    """Why a turn is refused; it must leave nothing behind."""
    before = await Stored.now(settings, process.ground.bus, TENANT)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await told(process, request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await Stored.now(settings, process.ground.bus, TENANT) == before
    return rpc.error_details(caught.value)


async def test_a_family_without_a_refiner_refuses_it(settings: Settings, tmp_path: Path) -> None:
    async with planning(settings, build_family(tmp_path).path) as process:
        details = await refused(settings, process, asking(refine=REFINE))
        assert list(details.fields) == ["options.refine"]
        assert "this deployment has no refiner; leave the field out" in details.message


async def test_a_turn_and_the_command_refine_alike_and_together_once(
    settings: Settings, planner: serve.Process, refiner: serve.Process, tmp_path: Path
) -> None:
    events = await told(planner, asking(refine=REFINE))
    assert events[-1].HasField("turn_finished")
    started = next(event.turn_started for event in events if event.HasField("turn_started"))
    assert started.options.refine.mode == types_pb2.REFINE_MODE_HIGH_FIDELITY, "where none is named"
    ready = next(event.image_ready for event in events if event.HasField("image_ready"))
    pixels = await picture_of(refiner.ground.blobs, TENANT, ready.image.refined)
    assert pixels.shape == (256, 2048, 4)
    assert "refine" in [event.image_progress.stage for event in events]

    path = tmp_path / "fox.png"
    command = [
        "refine", f"{events[0].session_id}:0", "--out", str(path), "--api-key", KEY + TENANT,
        "--address", f"127.0.0.1:{refiner.port}", "--planner-address", f"127.0.0.1:{planner.port}",
    ]  # fmt: skip
    before = await Stored.now(settings, planner.ground.bus, TENANT)
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert result.exit_code == 0, result.output
    assert "2048x256" in result.stdout
    assert hashlib.sha256(path.read_bytes()).hexdigest() == ready.image.refined.sha256
    assert await Stored.now(settings, planner.ground.bus, TENANT) == before


@pytest.mark.parametrize(
    ("refine", "field"),
    [
        (types_pb2.RefineOptions(), "options.refine.target_long_edge"),
        (types_pb2.RefineOptions(target_long_edge=2047), "options.refine.target_long_edge"),
        (types_pb2.RefineOptions(target_long_edge=4097), "options.refine.target_long_edge"),
        (types_pb2.RefineOptions(mode=9, target_long_edge=2048), "options.refine.mode"),
    ],
)
async def test_a_refinement_beyond_the_limits_is_refused_naming_the_field(
    settings: Settings, planner: serve.Process, refine: types_pb2.RefineOptions, field: str
) -> None:
    details = await refused(settings, planner, asking(refine=refine))
    assert list(details.fields) == [field]
    assert details.message.count(";"), "a way out follows the problem"
