"""What an edit leaves alone stays: cells that are meant to be the reference's become exactly those.

A small model sees a reference and redraws it, and what it redraws drifts. But where it means to keep a cell,
it predicts one close to the reference's, from the first step on, and `models/keeper.py` tells which cells
these are. So at every evaluation the velocity of such cells is turned towards the reference's own, and the
rest is painted around them, as in blended latent diffusion (Avrahami et al. 2023), but without a mask from
anybody. Where a client does give a mask, it alone says which cells may change.

Letters: N cells of a picture, Z latent channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wanimage.models.keeper import sights
from wanimage.models.layout import Grid

Unchanged = Callable[[Tensor], Tensor]
"""Which cells `[N]` stay, told from sights `[F, h, w]`: `Keeper.unchanged`."""


@dataclass(frozen=True)
class Original:
    """A picture that an edit may be of."""

    latents: Tensor
    """Clean, `[N, Z]`."""
    changeable: Tensor | None = None
    """Cells `[N]` that a mask lets the edit change; None without a mask."""


def keep(
    velocity: Tensor,
    branches: Sequence[Tensor],
    x: Tensor,
    t: float,
    grid: Grid,
    originals: Sequence[Original],
    unchanged: Unchanged | None,
) -> Tensor:
    """The velocity `[N, Z]` of a picture `x` `[N, Z]` at time `t` above 0, towards an original's cells where
    its mask says so or, without one, where `unchanged` does.

    `branches` are the velocities before guidance, with prompt and, if there is one, without. `originals` have
    the same grid; the first with a mask counts, else the one that keeps most. Without `unchanged` masks alone
    hold.
    """
    most, held = 0.0, velocity
    for original in originals:
        towards = (x - original.latents) / t
        if original.changeable is not None:
            return torch.where(original.changeable[:, None], velocity, towards)
        if unchanged is None:
            continue
        prompted, *unprompted = (x - t * branch for branch in branches[:2])
        kept = unchanged(sights(prompted, unprompted[0] if unprompted else None, original.latents, t, grid))
        share = float(kept.float().mean())
        if share > most:
            most, held = share, torch.where(kept[:, None], towards, velocity)
    return held
