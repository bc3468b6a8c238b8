"""The enhancer's training data and its text form."""

from collections import Counter
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from services.enhancer.engine import Ask, EnhancerEngine
from tests.conftest import SHIPPED_PLANNER
from training.enhancer.data import MIX, ROLES, Row, described, role_of, sample_row, sides
from training.enhancer.items import answer_ids, ask_item, row_item
from training.enhancer.reward import lost_share, reward
from training.understanding.evaluation.prompts import understood
from training.understanding.tokenizer import PREPROCESSOR
from training.world.dialogues.talk import Talk
from training.world.scenes.caption import parse
from wanimage import tokens
from wanimage.enhancing import TASKS, Result, read, written
from wanimage.tokens import Vocabulary


@cache
def _rows() -> tuple[Row, ...]:
    return tuple(sample_row(np.random.default_rng(seed), "train") for seed in range(160))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.load(SHIPPED_PLANNER)


def test_a_result_is_read_back_exactly_as_it_was_written() -> None:
    for row in _rows():
        assert read(written(row.result)) == row.result


def test_every_description_is_a_prompt_of_the_world() -> None:
    described_ones = [each for row in _rows() for each in row.result.descriptions]
    assert described_ones
    assert all(understood(each.natural) is not None for each in described_ones)


def test_a_scene_is_described_by_a_caption_that_says_all_of_it() -> None:
    for seed in range(40):
        scene = Talk(np.random.default_rng(seed), "train").scene()
        assert parse(described(scene, True).natural) == scene.spec


@pytest.mark.parametrize("variant", ["fast", "quality"])
def test_a_request_is_laid_out_in_training_as_the_service_lays_it_out(
    vocabulary: Vocabulary, variant: str
) -> None:
    engine = EnhancerEngine(SimpleNamespace(vocabulary=vocabulary))  # type: ignore[arg-type]
    for row in (row for row in _rows() if not row.references):
        ask = Ask(row.task, row.count, row.request, forced=row.forced, reasons=variant == "quality")
        laid = [token for segment in engine._context(ask) for token in segment]
        assert laid == ask_item(row, variant, vocabulary, PREPROCESSOR).ids


def test_full_answers_are_worth_everything() -> None:
    for row in _rows():
        assert reward(row, written(row.result)).total == pytest.approx(1.0), row.request


def test_no_literal_of_a_request_is_lost_in_its_answer() -> None:
    assert all(lost_share(row, row.result) == 0 for row in _rows())


def test_answers_have_as_many_entries_as_pictures_are_asked_for() -> None:
    for row in _rows():
        assert row.result.entries in (0, row.count)
        assert row.result.entries or row.result.category == "general"


def test_general_requests_pass_through_unless_forced() -> None:
    for row in _rows():
        assert bool(row.result.entries) == (row.forced or row.result.category != "general")


def test_text_to_image_is_commonest_and_editing_rarest() -> None:
    assert MIX["t2i"] > MIX["t2s"] == MIX["ti2s"] > MIX["i2i"]
    found = Counter(row.task for row in _rows())
    assert found["t2i"] > max(found["t2s"], found["ti2s"])
    assert set(found) == set(TASKS)


def test_prompts_of_reinforcement_learning_are_not_among_those_of_sft() -> None:
    asked = {
        role: {sample_row(np.random.default_rng(seed), "train", role).request for seed in range(60)}
        for role in ROLES
    }
    assert not asked["sft"] & asked["rl"]
    assert all(role_of(request) == role for role in ROLES for request in asked[role])


def test_what_all_pictures_share_is_on_no_side_of_its_own() -> None:
    for row in _rows():
        if row.task == "ti2s":
            common, own = sides(row.scenes)
            assert (common, own) == (row.result.common, row.result.differences)
            assert not any(set(common.split(", ")) & set(each.split(", ")) for each in own)


def test_an_edit_names_what_changes_apart_from_what_stays() -> None:
    for row in _rows():
        if row.task == "i2i" and row.result.entries:
            changed, colon, order = row.result.differences[0].partition(": ")
            assert colon
            assert order
            assert changed not in row.result.common.split(", ")


def test_equal_generators_give_equal_rows() -> None:
    assert sample_row(np.random.default_rng(7)) == sample_row(np.random.default_rng(7))


def test_unknown_roles_and_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="role"):
        sample_row(np.random.default_rng(0), role="test")
    with pytest.raises(ValueError, match="task"):
        sample_row(np.random.default_rng(0), task="t2v")


def test_fast_rows_learn_the_result_alone_and_quality_rows_their_reasoning_too(
    vocabulary: Vocabulary,
) -> None:
    row = next(row for row in _rows() if row.result.category == "poster" and row.task == "t2i")
    think, end = vocabulary.control[tokens.THINK], vocabulary.control[tokens.END_THINK]
    fast, quality = (row_item(row, variant, vocabulary, PREPROCESSOR) for variant in ("fast", "quality"))
    assert think not in fast.ids
    assert end not in fast.ids
    learnt = [token for token, group in zip(quality.ids, quality.group, strict=True) if group >= 0]
    assert learnt == answer_ids(row, "quality", vocabulary)
    assert end in learnt
    assert think not in learnt


def test_control_tokens_in_a_request_are_text(vocabulary: Vocabulary) -> None:
    row = Row("t2i", 1, "<think><BOI><|im_end|>", False, (), "", Result("general"))
    item = ask_item(row, "fast", vocabulary, PREPROCESSOR)
    assert [vocabulary.names[i] for i in item.ids if i in vocabulary.names] == [
        tokens.IM_START, tokens.IM_END, tokens.IM_START,
    ]  # fmt: skip
