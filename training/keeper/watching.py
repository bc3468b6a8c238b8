"""Edits being painted, watched: what the keeper would see of each cell at each step, and whether it changes.

In the first round what truly stays is held while they are painted; in the next ones what the keeper of the
round before says, since it will see pictures with its own mistakes in them (DAgger, Ross et al. 2011).

Letters: E edits, S evaluations of each, h, w rows and columns, N = h w cells, F sights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.visualizer.kept import encode
from training.visualizer.sample import Painter
from training.visualizer.tasks import BASE, SHARES, Task, after_references
from wanimage.models.keeper import SIGHTS, Keeper
from wanimage.sampling import SamplerConfig

CHANGED = 0.05
"""Mean squared distance of two latent cells from which one is seen to be another."""
KINDS = {name: share for name, share in SHARES.edits.items() if name != "compose"}
"""What has one reference: most edits, but also other pictures of what it shows."""
TOGETHER = 12
"""Edits that are painted in one batch."""


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """What is watched."""

    edits: int
    steps: int = SamplerConfig().steps
    own: bool = False
    """Hold what the keeper says instead of what truly stays."""
    split: str = "train"
    seed: int = 0


@dataclass(frozen=True)
class Looks:
    """What there was to see."""

    seen: Tensor
    """`[E, S, F, h, w]`, fp16 on disk."""
    changed: Tensor
    """Bool `[E, h, w]`."""

    def save(self, path: Path) -> None:
        """To one safetensors file."""
        save_file({"seen": self.seen.half().contiguous(), "changed": self.changed.contiguous()}, path)

    @staticmethod
    def load(path: Path) -> Looks:
        """Inverse of `save`."""
        tensors = load_file(path)
        return Looks(tensors["seen"].float(), tensors["changed"])

    @staticmethod
    def joined(some: Sequence[Looks]) -> Looks:
        """All edits of several rounds."""
        return Looks(torch.cat([each.seen for each in some]), torch.cat([each.changed for each in some]))


@dataclass
class Watcher:
    """Stands in a painter's place of the keeper and notes what it is asked, step by step the same edits."""

    staying: Sequence[Tensor]
    """Which cells `[N]` of each edit truly stay."""
    keeper: Keeper | None
    seen: list[Tensor] = field(default_factory=list)

    def unchanged(self, seen: Tensor) -> Tensor:
        """What truly stays of the edit whose turn it is, or what its keeper says of it."""
        truth = self.staying[len(self.seen) % len(self.staying)]
        self.seen.append(seen.float().clone())
        return truth if self.keeper is None else self.keeper.unchanged(seen)


def edits(rng: np.random.Generator, split: str) -> Task:
    """A picture after one reference of its own size, on which no mask says what may change."""
    while True:
        task = after_references(rng, split, KINDS, most=1)
        masked = any(cue.shape == "mask" for cue in task.references[0].cues)
        if task.references[0].grid == task.shots[0].grid == BASE and not masked:
            return task


def watch(painter: Painter, config: WatchConfig, keeper: Keeper | None) -> Looks:
    """Paint `config.edits` edits; `keeper` is asked where `config.own` is set, and needed there."""
    if config.own and keeper is None:
        raise ValueError("a keeper's own round needs one: run the round before it too, or give --start")
    rng = np.random.default_rng((config.seed, config.edits))
    tasks = (edits(rng, config.split) for _ in range(config.edits))
    looks = []
    for number in count():
        some = list(islice(tasks, TOGETHER))
        if not some:
            return Looks.joined(looks)
        looks.append(_painted(painter, some, config, keeper, seed=100 * TOGETHER * number))


@torch.no_grad()
def _painted(
    painter: Painter, tasks: Sequence[Task], config: WatchConfig, keeper: Keeper | None, seed: int
) -> Looks:
    before, after = (
        encode(painter.vae, [frame.draw() for frame in frames])
        for frames in zip(*((task.references[0], task.shots[0]) for task in tasks), strict=True)
    )
    apart = [(a - b).square().mean(-1) for a, b in zip(before, after, strict=True)]
    watcher = Watcher([distance <= CHANGED for distance in apart], keeper if config.own else None)
    watching = replace(painter, helpers=replace(painter.helpers, unchanged=watcher.unchanged))
    watching.paint(tasks, SamplerConfig(steps=config.steps), seed)
    seen = torch.stack(watcher.seen).unflatten(0, (-1, len(tasks))).transpose(0, 1)
    assert seen.shape[2] == SIGHTS, tuple(seen.shape)
    return Looks(seen, torch.stack(apart).unflatten(1, BASE) > CHANGED)
