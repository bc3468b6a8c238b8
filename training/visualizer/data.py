"""Batches for the visualizer: worlds become latents, captions become keys and values, both by frozen models.

A batch is a pure function of the step. It is a list of groups because the tasks have different shapes: base
pictures, other aspects, and by turns series and references. Nothing is cached: painting and encoding a fresh
picture takes a third of the time of learning from it.

Letters: B rows, N noisy tokens, C clean tokens, L context tokens, Z latent channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from training.loop import autocast
from training.visualizer.tasks import BASE, Shot, Task, after_references, first_words, series, text_to_image
from training.world.render import render
from training.world.sample import sample_scene
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


@dataclass
class Batches:
    """`batch_at(step)` for the loop; holds the two frozen models."""

    understanding: Understanding
    vae: Vae
    mot: MotConfig
    config: DataConfig
    precision: str

    def batch_at(self, step: int) -> list[Group]:
        """The groups of a step."""
        rng = np.random.default_rng((self.config.seed, step))
        if step < self.config.easy_steps:
            return [self.group("single", [first_words(rng) for _ in range(self.config.singles)], rng)]
        tasks = [text_to_image(rng) for _ in range(self.config.singles)]
        # Apart, base pictures need no padding to the longest banner.
        groups = {"single": [task for task in tasks if task.shots[0].grid == BASE]}
        groups["wide"] = [task for task in tasks if task.shots[0].grid != BASE]
        if step % 2:
            groups["series"] = [series(rng) for _ in range(self.config.series)]
        else:
            groups["references"] = [after_references(rng) for _ in range(self.config.references)]
        return [self.group(name, some, rng) for name, some in groups.items() if some]

    @torch.no_grad()
    def base_latents(self, count: int) -> Tensor:
        """Latents `[count, Z, 8, 8]` of base pictures, to measure the VAE with."""
        rng = np.random.default_rng((self.config.seed, 2**31))
        shots = [Shot(sample_scene(rng)) for _ in range(count)]
        return torch.stack(encode_shots(self.vae, shots)).transpose(1, 2).unflatten(2, BASE)

    @torch.no_grad()
    def group(self, name: str, tasks: Sequence[Task], rng: np.random.Generator | None) -> Group:
        """Encode tasks. With `rng`, texts and references are dropped and series spread along t at random."""
        conditions = [self._condition(task, rng) for task in tasks]
        with autocast(self.precision):
            text, layout = read(self.understanding, conditions, self.mot.rope, self.mot.text_scope)
            kept = [t.references if c.references else () for t, c in zip(tasks, conditions, strict=True)]
            shots = [shot for task in tasks for shot in task.shots] + [shot for row in kept for shot in row]
            encoded = encode_shots(self.vae, shots)
        count = sum(len(task.shots) for task in tasks)
        latents = rows_of(encoded[:count], [len(task.shots) for task in tasks])
        clean = rows_of(encoded[count:], [len(row) for row in kept])
        return Group(name, text, layout, latents, clean)

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
        latents = vae.encode(planes.contiguous(memory_format=torch.channels_last)).float()
        for i, latent in zip(indices, latents.flatten(2).transpose(1, 2), strict=True):
            found[i] = latent
    return [latent for latent in found if latent is not None]


def paint(shot: Shot) -> np.ndarray:
    """The picture of a shot, straight RGBA uint8 `[16 gh, 16 gw, 4]`."""
    return render(shot.scene, shot.grid[0] * CELL, shot.grid[1] * CELL)


def rows_of(parts: list[Tensor], counts: list[int]) -> Tensor:
    """Join consecutive parts `[n, Z]` into rows of `counts` parts each and pad: `[B, N, Z]`."""
    rows, first = [], 0
    for count in counts:
        rows.append(torch.cat(parts[first : first + count]) if count else torch.zeros(0, _channels(parts)))
        first += count
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _channels(parts: list[Tensor]) -> int:
    return parts[0].shape[1] if parts else 0
