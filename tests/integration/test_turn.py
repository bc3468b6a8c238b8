"""The turn loop on the real NATS and S3, with a scripted planner and instant pictures."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from services.planner.engine import Picture
from tests.conftest import eventually
from tests.scripted import ScriptedEngine
from tests.turns import FAMILY, Bench, open_bench
from wanimage.errors import Unavailable
from wanimage.jobs import make_job
from wanimage.limits import MAX_OUTPUT_IMAGES
from wanimage.markup import Tag
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import types_pb2

FOX = "<imagine>a fox</imagine><size>8*8</size><BOI>"
OWL = "<imagine>an owl</imagine><size>6*10</size><BOI>"


@pytest.fixture
async def bench(stack, settings, tenant) -> AsyncIterator[Bench]:
    async with open_bench(settings, tenant) as opened:
        yield opened


def kinds(events: list[ev.Event]) -> list[str]:
    """Kinds in order, runs of deltas as one."""
    found: list[str] = []
    for event in events:
        kind = event.WhichOneof("kind")
        if not (found and kind == found[-1] == "text_delta"):
            found.append(kind)
    return found


async def test_a_story_is_told_with_each_picture_in_the_context_that_follows(bench):
    log, job = await bench.start()
    engine = ScriptedEngine(f"Once upon a time.{FOX}Then came an owl.{OWL}The end.")
    history = await bench.finish(engine, job)
    events = await bench.events(log.session_id)
    picture = ["image_planned", "image_ready"]
    story = ["text_delta", *picture, "text_delta", *picture, "text_delta"]
    assert kinds(events) == ["session_created", "turn_started", *story, "turn_finished"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [image.prompt for image in history.images] == ["a fox", "an owl"]
    assert [image.seed for image in history.images] == [7, 8]
    seen = [[part for part in context if isinstance(part, Picture)] for context in engine.contexts]
    assert [len(pictures) for pictures in seen] == [0, 1, 2]
    usage = events[-1].turn_finished.usage
    assert usage.images == 2
    assert usage.pixel_steps == 200
    assert {"plan", "render", "decode"} <= set(usage.stage_seconds)


async def test_a_series_is_one_job(bench):
    _, job = await bench.start()
    history = await bench.finish(ScriptedEngine(f"Two.<series>2</series>{FOX}{OWL}Done."), job)
    assert [len(render.pictures) for render in bench.drawing.rendered] == [2]
    assert [image.prompt for image in history.images] == ["a fox", "an owl"]
    assert history.turns[0].ended_seq


async def test_a_turn_whose_planner_dies_is_finished_by_another(bench):
    log, job = await bench.start()
    script, arrived = f"Once.{FOX}Then.{OWL}The end.", asyncio.Event()

    def die_at_the_owl():
        if len(engine.contexts) == 2 and not arrived.is_set():
            arrived.set()
            return asyncio.get_running_loop().create_future()  # never done: the planner hangs here
        return None

    engine = ScriptedEngine(script, pause=die_at_the_owl)
    submission = await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, 60))
    async with bench.planner(engine):
        await arrived.wait()
    # leaving the block put the job back, with half a turn in the log
    async with bench.planner(ScriptedEngine(script)):
        await bench.jobs.result(submission)
    events = await bench.events(log.session_id)
    ready = [event.image_ready.image.prompt for event in events if event.HasField("image_ready")]
    assert ready == ["a fox", "an owl"]
    assert len(bench.drawing.rendered) == 2
    assert "".join(event.text_delta.text for event in events) == "Once.Then.The end."
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_text_feedback_runs_ahead_of_the_pictures_and_keeps_their_order(bench):
    bench.drawing.hold = asyncio.Event()
    log, job = await bench.start(feedback=types_pb2.FEEDBACK_TEXT)
    async with bench.planner(ScriptedEngine(f"One.{FOX}Two.{OWL}Three.")):
        submission = await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, 60))

        async def third_sentence_is_written() -> bool:
            return any("Three" in event.text_delta.text for event in await bench.events(log.session_id))

        await eventually(third_sentence_is_written)
        assert not [e for e in await bench.events(log.session_id) if e.HasField("image_ready")]
        bench.drawing.hold.set()
        await bench.jobs.result(submission)
    events = await bench.events(log.session_id)
    assert [e.image_ready.turn_index for e in events if e.HasField("image_ready")] == [0, 1]
    assert events[-1].HasField("turn_finished")


async def test_a_cancelled_turn_ends_with_turn_cancelled_and_keeps_what_it_made(bench):
    log, job = await bench.start()
    hanging = asyncio.Event()

    def hang_after_the_fox():
        if len(engine.contexts) == 2:
            hanging.set()
            return asyncio.get_running_loop().create_future()
        return None

    engine = ScriptedEngine(f"One.{FOX}Two.", pause=hang_after_the_fox)
    turn = make_job(bench.tenant, FAMILY, job, 60)
    async with bench.planner(engine):
        await bench.jobs.submit(turn)
        await hanging.wait()
        await bench.jobs.cancel(turn.id, "client")

        async def ended() -> bool:
            return (await bench.history(log.session_id)).running is None

        await eventually(ended)
    events = await bench.events(log.session_id)
    assert events[-1].HasField("turn_cancelled")
    assert [e.image_ready.image.prompt for e in events if e.HasField("image_ready")] == ["a fox"]


async def test_a_client_who_asks_for_three_pictures_gets_three(bench):
    _, job = await bench.start(image_count=3)
    history = await bench.finish(ScriptedEngine(f"One.{FOX}Two.{OWL}{FOX}Bye."), job)
    assert len(history.images) == 3


async def test_a_planner_that_nobody_told_how_many_draws_no_more_than_a_turn_may_have(bench):
    _, job = await bench.start()
    engine = ScriptedEngine(FOX * MAX_OUTPUT_IMAGES)
    history = await bench.finish(engine, job)
    assert len(history.images) == MAX_OUTPUT_IMAGES
    assert not engine.banned[-2] & {Tag.IMAGINE, Tag.SERIES}
    assert engine.banned[-1] >= {Tag.IMAGINE, Tag.SERIES}


async def test_malformed_markup_fails_the_turn_with_its_reason(bench):
    log, job = await bench.start()
    await bench.finish(ScriptedEngine("One.<imagine>a fox</imagine><BOI>"), job)
    failed = (await bench.events(log.session_id))[-1].turn_failed
    assert failed.failure.reason == "JobFailed"
    assert "malformed markup" in failed.failure.message


async def test_outage_that_outlasts_all_deliveries_ends_the_turn_in_its_log(bench, monkeypatch):
    monkeypatch.setattr("wanimage.takenjob.RETRY_DELAY_SECONDS", 0.01)
    monkeypatch.setattr("wanimage.takenjob.MAX_RETRY_DELAY_SECONDS", 0.01)

    async def put(*_: object, **__: object) -> None:
        raise Unavailable("S3", "connection refused")

    monkeypatch.setattr(bench.drawing, "blobs", SimpleNamespace(put=put))
    log, job = await bench.start()
    await bench.finish(ScriptedEngine(f"One.{FOX}"), job)
    last = (await bench.events(log.session_id))[-1]
    assert last.turn_failed.failure.reason == "Unavailable"


async def test_max_tokens_ends_a_turn_with_length(bench):
    log, job = await bench.start(max_tokens=3)
    await bench.finish(ScriptedEngine("A very long answer indeed."), job)
    finished = (await bench.events(log.session_id))[-1].turn_finished
    assert finished.stop_reason == ev.TurnFinished.STOP_REASON_LENGTH
    assert finished.usage.generated_tokens == 3


async def test_an_earlier_picture_that_is_referred_to_reaches_the_visualizer_and_the_log(bench):
    log, job = await bench.start()
    await bench.finish(ScriptedEngine(f"One.{FOX}Two.{OWL}"), job)
    edit = await bench.go_on(log, "Make the second one blue.", "edit")
    history = await bench.finish(ScriptedEngine("<imagine>a blue owl</imagine><size>6*10</size><BOI>"), edit)
    _, owl, blue = history.images
    render = bench.drawing.rendered[-1]
    assert [reference.image for reference in render.references] == [owl.base]
    assert not bench.drawing.rendered[0].references
    plan = history.turns[-1].planned[0]
    assert (list(plan.references), list(blue.references)) == ([1], [1])
    assert [(r.kind, r.words) for r in plan.reference_reasons] == [
        (ev.ReferenceReason.KIND_NUMBERED, "second one")
    ]


async def test_a_series_is_drawn_from_what_its_first_picture_chose(bench):
    log, job = await bench.start()
    await bench.finish(ScriptedEngine(FOX), job)
    again = await bench.go_on(log, "Draw the fox and an owl.", "again")
    history = await bench.finish(ScriptedEngine(f"<series>2</series>{FOX}{OWL}"), again)
    assert [list(plan.references) for plan in history.turns[-1].planned] == [[0], [0]]
    assert len(bench.drawing.rendered[-1].pictures) == 2
    assert len(bench.drawing.rendered[-1].references) == 1
