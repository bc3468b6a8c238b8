"""From the velocities of a picture's guidance branches to the one that is followed: guided, held to what an
edit leaves alone, led to the colours that were meant.

Letters: N cells of a picture, Z latent channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wanimage.coloring import Coloring, Palette
from wanimage.keeping import Original, Unchanged, keep
from wanimage.models.keeper import Keeper
from wanimage.models.layout import Grid
from wanimage.sampling import SamplerConfig, guide


@dataclass(frozen=True)
class Aim:
    """What one picture of a render is steered towards."""

    grid: Grid
    originals: Sequence[Original] = ()
    """References of the same grid; empty for pictures of a series, which are no edits."""
    palette: Palette | None = None


@dataclass(frozen=True)
class Helpers:
    """What a family has to steer with."""

    coloring: Coloring | None = None
    """How latents look, for palettes; without it they are as the model paints them."""
    unchanged: Unchanged | None = None
    """Tells what an edit leaves alone; without it nothing is held but by masks."""

    @staticmethod
    def of(family: Path, coloring: Coloring) -> "Helpers":
        """With what a family's folder has beside its preview: perhaps a keeper."""
        return Helpers(coloring, Keeper.load(family).unchanged if (family / "keeper.json").exists() else None)


def aims(
    grids: Sequence[Grid], originals: Sequence[tuple[Grid, Original]], palettes: Sequence[Palette | None]
) -> list[Aim]:
    """Of each picture of a render, from its grid and its palette; a single one may be an edit of references
    that have its grid."""
    edited = [original for grid, original in originals if [grid] == list(grids)]
    return [Aim(grid, edited, palette) for grid, palette in zip(grids, palettes, strict=True)]


def steer(
    branches: Sequence[Tensor],
    x: Tensor,
    t: float,
    aim: Aim,
    sampler: SamplerConfig,
    helpers: Helpers,
) -> Tensor:
    """The velocity `[N, Z]` of a picture `x` `[N, Z]` at time `t` above 0.

    `branches` `[N, Z]` each: with prompt; then, if guided, without; then, if guided by references, without
    those either.
    """
    velocity = branches[0]
    if len(branches) > 1:
        velocity = guide(velocity, branches[1], branches[2] if len(branches) > 2 else None, t, sampler)
    if sampler.keep:
        velocity = keep(velocity, branches, x, t, aim.grid, aim.originals, helpers.unchanged)
    if sampler.color and aim.palette and helpers.coloring:
        velocity = helpers.coloring.pull(velocity, x, t, aim.palette)
    return velocity
