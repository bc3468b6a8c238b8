"""Pairs to learn from: crops of large drawings, and of what is left of them after they were small.

A picture of the world is drawn at its target size, shrunk to the size that visualizers draw, degraded
(`degradations.py`), sent through our own VAE or denoised by our own visualizer, enlarged again, and encoded
beside the truth. Pairs are kept on disk, several crops a picture; each is a pure function of its number.

    python -m training.refiner.pairs runs/refiner/pairs --first 0 --count 400    # in advance

Letters: K crops of a picture, c cells a side of a crop, Z latent channels.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.keeping import folder_for, made_once
from training.manifest import digests
from training.refiner.degradations import Pipeline
from training.vae.data import SOURCES
from training.world.kinds import Graph, Pixels
from training.world.report import Report
from training.world.tasks.pictures import DETAIL, KINDS, kind_of
from wanimage.enlarging import cells_of
from wanimage.images import CELL, fit_grid, resize
from wanimage.limits import target_size
from wanimage.models.conditioning import Condition, read
from wanimage.models.mot import Mot
from wanimage.models.understanding import Understanding
from wanimage.models.vae import Vae, premultiplied, straight
from wanimage.refining import encode_tile, enlargement_of, levels
from wanimage.sampling import Solver, Trajectory
from wanimage.tiling import Span, Tile

Rng = np.random.Generator
ELONGATED = float(np.exp(1.2))
"""Most that a picture is asked to be longer than wide."""
LONGEST = 4
"""The same after it was fitted to a grid of cells."""
PLAIN = ("text", "clipart")
"""Sources that nothing is said about; their prompt is empty."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is drawn, and what happens to it."""

    pool: int = 1600
    """Pictures."""
    crops: int = 6
    """K, of each picture."""
    crop: int = 24
    """c."""
    sources: dict[str, float] = field(
        default_factory=lambda: {
            "scene": 0.34, "portrait": 0.12, "poster": 0.16, "screen": 0.08, "chart": 0.06, "sticker": 0.12,
            "text": 0.06, "clipart": 0.06,
        }
    )  # fmt: skip
    """Kinds of picture, by share."""
    cells: tuple[int, ...] = (64, 64, 64, 64, 48, 96)
    """Cells of a small picture, by lot; times the square of the kind's detail."""
    larger: float = 0.15
    """Share of pictures that are larger than visualizers draw, as people bring them."""
    square: float = 0.6
    """Share of pictures as wide as high."""
    edges: tuple[int, ...] = (2048, 2048, 2048, 2048, 2048, 2048, 1536, 3072)
    """Long edges of the truth, by lot."""
    repair: float = 0.4
    """Share of pictures that are badly treated."""
    lively: float = 0.8
    """Share of crops that are drawn by how much there is to see in them."""
    split: str = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        shortest = min(self.edges) / (1 if self.square == 1 else LONGEST)
        if shortest < self.crop * CELL:
            raise ValueError(
                f"edges {self.edges} make pictures of {shortest:.0f} pixels, crops need {self.crop * CELL}"
            )


@dataclass(frozen=True)
class Case:
    """One picture, large and true, and what is left of it."""

    kind: str
    graph: Graph | None
    """What it shows, for `kind`'s verifier; None of the sources that nothing is said about."""
    prompt: str
    truth: Pixels
    source: Pixels
    """Small and degraded."""
    repair: bool
    """Whether it was badly treated."""

    def verdict(self, picture: Pixels) -> Report:
        """What the verifier finds in a picture of any size, seen at the source's; needs a `graph`."""
        assert self.graph is not None, f"nothing is known of {self.kind}"
        return kind_of(self.kind).verify(self.graph, resize(picture, *self.source.shape[:2]))


@dataclass(frozen=True)
class Pair:
    """One picture's crops."""

    name: str
    prompt: str
    repair: bool
    """Whether it was badly treated."""
    scale: float
    grid: tuple[int, int]
    """Cells of the whole large picture."""
    corners: list[tuple[int, int]]
    """First row and column of each crop."""
    clean: Tensor
    """`[K, Z, c, c]`, of the truth."""
    low: Tensor
    """`[K, Z, c, c]`, of the enlargement."""


