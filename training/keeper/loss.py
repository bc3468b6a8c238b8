"""Batches of looks at edits, and what the keeper's mistakes about them cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.keeper.watching import Seen

ROWS = 64
UNGUIDED = 0.2
"""Looks that are shown as they are where nothing is painted without the prompt."""
OF_UNPROMPTED = [1, 2, 5]
"""Sights that are 0 then."""


@dataclass
class Batches:
    """`batch_at(step)` for the loop: looks at any step of any edit of one grid, turned and mirrored."""

    seen: Seen
    seed: int

    def batch_at(self, step: int) -> tuple[Tensor, Tensor]:
        """Sights `[B, F, h, w]` and which cells change, `[B, h, w]`."""
        rng = np.random.default_rng((self.seed, step))
        some = list(self.seen.values())
        counts = np.array([len(looks.seen) for looks in some])
        looks = some[int(rng.choice(len(some), p=counts / counts.sum()))]
        edits, steps = looks.seen.shape[:2]
        which = torch.from_numpy(rng.integers(edits, size=ROWS))
        seen = looks.seen[which, torch.from_numpy(rng.integers(steps, size=ROWS))]
        changed = looks.changed[which].float()
        unguided = torch.from_numpy(rng.random(ROWS) < UNGUIDED)
        seen[:, OF_UNPROMPTED] *= ~unguided[:, None, None, None]
        turns = int(rng.integers(4))
        seen, changed = (torch.rot90(x, turns, (-2, -1)) for x in (seen, changed))
        if rng.random() < 0.5:
            seen, changed = seen.flip(-1), changed.flip(-1)
        return seen, changed


def keeper_loss(
    keeper: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy of each cell, and the share of cells told right, to log."""
    seen, changed = batch
    logits = keeper(seen)
    right = ((logits > 0) == (changed > 0)).float().mean()
    return binary_cross_entropy_with_logits(logits, changed), {"right": float(right)}


@torch.no_grad()
def mistakes(keeper: nn.Module, seen: Seen) -> dict[str, float]:
    """Shares over all steps: of cells told right, of changing ones held, and of staying ones left free."""
    free, changed = [], []
    for looks in seen.values():
        said = keeper(looks.seen.flatten(0, 1)).unflatten(0, looks.seen.shape[:2]) > 0  # [E, S, h, w]
        free.append(said.flatten())
        changed.append(looks.changed[:, None].expand_as(said).flatten())
    said, true = torch.cat(free), torch.cat(changed)
    return {
        "right": float((said == true).float().mean()),
        "changing held": float((~said)[true].float().mean()),
        "staying free": float(said[~true].float().mean()),
    }
