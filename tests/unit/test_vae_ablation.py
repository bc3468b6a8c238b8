"""The ablation's measures: each sees what its term is for, and equal runs differ by nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.families import build_family
from training.vae.ablate import DECIMALS, Scores, score, semantics, table
from training.vae.teacher import Teacher
from wanimage.models.vae import Vae, VaeConfig


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return Teacher.load(build_family(tmp_path_factory.mktemp("family")).path)


def squares() -> Tensor:
    """Two opaque pictures and two clear ones, each with a red square, premultiplied planes."""
    planes = torch.full((4, 4, 64, 64), -1.0)
    planes[:2, 3] = 1
    planes[:, (0, 3), 20:44, 20:44] = 1
    planes[:, 1, 30:34, 30:34] = 1
    return planes


def test_a_perfect_result_errs_in_nothing_and_is_as_sharp(teacher: Teacher) -> None:
    found = score(squares(), squares(), teacher)

    assert (found["rgb_psnr"] > 99).all()
    assert (found["rgba_psnr"] > 99).all()
    assert found["alpha_mae"].max() == found["edge_alpha"].max() == found["features"].max() == 0
    np.testing.assert_allclose(found["sharpness"], 1)
    assert [len(found[name]) for name in ("rgb_psnr", "rgba_psnr", "edge_alpha", "sharpness")] == [2, 2, 2, 4]


def test_a_blurred_result_errs_most_at_the_edge_of_opacity_and_is_less_sharp(teacher: Teacher) -> None:
    kernel = torch.ones(4, 1, 5, 5) / 25
    blurred = F.conv2d(F.pad(squares(), (2, 2, 2, 2), mode="replicate"), kernel, groups=4)
    found = score(blurred, squares(), teacher)

    assert (found["sharpness"] < 1).all()
    assert (found["edge_alpha"] > 2 * found["alpha_mae"]).all()
    assert (found["features"] > 0).all()


def test_latents_say_how_much_of_the_features_they_explain(teacher: Teacher) -> None:
    torch.manual_seed(0)
    pictures = torch.rand(8, 4, 64, 64) * 2 - 1
    explained = semantics(Vae(VaeConfig.tiny()).eval(), pictures, teacher)

    assert explained.shape == (4,)
    assert (explained <= 1).all()


def test_the_table_states_differences_with_their_intervals() -> None:
    base: Scores = {name: np.arange(4.0) for name in DECIMALS}
    higher: Scores = {"rgb_psnr": base["rgb_psnr"] + [1, 1, 3, 3]}
    _, _, first, equal, last = table({"a": base, "b": base, "c": higher}).splitlines()

    assert first.startswith("| a | 1.50 |")
    assert equal.startswith("| b | +0.00 ± 0.00 |")
    assert last.startswith("| c | +2.00 ± 1.13 |  |")
