"""Turns stopped in an awkward moment, or handed on: one end in the log, nothing lost, nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.conftest import eventually
from tests.scripted import ScriptedEngine
from tests.turns import FAMILY, Bench, open_bench
from wanimage.jobs import make_job
from wanimage.sessions import SessionLog
from wanimage.subjects import JOBS
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2

FOX = "<imagine>a fox</imagine><size>8*8</size><BOI>"
OWL = "<imagine>an owl</imagine><size>8*8</size><BOI>"
REPAIR = types_pb2.RefineOptions(mode=types_pb2.REFINE_MODE_REPAIR, target_long_edge=2048)


@pytest.fixture
async def bench(stack, settings, tenant) -> AsyncIterator[Bench]:
    async with open_bench(settings, tenant) as opened:
        yield opened


@pytest.fixture
def hold(bench, monkeypatch) -> Callable[[Callable[[ev.Event], bool]], asyncio.Event]:
    """Keeps an event on its way to the log until its writer was stopped; says when it is under way."""

    def hold(chosen: Callable[[ev.Event], bool]) -> asyncio.Event:
        under_way, stopped = asyncio.Event(), asyncio.Event()
        store, append = bench.bus.store, SessionLog.append

        async def slow_store(subject: str, data: bytes, **options: object) -> int:
            if subject.startswith("wan.session.") and chosen(ev.Event.FromString(data)):
                under_way.set()
                await stopped.wait()
            return await store(subject, data, **options)

        async def watched_append(log: SessionLog, event: ev.Event) -> ev.Event:
            try:
                return await append(log, event)
            except asyncio.CancelledError:
                stopped.set()
                raise

        monkeypatch.setattr(bench.bus, "store", slow_store)
        monkeypatch.setattr(SessionLog, "append", watched_append)
        return under_way

    return hold


async def over(bench: Bench, turn: jobs_pb2.Job) -> list[str]:
    """Kinds of the session's events once no worker holds the turn."""

    async def let_go() -> bool:
        return not await bench.bus.subjects(JOBS, f"wan.jobs.turn.{bench.tenant}")

    await eventually(let_go)
    return [event.WhichOneof("kind") for event in await bench.events(turn.turn.session_id)]


async def render_under_way(bench: Bench) -> jobs_pb2.Job:
    subject = f"wan.jobs.render.{bench.tenant}"

    async def queued() -> bool:
        return bool(await bench.bus.subjects(JOBS, subject))

    await eventually(queued)
    (stored,) = await bench.bus.read(JOBS, subject, 1)
    return jobs_pb2.Job.FromString(stored.data)


async def test_a_turn_cancelled_while_its_end_is_written_ends_once(bench, hold):
    _, job = await bench.start()
    turn = make_job(bench.tenant, FAMILY, job, 60)
    ending = hold(lambda event: event.HasField("turn_finished"))
    async with bench.planner(ScriptedEngine("Once.")):
        await bench.jobs.submit(turn)
        await ending.wait()
        await bench.jobs.cancel(turn.id, "client")
        assert (await over(bench, turn))[-2:] == ["text_delta", "turn_finished"]


async def test_a_turn_cancelled_while_a_plan_is_written_keeps_the_pictures_it_drew(bench, hold):
    refining = asyncio.Event()

    async def forever(_: jobs_pb2.RefineJob) -> None:
        refining.set()
        await asyncio.Event().wait()

    bench.drawing.refining = forever
    _, job = await bench.start(refine=REPAIR, feedback=types_pb2.FEEDBACK_TEXT)
    turn = make_job(bench.tenant, FAMILY, job, 60)
    planning = hold(lambda event: event.image_planned.prompt == "an owl")
    async with bench.planner(ScriptedEngine(f"One.{FOX}Two.{OWL}Three.")):
        await bench.jobs.submit(turn)
        await refining.wait()
        await planning.wait()
        await bench.jobs.cancel(turn.id, "client")
        assert (await over(bench, turn))[-3:] == ["image_planned", "image_ready", "turn_cancelled"]


async def test_a_cancelled_turn_tells_the_reason_that_was_given(bench):
    writing = asyncio.Event()

    def hang() -> asyncio.Future[None]:
        writing.set()
        return asyncio.get_running_loop().create_future()

    log, job = await bench.start()
    turn = make_job(bench.tenant, FAMILY, job, 60)
    async with bench.planner(ScriptedEngine("Once.", pause=hang)):
        await bench.jobs.submit(turn)
        await writing.wait()
        await bench.jobs.cancel(turn.id, "disconnect")
        await over(bench, turn)
    assert (await bench.events(log.session_id))[-1].turn_cancelled.reason == "disconnect"


async def test_a_picture_under_way_is_found_by_the_worker_that_the_turn_is_handed_to(bench):
    bench.drawing.hold = asyncio.Event()
    _, job = await bench.start()
    script = f"One.{FOX}Two."
    submission = await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, 60))
    async with bench.planner(ScriptedEngine(script)):
        render = await render_under_way(bench)
    # leaving the block put the turn back
    async with bench.planner(ScriptedEngine(script)):
        bench.drawing.hold.set()
        await bench.jobs.result(submission)
    held = await bench.jobs.held(render.id)
    assert (held.succeeded, held.attempt) == (True, 1)


async def test_a_worker_that_lost_its_turn_to_another_leaves_the_picture_under_way(bench):
    bench.drawing.hold = asyncio.Event()
    written = asyncio.get_running_loop().create_future()
    log, job = await bench.start(feedback=types_pb2.FEEDBACK_TEXT)
    engine = ScriptedEngine(f"One.{FOX}Two.")
    engine.pause = lambda: asyncio.shield(written) if len(engine.contexts) == 2 else None
    async with bench.planner(engine) as worker:
        await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, 60))
        render = await render_under_way(bench)
        other = await bench.sessions.open(bench.tenant, log.session_id)
        await other.append(ev.Event(turn_id="turn", text_delta=ev.TextDelta(text="Two.")))
        written.set_result(None)
        await eventually(lambda: not worker._active)
        assert await bench.jobs.held(render.id) is None
