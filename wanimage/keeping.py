"""What an edit leaves alone stays: cells that are meant to be the reference's become exactly those.

A small model sees a reference and redraws it, and what it redraws drifts. But where it means to keep a cell,
it predicts one close to the reference's, from the first steps on: over edits of the design world the distance
of the two tells kept cells from changed ones with an area under the curve of .90 to .99. So at every
evaluation the velocity of such cells is turned towards the reference's own, and the rest is painted around
them, as in blended latent diffusion (Avrahami et al. 2023), but without a mask from anybody. Where a client
does give a mask, it alone says which cells may change.

Which cells are changed is decided with hysteresis, as edges are found (Canny 1986): those far from the
reference, and those less far that touch them. Both bounds shrink where the whole edit is a faint one, such as
another expression of a face.

Letters: N cells of a picture, Z latent channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wanimage.models.layout import Grid

FAR = 0.8
"""Mean squared distance from which a cell is another one; latents have unit variance."""
NEAR = 0.3
"""The same for a cell beside one that is."""
FAR_SHARE, NEAR_SHARE = 0.5, 0.25
"""Both are at most so much of the largest distance in the picture, but never under `DRIFT`."""
DRIFT = 0.05
"""Distance up to which nobody sees a difference."""
MOSTLY = 0.5
"""Least share of cells that are kept in an edit; with fewer it is another picture, and nothing is held."""


@dataclass(frozen=True)
class Original:
    """A picture that an edit may be of."""

    latents: Tensor
    """Clean, `[N, Z]`."""
    changeable: Tensor | None = None
    """Cells `[N]` that a mask lets the edit change; None without a mask."""


def keep(velocity: Tensor, x: Tensor, t: float, grid: Grid, originals: Sequence[Original]) -> Tensor:
    """The velocity `[N, Z]` of a picture `x` `[N, Z]` at time `t` above 0, towards an original's cells where
    its mask says so or, without one, where the velocity leads close to them.

    `originals` have the same grid; the first with a mask counts, else the one that keeps most.
    """
    best, held = 0.0, velocity
    for original in originals:
        towards = (x - original.latents) / t
        if original.changeable is not None:
            return torch.where(original.changeable[:, None], velocity, towards)
        kept = unchanged((x - t * velocity - original.latents).square().mean(-1), grid)
        share = float(kept.float().mean())
        if share >= MOSTLY and share > best:
            best, held = share, torch.where(kept[:, None], towards, velocity)
    return held


def unchanged(distance: Tensor, grid: Grid) -> Tensor:
    """Which cells `[N]` an edit leaves alone, by their mean squared distance `[N]` from the reference's."""
    most = float(distance.max())
    distance = distance.view(1, 1, *grid)
    touched = (distance > max(DRIFT, min(NEAR, NEAR_SHARE * most))).float()
    changed = (distance > max(DRIFT, min(FAR, FAR_SHARE * most))).float()
    for _ in range(distance.numel()):
        grown = F.max_pool2d(changed, 3, stride=1, padding=1) * touched
        if torch.equal(grown, changed):
            break
        changed = grown
    return changed.flatten() == 0
