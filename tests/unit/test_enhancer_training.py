"""The enhancer's reward and how it is not fooled; its adapter; SFT and GRPO at the tiny size."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import SHIPPED_PLANNER
from training.enhancer import adapter, grpo
from training.enhancer.__main__ import run
from training.enhancer.adapter import AdapterConfig
from training.enhancer.data import Row, sample_row
from training.enhancer.evaluation import Answer, gain, marks
from training.enhancer.reward import by_words, reward
from training.enhancer.sides import sides_kept
from training.enhancer.stages import PAPER_FAST, PAPER_QUALITY, QWEN3_VL_2B, RECIPES, TINY
from training.understanding.architecture import TINY as TINY_MODEL
from training.understanding.architecture import build, hugging_face_config
from training.understanding.export import export
from training.understanding.items import Item
from wanimage.enhancing import Description, Result, written
from wanimage.errors import Misconfigured
from wanimage.models.qwen3vl import decode
from wanimage.models.understanding import Understanding
from wanimage.tokens import Vocabulary
from wanimage.weights import part_digest

POSTER = Row(
    "t2i", 1, 'A poster that says "Big Sale" with a fox', False, (), "",
    Result("poster", (Description(
        'a poster that says "Big Sale" in large black sans letters and shows a fox',
        (("words", "top"), ("fox", "center")), ("black",), "", "on a plain white background",
    ),)),
)  # fmt: skip


def _worth(**changes: object) -> float:
    """The reward of the poster's answer with fields of its description changed."""
    changed = replace(POSTER.result.descriptions[0], **changes)  # type: ignore[arg-type]
    return reward(POSTER, written(replace(POSTER.result, descriptions=(changed,)))).total


@pytest.mark.parametrize(
    "hack",
    [
        {"subject": POSTER.result.descriptions[0].subject + ", stunning, beautiful, highly detailed, 8k"},
        {"background": "on a plain white background, very very very nice"},
        {"layout": (("words", "top"), ("fox", "center"), ("fox", "center"), ("fox", "center"))},
        {"subject": POSTER.result.descriptions[0].subject.replace("a fox", "a whale")},
        {"subject": 'a poster that says "Big Sale" in large black sans letters'},
        {"subject": POSTER.result.descriptions[0].subject.replace("Big Sale", "Big Sales")},
        {"subject": "a fox", "layout": (), "palette": ()},
        {"palette": (), "layout": ()},
    ],
    ids=[
        "padded subject", "padded ground", "repeated", "other object", "object lost", "misspelt",
        "another kind", "bare",
    ],
)  # fmt: skip
def test_a_hacked_rewrite_is_worth_less_than_the_honest_one(hack: dict[str, object]) -> None:
    assert _worth() == pytest.approx(1.0)
    assert _worth(**hack) < 0.97


def test_invented_objects_make_a_scene_worth_less() -> None:
    honest = Description("a fox at the left", background="in a meadow by day")
    row = Row("t2i", 1, "a fox in a meadow", True, (), "", Result("general", (honest,)))
    padded = replace(honest, subject="a fox at the left and a whale at the right")
    true, invented = (reward(row, written(Result("general", (each,)))).total for each in (honest, padded))
    assert true == pytest.approx(1.0)
    assert invented < true


def test_saying_one_picture_many_times_is_worth_nothing_more() -> None:
    one = POSTER.result.descriptions[0]
    assert reward(POSTER, written(Result("poster", (one, one, one)))).total == 0


@pytest.mark.parametrize("text", ["", "poster", "general", "interface\n1 a fox", "poster\n1 a fox\nz y"])
def test_answers_of_another_category_or_form_are_worth_nothing(text: str) -> None:
    assert reward(POSTER, text).total == 0


