"""The VAE's loss, its closed-form start, its data, and a whole tiny run."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from tests.families import build_family
from training.vae import __main__ as entry
from training.vae import data
from training.vae.config import SIZES, DataConfig, LossConfig, VaeTraining
from training.vae.evaluate import composite, evaluate, flat_step, psnr, seam_ratio
from training.vae.export import load
from training.vae.linear import fit_linear_path
from training.vae.loss import boundary_band, composite_error, latent_divergence, reconstruction_loss
from training.vae.objective import Objective, Trainee
from wanimage.models.vae import Vae, VaeConfig, premultiplied


def draw_disc(rng: np.random.Generator, height: int, width: int, split: str = "train") -> NDArray[np.uint8]:
    """A coloured disc, half of them on nothing: needs no assets."""
    y, x = np.mgrid[:height, :width]
    inside = (y - rng.uniform(0, height)) ** 2 + (x - rng.uniform(0, width)) ** 2 < (0.3 * height) ** 2
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., :3] = rng.integers(256, size=3)
    picture[..., 3] = 255 * rng.integers(2)
    picture[inside] = (*rng.integers(256, size=3), 255)
    return picture


DISCS: dict[str, data.Draw] = dict.fromkeys(data.SOURCES, draw_disc)


def discs(count: int, size: int = 64) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return premultiplied(torch.from_numpy(np.stack([draw_disc(rng, size, size) for _ in range(count)])))


def test_closed_form_composite_error_equals_monte_carlo() -> None:
    generator = torch.Generator().manual_seed(0)
    error = torch.rand(2, 4, 3, 3, generator=generator) - 0.5
    backgrounds = torch.rand(100_000, 1, 3, 1, 1, generator=generator)
    drawn = ((error[:, :3] - backgrounds * error[:, 3:]) ** 2).mean(0)
    torch.testing.assert_close(composite_error(error), drawn, atol=2e-3, rtol=0)


def test_composite_error_is_blind_to_what_no_background_shows() -> None:
    error = torch.zeros(1, 4, 1, 1)
    assert composite_error(error).sum() == 0
    error[:, 3] = 0.5
    torch.testing.assert_close(composite_error(error), torch.full((1, 3, 1, 1), 0.25 / 3))


def test_boundary_band_covers_the_edge_of_a_shape_only() -> None:
    alpha = torch.zeros(1, 1, 32, 32)
    alpha[..., 16:] = 1
    band = boundary_band(alpha, 2)
    assert band[0, 0, 8].nonzero().flatten().tolist() == [14, 15, 16, 17]
    assert boundary_band(torch.ones_like(alpha), 2).sum() == 0


def test_perfect_reconstruction_costs_nothing() -> None:
    target = discs(3)
    total, terms = reconstruction_loss(target.clone(), target, LossConfig())
    assert float(total) == 0
    assert set(terms.values()) == {0.0}


def test_divergence_is_least_for_unit_variance_latents() -> None:
    z = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert latent_divergence(z) < 1e-3
    assert latent_divergence(2 * z) > 0.5
    assert latent_divergence(z + 1) > 0.4


def test_loss_depends_on_its_generator_alone() -> None:
    torch.manual_seed(0)
    model, pictures = Vae(VaeConfig.tiny()), discs(2)

    def loss(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        config = LossConfig(noise=1.0)
        return Objective(config)(Trainee(model, config), pictures, generator)[0].item()

    assert loss(1) == loss(1) != loss(2)


def test_linear_start_already_reconstructs() -> None:
    pictures = discs(64)
    model = Vae(VaeConfig.tiny())
    blank = psnr(
        composite(torch.zeros_like(pictures), torch.ones(3, 1, 1)), composite(pictures, torch.ones(3, 1, 1))
    )
    fit_linear_path(model, pictures, noise=0.1)
    assert evaluate(model, pictures)["psnr_white"] > float(blank.mean()) + 8
    assert not model.encoder.linear.weight.requires_grad


def test_linear_start_gives_unit_variance_latents() -> None:
    pictures = discs(64)
    model = Vae(VaeConfig.tiny()).eval()
    fit_linear_path(model, pictures, noise=0.1)
    torch.testing.assert_close(model.encode(pictures).std((0, 2, 3)), torch.ones(48), atol=0.02, rtol=0)


def test_seam_ratio_sees_a_grid_and_only_a_grid() -> None:
    even = torch.randn(4, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    tiles = (
        torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(1))
        .repeat_interleave(16, 2)
        .repeat_interleave(16, 3)
    )
    assert seam_ratio(even, 16) == pytest.approx(1, abs=0.1)
    assert seam_ratio(even + 5 * tiles, 16) > 3


def test_batches_are_a_function_of_the_step() -> None:
    config = DataConfig(pool=12, batch=4, shapes=((64, 64, 0.5), (32, 96, 0.5)))
    one, two = data.Pool(config, 0, DISCS), data.Pool(config, 0, DISCS)
    assert torch.equal(one.batch_at(7), two.batch_at(7))
    shapes = {tuple(one.batch_at(step).shape) for step in range(20)}
    assert shapes == {(4, 4, 64, 64), (5, 4, 32, 96)}, "batches hold equally many pixels"
    assert float(one.batch_at(0).amin()) >= -1
    assert float(one.batch_at(0).amax()) <= 1


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family whose vision tower teaches."""
    return build_family(tmp_path_factory.mktemp("family")).path


