"""3D-RoPE and the one frame of positions that text, references and pictures share (report 3.1, "Positional
encoding").

Unusual here:
- The frozen understanding branch hands over keys *before* its own MRoPE; this module rotates them again, in
  the frame of the generation branch, so that both branches measure distance with the same ruler.
- A position is (t, h, w). Text advances along t at h = w = 0. A picture sits at one t and spreads its cells
  on a grid centred on h = w = 0, so a 4*16 and a 16*4 picture share their middle. Half cells are legal:
  positions are floats.
- Going from text to picture or back skips `offset` along t: the semantic boundary of the report.
- ViT tokens are coarser than latent cells (one covers 2*2); they are placed at the centre of the cells they
  cover.

Letters: B batch, H heads, N tokens, D head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RopeConfig:
    """How a head's dimensions are shared between the axes."""

    axes: tuple[int, int, int] = (16, 24, 24)
    """Dimensions of a head given to t, h, w; each even; their sum is the head dimension."""
    theta: tuple[float, float, float] = (10_000.0, 100.0, 100.0)
    """Base of the wavelengths per axis. Grids span tens of cells, text spans thousands of positions."""
    offset: float = 8.0
    """Gap along t between a text segment and a picture segment."""

    @property
    def head_dim(self) -> int:
        return sum(self.axes)


def frequencies(config: RopeConfig, device: torch.device | None = None) -> Tensor:
    """Angular frequencies `[3, D/2]`: row a is zero outside the pairs that belong to axis a."""
    rows = torch.zeros(3, config.head_dim // 2, dtype=torch.float32, device=device)
    start = 0
    for axis, (width, theta) in enumerate(zip(config.axes, config.theta, strict=True)):
        pairs = width // 2
        exponents = torch.arange(pairs, dtype=torch.float32, device=device) / pairs
        rows[axis, start : start + pairs] = theta**-exponents
        start += pairs
    return rows


def rope_table(positions: Tensor, config: RopeConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[B, 1, N, D/2]` (float32) for positions `[B, N, 3]`."""
    angles = positions.float() @ frequencies(config, positions.device)  # [B, N, D/2]
    return angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate queries or keys `[B, H, N, D]` by a table `[B, 1, N, D/2]`; dtype is kept.

    Dimension i pairs with i + D/2, the layout of Qwen3-VL, whose projections the generation branch starts
    from.
    """
    cos, sin = (part.to(x.dtype) for part in table)
    first, second = x.chunk(2, dim=-1)  # [B, H, N, D/2] each
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def grid_positions(rows: int, columns: int, t: float, cells: tuple[int, int] | None = None) -> Tensor:
    """Positions `[rows * columns, 3]` of a picture at time t, centred on (0, 0), row-major.

    `cells` is the extent of the picture in latent cells when its tokens are coarser than cells (ViT tokens).
    """
    height, width = cells or (rows, columns)
    h = (torch.arange(rows, dtype=torch.float32) + 0.5) * (height / rows) - height / 2
    w = (torch.arange(columns, dtype=torch.float32) + 0.5) * (width / columns) - width / 2
    grid = torch.stack(torch.meshgrid(h, w, indexing="ij"), dim=-1).reshape(-1, 2)
    return torch.cat([torch.full((rows * columns, 1), t), grid], dim=1)


class Frame:
    """A cursor along t that places segments one after another in the shared frame.

    >>> frame = Frame(offset=8.0)
    >>> frame.text(3)[:, 0].tolist(), frame.image(1, 1)[0, 0].item(), frame.text(1)[0, 0].item()
    ([0.0, 1.0, 2.0], 10.0, 18.0)
    """

    def __init__(self, offset: float, start: float = 0.0) -> None:
        self.offset = offset
        self._next = start
        self._was_image: bool | None = None

    def text(self, length: int) -> Tensor:
        """Positions `[length, 3]` of the next text tokens."""
        start = self._enter(is_image=False)
        t = start + torch.arange(length, dtype=torch.float32)
        self._next = start + length
        return torch.nn.functional.pad(t.unsqueeze(1), (0, 2))

    def image(self, rows: int, columns: int, cells: tuple[int, int] | None = None) -> Tensor:
        """Positions `[rows * columns, 3]` of the next picture, which takes one t."""
        t = self._enter(is_image=True)
        self._next = t + 1
        return grid_positions(rows, columns, t, cells)

    def skip(self, distance: float) -> None:
        """Leave room: the next segment starts `distance` later (training varies this so that long series are
        not new)."""
        self._next += distance

    def _enter(self, is_image: bool) -> float:
        if self._was_image is not None and self._was_image != is_image:
            self._next += self.offset - 1  # the cursor already stands one past the last position
        self._was_image = is_image
        return self._next
