"""Turns with a prompt enhancer, and without one, on the real NATS and S3."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from services.planner.enhancing import NOBODY, OPEN
from tests.conftest import eventually
from tests.scripted import ScriptedEngine
from tests.turns import FAMILY, Bench, open_bench
from wanimage.errors import JobFailed
from wanimage.jobs import make_job
from wanimage.markup import Tag
from wanimage.takenjob import TakenJob
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.worker import Worker

FOX = "<imagine>a fox</imagine><size>8*8</size><BOI>"
OWL = "<imagine>an owl</imagine><size>8*8</size><BOI>"
POSTER = jobs_pb2.EnhanceResult(
    task=jobs_pb2.TASK_TEXT_TO_IMAGE,
    category=jobs_pb2.EnhanceResult.CATEGORY_POSTER,
    rewritten=True,
    descriptions=[jobs_pb2.Description(natural='a poster that says "Sale" in large red letters')],
)
ON, OFF = types_pb2.EnhanceOptions.MODE_ON, types_pb2.EnhanceOptions.MODE_OFF


@pytest.fixture
async def bench(stack, settings, tenant) -> AsyncIterator[Bench]:
    async with open_bench(settings, tenant) as opened:
        yield opened


@asynccontextmanager
async def enhancer(
    bench: Bench, answer: Callable[[TakenJob], Awaitable[jobs_pb2.EnhanceResult]]
) -> AsyncIterator[None]:
    """An enhancer's worker."""
    async with Worker(bench.jobs, "enhance", family=FAMILY, slots=2, drain_seconds=0) as worker:
        task = asyncio.create_task(worker.run(answer))
        yield
        worker.stop_taking()
        task.cancel()
        await asyncio.wait({task})


def asked(engine: ScriptedEngine, number: int = 0) -> list[str]:
    """The user's words in a context, of all turns."""
    parts = engine.contexts[number]
    return [
        "".join(p for p in parts[i + 1 :][:1] if isinstance(p, str))
        for i, part in enumerate(parts)
        if part == "user\n"
    ]


async def enhanced(bench: Bench, session: str) -> list[ev.PromptEnhanced]:
    return [e.prompt_enhanced for e in await bench.events(session) if e.HasField("prompt_enhanced")]


async def test_the_planner_reads_the_rewrite_and_the_log_says_what_happened(bench: Bench) -> None:
    jobs: list[jobs_pb2.EnhanceJob] = []

    async def answer(taken: TakenJob) -> jobs_pb2.EnhanceResult:
        jobs.append(taken.job.enhance)
        return POSTER

    engine = ScriptedEngine(f"Here.{FOX}")
    log, job = await bench.start('a poster that says "Sale"')
    async with enhancer(bench, answer):
        history = await bench.finish(engine, job)
    (event,) = await enhanced(bench, log.session_id)
    assert (event.rewritten, event.category) == (True, "poster")
    assert event.request == f"Draw {POSTER.descriptions[0].natural}."
    assert asked(engine) == asked(engine, 1) == [event.request]
    assert history.turns[0].text == 'a poster that says "Sale"'
    assert [each.prompt for each in jobs] == ['a poster that says "Sale"']
    assert "enhance" in (await bench.events(log.session_id))[-1].turn_finished.usage.stage_seconds


async def test_entries_of_a_series_stand_before_the_users_words(bench: Bench) -> None:
    async def answer(taken: TakenJob) -> jobs_pb2.EnhanceResult:
        assert taken.job.enhance.image_count == 2
        return jobs_pb2.EnhanceResult(
            task=jobs_pb2.TASK_TEXT_TO_SERIES, category=jobs_pb2.EnhanceResult.CATEGORY_STORYBOARD,
            rewritten=True, descriptions=[{"natural": "a fox"}, {"natural": "an owl"}],
        )  # fmt: skip

    engine = ScriptedEngine(f"Once.{FOX}Twice.{OWL}Thrice.")
    _, job = await bench.start("A story in two pictures.")
    async with enhancer(bench, answer):
        await bench.finish(engine, job)
    assert asked(engine) == ["A fox. An owl. A story in two pictures."]
    assert engine.banned == [
        frozenset(),
        frozenset({Tag.THINK}),
        frozenset({Tag.THINK, Tag.SERIES, Tag.IMAGINE}),
    ]