@pytest.fixture
def discs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No assets: every source draws discs."""
    for name in data.SOURCES:
        monkeypatch.setitem(data.SOURCES, name, draw_disc)


def stages(*, steps: int = 8, save_every: int = 200) -> tuple[VaeTraining, ...]:
    found = SIZES["tiny"]()
    return tuple(replace(s, loop=replace(s.loop, steps=steps, save_every=save_every)) for s in found)


@pytest.mark.usefixtures("discs_only")
def test_tiny_run_learns_resumes_and_ships_what_it_measured(tmp_path: Path) -> None:
    config = stages(steps=40)[0]
    out, weights = tmp_path / "run", tmp_path / "weights"
    entry.run([config], out, weights, resume=False, precision="fp32")

    history = json.loads((out / "base/metrics.json").read_text())
    assert np.mean([row["loss"] for row in history[-8:]]) < np.mean([row["loss"] for row in history[:8]])
    for name in ("loss.png", "sheet.png", "evaluation.json"):
        assert (out / "base" / name).stat().st_size > 0, name
    evaluation = json.loads((weights / "vae.json").read_text())["training"]["evaluation"]
    again = evaluate(load(weights), data.held_out(config.held_out, 64, 64))
    assert again["psnr_white"] == pytest.approx(evaluation["psnr_white"], abs=0.05)

    entry.run([config], out, None, resume=True, precision="fp32")  # nothing left to do
    assert json.loads((out / "base/metrics.json").read_text()) == history


@pytest.mark.usefixtures("discs_only")
def test_a_run_that_was_killed_goes_on_with_the_same_losses(tmp_path: Path, family: Path) -> None:
    class Killed(Exception):
        pass

    config = replace(stages(steps=20, save_every=5)[1], part="whole")
    start = Vae(config.model)
    options = {"family": family, "start": start, "precision": "fp32"}
    entry.run([config], tmp_path / "whole", None, resume=False, **options)
    real, calls = Objective.__call__, 0

    def dies(self: Objective, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 13:
            raise Killed
        return real(self, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Objective, "__call__", dies)
        entry.run([config], tmp_path / "cut", None, resume=False, **options)
    entry.run([config], tmp_path / "cut", None, resume=True, **options)

    def losses(name: str) -> list[float]:
        rows = json.loads((tmp_path / name / config.name / "metrics.json").read_text())
        return [row["loss"] for row in rows]

    assert len(losses("cut")) == 20
    assert losses("cut") == losses("whole")


@pytest.mark.usefixtures("discs_only")
def test_every_stage_continues_the_one_before_and_the_last_leaves_the_latents_alone(
    tmp_path: Path, family: Path
) -> None:
    base, mixed, critic = stages()
    pictures = discs(2)
    first = entry.run([base], tmp_path, None, family=family, resume=False, precision="fp32")
    second = entry.run([mixed], tmp_path, None, family=family, start=first, resume=False, precision="fp32")
    last = entry.run([critic], tmp_path, None, family=family, start=second, resume=False, precision="fp32")
    assert not torch.equal(first.encode(pictures), second.encode(pictures))
    assert torch.equal(second.encode(pictures), last.encode(pictures))
    assert not torch.equal(second(pictures), last(pictures))


def test_a_stage_starts_from_a_model_with_other_blocks(tmp_path: Path) -> None:
    config, pool = stages()[1], data.Pool(stages()[1].data, 0, DISCS)
    start = Vae(config.model)
    torch.nn.init.normal_(start.decoder.linear.weight, std=0.1)
    deeper = replace(config, model=replace(config.model, decoder_blocks=(2, 2, 1, 1)))
    model = entry.begin(deeper, pool, start)
    pictures = discs(2)
    torch.testing.assert_close(model(pictures), start(pictures), msg="a new block first answers zero")


def test_decoder_stage_without_a_model_says_what_is_missing() -> None:
    config = replace(stages()[0], part="decoder")
    with pytest.raises(ValueError, match="--start"):
        entry.begin(config, data.Pool(config.data, 0, DISCS), None)


def test_flat_step_sees_tint_steps_at_the_cells_and_not_the_picture_itself() -> None:
    pictures = torch.zeros(1, 4, 64, 64)
    pictures[..., 40:] = 0.5  # an edge of the picture, away from every cell border
    assert flat_step(pictures, pictures, 16) == 0
    assert flat_step(pictures + 0.1, pictures, 16) == pytest.approx(0, abs=1e-4)
    columns, rows = pictures.clone(), pictures.clone()
    columns[..., 16:32] += 4 / 255  # two of 255 on a scale of 2, at two of six borders
    rows[..., 16:32, :] += 4 / 255
    for stepped in (columns, rows):
        assert flat_step(stepped, pictures, 16) == pytest.approx(4 / 6, rel=0.2)
    assert math.isnan(flat_step(pictures, torch.rand(1, 4, 64, 64), 16))


def test_preview_basis_maps_latents_to_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.vae.export import export

    pictures = discs(64)
    model = Vae(VaeConfig.tiny()).eval()
    fit_linear_path(model, pictures, noise=0.1)
    export(model, pictures, tmp_path, {})
    preview = {name: value.float() for name, value in load_file(tmp_path / "preview.safetensors").items()}
    assert preview["basis"].shape == (48, 1024)
    z = model.encode(pictures).movedim(1, -1)  # [N, h, w, Z]
    cells = (z @ preview["basis"] + preview["bias"]).movedim(-1, 1)
    error = (torch.nn.functional.pixel_shuffle(cells, 16) - pictures).square().mean()
    assert error < 0.2 * pictures.var()
