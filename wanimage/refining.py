"""Refinement of a picture, tile by tile: knows neither bus nor gRPC (report 3.5).

1. The source is enlarged to its target size by bicubic interpolation (`enlarging.py`).
2. Each tile of the enlargement, with an overlap, is encoded and denoised, in one step
   (`models/refiner.py`). Noise is that of the whole picture, cut, so that neighbours agree; where they
   overlap, latents are blended.
3. When all are there, each tile is decoded with a halo of latents around it, so that no seam shows.
4. Broad shades are set back to the source's: the model sharpens edges, and drifts a little in what is flat.

Tiles split a picture evenly, so seconds a megapixel hardly depend on its size. `refine` does it all for one
picture; a service takes the same parts apart, to batch tiles of several.

Letters: B tiles of a batch, h w cells of a tile with its overlap, Z latent channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wanimage.enlarging import Enlargement, cells_of
from wanimage.images import CELL, Rgba, resize
from wanimage.models.refiner import Place, Prompt, Refiner, state_at, step
from wanimage.models.understanding import Understanding, pad_batch
from wanimage.models.vae import Vae, premultiplied, straight
from wanimage.sampling import picture_noise
from wanimage.tiling import Span, Tile, tiles_of

ENCODE_MARGIN = 2
"""Cells around a tile that the encoder is shown."""
DECODE_HALO = 4
"""Cells around a tile that the decoder is shown."""
SHADE = 4
"""Source pixels a side of the squares whose mean a refinement keeps."""


class Mode(Enum):
    """What may change."""

    REPAIR = "repair"
    """Follows the prompt and repairs; details may change."""
    HIGH_FIDELITY = "high_fidelity"
    """Keeps identity and structure; only sharpens."""


@dataclass(frozen=True, kw_only=True)
class ModeConfig:
    """How a mode is sampled."""

    start: float
    """Noise level at which it begins: .1 to .3 keeps structure, .4 to .6 repairs."""
    steps: int


MODES = {
    Mode.REPAIR: ModeConfig(start=0.5, steps=1),
    Mode.HIGH_FIDELITY: ModeConfig(start=0.1, steps=1),
}


Level = TypeVar("Level", float, Tensor)


def levels(start: Level, steps: int) -> list[Level]:
    """Noise levels from `start` down to 0, `steps + 1` of them, equally far apart; several paths' as
    tensors."""
    return [start * (1 - i / steps) for i in range(steps + 1)]


def enlargement_of(source: Rgba, size: tuple[int, int]) -> Enlargement:
    """The enlargement of straight RGBA `[H, W, 4]` uint8 to `size` (height, width)."""
    return Enlargement(_planes(source)[0], size)


def encode_tile(vae: Vae, enlarged: Enlargement, tile: Tile, margin: int = ENCODE_MARGIN) -> Tensor:
    """Latent `[Z, h, w]` of a tile of the enlargement."""
    wide = tile.outer.widened(margin)
    rows, columns = wide.cut(CELL)
    planes = enlarged.part((rows.start, rows.stop), (columns.start, columns.stop))
    z = vae.encode(planes[None].contiguous(memory_format=torch.channels_last))[0].float()
    return z[:, *wide.inside()]


def places_of(tiles: Sequence[Tile], scales: Sequence[float]) -> Place:
    """Where tiles of one size lie, as the model takes it."""
    columns = [
        [t.rows.begin for t in tiles], [t.columns.begin for t in tiles],
        [t.grid[0] for t in tiles], [t.grid[1] for t in tiles], list(scales),
    ]  # fmt: skip
    return Place(*(torch.tensor(column, dtype=torch.float32) for column in columns))


def read_prompts(
    understanding: Understanding, refiner: Refiner, prompts: Sequence[str], multiple: int = 1
) -> Prompt:
    """What the frozen branch makes of prompts, one a row, padded to a multiple of tokens; an empty prompt is
    fine."""
    ids, mask = pad_batch([understanding.condition_ids(prompt, (8, 8)) for prompt in prompts])
    ids, mask = (functional.pad(each, (0, -each.shape[1] % multiple)) for each in (ids, mask))
    return refiner.read(understanding.keys_values(ids, mask), mask.bool())


def denoise(
    refiner: Refiner, low: Tensor, noise: Tensor, place: Place, prompt: Prompt, modes: Sequence[ModeConfig]
) -> Tensor:
    """Clean latents `[B, Z, h, w]` of tiles whose enlargements are `low`; tiles of different modes take as
    many steps as the longest needs."""
    start = torch.tensor([mode.start for mode in modes])
    x = state_at(low, low, noise, start, start)
    for level, following in itertools.pairwise(levels(start, max(mode.steps for mode in modes))):
        clean = refiner.clean(x, low, level, start, place, prompt)
        x = step(x, clean, level, following)
    return x


@dataclass
class Latent:
    """The latent of a picture, put together from overlapping tiles."""

    grid: tuple[int, int]
    channels: int
    _sum: Tensor = field(init=False, repr=False)
    _weight: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sum = torch.zeros(self.channels, *self.grid)
        self._weight = torch.zeros(self.grid)

    def add(self, tile: Tile, latent: Tensor) -> None:
        """Blend in a tile's `[Z, h, w]`: its share falls linearly to its edges."""
        weight = _ramp(tile.rows, tile.grid[0])[:, None] * _ramp(tile.columns, tile.grid[1])
        self._sum[:, *tile.cut()] += latent * weight
        self._weight[tile.cut()] += weight

    def whole(self) -> Tensor:
        """`[Z, H/16, W/16]`, once every tile is there."""
        return self._sum / self._weight