async def test_a_story_of_nobody_knows_how_many_pictures_is_left_to_the_planner(bench: Bench) -> None:
    async def answer(taken: TakenJob) -> jobs_pb2.EnhanceResult:
        return jobs_pb2.EnhanceResult(
            task=taken.job.enhance.task, category=jobs_pb2.EnhanceResult.CATEGORY_STORYBOARD,
            rewritten=True, descriptions=[{"natural": "a fox"}],
        )  # fmt: skip

    engine = ScriptedEngine(f"Once.{FOX}Twice.{OWL}Thrice.")
    log, job = await bench.start("Tell a story about a fox.")
    async with enhancer(bench, answer):
        history = await bench.finish(engine, job)
    (event,) = await enhanced(bench, log.session_id)
    assert (event.rewritten, event.category, event.pass_through_reason) == (False, "storyboard", OPEN)
    assert asked(engine) == ["Tell a story about a fox."]
    assert len(history.images) == 2


@pytest.mark.parametrize("mode", [ON, 0])
async def test_without_an_enhancer_a_turn_goes_on_and_says_so_where_one_was_asked_for(
    bench: Bench, mode: int
) -> None:
    engine = ScriptedEngine("Once.")
    log, job = await bench.start("a poster", enhance={"mode": mode})
    history = await bench.finish(engine, job)
    assert asked(engine) == ["a poster"]
    assert history.turns[0].ended_seq
    told = [event.pass_through_reason for event in await enhanced(bench, log.session_id)]
    assert told == ([NOBODY] if mode == ON else [])


async def test_an_enhancer_that_fails_does_not_fail_the_turn(bench: Bench) -> None:
    async def answer(taken: TakenJob) -> jobs_pb2.EnhanceResult:
        raise JobFailed("it broke")

    engine = ScriptedEngine("Once.")
    log, job = await bench.start("a poster")
    async with enhancer(bench, answer):
        history = await bench.finish(engine, job)
    (event,) = await enhanced(bench, log.session_id)
    assert not event.rewritten
    assert "it broke" in event.pass_through_reason
    assert asked(engine) == ["a poster"]
    assert history.turns[0].ended_seq


async def test_nobody_is_asked_where_it_is_off_or_the_turn_goes_on_from_pictures(bench: Bench) -> None:
    jobs: list[jobs_pb2.EnhanceJob] = []

    async def answer(taken: TakenJob) -> jobs_pb2.EnhanceResult:
        jobs.append(taken.job.enhance)
        return jobs_pb2.EnhanceResult(task=taken.job.enhance.task)

    log, job = await bench.start("a fox", enhance={"mode": OFF})
    async with enhancer(bench, answer):
        await bench.finish(ScriptedEngine(FOX), job)
        job = await bench.go_on(log, "make it blue", "second")
        await bench.finish(ScriptedEngine(FOX), job)
        assert not jobs
        job = await bench.go_on(log, "make it red", "third", enhance={"mode": ON})
        history = await bench.finish(ScriptedEngine(FOX), job)
    (asked_once,) = jobs
    assert asked_once.task == jobs_pb2.TASK_IMAGE_TO_IMAGE
    assert list(asked_once.references) == [history.images[1].base]


async def test_a_turn_taken_up_again_keeps_the_rewrite_of_its_log(bench: Bench) -> None:
    calls: list[str] = []

    async def answer(taken: TakenJob) -> jobs_pb2.EnhanceResult:
        calls.append(taken.job.id)
        return POSTER

    def hang() -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    log, job = await bench.start("a poster")
    stuck, engine = ScriptedEngine("Once.", pause=hang), ScriptedEngine("Once.")
    async with enhancer(bench, answer), bench.planner(stuck):
        submission = await bench.jobs.submit(make_job(bench.tenant, FAMILY, job, 60))
        await eventually(lambda: bool(stuck.contexts))
    async with bench.planner(engine):
        await bench.jobs.result(submission)
    assert asked(engine) == [f"Draw {POSTER.descriptions[0].natural}."]
    assert len(await enhanced(bench, log.session_id)) == len(calls) == 1
