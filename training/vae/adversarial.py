"""The critic of the last stage: judges patches of all four planes, so that edges of opacity are judged, too.

A PatchGAN with a hinge loss. Its generator and critic terms are summed into one loss with disjoint gradients:
the generator's term goes through frozen critic weights, the critic's through detached pictures; one optimiser
steps both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from wanimage.models.vae import PLANES


class Critic(nn.Module):
    """Premultiplied planes `[B, 4, H, W]` in [-1, 1] -> one score per patch `[B, 1, H/8, W/8]`."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = PLANES
        for out in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(before, out, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            before = out
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores

    def frozen(self, x: Tensor) -> Tensor:
        """The same scores, through which only `x` learns."""
        weights = {name: parameter.detach() for name, parameter in self.named_parameters()}
        scores: Tensor = functional_call(self, weights, (x,))
        return scores


def hinge(real: Tensor, drawn: Tensor) -> Tensor:
    """The critic's loss: real patches should score above 1, drawn ones below -1."""
    return F.relu(1 - real).mean() + F.relu(1 + drawn).mean()


def balance(main: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """How much larger the gradient of `main` at a layer's `weight` is than that of `other` (at most 1e4).

    Multiplying `other` with it makes both pull equally at that layer, whatever their scales (VQGAN).
    """
    pulls = [torch.autograd.grad(loss, weight, retain_graph=True)[0].norm() for loss in (main, other)]
    return (pulls[0] / (pulls[1] + 1e-4)).clamp(max=1e4).detach()
