"""Records the golden sessions: .venv/bin/python -m tests.golden.record NAME...

A file is recorded once, by the version whose logs it stands for, and kept: newer code must read it to the
same history. Record a new one beside the old when the schema's version or the meaning of an event changes.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.planner.history import History, fold
from services.planner.turn import TurnRunner
from tests.conftest import stack_settings
from tests.scripted import InstantDrawing, ScriptedEngine
from wanimage.archive import export_session
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.errors import JobFailed, WanError
from wanimage.jobs import Jobs, make_job
from wanimage.sessions import SessionLog, Sessions
from wanimage.stack import LocalStack
from wanimage.takenjob import TakenJob
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.worker import Worker

HERE = Path(__file__).parent
TENANT, FAMILY = "golden", "f" * 64
FOX = "<imagine>a fox</imagine><size>8*8</size><BOI>"
HERON = "<imagine>a heron</imagine><size>8*8</size><BOI>"
OWL = "<imagine>an owl</imagine><size>6*10</size><BOI>"


@dataclass
class Studio:
    """Everything a turn needs."""

    bus: Bus
    blobs: Blobs
    jobs: Jobs
    sessions: Sessions
    drawing: InstantDrawing

    async def turn(
        self, log: SessionLog, turn_id: str, text: str, engine: ScriptedEngine, **options: Any
    ) -> None:
        """One turn, to its end; the session's pictures go on counting."""
        started = ev.TurnStarted(text=text, options=types_pb2.TurnOptions(**options))
        started.options.sampling.seed = 7
        started.deadline.GetCurrentTime()
        started.deadline.seconds += 60
        await log.refresh()
        await log.append(ev.Event(turn_id=turn_id, turn_started=started))
        job = jobs_pb2.TurnJob(session_id=log.session_id, turn_id=turn_id)
        runner = TurnRunner(engine, self.sessions, self.jobs, self.blobs, FAMILY)  # type: ignore[arg-type]
        async with taking(self.jobs, "turn", runner.run):
            try:
                await self.jobs.run(make_job(TENANT, FAMILY, job, 60))
            except WanError as error:
                print(f"  {turn_id}: {error}")
            async for event in self.sessions.follow(TENANT, log.session_id):
                if event.turn_id == turn_id and event.WhichOneof("kind") in (
                    "turn_finished",
                    "turn_failed",
                    "turn_cancelled",
                ):
                    return


@asynccontextmanager
async def taking(jobs: Jobs, kind: str, handler: Callable[[TakenJob], Awaitable[Any]]) -> AsyncIterator[None]:
    async with Worker(jobs, kind, family=FAMILY, slots=8, drain_seconds=0) as worker:
        task = asyncio.create_task(worker.run(handler))
        yield
        worker.stop_taking()
        task.cancel()
        await asyncio.wait({task})


async def series(studio: Studio, log: SessionLog) -> None:
    """Reasoning, a series, a single picture, and a second turn that goes on."""
    beginning = f"<think>Three pictures.</think>Once upon a time.<series>2</series>{FOX}{OWL}"
    script = f"{beginning}Then it was night.{FOX}The end."
    await studio.turn(log, "t1", "Tell a story about a fox.", ScriptedEngine(script), previews=True)
    await studio.turn(log, "t2", "And now?", ScriptedEngine("Now it sleeps."))


async def failed(studio: Studio, log: SessionLog) -> None:
    """The first picture is drawn, the second cannot be."""
    decode = studio.drawing.decode
    decoded = 0

    async def failing(taken: TakenJob) -> jobs_pb2.DecodeResult:
        nonlocal decoded
        decoded += 1
        if decoded == 2:
            raise JobFailed("the decoder met a latent it cannot read")
        return await decode(taken)

    studio.drawing.decode = failing  # type: ignore[method-assign]
    await studio.turn(log, "t1", "A heron, then an owl.", ScriptedEngine(f"One.{HERON}Two.{OWL}Done."))
    studio.drawing.decode = decode  # type: ignore[method-assign]


async def cancelled(studio: Studio, log: SessionLog) -> None:
    """The client cancels while a picture is being drawn, and asks again."""
    studio.drawing.hold = asyncio.Event()
    running = asyncio.create_task(studio.turn(log, "t1", "A fox.", ScriptedEngine(f"Look:{FOX}Done.")))
    async for event in studio.sessions.follow(TENANT, log.session_id):
        if event.HasField("image_planned"):
            break
    job = jobs_pb2.TurnJob(session_id=log.session_id, turn_id="t1")
    await studio.jobs.cancel(make_job(TENANT, FAMILY, job, 60).id, "client")
    await running
    studio.drawing.hold = None
    await studio.turn(log, "t2", "An owl, then.", ScriptedEngine(f"Look:{OWL}Done."))


async def trimmed(studio: Studio, log: SessionLog) -> None:
    """The third turn no longer sees the first picture and turn."""
    for number in range(3):
        engine = ScriptedEngine(f"{'word ' * 40}{FOX}End of {number}.")
        engine.max_tokens = 512 + 700
        await studio.turn(log, f"t{number + 1}", f"Turn {number}. " + "more " * 20, engine)


SCENES = {each.__name__: each for each in (series, failed, cancelled, trimmed)}


def described(history: History) -> dict[str, Any]:
    """A history as JSON: all that a planner knows of a session."""
    return {
        "family": history.family,
        "last_seq": history.last_seq,
        "running": history.running.turn_id if history.running else None,
        "images": [
            image and [image.index, image.base.sha256, image.latent.sha256, image.prompt]
            for image in history.images
        ],
        "turns": [
            {
                "id": turn.turn_id,
                "text": turn.text,
                "seeds": turn.options.sampling.seed,
                "items": [[type(item).__name__, asdict(item)] for item in turn.items],
                "planned": [[plan.turn_index, plan.index, plan.prompt, plan.seed] for plan in turn.planned],
                "ready": {str(index): ready.image.index for index, ready in sorted(turn.ready.items())},
                "started": turn.started_seq,
                "ended": turn.ended_seq,
            }
            for turn in history.turns
        ],
    }


async def record(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, LocalStack(Path(folder)) as stack:
        settings = stack_settings(stack)
        async with AsyncExitStack() as exits:
            bus = await exits.enter_async_context(await Bus.connect(settings))
            blobs = await exits.enter_async_context(await Blobs.connect(settings))
            jobs, drawing = Jobs(bus), InstantDrawing(blobs)
            studio = Studio(bus, blobs, jobs, Sessions(bus), drawing)
            for kind in ("render", "encode", "decode"):
                handler = lambda taken, kind=kind: getattr(drawing, kind)(taken)  # noqa: E731
                await exits.enter_async_context(taking(jobs, kind, handler))
            for name in names:
                log = await studio.sessions.create(TENANT, f"golden-{name}", FAMILY)
                await SCENES[name](studio, log)
                events = [event async for event in studio.sessions.replay(TENANT, log.session_id)]
                contents = await export_session(bus, blobs, TENANT, log.session_id, HERE / f"{name}.wan.zip")
                expected = described(fold(log.session_id, events))
                (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")
                print(f"{name}: {contents.events} events, {contents.blobs} blobs")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(SCENES)))
