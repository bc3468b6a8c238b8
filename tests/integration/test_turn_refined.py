"""Turns whose pictures are refined, on the real NATS and S3: what is handed over; nothing is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.planner.engine import Picture
from tests.conftest import eventually
from tests.fronts import picture_of
from tests.scripted import ScriptedEngine
from tests.turns import FAMILY, Bench, open_bench
from wanimage.errors import InvalidInput, JobFailed, Unavailable
from wanimage.jobs import make_job
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2

FOX = "<imagine>a fox</imagine><size>8*8</size><BOI>"
OWL = "<imagine>an owl</imagine><size>8*8</size><BOI>"
ENOUGH_TO_DRAW = 8.0
"""Seconds in which a busy machine, too, comes to refining a stand-in's picture."""
REPAIR = types_pb2.RefineOptions(mode=types_pb2.REFINE_MODE_REPAIR, target_long_edge=2048)


@pytest.fixture
async def bench(stack, settings, tenant) -> AsyncIterator[Bench]:
    async with open_bench(settings, tenant) as opened:
        yield opened


class Gate:
    """Holds refinements of a prompt, or of all."""

    def __init__(self, bench: Bench, prompt: str = "") -> None:
        self.arrived, self.open = asyncio.Event(), asyncio.Event()
        self._prompt = prompt
        bench.drawing.refining = self.wait

    async def wait(self, job: jobs_pb2.RefineJob) -> None:
        if self._prompt in job.prompt:
            self.arrived.set()
            await self.open.wait()


def failing(bench: Bench, error: Exception, prompt: str = "") -> None:
    """Refinements of a prompt, or all, end with `error`."""

    async def fail(job: jobs_pb2.RefineJob) -> None:
        if prompt in job.prompt:
            raise error

    bench.drawing.refining = fail


async def ready(bench: Bench, session_id: str) -> list[ev.ImageReady]:
    events = await bench.events(session_id)
    return [event.image_ready for event in events if event.HasField("image_ready")]


async def last(bench: Bench, session_id: str) -> ev.Event:
    return (await bench.events(session_id))[-1]


async def test_each_picture_is_handed_over_once_with_base_and_refined_version(bench):
    log, job = await bench.start(refine=REPAIR, format=types_pb2.IMAGE_FORMAT_WEBP)
    await bench.finish(ScriptedEngine(f"One.{FOX}Two.{OWL}"), job)
    pictures = await ready(bench, log.session_id)
    asked = [each.refine for each in bench.drawing.asked_to_refine]
    assert [each.image.prompt for each in pictures] == ["a fox", "an owl"]
    for picture, refinement in zip(pictures, asked, strict=True):
        image = picture.image
        assert image.base.sha256 != image.refined.sha256
        assert (image.size.height, list(image.refined.shape)) == (32, [64, 64, 4])
        assert (refinement.latent, refinement.prompt) == (image.latent, image.prompt)
        assert (refinement.seed, refinement.options) == (image.seed, REPAIR)
        assert refinement.format == types_pb2.IMAGE_FORMAT_WEBP
        assert not refinement.HasField("image")
        assert picture.pixel_steps == 1100
        assert {"queue", "render", "decode", "refine"} == set(picture.stage_seconds)
        assert not picture.HasField("refine_failure")
    usage = (await last(bench, log.session_id)).turn_finished.usage
    assert (usage.images, usage.pixel_steps) == (2, 2200)
    assert usage.stage_seconds["refine"] > 0


async def test_a_turn_that_asks_for_no_refinement_has_none(bench):
    log, job = await bench.start()
    await bench.finish(ScriptedEngine(FOX), job)
    (picture,) = await ready(bench, log.session_id)
    assert not picture.image.HasField("refined")
    assert "refine" not in picture.stage_seconds
    assert not bench.drawing.asked_to_refine


