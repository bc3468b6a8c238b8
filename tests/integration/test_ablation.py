"""The ablations of the planner's training, at the tiny size."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.understanding.__main__ import run
from training.understanding.ablate import PAIRS, arms, run_arm, tokens_a_step
from training.understanding.stages import RECIPES, DistillStage, TextStage
from wanimage.models.understanding import Understanding

TINY = RECIPES["tiny"]


def test_arms_of_a_pair_differ_in_one_thing() -> None:
    found = arms(RECIPES["nano"])
    assert set(found) == {name for pair in PAIRS for name in pair}
    item, token, without = (found[name] for name in ("item", "token", "no-proxy"))
    assert isinstance(item, TextStage)
    assert isinstance(token, TextStage)
    assert replace(token, batch=replace(token.batch, item_level=True)) == item != token
    assert replace(without, mix="sft") == item != without
    assert isinstance(found["opd"], DistillStage)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    alone = replace(TINY, stages={"uct": TINY.stages["uct"]})
    run(alone, "uct", folder, resume=False, family=None)
    for name in ("item", "opd", "longer"):
        run_arm(TINY, name, folder)
    return folder


def test_every_arm_leaves_a_model_for_the_evaluation(runs: Path) -> None:
    for name in ("item", "opd", "longer"):
        assert Understanding.load(runs / f"ablate-{name}" / "understanding").num_layers == TINY.model.layers


def test_going_on_with_sft_costs_what_distillation_does(runs: Path) -> None:
    longer = json.loads((runs / "ablate-longer" / "config.json").read_text())
    assert longer["batch"]["tokens"] == tokens_a_step(runs / "ablate-opd") > 0
    assert longer["loop"]["steps"] == arms(TINY)["opd"].loop.steps