def test_an_attribute_on_the_wrong_side_counts_against_the_edit() -> None:
    row = Row(
        "i2i", 1, "make it red", True, (), "", Result("general", (), "objects, style", ("colours: red",))
    )
    right, wrong = (
        reward(row, written(Result("general", (), common, own))).total
        for common, own in (("objects, style", ("colours: red",)), ("objects, colours: red", ("style",)))
    )
    assert right == pytest.approx(1.0)
    assert wrong < 0.5


def test_an_answer_of_the_other_kind_is_worth_nothing_whatever_its_entries() -> None:
    row = Row("ti2s", 2, "two more", True, (), "", Result("storyboard", (), "a fox", ("at night", "by day")))
    assert reward(row, "storyboard\n1 a fox\n2 a fox").total == 0


@pytest.mark.parametrize(
    ("common", "own", "share"),
    [
        ("a fox at the left", ("in a forest by day", "on a beach at night"), 1.0),
        ("a fox at the right", ("by a lake at sunset", "in a city by day"), 1.0),
        ("a fox", ("in a forest by day", "on a beach at night"), 3 / 4),
        ("a fox at the left, in a forest by day", ("a red ball", "a red ball"), 2 / 9),
        ("", ("a fox at the left, in a forest by day", "on a beach at night"), 2 / 6),
        ("a whale at the left", ("in a forest by day", "on a beach at night"), 2 / 6),
    ],
)
def test_sides_count_where_an_attribute_stands_and_not_its_value(
    common: str, own: tuple[str, ...], share: float
) -> None:
    gold = Result("storyboard", (), "a fox at the left", ("in a forest by day", "on a beach at night"))
    assert sides_kept(gold, Result("storyboard", (), common, own)) == pytest.approx(share)


def test_the_sides_of_an_edit_are_its_aspects() -> None:
    gold = Result("general", (), "objects, style", ("colours: make the fox red",))
    assert sides_kept(gold, Result("general", (), "style, objects", ("colours: red",))) == 1.0
    assert sides_kept(gold, Result("general", (), "objects, colours", ("style: red",))) == pytest.approx(
        1 / 5
    )


def test_the_other_judge_goes_by_the_words_of_the_request() -> None:
    kept, lost = written(POSTER.result), written(POSTER.result).replace("fox", "whale")
    assert by_words(POSTER, kept) == 1.0
    assert by_words(POSTER, lost) < 1.0
    assert by_words(POSTER, "nothing at all") == 0


def test_marks_say_what_an_answer_gets_right() -> None:
    good = marks(Answer(POSTER, written(POSTER.result), 9))
    assert all(right == asked for right, asked in good.values())
    assert "sides" not in good
    bad = marks(Answer(POSTER, "nothing", 9))
    assert all(right == 0 for right, _ in bad.values())
    assert bad.keys() == good.keys()


def test_gains_are_paired_and_have_an_interval() -> None:
    before = {str(i): [0.5, 0.0] for i in range(50)}
    after = {str(i): [0.5 + 0.01 * (i % 3), 1.0] for i in range(50)} | {"new": [9.0, 9.0]}
    mean, low, high, n = gain(before, after, 0)
    assert low < mean < high
    assert n == 50
    assert gain(before, after, 1)[:3] == [1.0, 1.0, 1.0]


