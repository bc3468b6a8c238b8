"""Ablations of the visualizer: what they leave out and nothing else, and how they are compared."""

from pathlib import Path

import pytest

from tests.families import build_family
from training.vae.export import load as load_vae
from training.visualizer.ablations import WINDOW, beginning, compared, run, steps_to
from training.visualizer.config import tiny
from wanimage.models.understanding import Understanding


def test_recipes_see_the_same_and_differ_in_the_part_that_is_left_out(tmp_path: Path):
    family = build_family(tmp_path / "family").path
    understanding, vae = Understanding.load(family / "understanding"), load_vae(family)
    whole, chance, unnamed = run(beginning(tiny()[0], 4, 3), understanding, vae, tmp_path).values()
    assert len(whole) == len(chance) == len(unnamed) == 4
    assert whole[0] == chance[0] == unnamed[0], "what is not trained adds nothing yet"
    assert len({whole[-1], chance[-1], unnamed[-1]}) == 3


def test_steps_are_counted_to_a_mean_and_not_to_one_lucky_step():
    errors = [1.0] * WINDOW + [0.0] + [1.0] * WINDOW + [0.5] * WINDOW
    assert steps_to(errors, 0.51) == len(errors)
    assert steps_to(errors, 0.4) is None
    assert steps_to(errors, 1.01) == WINDOW


def test_the_table_says_how_many_steps_a_part_saves_or_costs():
    found = {"all parts": [1.0] * WINDOW + [0.5] * WINDOW, "chance": [1.0] * 2 * WINDOW}
    assert compared(found).splitlines()[2:] == [
        f"| all parts | 0.500 | {2 * WINDOW} | {2 * WINDOW} |",
        f"| chance | 1.000 | never | {WINDOW} |",
    ]


@pytest.mark.parametrize("steps", [1, 7])
def test_first_words_stay_at_one_rate(steps: int):
    stage = beginning(tiny()[0], steps, 5)
    assert (stage.loop.decay, stage.data.singles, stage.data.easy_steps) == (0.0, 5, steps)
