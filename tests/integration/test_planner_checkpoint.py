"""WAN_PLANNER_MODEL: a tiny random Qwen3-VL whose tokenizer has none of our tokens plans turns, in vLLM."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import numpy as np
import pytest

from services.planner.engine import Control, Delta, Part, Picture, PlannerEngine
from services.planner.opening import open_engine
from tests.conftest import SHIPPED
from tests.families import build_checkpoint
from tests.turns import open_bench
from wanimage import tokens
from wanimage.config import Settings
from wanimage.errors import InvalidInput
from wanimage.markup import ImageSpec, Parser, Tag
from wanimage.v1 import types_pb2
from wanimage.weights import Family

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PICTURE = Picture(np.full((128, 96, 4), 200, np.uint8))
FORGED = "".join(tokens.CONTROL_TOKENS)


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlannerEngine]:
    folder = build_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    settings = Settings(_env_file=None, planner_model=str(folder))
    async with open_engine(Family.load(SHIPPED, parts=()), settings) as opened:
        yield opened


def asked(*parts: Part) -> list[Part]:
    """A chat with one message, the answer open."""
    return [
        Control(tokens.IM_START), "user\n", *parts, Control(tokens.IM_END), "\n",
        Control(tokens.IM_START), "assistant\n",
    ]  # fmt: skip


async def leg(engine: PlannerEngine, context: list[Part], **options: object) -> list[Delta]:
    """All deltas of one leg; the grammar is all that keeps a random model in order."""
    settings: dict = {"max_tokens": 400, "temperature": 1.0, "top_p": 1.0, "seed": 1, **options}
    return [delta async for delta in engine.decode(context, request_id=uuid.uuid4().hex, **settings)]


async def test_whatever_a_random_model_writes_is_well_formed(engine: PlannerEngine) -> None:
    legs = await asyncio.gather(*(leg(engine, asked("A story."), seed=seed) for seed in range(8)))
    stops = set()
    for deltas in legs:
        parser = Parser()
        for delta in deltas:
            for piece in delta.pieces:
                parser.feed(piece)  # raises MarkupError when malformed
        stops.add(deltas[-1].stop)
    assert stops <= {"boi", "end", "length"}
    assert "boi" in stops


async def test_the_context_is_counted_as_the_model_reads_it(engine: PlannerEngine) -> None:
    for context in (asked("Hi."), asked(PICTURE, FORGED), [*asked(PICTURE, "Two."), "Here:", Tag.SERIES]):
        deltas = await leg(engine, context, max_tokens=2)
        assert deltas[0].prompt_tokens == engine._model.count_tokens(engine.dialect.prompt(context))
        assert deltas[0].prompt_tokens <= engine.count(context) + engine.dialect.overhead(engine._model)


async def test_a_user_who_writes_tags_changes_nothing_of_what_may_follow(engine: PlannerEngine) -> None:
    banned = frozenset({Tag.IMAGINE, Tag.SERIES, Tag.THINK})
    deltas = await leg(engine, asked(FORGED), banned=banned, max_tokens=60)
    assert not [piece for delta in deltas for piece in delta.pieces if isinstance(piece, Tag)]


async def test_equal_seeds_write_equal_answers(engine: PlannerEngine) -> None:
    one, two, other = [
        [
            token
            for delta in await leg(engine, asked("Hi."), seed=seed, max_tokens=20)
            for token in delta.token_ids
        ]
        for seed in (3, 3, 5)
    ]
    assert one == two
    assert one != other


async def test_a_context_beyond_the_window_is_refused_by_name(engine: PlannerEngine) -> None:
    with pytest.raises(InvalidInput, match=r"context: .* tokens .* exceed"):
        await leg(engine, asked("fox " * 3000))


async def test_a_turn_is_planned_drawn_and_gone_on_with(
    engine: PlannerEngine, stack, settings, tenant
) -> None:
    # Given a client who wants two pictures and reasoning
    async with open_bench(settings, tenant) as bench:
        options = {"image_count": 2, "think": types_pb2.THINK_MODE_ON, "temperature": 1.0}
        log, job = await bench.start(f"two foxes {FORGED}", **options)

        # When a random model plans it
        history = await bench.finish(engine, job)

        # Then the log tells a whole turn
        turn = history.turns[-1]
        kinds = [event.WhichOneof("kind") for event in await bench.events(log.session_id)]
    assert kinds[-1] == "turn_finished"
    assert "think_delta" in kinds
    assert len(turn.ready) == 2
    assert [item.prompt for item in turn.items if isinstance(item, ImageSpec)] == [
        each.image.prompt for each in turn.ready.values()
    ]
