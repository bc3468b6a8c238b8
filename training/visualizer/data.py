"""Batches for the visualizer: worlds become latents, captions become keys and values, both by frozen models.

A batch is a pure function of the step. It is a list of groups because the tasks have different shapes: base
pictures every step, and by turns pictures after references, finer or longer grids, and series. After
`distinct_steps` the tasks come round again with new noise and new drops; what was drawn and encoded for them
is kept (`kept.py`), because that takes a third of the time of learning.

Letters: B rows, N noisy tokens, C clean tokens, L context tokens, Z latent channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from training.loop import autocast
from training.visualizer.kept import Drawn, Kept, draw
from training.visualizer.strangers import estranged
from training.visualizer.tasks import (
    BASE,
    Shares,
    Task,
    after_references,
    first_words,
    sample_grid,
    series,
    text_to_image,
)
from wanimage.models.conditioning import Condition, read
from wanimage.models.layout import Layout
from wanimage.models.mot import MotConfig
from wanimage.models.understanding import KeysValues, Understanding
from wanimage.models.vae import Vae

MAX_GAP = 64
CUT_FROM = 8
"""Rows from which a group is cut in two."""
LETTERS_A_TOKEN = 4
"""Of a prompt, about."""
WIDE = {"core": 0.25, "packed": 0.2, "arranged": 0.15, "rich": 0.1, "crowd": 0.3}
"""Kinds of the pictures of other aspects, by share."""
Turn = Literal["references", "fine", "series", "wide"]
TURNS: tuple[Turn, ...] = ("references", "fine", "references", "series")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The mixture of tasks."""

    singles: int = 32
    """Single pictures, every step, on the base grid."""
    others: float = 0.0
    """Those of them that have another aspect."""
    references: int = 12
    """Pictures after references, every other step."""
    fine: int = 5
    """Pictures of kinds that need a finer grid, one step in four; a third of them edits."""
    wide: int = 6
    """Pictures of other aspects, one step in four beside the series, and whenever it is their turn."""
    series: int = 2
    """Series, one step in four."""
    turns: tuple[Turn, ...] = TURNS
    """What stands beside the base pictures, step by step: `references`, `fine`, `series` with pictures of
    other aspects, or these without a series, `wide`."""
    shares: Shares = field(default_factory=Shares)
    strangers: float = 0.0
    """Pictures after references in which things look like nothing that their words tell."""
    least_db: float = 0.0
    """Only what the VAE itself shows at least so well, dB; 0 takes all. SFT's curation (report 4.2.3)."""
    easy_steps: int = 0
    """Steps at the start that show only `first_words`: few objects, empty grounds, the base grid."""
    distinct_steps: int = 1600
    """Steps whose tasks differ; after them the same tasks return. They take 2 GB of disk at nano size."""
    emphasis: float = 4.0
    """Weight of cells where something stands or changes; the others, most and soon learned, weigh 1."""
    drop_text: float = 0.1
    """Renders whose prompts are emptied, for text guidance."""
    drop_references: float = 0.15
    """Renders whose references are taken away, for image guidance."""
    seed: int = 0


@dataclass
class Group:
    """Rows of one kind of task, all or those of like length."""

    name: str
    text: KeysValues
    layout: Layout
    latents: Tensor
    """Clean pictures to learn, `[B, N, Z]`."""
    clean: Tensor
    """References `[B, C, Z]`; C is 0 without."""
    weights: Tensor
    """What each cell counts in the loss, `[B, N]`."""
    nouns: Tensor
    """What stands in each cell, int64 `[B, N]` (`naming.py`)."""


