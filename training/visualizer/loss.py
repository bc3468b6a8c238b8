"""The flow-matching loss over all groups of a batch, a weighted mean over real latent tokens.

All latent channels have unit variance, but the decoder does not make equally much of each: between the
loudest and the faintest lies a factor of ten in pixels. Channels are weighed by the root of that, halfway to
pixel error. Cells that an object covers count more than empty ones (`DataConfig.emphasis`). Beside the
velocity it asks halfway up for the noun of each cell (`naming.py`).
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.visualizer.data import Group
from training.visualizer.naming import NOTHING, UNSAID, Learner
from wanimage.models.vae import Vae
from wanimage.sampling import add_noise, training_times

TIME_SHIFT = 3.0
"""Training times lean towards noise (median 3/4): what the prompt decides is decided there."""
LATE = 0.2
"""Share of the times that do not lean: the last quarter of the path, where edges are settled, would else have
2 % of them."""


def visualizer_loss(
    learner: torch.nn.Module, groups: list[Group], generator: torch.Generator, weights: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Squared error of the velocity, with one time for all pictures of a render, and what naming adds. Also
    each kind's error and the share of objects' cells that were named, to log.

    `weights` `[Z]` are those of `channel_weights`.
    """
    assert isinstance(learner, Learner), type(learner)
    total, weight, numbers = torch.zeros(()), torch.zeros(()), defaultdict(list)
    for group in groups:
        error, hidden = velocity_error(learner, group, generator, weights)
        real = group.layout.noisy.mask
        cells = group.weights[real]
        total, weight = total + (error * cells).sum(), weight + cells.sum()
        numbers[group.name].append(float(error.detach().mean()))
        if learner.weight:
            logits, true = learner.names(hidden[real]), group.nouns[real]
            missed = cross_entropy(logits.float(), true, reduction="none", ignore_index=UNSAID)
            total = total + learner.weight * (missed * cells).sum()
            named = (logits.argmax(-1) == true)[true > NOTHING]
            numbers[f"{group.name} named"] += named.float().tolist()
    return total / weight, {name: sum(some) / max(1, len(some)) for name, some in numbers.items()}


def velocity_error(
    learner: Learner, group: Group, generator: torch.Generator, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighed squared error of each real noisy token, `[tokens]`, and the hidden states `[B, N, W]` that are
    named."""
    t = _times(len(group.latents), generator)
    noise = torch.randn(group.latents.shape, generator=generator)
    x, velocity = add_noise(group.latents, noise, t)
    mot, states = learner.mot, []
    predicted = mot.velocity(x, t, mot.context(group.text, group.layout, group.clean), states)
    error = ((predicted.float() - velocity).square() * weights).mean(-1)
    return error[group.layout.noisy.mask], states[learner.after - 1]


def _times(count: int, generator: torch.Generator) -> Tensor:
    late = torch.rand(count, generator=generator) < LATE
    leaning, even = (training_times(count, shift, generator) for shift in (TIME_SHIFT, 1.0))
    return torch.where(late, even, leaning)


@torch.no_grad()
def channel_weights(vae: Vae, latents: Tensor, noise: float = 0.3) -> Tensor:
    """Weights `[Z]` of mean 1: the root of the pixel error that noise in one channel of `latents` `[B, Z, h,
    w]` makes."""
    generator, clean, errors = torch.Generator().manual_seed(0), vae.decode(latents), []
    for channel in range(latents.shape[1]):
        noisy = latents.clone()
        noisy[:, channel] += noise * torch.randn(noisy[:, channel].shape, generator=generator)
        errors.append((vae.decode(noisy) - clean).square().mean())
    weights = torch.stack(errors).sqrt()
    return weights / weights.mean()
