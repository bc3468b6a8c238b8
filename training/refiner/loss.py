"""What the refiner learns: first the clean latent at any level, then a few steps that do what many did.

- `flow_loss`: squared error of the clean latent at a random level of the path; channels weigh as much as the
  decoder makes of them.
- `distillation_loss`: at a level of the student's short schedule, one step of the student must land where
  `SUBSTEPS` steps of the teacher land (progressive distillation, Salimans and Ho 2022; report 4.4).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from training.refiner.data import Batch, prompt_of
from wanimage.models.refiner import Prompt, Refiner, state_at, step
from wanimage.models.understanding import Understanding
from wanimage.refining import MODES, Mode, levels

FIRST = 0.8
"""Share of crops that are shown where their path begins: all that one step sees, and both modes take one."""
SUBSTEPS = 4
"""Steps of the teacher that one of the student replaces."""
BOUNDARY = 0.35
"""Noise level of the start that tells the two modes apart."""


def flow_loss(
    refiner: nn.Module,
    batch: Batch,
    generator: torch.Generator,
    understanding: Understanding,
    weights: Tensor,
) -> tuple[Tensor, dict[str, float]]:
    """Mean squared error of the clean latent, channels weighed by `weights` `[Z]`; and by mode, to log."""
    assert isinstance(refiner, Refiner), type(refiner)
    share = torch.rand(len(batch.start), generator=generator).clamp(min=0.02)
    share[torch.rand(len(share), generator=generator) < FIRST] = 1.0
    level = share * batch.start
    noise = torch.randn(batch.clean.shape, generator=generator)
    x = state_at(batch.clean, batch.low, noise, level, batch.start)
    found = refiner.clean(
        x, batch.low, level, batch.start, batch.place, prompt_of(batch, understanding, refiner)
    )
    return _weighed(found, batch.clean, batch, weights)


def distillation_loss(
    refiner: nn.Module,
    batch: Batch,
    generator: torch.Generator,
    understanding: Understanding,
    weights: Tensor,
    teacher: Refiner,
) -> tuple[Tensor, dict[str, float]]:
    """Mean squared error of the clean latent that leads where the teacher's steps lead."""
    assert isinstance(refiner, Refiner), type(refiner)
    prompt = prompt_of(batch, understanding, refiner)
    steps = torch.where(
        batch.start > BOUNDARY, MODES[Mode.REPAIR].steps, MODES[Mode.HIGH_FIDELITY].steps
    ).float()
    done = (torch.rand(len(steps), generator=generator) * steps).floor()
    level, following = batch.start * (1 - done / steps), batch.start * (1 - (done + 1) / steps)
    noise = torch.randn(batch.clean.shape, generator=generator)
    x = state_at(batch.clean, batch.low, noise, level, batch.start)
    target = taught(teacher, x, level, following, batch, prompt)
    return _weighed(
        refiner.clean(x, batch.low, level, batch.start, batch.place, prompt), target, batch, weights
    )


@torch.no_grad()
def taught(
    teacher: Refiner, x: Tensor, level: Tensor, following: Tensor, batch: Batch, prompt: Prompt
) -> Tensor:
    """The clean latent with which one step from `level` to `following` lands where the teacher's do."""
    there = x
    between = [following + each for each in levels(level - following, SUBSTEPS)]
    for now, then in itertools.pairwise(between):
        clean = teacher.clean(there, batch.low, now, batch.start, batch.place, prompt)
        there = step(there, clean, now, then)
    share = (following / level).view(-1, 1, 1, 1)
    return (there - share * x) / (1 - share)


def _weighed(found: Tensor, wanted: Tensor, batch: Batch, weights: Tensor) -> tuple[Tensor, dict[str, float]]:
    error = ((found.float() - wanted).square() * weights.view(1, -1, 1, 1)).mean((1, 2, 3))
    numbers = {}
    for name, rows in (("repair", batch.start > BOUNDARY), ("high_fidelity", batch.start <= BOUNDARY)):
        if bool(rows.any()):
            numbers[name] = float(error.detach()[rows].mean())
    return error.mean(), numbers
