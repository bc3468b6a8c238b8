"""The enhancer's engine on the shipped weights, in vLLM."""

import os
import uuid
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from services.enhancer.engine import Answer, Ask, EnhancerEngine
from services.enhancer.opening import PART, open_engine
from tests.conftest import SHIPPED
from tests.families import build_family
from wanimage.enhancing import CATEGORIES, TASKS, lost
from wanimage.errors import InvalidInput, Misconfigured
from wanimage.weights import Family

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
POSTER = 'Design a poster with the words "Grand Opening" and "Friday", with a penguin.'


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[EnhancerEngine]:
    family = Family.load(SHIPPED)
    if PART not in family.parts and not os.environ.get("CI"):
        pytest.skip("the nano family has no enhancer here; make it with `python -m training.enhancer`")
    async with open_engine(family) as opened:
        yield opened


async def answered(engine: EnhancerEngine, task: str, count: int, prompt: str, **options: object) -> Answer:
    return await engine.enhance(Ask(task, count, prompt, **options), uuid.uuid4().hex)  # type: ignore[arg-type]


async def test_a_poster_is_described_with_its_words_verbatim(engine: EnhancerEngine) -> None:
    answer = await answered(engine, "t2i", 1, POSTER)
    assert answer.category == "poster"
    assert answer.result is not None
    assert not lost(POSTER, answer.result)
    assert answer.result.descriptions[0].texts == ("Grand Opening", "Friday")
    assert "penguin" in answer.result.descriptions[0].natural


@pytest.mark.parametrize("prompt", ["a fox in the snow", "Hello!", "What is the capital of France?"])
async def test_what_no_rewrite_helps_passes_through_and_says_why(engine: EnhancerEngine, prompt: str) -> None:
    answer = await answered(engine, "t2i", 1, prompt)
    assert (answer.category, answer.result) == ("general", None)
    assert "rewriting helps" in answer.reason


async def test_a_caller_can_have_it_rewritten_all_the_same(engine: EnhancerEngine) -> None:
    answer = await answered(engine, "t2i", 1, "a fox in the snow", forced=True)
    assert answer.result is not None
    assert "fox" in answer.result.descriptions[0].natural


@pytest.mark.parametrize("count", [1, 3, 12])
async def test_a_series_has_exactly_as_many_entries_as_asked(engine: EnhancerEngine, count: int) -> None:
    answer = await answered(engine, "t2s", count, "pictures of a cat through the year", forced=True)
    assert answer.result is not None
    assert len(answer.result.descriptions) == count


async def test_the_quality_variant_reasons_first_and_is_heard_while_it_does(engine: EnhancerEngine) -> None:
    heard: list[str] = []

    async def hear(thinking: str) -> None:
        heard.append(thinking)

    answer = await engine.enhance(Ask("t2i", 1, POSTER, reasons=True), uuid.uuid4().hex, hear)
    assert answer.thinking
    assert heard[-1] == answer.thinking
    assert all(later.startswith(earlier) for earlier, later in pairwise(heard))
    assert answer.result is not None


async def test_words_it_cannot_spell_are_tried_again_letter_by_letter(engine: EnhancerEngine) -> None:
    again = []
    for title in ("Zürich Budget", "xqzzt vlorp blenk ghurf", "日本語 テスト", "Ωμέγα ✿ ĸþð"):
        prompt = f'a pie chart titled "{title}": rent 50%, food 30%, fun 20%'
        answer = await answered(engine, "t2i", 1, prompt)
        if answer.result is None:
            assert "would lose" in answer.reason
        else:
            assert not lost(prompt, answer.result)
        again.append(answer.tries == 2 and answer.result is not None)
    assert any(again)


@pytest.mark.parametrize(
    "prompt", ["\x00 <|im_end|> <think> | \\n1 e s p", "日本語のポスター「春」", "#" * 700]
)
@pytest.mark.parametrize("task", TASKS[::2])
async def test_whatever_is_asked_the_answer_is_typed_and_loses_nothing(
    engine: EnhancerEngine, task: str, prompt: str
) -> None:
    answer = await answered(engine, task, 2 if task == "t2s" else 1, prompt, forced=True)
    assert answer.category in ("", *CATEGORIES)
    assert (answer.result is None) == bool(answer.reason)
    assert answer.result is None or not lost(prompt, answer.result)


async def test_equal_requests_get_equal_answers(engine: EnhancerEngine) -> None:
    first, second = [await answered(engine, "t2i", 1, POSTER) for _ in range(2)]
    assert first.result == second.result
    assert second.cached_tokens > 0


async def test_a_request_that_fills_the_window_is_refused(engine: EnhancerEngine) -> None:
    with pytest.raises(InvalidInput, match="prompt"):
        await answered(engine, "t2i", 1, "é" * 4000)


async def test_a_family_without_the_part_names_the_way_out(tmp_path) -> None:
    with pytest.raises(Misconfigured, match=r"training\.enhancer"):
        async with open_engine(build_family(tmp_path)):
            pass
