"""Pictures for the VAE: scenes of the design world in several aspects, as premultiplied planes."""

import logging
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.vae.config import DataConfig
from training.world.render import render
from training.world.sample import sample_scene
from training.world.scene import Background
from wanimage.models.vae import premultiplied

log = logging.getLogger(__name__)

Draw = Callable[[np.random.Generator, int, int], NDArray[np.uint8]]
"""`draw(rng, height, width)` -> straight RGBA `[height, width, 4]` uint8."""


CUT_OUT = 0.12  # share of training scenes without their background, beside those the world itself leaves out


def draw_scene(rng: np.random.Generator, height: int, width: int, split: str = "train") -> NDArray[np.uint8]:
    """One rendered scene of the world."""
    ground = Background.transparent() if split == "train" and rng.random() < CUT_OUT else None
    return render(sample_scene(rng, split, background=ground, aspect=(height, width)), height, width)


class Pool:
    """Pictures rendered once from a seed; `batch_at` is a pure function of the step."""

    def __init__(self, config: DataConfig, seed: int, draw: Draw = draw_scene) -> None:
        self.config, self.seed = config, seed
        started = time.perf_counter()
        rng = np.random.default_rng([seed, 1])
        self.shares = np.array([share for _, _, share in config.shapes])
        self.shares /= self.shares.sum()
        self.pictures = [
            np.stack(
                [self._picture(rng, draw, height, width) for _ in range(max(1, round(config.pool * share)))]
            )
            for (height, width, _), share in zip(config.shapes, self.shares, strict=True)
        ]
        log.info(
            "rendered %d pictures in %.1f s", sum(map(len, self.pictures)), time.perf_counter() - started
        )

    def batch_at(self, step: int) -> Tensor:
        """Planes `[B, 4, H, W]` in [-1, 1], channels last, of one shape; half of them mirrored."""
        rng = np.random.default_rng([self.seed, 2, step])
        pictures = self.pictures[rng.choice(len(self.pictures), p=self.shares)]
        chosen = torch.from_numpy(pictures[rng.integers(len(pictures), size=self.config.batch)])
        mirrored = torch.from_numpy(rng.random(len(chosen)) < 0.5)
        chosen = torch.where(mirrored[:, None, None, None], chosen.flip(2), chosen)
        return premultiplied(chosen).contiguous(memory_format=torch.channels_last)

    def sample(self, count: int) -> Tensor:
        """The first `count` pictures of the first shape, as planes; for fits in closed form."""
        return premultiplied(torch.from_numpy(self.pictures[0][:count]))

    def _picture(self, rng: np.random.Generator, draw: Draw, height: int, width: int) -> NDArray[np.uint8]:
        if rng.random() >= self.config.zoom:
            return draw(rng, height, width)
        top, left = rng.integers(height + 1), rng.integers(width + 1)
        return draw(rng, 2 * height, 2 * width)[top : top + height, left : left + width]


def held_out(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Planes `[count, 4, height, width]` of scenes of the held-out split."""
    rng = np.random.default_rng([seed, 3])
    pictures = np.stack([draw_scene(rng, height, width, split="heldout") for _ in range(count)])
    return premultiplied(torch.from_numpy(pictures))
