"""The flow-matching loss over all groups of a batch, a mean over real latent tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from training.visualizer.data import Group
from wanimage.models.mot import Mot
from wanimage.sampling import SamplerConfig, add_noise, training_times


def visualizer_loss(
    mot: torch.nn.Module, groups: list[Group], generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Squared error of the velocity; one time for all pictures of a render. Also the loss of each group, to
    log."""
    assert isinstance(mot, Mot), type(mot)
    total, tokens, numbers = torch.zeros(()), 0, {}
    for group in groups:
        error = velocity_error(mot, group, generator)
        total, tokens = total + error.sum(), tokens + len(error)
        numbers[group.name] = float(error.detach().mean())
    return total / tokens, numbers


def velocity_error(mot: Mot, group: Group, generator: torch.Generator) -> Tensor:
    """Mean squared error over channels of each real noisy token, `[tokens]`."""
    t = training_times(len(group.latents), SamplerConfig().shift, generator)
    noise = torch.randn(group.latents.shape, generator=generator)
    x, velocity = add_noise(group.latents, noise, t)
    predicted = mot.velocity(x, t, mot.context(group.text, group.layout, group.clean))
    return (predicted.float() - velocity).square().mean(-1)[group.layout.noisy.mask]
