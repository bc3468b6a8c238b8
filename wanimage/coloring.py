"""A palette that a prompt states, "#BEA112 40% and #CFB2C0 60%", is kept to the number.

Small weights read no hex colours: they lay a palette out well and colour it wrongly. Latents look nearly
linear (the family's preview), so at every evaluation the predicted picture is looked at in blocks of a few
pixels, the blocks are shared out among the colours, nearest first and each as many as its share, and
the velocity is turned so that the prediction shows them. Where which colour lies stays the model's.

Letters: N cells of a picture, Z latent channels, K blocks of a cell, C colours.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from wanimage.images import CELL

BLOCK = 4
"""Pixels a side of a block; as many blocks a cell, in three colours, as a cell has latent channels."""
RIDGE = 0.05
"""What keeps the way back from blocks to latents from following noise."""
_STATED = re.compile(r"#([0-9a-fA-F]{6})\s+(\d{1,3}(?:\.\d+)?)\s?%")
_WHOLE = (99.0, 101.0)
"""Percent that a palette's shares sum to."""


@dataclass(frozen=True)
class Palette:
    """Colours `[C, 3]` in [-1, 1] and their shares `[C]`, which sum to 1."""

    colors: NDArray[np.float32]
    shares: NDArray[np.float64]


def stated(prompt: str) -> Palette | None:
    """The palette of a prompt that gives each hex colour its percent; None where the percents do not sum to
    100."""
    found = _STATED.findall(prompt)
    percents = np.array([float(percent) for _, percent in found])
    if not _WHOLE[0] <= percents.sum() <= _WHOLE[1]:
        return None
    colors = np.array([list(bytes.fromhex(value)) for value, _ in found], np.float32) / 127.5 - 1
    return Palette(colors, percents / percents.sum())


class Coloring:
    """How latents look in blocks, and which latents look so."""

    def __init__(self, basis: Tensor, bias: Tensor) -> None:
        """The family's preview: `[Z, 4 * 16 * 16]` and `[4 * 16 * 16]`, planes first."""
        side = CELL // BLOCK
        parts = (4, side, BLOCK, side, BLOCK)
        look = basis.view(-1, *parts).mean((3, 5))[:, :3]
        self._look = look.permute(0, 2, 3, 1).flatten(1)  # [Z, K * 3]
        self._bias = bias.view(parts).mean((2, 4))[:3].permute(1, 2, 0).flatten()
        ridge = RIDGE * torch.eye(len(basis))
        self._back = self._look.T @ torch.linalg.inv(self._look @ self._look.T + ridge)  # [K * 3, Z]

    @staticmethod
    def load(family: Path) -> "Coloring":
        """From the preview of a family's folder."""
        preview = load_file(family / "preview.safetensors")
        return Coloring(preview["basis"].float(), preview["bias"].float())

    def pull(self, velocity: Tensor, x: Tensor, t: float, palette: Palette) -> Tensor:
        """The velocity `[N, Z]` of a picture `x` `[N, Z]` at time `t` above 0, towards the palette."""
        with torch.autocast(x.device.type, enabled=False):
            seen = (x - t * velocity) @ self._look + self._bias
            wanted = palette.colors[shared_out(seen.reshape(-1, 3).numpy(), palette)]
            return velocity - (torch.from_numpy(wanted).view_as(seen) - seen) @ self._back / t


def shared_out(blocks: NDArray[np.float32], palette: Palette) -> NDArray[np.int64]:
    """Which colour each block `[B, 3]` is given: nearest pairs first, each colour as often as its share."""
    count, kinds = len(blocks), len(palette.colors)
    exact = palette.shares * count
    left = np.floor(exact).astype(int)
    left[np.argsort(left - exact)[: count - left.sum()]] += 1
    distance = np.square(blocks[:, None] - palette.colors[None]).sum(-1)
    given = np.full(count, -1)
    for pair in np.argsort(distance, axis=None):
        block, color = divmod(int(pair), kinds)
        if given[block] < 0 and left[color]:
            given[block] = color
            left[color] -= 1
    return given
