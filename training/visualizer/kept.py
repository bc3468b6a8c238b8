"""What is drawn and encoded for tasks, kept on disk for when they return.

One safetensors file a step: for each row of each group its latents, the weight and the noun of each cell, and
what the vision tower is shown of its references; prompts and grids are JSON in the file's metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.keeping import made_once
from training.visualizer.naming import nouns
from training.visualizer.tasks import Task
from training.world.pixels import cells_of
from training.world.scenes.render import render
from training.world.scenes.scene import Scene
from training.world.tasks.sample import CELL, Frame
from wanimage.models.conditioning import Condition
from wanimage.models.layout import Grid
from wanimage.models.understanding import Understanding, pixel_patches, vision_view
from wanimage.models.vae import Vae, premultiplied

LIVELY = 12.0
"""Standard deviation of a cell's planes (0..255) from which there is something to see in it."""
CHANGED = 4.0
"""Mean difference of a cell (0..255) from which it is another one."""
MOST_CHANGED = 0.6
"""Share of changed cells beyond which a picture is no edit of the other but a new one."""


@dataclass
class Drawn:
    """One task as the visualizer learns it: N cells of its pictures, C of its references."""

    prompts: list[str]
    grids: list[Grid]
    reference_grids: list[Grid]
    latents: Tensor
    """`[N, Z]`."""
    weights: Tensor
    """`[N]`."""
    nouns: Tensor
    """int64 `[N]`, of `naming.nouns`."""
    clean: Tensor
    """`[C, Z]`."""
    views: list[Tensor]
    """What the vision tower is shown of each reference, uint8 `[H, W, 3]`."""

    def condition(self, understanding: Understanding) -> Condition:
        """What the frozen branch reads."""
        seen = tuple(pixel_patches(view.numpy(), understanding.preprocessor) for view in self.views)
        return Condition(tuple(self.prompts), tuple(self.grids), seen, tuple(self.reference_grids))


@dataclass(frozen=True)
class Kept:
    """A folder of drawn steps. Whoever names it says by the name what they were drawn with."""

    folder: Path

    def get(self, name: str, make: Callable[[], dict[str, list[Drawn]]]) -> dict[str, list[Drawn]]:
        """The step of that name; made now where it is not there."""
        path = self.folder / f"{name}.safetensors"
        made_once(path, lambda temporary: save(make(), temporary))
        return load(path)


def draw(tasks: Sequence[Task], vae: Vae, emphasis: float, least_db: float = 0.0) -> list[Drawn]:
    """Draw and encode tasks; cells where something stands or changes weigh `emphasis`. Tasks with a picture
    that the VAE does not show at `least_db` are left out."""
    pictures = [[frame.draw() for frame in (*task.shots, *task.references)] for task in tasks]
    latents = encode(vae, [picture for row in pictures for picture in row])
    rows = []
    for task, row in zip(tasks, pictures, strict=True):
        mine, latents = latents[: len(row)], latents[len(row) :]
        shots = len(task.shots)
        if least_db and min(map(partial(shown_db, vae), row[:shots], mine)) < least_db:
            continue
        before = task.references[0].bare.draw() if len(task.references) == 1 else None
        weights = [emphasised(f, p, before, emphasis) for f, p in zip(task.shots, row, strict=False)]
        rows.append(
            Drawn(
                [frame.prompt for frame in task.shots],
                [frame.grid for frame in task.shots],
                [frame.grid for frame in task.references],
                torch.cat(mine[:shots]),
                torch.cat(weights),
                torch.cat([nouns(frame) for frame in task.shots]),
                torch.cat([mine[0][:0], *mine[shots:]]),
                [torch.from_numpy(vision_view(picture)) for picture in row[shots:]],
            )
        )
    return rows


def encode(vae: Vae, pictures: Sequence[np.ndarray]) -> list[Tensor]:
    """Latents `[gh * gw, Z]` of each picture; those of one size are encoded together."""
    found: dict[int, Tensor] = {}
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, picture in enumerate(pictures):
        by_size.setdefault(picture.shape, []).append(index)
    for indices in by_size.values():
        planes = premultiplied(torch.from_numpy(np.stack([pictures[i] for i in indices])))
        latents = vae.encode(planes).float().flatten(2).transpose(1, 2)
        found |= dict(zip(indices, latents, strict=True))
    return [found[index] for index in range(len(pictures))]


def shown_db(vae: Vae, picture: np.ndarray, latent: Tensor) -> float:
    """How near the VAE's reconstruction of a picture comes to it, dB over premultiplied planes."""
    true = premultiplied(torch.from_numpy(picture[None]))
    grid = (picture.shape[0] // CELL, picture.shape[1] // CELL)
    error = (vae.decode(latent.T.unflatten(1, grid)[None]).float() - true).square().mean()
    return 10 * math.log10(4 / max(1e-9, float(error)))


def emphasised(frame: Frame, picture: np.ndarray, before: np.ndarray | None, weight: float) -> Tensor:
    """`weight` for cells where an object stands, something is drawn, or `before` was another; else 1: `[gh *
    gw]`."""
    if isinstance(frame.scene, Scene):
        empty = render(Scene((), frame.scene.background), *picture.shape[:2])
        lively = difference(picture, empty) > CHANGED
    else:
        lively = cells_of(picture.astype(np.float32), CELL).std(axis=1).mean(axis=-1) > LIVELY
    if before is not None and before.shape == picture.shape:
        differs = difference(picture, before) > CHANGED
        if differs.mean() < MOST_CHANGED:
            lively |= differs
    return torch.from_numpy(np.where(lively, weight, 1.0).astype(np.float32))


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each cell, `[gh * gw]`."""
    found: np.ndarray = cells_of(np.abs(a.astype(np.float32) - b), CELL).mean(axis=(1, 2))
    return found


def save(groups: dict[str, list[Drawn]], path: Path) -> None:
    """Write one step; latents in fp16."""
    tensors: dict[str, Tensor] = {}
    said: dict[str, list[dict[str, object]]] = {}
    for name, rows in groups.items():
        said[name] = []
        for i, row in enumerate(rows):
            at = f"{name}.{i}"
            tensors |= {f"{at}.latents": row.latents.half(), f"{at}.weights": row.weights.half()}
            tensors |= {f"{at}.clean": row.clean.half(), f"{at}.nouns": row.nouns.short()}
            tensors |= {f"{at}.view.{j}": view for j, view in enumerate(row.views)}
            said[name].append({"prompts": row.prompts, "grids": row.grids, "references": row.reference_grids})
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, {"rows": json.dumps(said)})


def load(path: Path) -> dict[str, list[Drawn]]:
    """Inverse of `save`."""
    groups: dict[str, list[Drawn]] = {}
    with safe_open(path, "pt") as file:
        for name, rows in json.loads(file.metadata()["rows"]).items():
            groups[name] = []
            for i, said in enumerate(rows):
                at = f"{name}.{i}"
                references = [tuple(grid) for grid in said["references"]]
                groups[name].append(
                    Drawn(
                        said["prompts"],
                        [tuple(grid) for grid in said["grids"]],
                        references,
                        file.get_tensor(f"{at}.latents").float(),
                        file.get_tensor(f"{at}.weights").float(),
                        file.get_tensor(f"{at}.nouns").long(),
                        file.get_tensor(f"{at}.clean").float(),
                        [file.get_tensor(f"{at}.view.{j}") for j in range(len(references))],
                    )
                )
    return groups
