"""Pictures at a larger size: plain bicubic enlargement of any part of one.

A part is computed alone, from the few source pixels it needs, and equals the same part of the whole; so a
picture of 16 megapixels is never held enlarged. Beyond its edges a picture goes on as its last pixels do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wanimage.images import CELL

Size = tuple[int, int]
"""(height, width) in pixels."""
SHARPNESS = -0.5
"""Parameter of the cubic: Catmull and Rom's."""


def cells_of(size: Size) -> tuple[int, int]:
    """Rows and columns of cells that cover a picture."""
    return -(-size[0] // CELL), -(-size[1] // CELL)


@dataclass(frozen=True)
class Enlargement:
    """One picture on its way to a larger size."""

    planes: Tensor
    """Premultiplied, `[4, h, w]` float32 in [-1, 1]."""
    size: Size

    @property
    def scale(self) -> float:
        """How many times as long a side becomes."""
        return max(self.size) / max(self.planes.shape[1:])

    def part(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """Planes `[4, R, C]` of these rows and columns (from, to) of the large picture; they may lie beyond
        it."""
        down, top, bottom = _weights(self.planes.shape[1], self.size[0], *rows)
        across, left, right = _weights(self.planes.shape[2], self.size[1], *columns)
        return (down @ self.planes[:, top:bottom, left:right] @ across.T).clamp_(-1, 1)


def _weights(source: int, target: int, start: int, stop: int) -> tuple[Tensor, int, int]:
    """The matrix `[stop - start, last - first]` that makes positions `start..stop` of a line of `target`
    pixels out of source pixels `first..last`."""
    at = (torch.arange(start, stop, dtype=torch.float64).clamp(0, target - 1) + 0.5) * source / target - 0.5
    taps = at.floor()[:, None] + torch.arange(-1, 3)  # [P, 4]
    values = _cubic((at[:, None] - taps).abs())
    taps = taps.clamp(0, source - 1).long()
    first, last = int(taps.min()), int(taps.max()) + 1
    matrix = torch.zeros(stop - start, last - first, dtype=torch.float64)
    matrix.scatter_add_(1, taps - first, values)
    return matrix.float(), first, last


def _cubic(distance: Tensor) -> Tensor:
    a = SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
