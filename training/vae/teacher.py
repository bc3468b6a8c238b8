"""The frozen vision tower that the VAE learns from: what it sees of a picture, layer by layer.

The report's teacher is a large vision model; the nano family's is its own, the tower of its understanding
branch. Its patches are as large as the VAE's cells, so its features lie on the latents' grid.
"""

from pathlib import Path

import torch
from torch import Tensor

from wanimage.models.qwen3vl import see
from wanimage.models.understanding import Understanding

SEEN_PX = 128
"""Largest side of what is shown to the tower, which was trained on pictures of about this size."""


class Teacher:
    """Features of RGB pictures; differentiable in the picture, fixed in its weights."""

    def __init__(self, understanding: Understanding) -> None:
        self.visual = understanding.model.model.visual
        self.patch = int(understanding.preprocessor["patch_size"])
        self.merge = int(understanding.preprocessor["merge_size"])

    @classmethod
    def load(cls, family: Path) -> "Teacher":
        """The tower of an exported family; raises ValueError when it has none yet."""
        folder = family / "understanding"
        if not (folder / "config.json").exists():
            raise ValueError(
                f"{folder} holds no understanding branch to learn from; train it first: "
                f"python -m training.understanding --export {family}"
            )
        return cls(Understanding.load(folder))

    @property
    def width(self) -> int:
        """Channels of a feature."""
        return int(self.visual.config.hidden_size)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Hidden states `[B, C, h, w]` after each block, of RGB `[B, 3, H, W]` in [-1, 1]; sides are
        multiples of 32."""
        count, _, height, width = pictures.shape
        h, w = height // self.patch, width // self.patch
        found: list[Tensor] = []
        see(self.visual, self._patches(pictures), [(h, w)] * count, found)
        m = self.merge
        blocks = (x.view(count, h // m, w // m, m, m, -1) for x in found)  # merge-block order
        return [x.permute(0, 5, 1, 3, 2, 4).reshape(count, -1, h, w) for x in blocks]

    def _patches(self, x: Tensor) -> Tensor:
        """`[B h w, 3 * 2 * p * p]`; the time axis repeats the still picture."""
        m, p = self.merge, self.patch
        count, _, height, width = x.shape
        x = x.reshape(count, 3, height // p // m, m, p, width // p // m, m, p)
        x = x.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)  # [B, h/m, w/m, m, m, 3, 1, p, p]
        return x.expand(*x.shape[:6], 2, p, p).reshape(count * (height // p) * (width // p), -1)


def window(side: int, generator: torch.Generator, step: int = 32, seen: int = SEEN_PX) -> slice:
    """A random stretch of at most `seen` of `side` pixels, at a multiple of `step`."""
    if side <= seen:
        return slice(0, side)
    start = step * int(torch.randint((side - seen) // step + 1, (), generator=generator))
    return slice(start, start + seen)
