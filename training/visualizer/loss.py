"""The flow-matching loss over all groups of a batch, a weighted mean over real latent tokens.

All latent channels have unit variance, but the decoder does not make equally much of each: between the
loudest and the faintest lies a factor of ten in pixels. Channels are weighed by the root of that, halfway to
pixel error. Cells that an object covers count more than empty ones (`DataConfig.emphasis`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.visualizer.data import Group
from wanimage.models.mot import Mot
from wanimage.models.vae import Vae
from wanimage.sampling import add_noise, training_times

TIME_SHIFT = 3.0
"""Training times lean towards noise (median 3/4): what the prompt decides is decided there."""


def visualizer_loss(
    mot: torch.nn.Module, groups: list[Group], generator: torch.Generator, weights: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Squared error of the velocity; one time for all pictures of a render. Also each group's loss, to log.

    `weights` `[Z]` are those of `channel_weights`.
    """
    assert isinstance(mot, Mot), type(mot)
    total, weight, numbers = torch.zeros(()), torch.zeros(()), {}
    for group in groups:
        error = velocity_error(mot, group, generator, weights)
        cells = group.weights[group.layout.noisy.mask]
        total, weight = total + (error * cells).sum(), weight + cells.sum()
        numbers[group.name] = float(error.detach().mean())
    return total / weight, numbers


def velocity_error(mot: Mot, group: Group, generator: torch.Generator, weights: Tensor) -> Tensor:
    """Weighed squared error of each real noisy token, `[tokens]`."""
    t = training_times(len(group.latents), TIME_SHIFT, generator)
    noise = torch.randn(group.latents.shape, generator=generator)
    x, velocity = add_noise(group.latents, noise, t)
    predicted = mot.velocity(x, t, mot.context(group.text, group.layout, group.clean))
    return ((predicted.float() - velocity).square() * weights).mean(-1)[group.layout.noisy.mask]


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
