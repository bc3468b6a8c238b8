"""Which noun stands in each cell: what the generation branch is made to know halfway up.

The flow-matching loss hardly hears nouns: to draw another one costs it a few percent, so they are learned
last. A linear head therefore reads them off the hidden states of a middle block, as representation alignment
does with the features of a vision model (REPA, Yu et al. 2024); here the world knows what it drew. The head
is trained along, in `Learner`, and does not ship.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.world.assets.concepts import CATALOGUE
from training.world.pixels import cells_of, paste
from training.world.scenes.render import box_of, drawing
from training.world.scenes.scene import Scene, members
from training.world.tasks.sample import CELL, Frame
from wanimage.models.mot import Mot

NOTHING, UNSAID = 0, -1
"""A cell without an object, and one of which nothing is asked: of a picture that is no scene of nouns, or of
a thing in a guise."""
NUMBERS = {name: number for number, name in enumerate(CATALOGUE, 1)}
STRANGE = len(NUMBERS) + 1
COVERED = 0.1
"""Share of a cell from which an object stands there."""


class Learner(nn.Module):
    """The generation branch in training, with the head that names what its hidden states show."""

    def __init__(self, mot: Mot, weight: float) -> None:
        super().__init__()
        self.mot = mot
        self.weight = weight
        """What a nat of the cells' names costs beside the flow-matching loss; 0 leaves the head out."""
        self.after = 2 * mot.config.depth // 3
        """Blocks below the head."""
        self.head = nn.Linear(mot.config.width, len(NUMBERS) + 1) if weight else None
        if self.head is not None:  # at zero it pulls at nothing before it knows something
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def names(self, hidden: Tensor) -> Tensor:
        """Logits `[..., names]` of hidden states `[..., W]`."""
        assert self.head is not None, "a weight of 0 names nothing"
        logits: Tensor = self.head(functional.layer_norm(hidden, hidden.shape[-1:]))
        return logits


def nouns(frame: Frame) -> Tensor:
    """The number of the noun that covers most of each cell, int64 `[gh * gw]`."""
    rows, columns = frame.grid
    if not isinstance(frame.scene, Scene):
        return torch.full((rows * columns,), UNSAID)
    height, width = rows * CELL, columns * CELL
    seen = np.zeros((height, width, 4), np.float32)
    for item in (each for some in frame.scene.objects for each in members(some, height, width)):
        top, left, side = box_of(item, height, width)
        number = STRANGE if item.guise else NUMBERS[item.concept]
        shape = drawing(item, side)[..., 3:] > 0.5
        paste(seen, shape * np.array([number, 0, 0, 1], np.float32), top, left)
    found = [_most(cell) for cell in cells_of(seen[..., :1].astype(np.int64), CELL)]
    return torch.tensor([UNSAID if number == STRANGE else number for number in found])


def _most(cell: np.ndarray) -> int:
    found, counts = np.unique(cell[cell > NOTHING], return_counts=True)
    enough = len(found) and counts.max() >= COVERED * cell.size
    return int(found[counts.argmax()]) if enough else NOTHING
