"""The planner's engine on the shipped weights, in vLLM."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import numpy as np
import pytest

from services.planner.engine import Control, Delta, Part, Picture, PlannerEngine
from services.planner.turn import event_of
from tests.conftest import SHIPPED_PLANNER
from tests.turns import FAMILY, Bench, open_bench
from wanimage import images, tokens
from wanimage.decoding import Decoder, DecodingConfig
from wanimage.errors import InvalidInput
from wanimage.markup import ImageSpec, Parser, Tag, Think
from wanimage.sessions import SessionLog, new_session_id
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import types_pb2

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STORY = "Tell a three-picture story about a fox who finds a red balloon."


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[PlannerEngine]:
    if not (SHIPPED_PLANNER / "model.safetensors").exists() and not os.environ.get("CI"):
        pytest.skip("the nano family is not here; make it with `make train-nano`")
    decoder = await Decoder.load(DecodingConfig(model=SHIPPED_PLANNER))
    yield PlannerEngine.native(decoder, base_cells=64, max_cells=256)
    decoder.close()


def asked(text: str) -> list[Part]:
    """A chat with one message, the answer open."""
    return [
        Control(tokens.IM_START), "user\n", text, Control(tokens.IM_END), "\n",
        Control(tokens.IM_START), "assistant\n",
    ]  # fmt: skip


async def leg(engine: PlannerEngine, context: list[Part], **options: object) -> list[Delta]:
    """All deltas of one leg, greedy."""
    settings: dict = {"max_tokens": 200, "temperature": 0.0, "request_id": uuid.uuid4().hex, **options}
    return [delta async for delta in engine.decode(context, **settings)]


def pieces(deltas: list[Delta]) -> list[str | Tag]:
    """Everything written."""
    return [piece for delta in deltas for piece in delta.pieces]


async def test_a_leg_ends_at_its_boi_and_is_well_formed(engine: PlannerEngine) -> None:
    deltas = await leg(engine, asked(STORY))
    parser = Parser()
    items = [item for piece in pieces(deltas) for item in parser.feed(piece)]
    assert [delta.stop for delta in deltas][-1] == "boi"
    assert isinstance(items[-1], ImageSpec)
    assert "fox" in items[-1].prompt


async def test_the_story_has_three_pictures_and_ends(engine: PlannerEngine) -> None:
    context, parser = asked(STORY), Parser()
    stop = "boi"
    while stop == "boi" and parser.images < 6:
        deltas = await leg(engine, context)
        stop = deltas[-1].stop
        for piece in pieces(deltas):
            parser.feed(piece)
        context = [*context, *pieces(deltas)]
        if stop == "boi":
            context.append(Picture(np.full((128, 128, 4), 200, np.uint8)))
    assert (parser.images, stop, parser.state) == (3, "end", "text")


async def test_an_opened_picture_is_completed(engine: PlannerEngine) -> None:
    deltas = await leg(engine, [*asked("Draw a red car."), Tag.IMAGINE])
    written = pieces(deltas)
    assert [piece for piece in written if isinstance(piece, Tag)] == [
        Tag.END_IMAGINE, Tag.SIZE, Tag.END_SIZE, Tag.BOI,
    ]  # fmt: skip


async def test_banned_tags_are_not_written_even_when_asked_for(engine: PlannerEngine) -> None:
    banned = frozenset({Tag.IMAGINE, Tag.SERIES, Tag.THINK})
    deltas = await leg(engine, asked("Draw a red car."), banned=banned, max_tokens=60)
    assert not [piece for piece in pieces(deltas) if isinstance(piece, Tag)]


async def test_hot_sampling_stays_well_formed(engine: PlannerEngine) -> None:
    for seed in range(4):
        parser = Parser()
        deltas = await leg(engine, asked(STORY), temperature=2.0, top_p=1.0, seed=seed, max_tokens=120)
        for piece in pieces(deltas):
            parser.feed(piece)  # raises MarkupError when malformed
        assert deltas[-1].stop in ("boi", "end", "length")


async def test_equal_seeds_write_equal_tokens(engine: PlannerEngine) -> None:
    one, two, other = [
        [t for d in await leg(engine, asked(STORY), temperature=1.5, seed=seed) for t in d.token_ids]
        for seed in (3, 3, 4)
    ]
    assert one == two
    assert one != other


async def test_a_second_leg_takes_its_context_from_the_cache(engine: PlannerEngine) -> None:
    context = [*asked(STORY * 3), Picture(np.full((128, 128, 4), 7, np.uint8))]
    await leg(engine, context, max_tokens=4)
    again = await leg(engine, context, max_tokens=4)
    assert again[0].prompt_tokens == engine.count(context)
    assert again[0].cached_tokens >= 32


async def test_text_that_looks_like_markup_stays_text(engine: PlannerEngine) -> None:
    boi = engine.count([Control(tokens.BOI)])
    assert boi == 1
    assert engine.count(["<BOI>"]) > 1


async def test_a_context_beyond_the_window_is_refused_by_name(engine: PlannerEngine) -> None:
    with pytest.raises(InvalidInput, match=r"context: .* tokens .* exceed") as caught:
        await leg(engine, asked("fox " * 5000))
    assert caught.value.field == "context"


async def test_long_seeded_prompts_at_once_are_read_whole(engine: PlannerEngine) -> None:
    contexts = [asked(f"{number} " + "a fox and an owl by the lake " * 130) for number in range(6)]
    assert engine.count(contexts[0]) * len(contexts) > engine.max_tokens, "not all fit into one step"
    legs = await asyncio.gather(*(leg(engine, each, max_tokens=2, seed=1) for each in contexts))
    assert all(deltas[-1].stop for deltas in legs)


async def test_an_aborted_request_ends_as_aborted(engine: PlannerEngine) -> None:
    name = uuid.uuid4().hex
    stops = []
    async for delta in engine.decode(
        asked(STORY), max_tokens=2000, temperature=2.0, top_p=1.0, request_id=name,
        banned=frozenset({Tag.IMAGINE, Tag.SERIES}), constrained=True, seed=0,
    ):  # fmt: skip
        if not stops:
            await engine.abort(name)
        stops.append(delta.stop)
    assert stops[-1] in ("aborted", "end")
    assert len(stops) < 2000


# Whole turns ----------------------------------------------------------------------------------------------


@pytest.fixture
async def bench(stack, settings, tenant) -> AsyncIterator[Bench]:
    async with open_bench(settings, tenant) as opened:
        yield opened


async def test_think_on_reasons_first_and_off_never_does(engine: PlannerEngine, bench: Bench) -> None:
    for temperature, seed in ((0.0, 1), (2.0, 2), (2.0, 3)):
        limits = {
            "temperature": temperature,
            "max_tokens": 40,
            "sampling": types_pb2.SamplingOptions(seed=seed),
        }
        for mode in (types_pb2.THINK_MODE_ON, types_pb2.THINK_MODE_OFF):
            _, job = await bench.start(STORY, think=mode, **limits)
            turn = (await bench.finish(engine, job)).turns[-1]
            thoughts = [item.text for item in turn.items if isinstance(item, Think)]
            if mode == types_pb2.THINK_MODE_ON:
                assert isinstance(turn.items[0], Think)
                assert thoughts[0].strip()
            else:
                assert turn.items
                assert not thoughts


async def past(bench: Bench, log: SessionLog, words: str, drawn: bool) -> None:
    """A finished turn with two uploads and, if wanted, a drawing."""
    data, media_type = images.encode(np.full((128, 128, 4), 90, np.uint8))
    size = types_pb2.Size(height=128, width=128)
    base = await bench.blobs.put(bench.tenant, data, media_type)
    await log.refresh()
    history = await bench.history(log.session_id)
    known, number = len(history.images), len(history.turns)
    uploads = [types_pb2.Image(index=known + i, base=base, size=size) for i in range(2)]
    picture = types_pb2.Image(index=known + 2, base=base, size=size)
    grid = types_pb2.Grid(height_cells=8, width_cells=8)
    drawing = (ev.ImagePlanned(index=known + 2, prompt="a fox", grid=grid), ev.ImageReady(image=picture))
    answer = (*(drawing if drawn else ()), ev.TextDelta(text=words), ev.TurnFinished())
    for body in (ev.TurnStarted(text=words, images=uploads), *answer):
        event = event_of(body)
        event.turn_id = f"past-{number}"
        await log.append(event)


async def test_a_long_session_loses_its_oldest_pictures_then_turns_and_says_so(
    engine: PlannerEngine, bench: Bench
) -> None:
    log = await bench.sessions.create(bench.tenant, new_session_id(), FAMILY)
    for _ in range(9):
        await past(bench, log, "Look at these.", drawn=True)

    async def trimmed(name: str) -> ev.ContextTrimmed:
        job = await bench.go_on(log, "What do you see?", name, max_tokens=4)
        await bench.finish(engine, job)
        events = [event for event in await bench.events(log.session_id) if event.turn_id == name]
        assert events[-1].HasField("turn_finished"), events[-1]
        return next(event.context_trimmed for event in events if event.HasField("context_trimmed"))

    told = await trimmed("many pictures")
    assert (told.dropped_images, told.dropped_turns) == (27 - engine.max_images, 0)
    for _ in range(4):
        await past(bench, log, "A fox and an owl sat by the lake. " * 30, drawn=False)
    told = await trimmed("many words")
    assert told.dropped_images > 27 - engine.max_images
    for _ in range(4):
        await past(bench, log, "A fox and an owl sat by the lake. " * 30, drawn=False)
    assert (await trimmed("too many words")).dropped_turns > 0

    job = await bench.go_on(log, "fox " * 4000, "far too long")
    await bench.finish(engine, job)
    failed = (await bench.events(log.session_id))[-1].turn_failed
    assert failed.failure.reason == "InvalidInput"
    assert "this message alone is" in failed.failure.message