@dataclass
class Batches:
    """`batch_at(step)` for the loop; holds the two frozen models."""

    understanding: Understanding
    vae: Vae
    mot: MotConfig
    config: DataConfig
    precision: str
    kept: Kept | None = None
    """Where tasks that return are kept; None draws them anew."""

    def batch_at(self, step: int) -> list[Group]:
        """The groups of a step."""
        drops = np.random.default_rng((self.config.seed, step, 1))
        first, easy = step % self.config.distinct_steps, step < self.config.easy_steps
        make = lambda: self._draw(self._easy(first) if easy else self._mixed(first))  # noqa: E731
        name = f"{'easy' if easy else 'mixed'}-{first:05}"
        drawn = make() if self.kept is None else self.kept.get(name, make)
        return [self.group(name, part, drops) for name, rows in drawn.items() for part in in_two(rows)]

    def _easy(self, step: int) -> dict[str, list[Task]]:
        rng = np.random.default_rng((self.config.seed, step))
        return {"single": [first_words(rng) for _ in range(self.config.singles)]}

    def _mixed(self, step: int) -> dict[str, list[Task]]:
        rng, config = np.random.default_rng((self.config.seed, step)), self.config
        shares, turn = config.shares, config.turns[step % len(config.turns)]
        groups = {"single": [self._single(rng) for _ in range(config.singles)]}
        if turn == "fine":
            groups["fine"] = [fine(rng, shares) for _ in range(config.fine)]
        elif turn in ("series", "wide"):
            if turn == "series":
                groups["series"] = [series(rng, names=shares.series) for _ in range(config.series)]
            groups["wide"] = [wide(rng) for _ in range(config.wide)]
        elif turn == "references":
            groups["references"] = [self._referring(rng) for _ in range(config.references)]
        return {name: tasks for name, tasks in groups.items() if tasks}

    def _single(self, rng: np.random.Generator) -> Task:
        if rng.random() < self.config.others:
            return wide(rng)
        return text_to_image(rng, kinds=self.config.shares.kinds)

    def _referring(self, rng: np.random.Generator) -> Task:
        task = after_references(rng, names=self.config.shares.edits)
        return estranged(task, rng) if rng.random() < self.config.strangers else task

    @torch.no_grad()
    def _draw(self, groups: dict[str, list[Task]]) -> dict[str, list[Drawn]]:
        with autocast(self.precision):
            drawn = {name: self._rows(tasks) for name, tasks in groups.items()}
        return {name: rows for name, rows in drawn.items() if rows}

    def _rows(self, tasks: Sequence[Task]) -> list[Drawn]:
        return draw(tasks, self.vae, self.config.emphasis, self.config.least_db)

    @torch.no_grad()
    def base_latents(self, count: int) -> Tensor:
        """Latents `[count, Z, 8, 8]` of base pictures, to measure the VAE with."""
        rng = np.random.default_rng((self.config.seed, 2**31))
        drawn = draw([text_to_image(rng) for _ in range(count)], self.vae, 1.0)
        return torch.stack([each.latents for each in drawn]).transpose(1, 2).unflatten(2, BASE)

    @torch.no_grad()
    def group(self, name: str, rows: Sequence[Drawn], rng: np.random.Generator | None) -> Group:
        """Join drawn tasks. With `rng`, texts and references are dropped and series spread along t at
        random."""
        conditions = [self._condition(row, rng) for row in rows]
        with autocast(self.precision):
            text, layout = read(self.understanding, conditions, self.mot.rope, self.mot.text_scope)
        none = rows[0].latents[:0]
        seen = [row.clean if c.references else none for row, c in zip(rows, conditions, strict=True)]
        latents, weights, nouns = (
            padded([getattr(row, of) for row in rows]) for of in ("latents", "weights", "nouns")
        )
        return Group(name, text, layout, latents, padded(seen), weights, nouns)

    def _condition(self, row: Drawn, rng: np.random.Generator | None) -> Condition:
        condition = row.condition(self.understanding)
        if rng is None:
            return condition
        if rng.random() < self.config.drop_text:
            condition = condition.without_text()
        if rng.random() < self.config.drop_references:
            condition = condition.without_references()
        if len(row.prompts) > 1 and rng.random() < 0.5:
            condition = replace(condition, gap=float(rng.integers(MAX_GAP)))
        return condition


def fine(rng: np.random.Generator, shares: Shares) -> Task:
    """A picture on a finer grid, from words or after one that it changes."""
    if rng.random() < 1 / 3:
        return after_references(rng, names=shares.fine_edits)
    return text_to_image(rng, kinds=shares.fine_kinds)


def wide(rng: np.random.Generator) -> Task:
    """A scene of another aspect."""
    return text_to_image(rng, kinds=WIDE, grid=sample_grid(rng))


def in_two(rows: Sequence[Drawn]) -> list[list[Drawn]]:
    """The shorter and the longer of many rows, cut where least is padded: one long prompt or many references
    would make all the others as long."""
    if len(rows) < CUT_FROM:
        return [list(rows)]
    sizes = [
        (len(row.latents), len(row.clean), sum(map(len, row.prompts)) // LETTERS_A_TOKEN) for row in rows
    ]
    order = sorted(range(len(rows)), key=lambda i: sum(sizes[i]))
    taken = lambda part: len(part) * sum(map(max, zip(*(sizes[i] for i in part), strict=True)))  # noqa: E731
    cut = min(range(1, len(rows)), key=lambda k: taken(order[:k]) + taken(order[k:]))
    return [[rows[i] for i in sorted(part)] for part in (order[:cut], order[cut:])]


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Rows `[n, ...]` as one tensor `[B, N, ...]`, zeros behind the shorter."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
