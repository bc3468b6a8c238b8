"""The refiner's recipe at its smallest: pairs, batches, the stages in turn, what they leave behind."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.families import build_family
from training.refiner import reward
from training.refiner.__main__ import Ground, run
from training.refiner.config import SIZES, tiny
from training.refiner.data import Batches
from training.refiner.loss import distillation_loss, flow_loss
from training.refiner.pairs import Kept, Studio
from training.world.pixels import canvas_of
from wanimage.models.refiner import Refiner, RefinerConfig


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family")).path


@pytest.fixture(scope="module")
def studio(family: Path) -> Studio:
    return Studio(family, tiny()[0].data)


@pytest.fixture(scope="module")
def batches(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Batches:
    return Batches(Kept.within(tmp_path_factory.mktemp("kept"), studio), pictures=2, crops=2)


def test_a_pair_is_a_function_of_its_number(studio: Studio) -> None:
    once, again, other = studio.make(0), studio.make(0), studio.make(1)
    assert torch.equal(once.clean, again.clean)
    assert torch.equal(once.low, again.low)
    assert once.prompt == again.prompt
    assert not torch.equal(once.clean, other.clean)


def test_a_pair_that_was_kept_is_the_pair_that_was_made(batches: Batches, studio: Studio) -> None:
    made = batches.kept.get(0)
    kept = batches.kept.get(0)
    assert torch.equal(made.clean, kept.clean)
    assert kept.corners == studio.make(0).corners
    assert kept.grid == studio.make(0).grid
    assert not list(batches.kept.folder.glob("*.tmp"))


def test_a_case_s_verifier_passes_its_truth_and_not_another_picture(studio: Studio) -> None:
    case, other = (studio.case(np.random.default_rng([5, number])) for number in (0, 1))
    assert case.verdict(case.truth).passed
    assert not case.verdict(other.truth).passed


def test_a_batch_is_a_function_of_the_step_and_starts_where_its_mode_does(batches: Batches) -> None:
    once, again, other = batches.batch_at(3), batches.batch_at(3), batches.batch_at(4)
    assert torch.equal(once.low, again.low)
    assert torch.equal(once.start, again.start)
    assert not torch.equal(once.start, other.start)
    assert once.low.shape == (4, 48, 8, 8)
    assert (((once.start >= 0.1) & (once.start <= 0.3)) | ((once.start >= 0.4) & (once.start <= 0.6))).all()


def test_the_flow_loss_falls_with_a_step_along_its_gradient(batches: Batches, studio: Studio) -> None:
    torch.manual_seed(0)
    refiner, weights = Refiner(RefinerConfig.tiny()), torch.ones(48)

    def loss() -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return flow_loss(refiner, batches.batch_at(0), generator, studio.understanding, weights)[0]

    before = loss()
    before.backward()
    with torch.no_grad():
        for parameter in refiner.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    assert loss() < before


def test_a_student_that_is_its_teacher_has_little_to_learn_and_another_much(
    batches: Batches, studio: Studio
) -> None:
    torch.manual_seed(0)
    teacher = Refiner(RefinerConfig.tiny()).requires_grad_(False)
    student = Refiner(RefinerConfig.tiny()).requires_grad_(False)
    student.load_state_dict(teacher.state_dict())
    weights, batch = torch.ones(48), batches.batch_at(0)

    def loss() -> float:
        generator = torch.Generator().manual_seed(1)
        return float(distillation_loss(student, batch, generator, studio.understanding, weights, teacher)[0])

    assert loss() < 1e-9, "an untrained teacher always answers the enlargement"
    student.project.bias.add_(1)
    assert loss() > 0.5


def test_all_stages_run_and_leave_a_refiner_with_its_lineage(family: Path, tmp_path: Path) -> None:
    ground = Ground(family, tmp_path / "weights", tmp_path / "kept")
    trained = run(tiny(), ground, tmp_path / "run", resume=False)
    shipped = Refiner.load(tmp_path / "weights")
    for name, value in trained.state_dict().items():
        assert torch.allclose(shipped.state_dict()[name], value, atol=1e-3), name
    lineage = json.loads((tmp_path / "weights/refiner.json").read_text())["training"]
    assert lineage["stage"] == "refiner/reward"
    assert lineage["before"]["stage"] == "refiner/distil"
    assert lineage["before"]["before"]["stage"] == "refiner/flow"
    assert set(lineage["parents"]) == {"understanding", "vae", "mot"}


@pytest.mark.parametrize("stage", [1, 2])
def test_a_later_stage_without_weights_to_start_from_is_refused_by_name(
    family: Path, tmp_path: Path, stage: int
) -> None:
    ground = Ground(family, None, tmp_path / "kept")
    with pytest.raises(ValueError, match="--start"):
        run(tiny()[stage : stage + 1], ground, tmp_path / "run", resume=False)


class HalfTrusting(Refiner):
    """Answers with half of its state, so that where a step of the path leads shows in the picture."""

    def clean(self, x: Tensor, low: Tensor, *_: object) -> Tensor:
        return low + (x - low) / 2 + self.project.bias.view(1, -1, 1, 1)


def test_a_reward_moves_the_refiner_towards_what_scored_above_its_group(
    batches: Batches, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier that likes brightness alone: along the policy's slope refinements become brighter."""
    monkeypatch.setattr(reward, "score", lambda case, picture: float(canvas_of(picture)[..., :3].mean()))
    monkeypatch.setattr(reward, "ANCHOR", 0.0)
    refiner, weights = HalfTrusting(RefinerConfig.tiny()), torch.ones(48)
    batch = reward.RewardBatches(studio, batches, kinds=("sticker",)).batch_at(0)

    def judged(seed: int) -> tuple[torch.Tensor, float]:
        generator = torch.Generator().manual_seed(seed)
        found = reward.reward_loss(refiner, batch, generator, studio.understanding, weights, studio)
        return found[0], found[1]["reward"]

    def brightness() -> float:
        with torch.no_grad():
            return sum(judged(seed)[1] for seed in (100, 101))

    before = brightness()
    for seed in range(16):  # one group alone tells little
        judged(seed)[0].backward()
    with torch.no_grad():
        slope = refiner.project.bias.grad
        refiner.project.bias -= 0.05 * slope / slope.norm()
    assert brightness() > before


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_a_flow_stage_before_distillation(size: str) -> None:
    names = [stage.name for stage in SIZES[size]()]
    assert names == ["flow", "distil", "reward"]


def test_the_shipped_size_is_within_five_million_parameters() -> None:
    assert sum(p.numel() for p in Refiner(RefinerConfig.nano()).parameters()) <= 5_000_000


def test_the_full_size_takes_two_steps_when_it_is_made_narrow() -> None:
    """The paper's shape with fewer blocks: two optimiser steps on random latents."""
    config = replace(RefinerConfig.paper(), depth=2, width=64, heads=2, ffn=96)
    refiner = Refiner(config)
    optimizer = torch.optim.AdamW(refiner.parameters(), lr=1e-3)
    from wanimage.models.refiner import Place

    ones = torch.ones(1)
    text = [(torch.randn(1, 2, 6, 128), torch.randn(1, 2, 6, 128)) for _ in range(2)]
    low, clean = torch.randn(1, 48, 32, 32), torch.randn(1, 48, 32, 32)
    losses = []
    for _ in range(2):
        prompt = refiner.read(text, torch.ones(1, 6, dtype=torch.bool))
        place = Place(0 * ones, 0 * ones, 64 * ones, 64 * ones, 4 * ones)
        loss = (refiner.clean(low, low, 0.5 * ones, 0.5 * ones, place, prompt) - clean).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[1] < losses[0]