def _ramp(span: Span, cells: int) -> Tensor:
    """Weights `[end - begin]` of a span's cells: rising over the overlap before it, falling over that after
    it."""
    at = torch.arange(span.begin, span.end) + 0.5
    rise = (at - span.begin) / max(1, 2 * (span.first - span.begin))
    fall = (span.end - at) / max(1, 2 * (span.end - span.last))
    ones = torch.ones_like(at)
    return torch.minimum(
        ones if span.begin == 0 else rise.clamp(max=1), ones if span.end == cells else fall.clamp(max=1)
    )


def decode_tile(vae: Vae, latent: Tensor, tile: Tile, halo: int = DECODE_HALO) -> Rgba:
    """Straight RGBA of a tile without its overlap, from the latent `[Z, H/16, W/16]` of the whole picture."""
    wide = tile.widened(halo)
    planes = vae.decode(latent[None, :, *wide.cut()].contiguous(memory_format=torch.channels_last)).float()
    return np.asarray(straight(planes[:, :, *wide.inside(CELL)])[0].numpy())


def _planes(picture: Rgba) -> Tensor:
    """Premultiplied `[1, 4, H, W]` in [-1, 1] of straight RGBA."""
    return premultiplied(torch.from_numpy(picture.copy())[None])


def blank(grid: tuple[int, int]) -> Rgba:
    """Room for the decoded tiles of a picture of `grid` cells, `[H, W, 4]` uint8."""
    return np.zeros((grid[0] * CELL, grid[1] * CELL, 4), np.uint8)


def place_tile(picture: Rgba, tile: Tile, decoded: Rgba) -> None:
    """Put a decoded tile where it belongs, in place."""
    picture[tile.own(CELL)] = decoded


def keep_shades(picture: Rgba, enlarged: Enlargement) -> Rgba:
    """The refined picture `[H, W, 4]` with the broad shades of its source: one round of back-projection
    (Irani and Peleg 1991), of what squares of `SHADE` source pixels lack on average."""
    source = enlarged.planes
    small = _planes(resize(picture, *source.shape[1:]))[0]
    coarse = (-(-source.shape[1] // SHADE), -(-source.shape[2] // SHADE))
    missing = Enlargement(functional.adaptive_avg_pool2d(source - small, coarse), enlarged.size)
    settled = np.empty_like(picture)
    for tile in tiles_of(cells_of(enlarged.size)):
        rows, columns = tile.own(CELL)
        planes = _planes(picture[rows, columns])
        bottom, right = rows.start + planes.shape[2], columns.start + planes.shape[3]
        planes += missing.part((rows.start, bottom), (columns.start, right))
        settled[rows, columns] = straight(planes)[0].numpy()
    return settled


def decode(vae: Vae, latent: Tensor, on_tile: Callable[[], None] = lambda: None) -> Rgba:
    """Straight RGBA of a latent `[Z, H/16, W/16]` of any size, tile by tile."""
    grid = (latent.shape[1], latent.shape[2])
    picture = blank(grid)
    for tile in tiles_of(grid):
        place_tile(picture, tile, decode_tile(vae, latent, tile))
        on_tile()
    return picture


@torch.inference_mode()
def refine(
    vae: Vae,
    refiner: Refiner,
    enlarged: Enlargement,
    prompt: Prompt,
    mode: ModeConfig,
    seed: int,
    on_tile: Callable[[], None] = lambda: None,
) -> Rgba:
    """The refined picture, straight RGBA `[height, width, 4]` uint8. `prompt` has one row."""
    grid = cells_of(enlarged.size)
    noise = picture_noise(seed, (vae.config.latent_channels, *grid))
    latent = Latent(grid, vae.config.latent_channels)
    for tile in tiles_of(grid):
        low = encode_tile(vae, enlarged, tile)[None]
        place = places_of([tile], [enlarged.scale])
        latent.add(tile, denoise(refiner, low, noise[None, :, *tile.cut()], place, prompt, [mode])[0])
        on_tile()
    picture = decode(vae, latent.whole(), on_tile)
    return keep_shades(picture[: enlarged.size[0], : enlarged.size[1]], enlarged)