async def test_the_planner_goes_on_with_the_base_picture(bench):
    log, job = await bench.start(refine=REPAIR)
    engine = ScriptedEngine(f"One.{FOX}Two.")
    await bench.finish(engine, job)
    (picture,) = await ready(bench, log.session_id)
    (seen,) = [part for part in engine.contexts[-1] if isinstance(part, Picture)]
    base = await picture_of(bench.blobs, bench.tenant, picture.image.base)
    assert (seen.pixels == base).all()


async def test_progress_says_of_which_stage_its_steps_are(bench):
    gate = Gate(bench)
    log, job = await bench.start(refine=REPAIR)
    told: list[ev.ImageProgress] = []

    async def follow() -> None:
        async for event in bench.sessions.follow(bench.tenant, log.session_id):
            if event.HasField("image_progress"):
                told.append(event.image_progress)

    following = asyncio.create_task(follow())
    async with bench.planner(ScriptedEngine(FOX)):
        submission = await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, 60))
        await eventually(lambda: "refine" in [each.stage for each in told])
        gate.open.set()
        await bench.jobs.result(submission)
    following.cancel()
    steps = [(each.stage, each.step, each.steps) for each in told]
    assert ("refine", 1, 4) in steps
    assert {stage for stage, *_ in steps} <= {"render", "refine"}


@pytest.mark.parametrize(
    "error", [InvalidInput("format", "JPEG has no alpha", "ask for PNG"), JobFailed("it dies of this one")]
)
async def test_a_picture_that_cannot_be_refined_is_handed_over_with_the_reason_and_the_turn_goes_on(
    bench, error
):
    failing(bench, error, "a fox")
    log, job = await bench.start(refine=REPAIR, format=types_pb2.IMAGE_FORMAT_JPEG)
    await bench.finish(ScriptedEngine(f"<series>2</series>{FOX}{OWL}And so on."), job)
    fox, owl = await ready(bench, log.session_id)
    assert await bench.blobs.get(bench.tenant, fox.image.base)
    assert not fox.image.HasField("refined")
    assert fox.refine_failure.reason == error.reason
    assert str(error) in fox.refine_failure.message
    assert owl.image.HasField("refined")
    assert not owl.HasField("refine_failure")
    assert (await last(bench, log.session_id)).HasField("turn_finished")


async def test_an_outage_of_the_refiner_has_the_turn_tried_again_and_draws_nothing_twice(bench, monkeypatch):
    monkeypatch.setattr("wanimage.takenjob.RETRY_DELAY_SECONDS", 0.01)
    monkeypatch.setattr("wanimage.takenjob.MAX_RETRY_DELAY_SECONDS", 0.01)
    outages = iter([Unavailable("S3", "connection refused")] * 6)  # a job is tried five times by its worker

    async def fail_at_first(job: jobs_pb2.RefineJob) -> None:
        if error := next(outages, None):
            raise error

    bench.drawing.refining = fail_at_first
    log, job = await bench.start(refine=REPAIR)
    await bench.finish(ScriptedEngine(f"One.{FOX}Two."), job)
    (picture,) = await ready(bench, log.session_id)
    assert picture.image.HasField("refined")
    assert len(bench.drawing.rendered) == 1
    assert next(outages, None) is None
    assert (await last(bench, log.session_id)).HasField("turn_finished")


async def test_an_outage_that_outlasts_all_tries_leaves_the_base_picture(bench, monkeypatch):
    monkeypatch.setattr("wanimage.takenjob.RETRY_DELAY_SECONDS", 0.01)
    monkeypatch.setattr("wanimage.takenjob.MAX_RETRY_DELAY_SECONDS", 0.01)
    failing(bench, Unavailable("S3", "connection refused"))
    log, job = await bench.start(refine=REPAIR)
    await bench.finish(ScriptedEngine(f"One.{FOX}"), job)
    (picture,) = await ready(bench, log.session_id)
    assert picture.refine_failure.reason == "Unavailable"
    assert (await last(bench, log.session_id)).HasField("turn_finished")


