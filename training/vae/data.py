"""Pictures for the VAE: all that the design world draws, and clip art, in several aspects and sizes."""

import logging
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from training.vae.config import DataConfig
from training.world.assets import clipart
from training.world.kinds import Kind, Pixels
from training.world.pictures.lettering import draw_text_plate
from training.world.pixels import canvas_of, paste, straight
from training.world.scenes import scenery
from training.world.scenes.render import render
from training.world.scenes.sample import sample_background, sample_scene
from training.world.scenes.scene import Background
from training.world.tasks.pictures import KINDS
from wanimage.models.vae import premultiplied

log = logging.getLogger(__name__)

Draw = Callable[[np.random.Generator, int, int, str], Pixels]
"""`draw(rng, height, width, split)` -> straight RGBA `[height, width, 4]` uint8."""

CUT_OUT = 0.12  # share of training scenes without their background, beside those the world itself leaves out
EMPTY = 4.0  # deviation of the colours (0..255) of a crop under which it shows nothing
KEPT_EMPTY = 0.1  # share of such crops that are kept: flat regions must be learned, too
ON_NOTHING = 0.4  # share of clip art that keeps a transparent ground


def draw_core(rng: np.random.Generator, height: int, width: int, split: str = "train") -> Pixels:
    """One scene of the nouns that the shipped family knows."""
    ground = Background.transparent() if split == "train" and rng.random() < CUT_OUT else None
    return render(sample_scene(rng, split, background=ground, aspect=(height, width)), height, width)


def draw_concepts(rng: np.random.Generator, height: int, width: int, split: str = "train") -> Pixels:
    """A scene of concepts that are in no training picture, whatever the split; to measure, not to train."""
    return drawing(KINDS["scene"])(rng, height, width, "heldout_concepts")


def draw_text(rng: np.random.Generator, height: int, width: int, split: str = "train") -> Pixels:
    """Words in open fonts; the words are random, so every split has its own."""
    return draw_text_plate(rng, height, width)


def draw_clipart(rng: np.random.Generator, height: int, width: int, split: str = "train") -> Pixels:
    """One drawing of the Open Clip Art Library, large, on nothing or before a background of the world."""
    names = clipart.names("train" if split == "train" else "heldout")
    name = names[int(rng.integers(len(names)))]
    part = clipart.draw(name, round(min(height, width) * float(rng.uniform(0.7, 1.2))))
    canvas = np.zeros((height, width, 4), np.float32)
    if rng.random() >= ON_NOTHING:
        canvas = canvas_of(scenery.draw(sample_background(rng), height, width))
    room = [full - own for full, own in zip((height, width), part.shape[:2], strict=True)]
    top, left = (int(rng.integers(min(0, free), max(0, free) + 1)) for free in room)
    paste(canvas, part, top, left)
    return straight(canvas)


def drawing(kind: Kind) -> Draw:
    """Random pictures of a kind."""
    return lambda rng, height, width, split: kind.draw(
        kind.sample(rng, split, (height, width)), height, width
    )


SOURCES: dict[str, Draw] = {
    "core": draw_core,
    "concepts": draw_concepts,
    "text": draw_text,
    "clipart": draw_clipart,
    **{name: drawing(kind) for name, kind in KINDS.items()},
}


class Pool:
    """Pictures rendered once from a seed; `batch_at` is a pure function of the step."""

    def __init__(self, config: DataConfig, seed: int, sources: dict[str, Draw] | None = None) -> None:
        self.config, self.seed = config, seed
        self.draws = [(sources or SOURCES)[name] for name, _ in config.sources]
        started = time.perf_counter()
        rng = np.random.default_rng([seed, 1])
        self.shares = np.array([share for _, _, share in config.shapes])
        self.shares /= self.shares.sum()
        self.pictures = [
            np.stack([self._picture(rng, height, width) for _ in range(max(1, round(config.pool * share)))])
            for (height, width, _), share in zip(config.shapes, self.shares, strict=True)
        ]
        log.info(
            "rendered %d pictures in %.1f s", sum(map(len, self.pictures)), time.perf_counter() - started
        )

    def batch_at(self, step: int) -> Tensor:
        """Planes `[B, 4, H, W]` in [-1, 1], channels last, of one shape; half of them mirrored."""
        rng = np.random.default_rng([self.seed, 2, step])
        pictures = self.pictures[rng.choice(len(self.pictures), p=self.shares)]
        height, width, _ = self.config.shapes[0]
        count = max(1, self.config.batch * height * width // (pictures.shape[1] * pictures.shape[2]))
        chosen = torch.from_numpy(pictures[rng.integers(len(pictures), size=count)])
        mirrored = torch.from_numpy(rng.random(len(chosen)) < 0.5)
        chosen = torch.where(mirrored[:, None, None, None], chosen.flip(2), chosen)
        return premultiplied(chosen).contiguous(memory_format=torch.channels_last)

    def sample(self, count: int) -> Tensor:
        """The first `count` pictures of the first shape, as planes; for fits in closed form."""
        return premultiplied(torch.from_numpy(self.pictures[0][:count]))

    def _picture(self, rng: np.random.Generator, height: int, width: int) -> Pixels:
        draw = self.draws[_chosen(rng, [share for _, share in self.config.sources])]
        zoom = self.config.zooms[_chosen(rng, [share for _, share in self.config.zooms])][0]
        tall, wide = round(zoom * height), round(zoom * width)
        cut = np.zeros((height, width, 4), np.uint8)
        while np.ptp(cut[..., 3]) == 0 and cut[..., :3].std((0, 1)).max() < EMPTY:
            top, left = int(rng.integers(tall - height + 1)), int(rng.integers(wide - width + 1))
            cut = draw(rng, tall, wide, "train")[top : top + height, left : left + width]
            if rng.random() < KEPT_EMPTY:
                break
        return cut


def _chosen(rng: np.random.Generator, shares: list[float]) -> int:
    return int(rng.choice(len(shares), p=np.array(shares) / sum(shares)))


def held_out(count: int, height: int, width: int, source: str = "core", seed: int = 0) -> Tensor:
    """Planes `[count, 4, height, width]` of one source's held-out split."""
    rng = np.random.default_rng([seed, 3])
    pictures = np.stack([SOURCES[source](rng, height, width, "heldout") for _ in range(count)])
    return premultiplied(torch.from_numpy(pictures))
