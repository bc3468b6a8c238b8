"""Batches for the visualizer: worlds become latents, captions become keys and values, both by frozen models.

A batch is a pure function of the step. It is a list of groups because the tasks have different shapes: base
pictures, other aspects, and by turns series and references. After `distinct_steps` the tasks come round again
with new noise and new drops; their latents are kept, because encoding takes a third of the time of learning.

Letters: B rows, N noisy tokens, C clean tokens, L context tokens, Z latent channels.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from training.loop import autocast
from training.visualizer.tasks import BASE, Shot, Task, after_references, first_words, series, text_to_image
from training.world.scenes.render import render
from training.world.scenes.sample import sample_scene
from training.world.scenes.scene import unit_px
from wanimage.models.conditioning import Condition, read
from wanimage.models.layout import Grid, Layout
from wanimage.models.mot import MotConfig
from wanimage.models.understanding import KeysValues, Understanding
from wanimage.models.vae import Vae, premultiplied

CELL = 16
MAX_GAP = 64


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The mixture of tasks."""

    singles: int = 52
    """Single pictures a step."""
    series: int = 4
    """Series (2-4 pictures each) every other step."""
    references: int = 12
    """Pictures after references, the steps between."""
    easy_steps: int = 0
    """Steps at the start that show only `first_words`: few objects, empty grounds, the base grid."""
    distinct_steps: int = 1200
    """Steps whose tasks differ; after them the same tasks return. Their latents take 0.3 GB at nano size."""
    emphasis: float = 4.0
    """Weight of cells that an object covers; empty ones, three quarters of all and soon learned, weigh 1."""
    drop_text: float = 0.1
    """Renders whose prompts are emptied, for text guidance."""
    drop_references: float = 0.2
    """Renders whose references are taken away, for image guidance."""
    seed: int = 0


@dataclass
class Group:
    """Rows of one kind of task."""

    name: str
    text: KeysValues
    layout: Layout
    latents: Tensor
    """Clean pictures to learn, `[B, N, Z]`."""
    clean: Tensor
    """References `[B, C, Z]`; C is 0 without."""
    weights: Tensor
    """What each cell counts in the loss, `[B, N]`."""


@dataclass
class Batches:
    """`batch_at(step)` for the loop; holds the two frozen models."""

    understanding: Understanding
    vae: Vae
    mot: MotConfig
    config: DataConfig
    precision: str
    kept: dict[Hashable, list[Tensor]] = field(default_factory=dict)
    """Latents of tasks that return, fp16."""

    def batch_at(self, step: int) -> list[Group]:
        """The groups of a step."""
        drops = np.random.default_rng((self.config.seed, step, 1))
        first, easy = step % self.config.distinct_steps, step < self.config.easy_steps
        groups = self._easy_tasks(first) if easy else self._mixed_tasks(first)
        return [self.group(name, some, drops, (first, easy, name)) for name, some in groups.items() if some]

    def _easy_tasks(self, step: int) -> dict[str, list[Task]]:
        rng = np.random.default_rng((self.config.seed, step))
        return {"single": [first_words(rng) for _ in range(self.config.singles)]}

    def _mixed_tasks(self, step: int) -> dict[str, list[Task]]:
        rng = np.random.default_rng((self.config.seed, step))
        tasks = [text_to_image(rng) for _ in range(self.config.singles)]
        # Apart, base pictures need no padding to the longest banner.
        groups = {"single": [task for task in tasks if task.shots[0].grid == BASE]}
        groups["wide"] = [task for task in tasks if task.shots[0].grid != BASE]
        if step % 2:
            groups["series"] = [series(rng) for _ in range(self.config.series)]
        else:
            groups["references"] = [after_references(rng) for _ in range(self.config.references)]
        return groups

    @torch.no_grad()
    def base_latents(self, count: int) -> Tensor:
        """Latents `[count, Z, 8, 8]` of base pictures, to measure the VAE with."""
        rng = np.random.default_rng((self.config.seed, 2**31))
        shots = [Shot(sample_scene(rng)) for _ in range(count)]
        return torch.stack(encode_shots(self.vae, shots)).transpose(1, 2).unflatten(2, BASE)

    @torch.no_grad()
    def group(
        self, name: str, tasks: Sequence[Task], rng: np.random.Generator | None, key: Hashable = None
    ) -> Group:
        """Encode tasks. With `rng`, texts and references are dropped and series spread along t at random;
        with a `key`, latents are kept under it for the next time."""
        conditions = [self._condition(task, rng) for task in tasks]
        with autocast(self.precision):
            text, layout = read(self.understanding, conditions, self.mot.rope, self.mot.text_scope)
            encoded = self._encoded(tasks, key)
        shots = [[encoded.pop(0) for _ in task.shots] for task in tasks]
        references = [[encoded.pop(0) for _ in task.references] for task in tasks]
        seen = [row if c.references else [] for row, c in zip(references, conditions, strict=True)]
        weights = rows_of([[emphasised(shot, self.config.emphasis) for shot in task.shots] for task in tasks])
        return Group(name, text, layout, rows_of(shots), rows_of(seen), weights.squeeze(-1))

    def _encoded(self, tasks: Sequence[Task], key: Hashable) -> list[Tensor]:
        """Latents of all shots, then of all references."""
        if key not in self.kept:
            shots = [shot for task in tasks for shot in task.shots]
            encoded = encode_shots(self.vae, shots + [shot for task in tasks for shot in task.references])
            if key is None:
                return encoded
            self.kept[key] = [latent.half() for latent in encoded]
        return [latent.float() for latent in self.kept[key]]

    def _condition(self, task: Task, rng: np.random.Generator | None) -> Condition:
        condition = condition_of(task, self.understanding)
        if rng is None:
            return condition
        if rng.random() < self.config.drop_text:
            condition = condition.without_text()
        if rng.random() < self.config.drop_references:
            condition = condition.without_references()
        if len(task.shots) > 1 and rng.random() < 0.5:
            condition = replace(condition, gap=float(rng.integers(MAX_GAP)))
        return condition


