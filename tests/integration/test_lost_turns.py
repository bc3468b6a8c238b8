"""Turns that no worker brings to their end: who looks at them ends them. Fronts alone, a NATS each."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from PIL import Image as Pillow

from services.planner.__main__ import SERVICE
from tests.conftest import eventually
from tests.families import build_family
from tests.fronts import calling, for_tenants
from wanimage import clock, serve
from wanimage.config import Settings
from wanimage.errors import DataLoss, FamilyMismatch, InvalidInput, StorageFull, Unavailable, WanError
from wanimage.jobs import failure, make_job
from wanimage.sessions import SessionLog, Sessions
from wanimage.stack import NatsServer
from wanimage.subjects import JOBS
from wanimage.v1 import events_pb2, jobs_pb2, planner_pb2, planner_pb2_grpc, types_pb2

TENANT = "lost-turns"
SECONDS = 30.0


@pytest.fixture(scope="module")
def family_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family")).path


@pytest.fixture
async def front(settings: Settings, nats_server: NatsServer, family_path: Path) -> AsyncIterator["Front"]:
    mine = for_tenants(settings, family_path, TENANT, nats_url=nats_server.url, role="front")
    async with (
        serve.running(SERVICE, mine) as process,
        calling(process, TENANT, planner_pb2_grpc.PlannerServiceStub) as stub,
    ):
        yield Front(process, stub)


class Front:
    """A planner's front, and what lies in its NATS."""

    def __init__(self, process: serve.Process, stub: planner_pb2_grpc.PlannerServiceStub) -> None:
        self.process, self.stub = process, stub
        self.bus, self.jobs = process.ground.bus, process.ground.jobs
        self.sessions = Sessions(self.bus)
        self.seen: list[events_pb2.Event] = []

    async def start(self, *, ago: float = 120.0) -> SessionLog:
        """A session whose turn "t" began so many seconds ago; its job is not queued."""
        log = await self.sessions.create(TENANT, "session", self.process.ground.family.digest)
        started = events_pb2.Event(turn_id="t", turn_started=events_pb2.TurnStarted(text="x"))
        started.time.FromDatetime(clock.now() - timedelta(seconds=ago))
        started.turn_started.deadline.FromDatetime(clock.now() + timedelta(minutes=2))
        await log.append(started)
        return log

    @property
    def job(self) -> jobs_pb2.Job:
        """The turn's."""
        payload = jobs_pb2.TurnJob(session_id="session", turn_id="t")
        return make_job(TENANT, self.process.ground.family.digest, payload, SECONDS)

    async def settle(self, error: WanError) -> None:
        """End the turn's job as a worker does."""
        await self.jobs.commit(jobs_pb2.JobResult(job_id=self.job.id, failure=failure(error)), 1)

    async def events(self) -> list[events_pb2.Event]:
        return [event async for event in self.sessions.replay(TENANT, "session")]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[asyncio.Task[list[events_pb2.Event]]]:
        """A task that watches until the session is idle."""

        async def watch() -> list[events_pb2.Event]:
            request = planner_pb2.WatchRequest(session_id="session", until_idle=True)
            async for answer in self.stub.Watch(request, timeout=SECONDS):
                self.seen.append(answer.event)
            return self.seen

        task = asyncio.create_task(watch())
        yield task
        task.cancel()


@pytest.mark.parametrize(
    "error", [FamilyMismatch("a" * 64, "b" * 64), DataLoss("a log that is none"), InvalidInput("a", "b", "c")]
)
async def test_a_turn_whose_job_failed_before_the_log_heard_of_it_ends_as_failed(front, error):
    await front.start()
    await front.settle(error)
    async with front.watching() as watching:
        last = (await watching)[-1]
    assert last.turn_failed.failure.reason == error.reason
    assert not await front.bus.subjects(JOBS, ">"), "it is not queued again"


async def test_a_turn_whose_job_failed_for_an_outage_is_queued_again(front):
    await front.start()
    await front.settle(Unavailable("S3", "gone"))
    async with front.bus.listen(f"wan.queued.turn.{TENANT}") as queued, front.watching():
        assert await queued.next(SECONDS)
    assert [event.WhichOneof("kind") for event in await front.events()][1:] == ["turn_started"]


async def test_a_cancelled_turn_that_no_worker_ended_stays_cancelled_for_its_reason(front):
    await front.start()
    await front.jobs.cancel(front.job.id, "too slow: enough")
    async with front.watching() as watching:
        last = (await watching)[-1]
    assert last.turn_cancelled.reason == "too slow: enough"
    assert not await front.bus.subjects(JOBS, ">"), "it is not queued again"


async def test_who_watches_a_turn_while_its_job_fails_hears_of_it(front, monkeypatch):
    await front.start(ago=0.0)
    monkeypatch.setattr("services.planner.service.SILENT_SECONDS", 0.1)
    async with front.watching() as watching:
        await eventually(lambda: front.seen)
        await front.settle(DataLoss("a log that is none"))
        monkeypatch.setattr("services.planner.intake.SILENT_SECONDS", 0.1)
        last = (await watching)[-1]
    assert last.turn_failed.failure.reason == "DataLoss"


async def test_a_turn_that_ends_when_cancel_stops_waiting_for_it_ends_once(front, monkeypatch):
    log = await front.start()
    cancel = front.jobs.cancel

    async def cancel_too_late(job_id: str, reason: str) -> None:
        await log.append(events_pb2.Event(turn_id="t", turn_finished=events_pb2.TurnFinished()))
        await cancel(job_id, reason)

    monkeypatch.setattr(front.jobs, "cancel", cancel_too_late)
    monkeypatch.setattr("services.planner.service.CANCEL_SECONDS", 0.0)
    answer = await front.stub.Cancel(planner_pb2.CancelRequest(session_id="session"), timeout=SECONDS)
    assert answer.turn_id == "t"
    assert (await front.events())[-1].HasField("turn_finished")


async def test_a_turn_whose_pictures_cannot_be_stored_leaves_no_session_behind(front, monkeypatch):
    async def refuse(*_: object, **__: object) -> None:
        raise StorageFull("S3", "no room")

    monkeypatch.setattr(front.process.ground.blobs, "put", refuse)
    Pillow.new("RGB", (32, 32)).save(picture := io.BytesIO(), "PNG")
    images = [types_pb2.ImageInput(data=picture.getvalue())]
    request = planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text="look", images=images))
    with pytest.raises(grpc.aio.AioRpcError, match="S3 is full"):
        async for _ in front.stub.Generate(request, timeout=SECONDS):
            pass
    assert await front.sessions.list(TENANT) == []
