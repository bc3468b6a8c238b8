"""Refinement of a picture, tile by tile: knows neither bus nor gRPC (report 3.5).

1. The source is enlarged to its target size by bicubic interpolation (`enlarging.py`).
2. Each tile of the enlargement, with an overlap, is encoded and denoised, in one step
   (`models/refiner.py`). Noise is that of the whole picture, cut, so that neighbours agree; where they
   overlap, latents are blended.
3. When all are there, each tile is decoded with a halo of latents around it, so that no seam shows.

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
from wanimage.images import CELL, Rgba
from wanimage.models.refiner import Place, Prompt, Refiner, state_at, step
from wanimage.models.understanding import Understanding, pad_batch
from wanimage.models.vae import Vae, premultiplied, straight
from wanimage.sampling import picture_noise

TILE_CELLS = 48
"""Most cells a side of a tile, without its overlap."""
OVERLAP = 4
"""Cells on each side of a tile that its neighbour computes, too."""
ENCODE_MARGIN = 2
"""Cells around a tile that the encoder is shown."""
DECODE_HALO = 4
"""Cells around a tile that the decoder is shown."""


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


@dataclass(frozen=True)
class Span:
    """One side of a tile, in cells: `first..last` is its own, `begin..end` includes what it overlaps."""

    first: int
    last: int
    begin: int
    end: int


@dataclass(frozen=True)
class Tile:
    """A part of a picture of `grid` (rows, columns) cells."""

    rows: Span
    columns: Span
    grid: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Cells (rows, columns) with the overlap: tiles of one size may share a batch."""
        return self.rows.end - self.rows.begin, self.columns.end - self.columns.begin

    @property
    def cut(self) -> tuple[slice, slice]:
        """Its rows and columns with the overlap, in what has a value a cell."""
        return slice(self.rows.begin, self.rows.end), slice(self.columns.begin, self.columns.end)


def tiles_of(grid: tuple[int, int], most: int = TILE_CELLS, overlap: int = OVERLAP) -> list[Tile]:
    """The tiles of a picture of `grid` cells, row by row."""
    rows, columns = (_spans(side, most, overlap) for side in grid)
    return [Tile(row, column, grid) for row, column in itertools.product(rows, columns)]


def _spans(cells: int, most: int, overlap: int) -> list[Span]:
    count = -(-cells // most)
    edges = [round(i * cells / count) for i in range(count + 1)]
    return [Span(a, b, max(0, a - overlap), min(cells, b + overlap)) for a, b in itertools.pairwise(edges)]


def enlargement_of(source: Rgba, size: tuple[int, int]) -> Enlargement:
    """The enlargement of straight RGBA `[H, W, 4]` uint8 to `size` (height, width)."""
    return Enlargement(premultiplied(torch.from_numpy(source.copy())[None])[0], size)


def encode_tile(vae: Vae, enlarged: Enlargement, tile: Tile, margin: int = ENCODE_MARGIN) -> Tensor:
    """Latent `[Z, h, w]` of a tile of the enlargement."""
    (y0, y1), (x0, x1) = (
        (max(0, span.begin - margin), min(side, span.end + margin))
        for span, side in zip((tile.rows, tile.columns), tile.grid, strict=True)
    )
    planes = enlarged.part((y0 * CELL, y1 * CELL), (x0 * CELL, x1 * CELL))
    z = vae.encode(planes[None].contiguous(memory_format=torch.channels_last))[0].float()
    return z[:, tile.rows.begin - y0 : tile.rows.end - y0, tile.columns.begin - x0 : tile.columns.end - x0]


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
        self._sum[:, *tile.cut] += latent * weight
        self._weight[tile.cut] += weight

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
    spans = (tile.rows, tile.columns)
    (y0, y1), (x0, x1) = (
        (max(0, s.first - halo), min(side, s.last + halo)) for s, side in zip(spans, tile.grid, strict=True)
    )
    cut = latent[None, :, y0:y1, x0:x1].contiguous(memory_format=torch.channels_last)
    planes = vae.decode(cut).float()
    rows, columns = (
        slice((s.first - start) * CELL, (s.last - start) * CELL)
        for s, start in zip(spans, (y0, x0), strict=True)
    )
    return np.asarray(straight(planes[:, :, rows, columns])[0].numpy())


def blank(grid: tuple[int, int]) -> Rgba:
    """Room for the decoded tiles of a picture of `grid` cells, `[H, W, 4]` uint8."""
    return np.zeros((grid[0] * CELL, grid[1] * CELL, 4), np.uint8)


def place_tile(picture: Rgba, tile: Tile, decoded: Rgba) -> None:
    """Put a decoded tile where it belongs, in place."""
    rows, columns = (slice(s.first * CELL, s.last * CELL) for s in (tile.rows, tile.columns))
    picture[rows, columns] = decoded


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
        latent.add(tile, denoise(refiner, low, noise[None, :, *tile.cut], place, prompt, [mode])[0])
        on_tile()
    picture = decode(vae, latent.whole(), on_tile)
    return picture[: enlarged.size[0], : enlarged.size[1]]