def condition_of(task: Task, understanding: Understanding) -> Condition:
    """What the frozen branch reads for a task: its prompts, and its references painted."""
    return Condition(
        tuple(shot.prompt for shot in task.shots),
        tuple(shot.grid for shot in task.shots),
        tuple(understanding.look(paint(shot)) for shot in task.references),
        tuple(shot.grid for shot in task.references),
    )


def encode_shots(vae: Vae, shots: Sequence[Shot]) -> list[Tensor]:
    """Latents `[gh * gw, Z]` of each shot; shots of one grid are encoded together."""
    found: list[Tensor | None] = [None] * len(shots)
    by_grid: dict[Grid, list[int]] = {}
    for index, shot in enumerate(shots):
        by_grid.setdefault(shot.grid, []).append(index)
    for indices in by_grid.values():
        planes = premultiplied(torch.from_numpy(np.stack([paint(shots[i]) for i in indices])))
        latents = vae.encode(planes).float()
        for i, latent in zip(indices, latents.flatten(2).transpose(1, 2), strict=True):
            found[i] = latent
    return [latent for latent in found if latent is not None]


def paint(shot: Shot) -> np.ndarray:
    """The picture of a shot, straight RGBA uint8 `[16 gh, 16 gw, 4]`."""
    return render(shot.scene, shot.grid[0] * CELL, shot.grid[1] * CELL)


def emphasised(shot: Shot, weight: float) -> Tensor:
    """`weight` for cells under an object (as a disc, with a margin of a third of a cell), else 1: `[gh * gw,
    1]`."""
    rows, columns = shot.grid
    y, x = torch.arange(rows)[:, None] + 0.5, torch.arange(columns)[None] + 0.5
    covered = torch.zeros(shot.grid, dtype=torch.bool)
    for item in shot.scene.objects:
        reach = item.size * unit_px(rows, columns) / 2 + 1 / 3
        covered |= (y - item.cy * rows) ** 2 + (x - item.cx * columns) ** 2 < reach**2
    return torch.where(covered, weight, 1.0).reshape(-1, 1)


def rows_of(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Join the parts `[n, Z]` of each row and pad: `[B, N, Z]`; rows without parts are empty."""
    channels = next((part.shape[1] for row in rows for part in row), 0)
    joined = [torch.cat(list(row)) if row else torch.zeros(0, channels) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(joined, batch_first=True)
