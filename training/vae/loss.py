"""The hybrid reconstruction loss (report 3.2): visible content, opacity, transparent boundaries."""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.vae.config import LossConfig

# A background whose channels are uniform in [0, 1] has these moments.
BACKGROUND_MEAN = 1 / 2
BACKGROUND_SQUARE = 1 / 3


def composite_error(error: Tensor) -> Tensor:
    """Expected squared error of the composite over a random uniform background: `[B, 4, H, W]` -> `[B, 3, H,
    W]`.

    `error` is prediction minus target of the premultiplied planes on the 0 to 1 scale. Over a background b
    the composite errs by P - b A (P colour error, A alpha error), so its expected square is
    P^2 - 2 E[b] P A + E[b^2] A^2 (the ABMSE of AlphaVAE); no background need be drawn.
    """
    colour, alpha = error[:, :3], error[:, 3:]
    return colour**2 - 2 * BACKGROUND_MEAN * colour * alpha + BACKGROUND_SQUARE * alpha**2


def boundary_band(alpha: Tensor, radius: int) -> Tensor:
    """1 within `radius` pixels of a change of alpha, else 0; `[B, 1, H, W]` in and out."""
    size = 2 * radius + 1
    dilated = F.max_pool2d(alpha, size, stride=1, padding=radius)
    eroded = -F.max_pool2d(-alpha, size, stride=1, padding=radius)
    return ((dilated - eroded) > 0.05).to(alpha.dtype)


def boundary_weight(alpha: Tensor, config: LossConfig) -> Tensor:
    """Weight of each pixel, mean 1 over the batch: `[B, 1, H, W]` -> the same."""
    weight = torch.ones_like(alpha)
    see_through = alpha.amin((1, 2, 3)) < 1
    if see_through.any():  # opaque pictures have no boundary, and pooling them would cost a sixth of a step
        weight[see_through] += config.band * boundary_band(alpha[see_through], config.band_radius)
    return weight / weight.mean()


def reconstruction_loss(
    prediction: Tensor, target: Tensor, config: LossConfig
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of all terms, and each term, for premultiplied planes `[B, 4, H, W]` in [-1, 1]."""
    error = (prediction.float() - target) / 2
    weight = boundary_weight((target[:, 3:] + 1) / 2, config)
    terms = {
        "composite": (weight * composite_error(error)).mean(),
        "absolute": (weight * error.abs()).mean(),
        "alpha": (weight * error[:, 3:].abs()).mean(),
        "gradient": error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean(),
    }
    total = sum((getattr(config, name) * value for name, value in terms.items()), torch.zeros(()))
    return total, {name: float(value.detach()) for name, value in terms.items()}


def tint_steps(result: Tensor, pictures: Tensor, stride: int, reach: int = 4) -> Tensor:
    """Steps of `result` across cell borders in flat regions of `pictures`, one value a place `[P]`.

    Both are planes `[N, 4, H, W]` in [-1, 1]; steps are on the 0 to 1 scale.

    A place on a border counts where the picture has one value within `reach` pixels across it, there and in
    the rows beside; the step is that of the means of `reach` pixels on either side, mean over planes.
    """
    found = []
    for axis in (3, 2):  # borders between columns, between rows
        x, y = (t if axis == 3 else t.transpose(2, 3) for t in (pictures, result))
        border = torch.arange(stride, x.shape[3], stride)
        columns = border[:, None] + torch.arange(-reach, reach)  # [K, 2 reach]
        around = x[..., columns]  # [N, 4, H, K, 2 reach]
        level = (around.amax(-1) - around.amin(-1)).amax(1) == 0  # [N, H, K]
        level[:, 1:-1] &= level[:, :-2] & level[:, 2:]
        sides = y[..., columns].unflatten(-1, (2, reach)).mean(-1)
        found.append((sides[..., 1] - sides[..., 0]).abs().mean(1)[level] / 2)
    return torch.cat(found)


def latent_divergence(z: Tensor) -> Tensor:
    """KL of each channel, pooled over the batch and taken as normal, from the standard normal; mean over
    channels.

    It keeps the encoder from outgrowing the noise by scaling its latents up.
    """
    mean, variance = z.mean((0, 2, 3)), z.var((0, 2, 3), correction=0) + 1e-6
    return 0.5 * (mean**2 + variance - 1 - variance.log()).mean()
