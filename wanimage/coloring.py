"""Colours that are given by hex are kept to the number: a palette or a background of a request, or a palette
that a prompt states, "#BEA112 40% and #CFB2C0 60%".

Small weights read no hex colours: they lay a palette out well and colour it wrongly. Latents look nearly
linear (the family's preview), so at every evaluation the predicted picture is looked at in blocks of a few
pixels, the blocks are shared out among the colours, nearest first and each as many as its share, and
the velocity is turned so that the prediction shows them. Where which colour lies stays the model's.

A stated palette is the whole picture. Colours of a request lie behind other things, and the prompt says them
in words: of such only blocks that look like the word or like the colour itself are led, the rest stays.

Letters: N cells of a picture, Z latent channels, K blocks of a cell, C colours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from wanimage.conditions import COLORS, hex_word
from wanimage.images import CELL
from wanimage.v1 import types_pb2 as pb

BLOCK = 4
"""Pixels a side of a block; as many blocks a cell, in three colours, as a cell has latent channels."""
RIDGE = 0.05
"""What keeps the way back from blocks to latents from following noise."""
REACH = 0.45
"""Distance, of colours in [-1, 1], from which a block shows something else than the colour that was meant."""
_STATED = re.compile(r"#([0-9a-fA-F]{6})\s+(\d{1,3}(?:\.\d+)?)\s?%")
_WHOLE = (99.0, 101.0)
"""Percent that a palette's shares sum to."""


@dataclass(frozen=True)
class Palette:
    """Colours `[C, 3]` in [-1, 1] and their shares `[C]`, which sum to 1."""

    colors: NDArray[np.float32]
    shares: NDArray[np.float64]
    said: NDArray[np.float32] | None = None
    """The colours `[C, 3]` of the words that the prompt has for them; None where it is the whole picture."""


def stated(prompt: str) -> Palette | None:
    """The palette of a prompt that gives each hex colour its percent; None where the percents do not sum to
    100."""
    found = _STATED.findall(prompt)
    percents = np.array([float(percent) for _, percent in found])
    if not _WHOLE[0] <= percents.sum() <= _WHOLE[1]:
        return None
    return Palette(_colors([f"#{value}" for value, _ in found]), percents / percents.sum())


def meant(palette: pb.Palette, background: pb.Background) -> Palette | None:
    """What a request gives by hex and `limits.joined_prompt` says in words: its background, else its palette;
    both checked before."""
    if background.kind == pb.Background.KIND_TRANSPARENT:
        return None
    if background.kind == pb.Background.KIND_COLOR:
        palette = pb.Palette(colors=[pb.PaletteColor(hex=background.hex)])
    if not palette.colors:
        return None
    given = [color.proportion if color.HasField("proportion") else 1.0 for color in palette.colors]
    said = np.array([COLORS[hex_word(color.hex)] for color in palette.colors], np.float32) / 127.5 - 1
    shares = np.array(given) / max(sum(given), 1e-9)
    return Palette(_colors([color.hex for color in palette.colors]), shares, said)


def _colors(values: Sequence[str]) -> NDArray[np.float32]:
    """`[C, 3]` in [-1, 1] of "#RRGGBB"."""
    return np.array([list(bytes.fromhex(value[1:])) for value in values], np.float32) / 127.5 - 1


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
            wanted = torch.from_numpy(led(seen.reshape(-1, 3).numpy(), palette)).view_as(seen)
            return velocity - (wanted - seen) @ self._back / t


def led(blocks: NDArray[np.float32], palette: Palette) -> NDArray[np.float32]:
    """What blocks `[B, 3]` are to show: a colour of the palette, or themselves where they show another
    thing."""
    found = blocks.copy()
    mine = np.full(len(blocks), True)
    if palette.said is not None:
        mine = _away(blocks, palette).min(1) < REACH**2
    found[mine] = palette.colors[shared_out(blocks[mine], palette)]
    return found


def shared_out(blocks: NDArray[np.float32], palette: Palette) -> NDArray[np.int64]:
    """Which colour each block `[B, 3]` is given: nearest pairs first, each colour as often as its share."""
    count, kinds = len(blocks), len(palette.colors)
    exact = palette.shares * count
    left = np.floor(exact).astype(int)
    left[np.argsort(left - exact)[: count - left.sum()]] += 1
    distance = _away(blocks, palette)
    given = np.full(count, -1)
    for pair in np.argsort(distance, axis=None):
        block, color = divmod(int(pair), kinds)
        if given[block] < 0 and left[color]:
            given[block] = color
            left[color] -= 1
    return given


def _away(blocks: NDArray[np.float32], palette: Palette) -> NDArray[np.float32]:
    """Squared distance `[B, C]` of blocks `[B, 3]` from each colour, or from its word's if
    that is nearer."""
    looks = [palette.colors] if palette.said is None else [palette.colors, palette.said]
    found: NDArray[np.float32] = np.min([np.square(blocks[:, None] - each).sum(-1) for each in looks], axis=0)
    return found
