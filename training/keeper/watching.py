"""Edits being painted, watched: what the keeper would see of each cell at each step, and whether it changes.

In the first round what truly stays is held while they are painted; in the next ones what the keeper of the
round before says, since it will see pictures with its own mistakes in them (DAgger, Ross et al. 2011).

Letters: E edits, S evaluations of each, h, w rows and columns, N = h w cells, F sights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.visualizer.kept import encode
from training.visualizer.sample import Painter
from training.visualizer.tasks import SHARES, Task, after_references
from wanimage.models.keeper import Keeper
from wanimage.models.layout import Grid
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
    """What there was to see of edits of one grid."""

    seen: Tensor
    """`[E, S, F, h, w]`, fp16 on disk."""
    changed: Tensor
    """Bool `[E, h, w]`."""


Seen = dict[Grid, Looks]
"""What there was to see, by the edits' grids."""


def joined(some: Iterable[Seen]) -> Seen:
    """All edits of several batches or rounds."""
    found: dict[Grid, list[Looks]] = defaultdict(list)
    for each in some:
        for grid, looks in each.items():
            found[grid].append(looks)
    return {
        grid: Looks(torch.cat([of.seen for of in looks]), torch.cat([of.changed for of in looks]))
        for grid, looks in found.items()
    }


def save(seen: Seen, path: Path) -> None:
    """To one safetensors file."""
    tensors = {}
    for (rows, columns), looks in seen.items():
        tensors[f"{rows}x{columns}.seen"] = looks.seen.half().contiguous()
        tensors[f"{rows}x{columns}.changed"] = looks.changed.contiguous()
    save_file(tensors, path)


def load(path: Path) -> Seen:
    """Inverse of `save`."""
    tensors, found = load_file(path), {}
    for name in sorted({key.partition(".")[0] for key in tensors}):
        rows, _, columns = name.partition("x")
        looks = Looks(tensors[f"{name}.seen"].float(), tensors[f"{name}.changed"])
        found[int(rows), int(columns)] = looks
    return found


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

    def looks(self, edit: int) -> Tensor:
        """What was seen of an edit, `[S, F, h, w]`."""
        return torch.stack(self.seen[edit :: len(self.staying)])


def edits(rng: np.random.Generator, split: str) -> Task:
    """A picture after one reference of its own size, on which no mask says what may change."""
    while True:
        task = after_references(rng, split, KINDS, most=1)
        masked = any(cue.shape == "mask" for cue in task.references[0].cues)
        if task.references[0].grid == task.shots[0].grid and not masked:
            return task


def watch(painter: Painter, config: WatchConfig, keeper: Keeper | None) -> Seen:
    """Paint `config.edits` edits; `keeper` is asked where `config.own` is set, and needed there."""
    if config.own and keeper is None:
        raise ValueError("a keeper's own round needs one: run the round before it too, or give --start")
    rng = np.random.default_rng((config.seed, config.edits))
    tasks = [edits(rng, config.split) for _ in range(config.edits)]
    groups = [tasks[first : first + TOGETHER] for first in range(0, len(tasks), TOGETHER)]
    return joined(
        _painted(painter, some, config, keeper, seed=100 * TOGETHER * number)
        for number, some in enumerate(groups)
    )


@torch.no_grad()
def _painted(
    painter: Painter, tasks: Sequence[Task], config: WatchConfig, keeper: Keeper | None, seed: int
) -> Seen:
    before, after = (
        encode(painter.vae, [frame.draw() for frame in frames])
        for frames in zip(*((task.references[0].bare, task.shots[0]) for task in tasks), strict=True)
    )
    apart = [(a - b).square().mean(-1) for a, b in zip(before, after, strict=True)]
    watcher = Watcher([distance <= CHANGED for distance in apart], keeper if config.own else None)
    watching = replace(painter, helpers=replace(painter.helpers, unchanged=watcher.unchanged))
    watching.paint(tasks, SamplerConfig(steps=config.steps), seed)
    grids = [task.shots[0].grid for task in tasks]
    return joined(
        {grid: Looks(watcher.looks(edit)[None], (apart[edit] > CHANGED).unflatten(0, grid)[None])}
        for edit, grid in enumerate(grids)
    )
