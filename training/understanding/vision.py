"""What teaches the vision tower to see: every vision token names what it shows, by the scene graph.

A released Qwen3-VL starts from a tower that was trained on hundreds of millions of pictures. A nano tower
starts from noise, and the few pictures of a planner's run would not teach it. So it first learns alone,
without the decoder, to name what lies under each of its tokens, and goes on naming beside the next-token
loss. The linear heads are left behind at export.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.understanding.pictures import CELL_PX, pixels_of
from training.understanding.sightings import (
    LETTERS,
    LEVEL,
    SLOTS,
    Sighting,
    everywhere,
    lettering,
    letters,
    sightings,
)
from training.world.assets.concepts import CATALOGUE, SHAPES, STYLES
from training.world.assets.fonts import FONTS
from training.world.dialogues.talk import Picture
from training.world.pictures.charts import FORMS, GROUNDS
from training.world.pictures.portraits import WORDS
from training.world.pictures.screens import THEMES
from training.world.pictures.stickers import EFFECTS
from training.world.scenes.scene import MOST, WEATHERS
from training.world.tasks.lettered import GRID as LETTERED_GRID
from training.world.tasks.pictures import KINDS
from training.world.tasks.sample import Frame
from wanimage.conditions import COLORS, PLACES, SETTINGS, TIMES
from wanimage.models.qwen3vl import see

LETTER = "letter"
NAMES: dict[str, tuple[str, ...]] = {
    "concept": (*CATALOGUE, *SHAPES),
    "color": tuple(COLORS),
    "style": STYLES,
    "size": ("small", "medium", "large"),
    "place": PLACES,
    "count": tuple(str(n) for n in range(1, MOST + 1)),
    "kind": tuple(KINDS),
    "setting": tuple(SETTINGS),
    "time": tuple(TIMES),
    "weather": tuple(WEATHERS),
    "ground": ("transparent", *COLORS, *GROUNDS),
    "form": (*FORMS, *EFFECTS, *THEMES),
    "face": tuple(FONTS),
    "level": tuple(str(level) for level in range(0, 101, LEVEL)),
    **{f"{LETTER} {slot}": tuple(LETTERS) for slot in range(1, SLOTS + 1)},
    **{f"portrait {name}": words for name, words in WORDS.items() if name != "background"},
}
"""What a token can show, by group; in each group index 0 stands for nothing of it."""
INDEX = {group: {name: i for i, name in enumerate(names, 1)} for group, names in NAMES.items()}
OBJECT_GROUPS = ("concept", "color", "style", "size", "place", "count")
"""Groups that are named where an object lies."""
EMPTY_WEIGHT = 0.15
"""Weight of the tokens that show nothing of a group: there are many more of them."""

TOLD = ("concept", "color", "count", "place", "setting", "level", "letter 1", "letter 3")
"""Groups whose accuracy is in the metrics."""
GROUP_WEIGHTS = {"concept": 8.0, "color": 2.0, "count": 2.0, "place": 3.0, "portrait expression": 2.0}
"""Groups that are hard to learn, as hundreds of nouns are, or that much stands on."""


def targets(picture: Picture, rows: int, columns: int) -> np.ndarray:
    """What each vision token shows: `[rows*columns, len(NAMES)]` int64, indices into the groups.

    An area is named by the tokens whose centre it covers, and by the one nearest to its own.
    """
    height, width = picture.grid[0] * CELL_PX, picture.grid[1] * CELL_PX
    found = np.zeros((rows, columns, len(NAMES)), np.int64)
    order = {group: number for number, group in enumerate(NAMES)}
    for group, name in everywhere(picture).items():
        found[..., order[group]] = INDEX[group][name]
    y = (np.arange(rows) + 0.5)[:, None] * height / rows
    x = (np.arange(columns) + 0.5)[None] * width / columns

    def name(seen: Sighting, groups: Iterable[str]) -> None:
        inside = (abs(y - seen.cy) < seen.height / 2) & (abs(x - seen.cx) < seen.width / 2)
        nearest = (
            min(rows - 1, max(0, int(seen.cy * rows / height))),
            min(columns - 1, max(0, int(seen.cx * columns / width))),
        )
        inside[nearest] = True
        for group in groups:
            said = seen.shows.get(group)
            found[inside, order[group]] = INDEX[group][said] if said else 0

    for letters_ in lettering(picture.scene, height, width):
        name(letters_, letters_.shows)
    for seen in sightings(picture.scene, height, width):  # an object hides what it covers
        name(seen, OBJECT_GROUPS if "concept" in seen.shows else seen.shows)
    first = order[f"{LETTER} 1"]
    found[..., first : first + SLOTS] = letters(picture.scene, height, width, rows, columns)
    return found.reshape(rows * columns, -1)


class Probe(nn.Module):
    """A linear head a group on the merged vision tokens `[T, D]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {group: nn.Linear(width, len(names) + 1) for group, names in NAMES.items()}
        )

    def forward(self, seen: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, float]]:
        """(loss, `{"concept": accuracy where there is one, "ground": ...}`) for `truth` `[T, groups]`."""
        total = seen.new_zeros((), dtype=torch.float32)
        right = {}
        for number, group in enumerate(NAMES):
            logits, wanted = self.heads[group](seen).float(), truth[:, number]
            losses = F.cross_entropy(logits, wanted, reduction="none")
            some = wanted > 0
            weight = torch.where(some, 1.0, EMPTY_WEIGHT)
            total = total + GROUP_WEIGHTS.get(group, 1.0) * (losses * weight).sum() / weight.sum()
            if group in TOLD and bool(some.any()):
                right[group] = float((logits.argmax(-1) == wanted)[some].float().mean())
        return total / len(NAMES), right


SHARES = {"scene": 0.66, "portrait": 0.08, "sticker": 0.06, "screen": 0.06, "poster": 0.08, "chart": 0.06}
"""Kinds of picture in the tower's own stage."""
GRIDS = ((8, 8), (8, 8), (8, 8), (6, 10), (10, 6), (5, 12), (12, 5))
LETTERED = ("screen", "poster", "chart")
"""Kinds whose letters need a finer grid."""


@dataclass(frozen=True)
class PictureBatch:
    """Pictures with what their tokens show."""

    patches: Tensor
    """`[P, 1536]` fp32."""
    grids: list[tuple[int, int]]
    truth: Tensor
    """`[P/4, groups]` int64."""


def picture_batch(step: int, count: int, seed: int, preprocessor: dict, split: str = "train") -> PictureBatch:
    """The pictures of one step of the tower's own stage."""
    rng = np.random.default_rng([seed, 2, step])
    names, shares = list(SHARES), np.array(list(SHARES.values()))
    frames = []
    for _ in range(count):
        kind = names[int(rng.choice(len(names), p=shares))]
        grid = LETTERED_GRID if kind in LETTERED else GRIDS[int(rng.integers(len(GRIDS)))]
        frames.append(Frame(KINDS[kind].sample(rng, split, grid), grid, "", kind))
    seen = [pixels_of(frame, preprocessor, rng) for frame in frames]
    truth = [targets(f, v.height // 2, v.width // 2) for f, v in zip(frames, seen, strict=True)]
    grids = [(v.height, v.width) for v in seen]
    return PictureBatch(torch.cat([v.patches for v in seen]), grids, torch.from_numpy(np.concatenate(truth)))


def vision_loss(
    module: Any, batch: PictureBatch, generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The probe's loss over a batch of pictures."""
    seen, _ = see(module.model.model.visual, batch.patches, batch.grids)
    loss, right = module.probe(seen, batch.truth)
    return loss, right
