"""Turns on the real NATS and S3 for tests: a session, workers that finish pictures at once, any planner."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from services.planner.history import History, fold
from services.planner.turn import TurnRunner
from tests.scripted import InstantDrawing
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.jobs import Jobs, make_job
from wanimage.sessions import SessionLog, Sessions, new_session_id
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.worker import Worker

FAMILY = "f" * 64


@dataclass
class Bench:
    """Everything a turn needs, for one tenant."""

    tenant: str
    bus: Bus
    blobs: Blobs
    drawing: InstantDrawing
    sessions: Sessions
    jobs: Jobs

    async def start(self, text: str = "a story", **options: object) -> tuple[SessionLog, jobs_pb2.TurnJob]:
        """A session with a turn that nobody works on yet."""
        log = await self.sessions.create(self.tenant, new_session_id(), FAMILY)
        return log, await self.go_on(log, text, turn_id="turn", **options)

    async def go_on(self, log: SessionLog, text: str, turn_id: str, **options: object) -> jobs_pb2.TurnJob:
        """A turn more."""
        started = ev.TurnStarted(text=text, options=types_pb2.TurnOptions(**options))
        started.options.sampling.seed = 7
        started.deadline.GetCurrentTime()
        started.deadline.seconds += 60
        await log.refresh()
        await log.append(ev.Event(turn_id=turn_id, turn_started=started))
        return jobs_pb2.TurnJob(session_id=log.session_id, turn_id=turn_id)

    @asynccontextmanager
    async def planner(self, engine: object) -> AsyncIterator[Worker]:
        """A planner worker that follows `engine`."""
        runner = TurnRunner(engine, self.sessions, self.jobs, self.blobs, FAMILY)  # type: ignore[arg-type]
        async with Worker(self.jobs, "turn", family=FAMILY, slots=4, ack_wait=2.0, drain_seconds=0) as worker:
            task = asyncio.create_task(worker.run(runner.run))
            try:
                yield worker
            finally:
                worker.stop_taking()
                task.cancel()
                await asyncio.wait({task})

    async def finish(self, engine: object, job: jobs_pb2.TurnJob) -> History:
        """Let a planner finish the turn; the session's history then."""
        async with self.planner(engine):
            await self.jobs.run(make_job(self.tenant, FAMILY, job, 60))
        return await self.history(job.session_id)

    async def events(self, session_id: str) -> list[ev.Event]:
        return [event async for event in self.sessions.replay(self.tenant, session_id)]

    async def history(self, session_id: str) -> History:
        return fold(session_id, await self.events(session_id))


@asynccontextmanager
async def open_bench(settings: Settings, tenant: str) -> AsyncIterator[Bench]:
    """Workers for pictures run; planners are each test's own."""
    async with AsyncExitStack() as exits:
        bus = await exits.enter_async_context(await Bus.connect(settings))
        blobs = await exits.enter_async_context(await Blobs.connect(settings))
        jobs, drawing = Jobs(bus), InstantDrawing(blobs)
        for kind in ("render", "encode", "decode", "refine"):
            worker = await exits.enter_async_context(
                Worker(jobs, kind, family=FAMILY, slots=8, drain_seconds=0)
            )
            task = asyncio.create_task(worker.run(getattr(drawing, kind)))
            exits.callback(task.cancel)
        yield Bench(tenant, bus, blobs, drawing, Sessions(bus), jobs)