@dataclass
class Studio:
    """Makes pairs with a family's own models."""

    family: Path
    config: DataConfig

    @cached_property
    def vae(self) -> Vae:
        return Vae.load(self.family).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    @cached_property
    def understanding(self) -> Understanding:
        return Understanding.load(self.family / "understanding")

    @cached_property
    def mot(self) -> Mot:
        return Mot.load(self.family)

    @torch.inference_mode()
    def make(self, index: int) -> Pair:
        """Pair number `index`."""
        rng = np.random.default_rng([self.config.seed, index])
        case = self.case(rng)
        size = (case.truth.shape[0], case.truth.shape[1])
        enlarged, true = (enlargement_of(picture, size) for picture in (case.source, case.truth))
        grid = cells_of(size)
        corners = self._corners(rng, case.truth, grid)
        tiles = [_crop(corner, grid, self.config.crop) for corner in corners]
        clean, low = (
            torch.stack([encode_tile(self.vae, e, tile) for tile in tiles]) for e in (true, enlarged)
        )
        return Pair(case.kind, case.prompt, case.repair, enlarged.scale, grid, corners, clean, low)

    def case(self, rng: Rng) -> Case:
        """Draw a picture and treat it."""
        config = self.config
        name = str(rng.choice(list(config.sources), p=_shares(config.sources)))
        grid = self._grid(rng, name)
        small = (grid[0] * CELL, grid[1] * CELL)
        long_edge = int(rng.choice(config.edges))
        size = target_size(small, max(long_edge, *small), "long_edge")
        graph, prompt, truth = _drawn(rng, name, grid, size, config.split)
        repair = bool(rng.random() < config.repair)
        source = self.suffer(rng, resize(truth, *small), prompt, repair)
        return Case(name, graph, prompt, truth, source, repair)

    def suffer(self, rng: Rng, picture: Pixels, prompt: str, repair: bool) -> Pixels:
        """What is left of a small picture: badly treated for repair, else as good visualizers leave it."""
        grid = (picture.shape[0] // CELL, picture.shape[1] // CELL)
        drawable = grid[0] * grid[1] <= 256
        if repair:
            picture = Pipeline(strength=rng.uniform(0.2, 1), likely=0.4, text=0.3)(rng, picture)
            if drawable and rng.random() < 0.5:
                return self.denoised(rng, picture, prompt, float(rng.uniform(0.2, 0.65)))
        else:
            if rng.random() < 0.5:
                picture = Pipeline(strength=rng.uniform(0, 0.35), rounds=1, likely=0.35)(rng, picture)
            if drawable and rng.random() < 0.2:
                return self.denoised(rng, picture, prompt, float(rng.uniform(0.05, 0.25)))
        return self.through_vae(picture) if rng.random() < 0.7 else picture

    def through_vae(self, picture: Pixels) -> Pixels:
        """As the VAE shows it."""
        return straight(self.vae(_planes(picture)).float())[0].numpy()

    def denoised(self, rng: Rng, picture: Pixels, prompt: str, level: float, steps: int = 8) -> Pixels:
        """Diffusion corruption: noised to `level` of 1, then denoised by our visualizer."""
        z = self.vae.encode(_planes(picture)).float()
        grid = (z.shape[2], z.shape[3])
        text, layout = read(
            self.understanding,
            [Condition((prompt,), (grid,))],
            self.mot.config.rope,
            self.mot.config.text_scope,
        )
        context = self.mot.context(text, layout)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        x = (1 - level) * z + level * torch.randn(z.shape, generator=generator)
        path = Trajectory(x.flatten(2).transpose(1, 2), levels(level, steps), Solver.EULER)
        while not path.done:
            path.advance(self.mot.velocity(path.x, torch.tensor([path.t]), context))
        return straight(self.vae.decode(path.x.transpose(1, 2).unflatten(2, grid)).float())[0].numpy()

    def _grid(self, rng: Rng, name: str) -> tuple[int, int]:
        cells = int(rng.choice(self.config.cells)) * DETAIL.get(name, 1) ** 2
        if rng.random() < self.config.larger:
            cells *= int(rng.choice([4, 16]))
        if rng.random() < self.config.square:
            return fit_grid(1, 1, cells)
        ratio = ELONGATED ** rng.uniform(-1, 1)
        return fit_grid(1000, round(1000 * ratio), cells)

    def _corners(self, rng: Rng, truth: Pixels, grid: tuple[int, int]) -> list[tuple[int, int]]:
        """Where crops lie: by lot, most of them where edges are."""
        crop = self.config.crop
        ends = [max(1, side - crop + 1) for side in grid]
        grey = truth[::4, ::4].astype(np.float32).mean(-1)
        edges = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
        found = []
        for _ in range(self.config.crops):
            options = [(int(rng.integers(ends[0])), int(rng.integers(ends[1]))) for _ in range(6)]
            liveliness = [edges[r * 4 : (r + crop) * 4, c * 4 : (c + crop) * 4].mean() for r, c in options]
            best = int(np.argmax(liveliness)) if rng.random() < self.config.lively else 0
            found.append(options[best])
        return found


@dataclass(frozen=True)
class Kept:
    """A folder of pairs; made when they are asked for."""

    folder: Path
    studio: Studio

    @classmethod
    def within(cls, folder: Path, studio: Studio) -> Kept:
        """A folder in `folder` for everything that decides what is drawn and how it is encoded."""
        drawn = asdict(studio.config) | digests(studio.family, ("vae", "mot", "understanding"))
        drawn.pop("pool")
        return cls(folder_for(folder, drawn), studio)

    def get(self, index: int) -> Pair:
        """Pair number `index`."""
        path = self.folder / f"{index:06}.safetensors"
        made_once(path, lambda temporary: _save(self.studio.make(index), temporary))
        return _load(path)


def _drawn(
    rng: Rng, name: str, grid: tuple[int, int], size: tuple[int, int], split: str
) -> tuple[Graph | None, str, Pixels]:
    """What a random picture of a kind shows, what is said of it, and it at `size` (height, width)."""
    if name in PLAIN:
        return None, "", SOURCES[name](np.random.default_rng(int(rng.integers(2**31))), *size, split)
    kind = KINDS[name]
    graph = kind.sample(rng, split, grid)
    return graph, kind.phrase(graph), kind.draw(graph, *size)


def _planes(picture: Pixels) -> Tensor:
    return premultiplied(torch.from_numpy(picture.copy())[None]).contiguous(memory_format=torch.channels_last)


def _crop(corner: tuple[int, int], grid: tuple[int, int], crop: int) -> Tile:
    rows, columns = (Span.alone(first, first + crop) for first in corner)
    return Tile(rows, columns, grid)


def _shares(shares: dict[str, float]) -> np.ndarray:
    values = np.array(list(shares.values()))
    return values / values.sum()


def _save(pair: Pair, path: Path) -> None:
    said = {
        "name": pair.name, "prompt": pair.prompt, "repair": pair.repair, "scale": pair.scale,
        "grid": pair.grid, "corners": pair.corners,
    }  # fmt: skip
    save_file({"clean": pair.clean.half(), "low": pair.low.half()}, path, {"pair": json.dumps(said)})


def _load(path: Path) -> Pair:
    with safe_open(path, "pt") as file:
        said = json.loads(file.metadata()["pair"])
        said["grid"], said["corners"] = tuple(said["grid"]), [tuple(corner) for corner in said["corners"]]
        return Pair(**said, clean=file.get_tensor("clean").float(), low=file.get_tensor("low").float())


def main() -> None:
    """Make some pairs in advance."""
    parser = argparse.ArgumentParser(
        prog="python -m training.refiner.pairs", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kept = Kept.within(arguments.folder, Studio(arguments.family, DataConfig()))
    for index in range(arguments.first, arguments.first + arguments.count):
        kept.get(index)


if __name__ == "__main__":
    main()
