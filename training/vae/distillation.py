"""Semantic distillation: latents that line up with what a vision model sees (report 3.2, after VA-VAE)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def alignment_loss(
    projected: Tensor, features: Tensor, cosine_margin: float, distance_margin: float
) -> Tensor:
    """Marginal cosine plus marginal distance-matrix loss of `[B, C, h, w]` against features of that shape.

    The first asks each cell's projected latent to point where the feature points; the second asks two cells
    of a picture to be as alike as their features are. Both forgive what is within their margin.
    """
    ours, theirs = (F.normalize(x.float().flatten(2), dim=1) for x in (projected, features))  # [B, C, P]
    cosine = (ours * theirs).sum(1)
    pointing = F.relu(1 - cosine_margin - cosine).mean()
    likeness = (ours.transpose(1, 2) @ ours - theirs.transpose(1, 2) @ theirs).abs()  # [B, P, P]
    return pointing + F.relu(likeness - distance_margin).mean()


def feature_distance(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Perceptual distance: squared difference of unit features, mean over cells, summed over layers."""
    total = torch.zeros(())
    for a, b in zip(ours, theirs, strict=True):
        unit_a, unit_b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
        total = total + (unit_a - unit_b).square().sum(1).mean()
    return total