async def test_a_turn_cancelled_while_it_refines_keeps_its_base_picture_and_stops_the_refiner(bench):
    gate = Gate(bench)
    log, job = await bench.start(refine=REPAIR)
    turn = make_job(bench.tenant, FAMILY, job, 60)
    async with bench.planner(ScriptedEngine(f"One.{FOX}Two.")):
        await bench.jobs.submit(turn)
        await gate.arrived.wait()
        await bench.jobs.cancel(turn.id, "client")

        async def ended() -> bool:
            return (await bench.history(log.session_id)).running is None

        await eventually(ended)
    assert (await last(bench, log.session_id)).turn_cancelled.usage.images == 1
    (picture,) = await ready(bench, log.session_id)
    assert await bench.blobs.get(bench.tenant, picture.image.base)
    assert picture.refine_failure.reason == "Cancelled"
    (refinement,) = bench.drawing.asked_to_refine
    held = await bench.jobs.held(refinement.id)
    assert held.result.failure.reason == "Cancelled"


async def test_a_turn_that_runs_out_of_time_while_it_refines_keeps_its_base_picture(bench):
    gate = Gate(bench)
    log, job = await bench.start(refine=REPAIR)
    async with bench.planner(ScriptedEngine(f"One.{FOX}Two.")):
        await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, ENOUGH_TO_DRAW))
        await gate.arrived.wait()

        async def ended() -> bool:
            return (await bench.history(log.session_id)).running is None

        await eventually(ended)
    assert (await last(bench, log.session_id)).turn_failed.failure.reason == "DeadlineExceeded"
    (picture,) = await ready(bench, log.session_id)
    assert await bench.blobs.get(bench.tenant, picture.image.base)
    assert picture.refine_failure.reason == "DeadlineExceeded"


async def test_a_refined_picture_that_waits_for_the_one_before_it_is_kept_when_the_turn_is_cancelled(bench):
    gate = Gate(bench, "a fox")
    log, job = await bench.start(refine=REPAIR, feedback=types_pb2.FEEDBACK_TEXT)
    turn = make_job(bench.tenant, FAMILY, job, 60)
    async with bench.planner(ScriptedEngine(f"One.{FOX}Two.{OWL}Three.")):
        await bench.jobs.submit(turn)
        await gate.arrived.wait()

        async def owl_is_refined() -> bool:
            jobs = {each.refine.prompt: each.id for each in bench.drawing.asked_to_refine}
            held = await bench.jobs.held(jobs["an owl"]) if "an owl" in jobs else None
            return held is not None and held.succeeded

        await eventually(owl_is_refined)
        assert not await ready(bench, log.session_id)
        await bench.jobs.cancel(turn.id, "client")

        async def ended() -> bool:
            return (await bench.history(log.session_id)).running is None

        await eventually(ended)
    fox, owl = await ready(bench, log.session_id)
    assert (fox.image.prompt, owl.image.prompt) == ("a fox", "an owl")
    assert not fox.image.HasField("refined")
    assert owl.image.base.sha256


async def test_a_turn_taken_over_while_it_refines_asks_for_the_same_job_and_hands_over_once(bench):
    gate = Gate(bench)
    log, job = await bench.start(refine=REPAIR)
    script = f"Once.{FOX}The end."
    submission = await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, 60))
    async with bench.planner(ScriptedEngine(script)):
        await gate.arrived.wait()
    # leaving the block put the turn back, with its picture drawn and not handed over
    assert not await ready(bench, log.session_id)
    gate.open.set()
    async with bench.planner(ScriptedEngine(script)):
        await bench.jobs.result(submission)
    (picture,) = await ready(bench, log.session_id)
    assert picture.image.HasField("refined")
    assert len({each.id for each in bench.drawing.asked_to_refine}) == 1
    assert len(bench.drawing.rendered) == 1