def test_advantages_are_zero_where_a_group_agrees() -> None:
    found = grpo.advantages(torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    assert found[0].tolist() == [0, 0]
    assert found[1, 0] < -0.9 < 0.9 < found[1, 1]


def test_the_ratio_counts_no_further_than_the_clip() -> None:
    now, then = torch.tensor([1.0, 1.0], requires_grad=True), torch.zeros(2)
    grpo.clipped(now, then, torch.tensor([1.0, -1.0]), 0.2).sum().backward()
    assert now.grad is not None
    assert now.grad[0] == 0
    assert now.grad[1] > 0


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family with a tiny planner."""
    folder, tokenizer = tmp_path_factory.mktemp("family"), SHIPPED_PLANNER
    vocabulary = Vocabulary.load(tokenizer)
    export(build(TINY_MODEL, len(vocabulary), vocabulary.control), None, tokenizer, folder / "planner")
    return folder


def _hidden(planner: Understanding) -> torch.Tensor:
    ids = torch.arange(20, 52)[None]
    return decode(planner.model, ids, torch.ones_like(ids))


def test_a_fresh_adapter_changes_nothing_and_a_saved_one_comes_back(family: Path, tmp_path: Path) -> None:
    planner, config = Understanding.load(family / "planner"), AdapterConfig(rank=2, alpha=4)
    before = _hidden(planner)
    adapter.adapt(planner.model, config)
    assert torch.allclose(_hidden(planner), before, atol=1e-6)
    with torch.no_grad():
        for parameter in planner.model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter).half())
    adapted = _hidden(planner)
    assert not torch.allclose(adapted, before, atol=1e-2)
    adapter.save(planner.model, None, config, "a" * 64, tmp_path)
    other = Understanding.load(family / "planner")
    assert adapter.load(other.model, tmp_path, "a" * 64) == replace(
        config, targets=tuple(sorted(config.targets))
    )
    assert torch.allclose(_hidden(other), adapted, atol=1e-5)
    adapter.merge(other.model)
    assert torch.allclose(_hidden(other), adapted, atol=1e-5)
    with pytest.raises(Misconfigured, match="digest aaaa"):
        adapter.load(Understanding.load(family / "planner").model, tmp_path, "b" * 64)


def test_the_adapter_counts_alpha_over_rank_times() -> None:
    weight, config = torch.zeros(3, 5), AdapterConfig(rank=2, alpha=6)
    added = adapter.LowRank(weight, config, torch.Generator().manual_seed(0))
    torch.nn.init.ones_(added.B)
    assert torch.allclose(added(weight), 3 * added.A.sum(0).expand(3, 5))


def test_sft_then_grpo_train_an_adapter_and_write_its_lineage(family: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(TINY, "sft", tmp_path / "run", family, export=first)
    state = run(TINY, "grpo", tmp_path / "run", family, start=first, export=second)
    assert state.step == 2
    assert all(np.isfinite(row["loss"]) for row in state.history)
    names = load_file(second / "enhancer" / adapter.FILE)
    assert all(name.startswith(adapter.PREFIX) and ".lora_" in name for name in names)
    told = json.loads((second / "enhancer" / "training.json").read_text())
    assert told["stage"] == "enhancer/grpo"
    assert told["after"]["stage"] == "enhancer/sft"
    assert told["base"] == part_digest(family, "planner")
    assert len(told["data"]) == 64


def test_prompts_of_a_grpo_step_are_kept_for_it_and_always_the_same(family: Path) -> None:
    stage, planner = TINY.stages["grpo"], Understanding.load(family / "planner")
    assert isinstance(stage, grpo.GrpoStage)
    once, again = (grpo.asked_at(3, stage, planner.vocabulary, planner.preprocessor) for _ in range(2))
    assert [one.row for one in once] == [one.row for one in again]
    assert len(once) == stage.prompts


def test_the_papers_recipes_build_without_memory() -> None:
    assert {"paper-fast", "paper-quality"} <= set(RECIPES)
    assert PAPER_QUALITY.stages.keys() == PAPER_FAST.stages.keys()
    from transformers import Qwen3VLForConditionalGeneration

    control = Vocabulary.load(SHIPPED_PLANNER).control
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(hugging_face_config(QWEN3_VL_2B, 151_936, control))
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert 1_900 < millions < 2_300


def test_items_of_rows_end_within_the_models_context() -> None:
    vocabulary = Vocabulary.load(SHIPPED_PLANNER)
    from training.enhancer.items import row_item
    from training.understanding.tokenizer import PREPROCESSOR

    for seed in range(40):
        item: Item = row_item(sample_row(np.random.default_rng(seed)), "quality", vocabulary, PREPROCESSOR)
        assert len(item.ids) == len(item.group) < 2048
