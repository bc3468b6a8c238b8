"""What teaches the vision tower to see: every vision token names what it shows, by the scene graph.

A released Qwen3-VL starts from a tower that was trained on hundreds of millions of pictures. A nano tower
starts from noise, and the few pictures of a planner's run would not teach it. So it first learns alone,
without the decoder, to name what lies under each of its tokens, and goes on naming beside the next-token
loss. The linear heads are left behind at export.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.understanding.pictures import kind_name, pixels_of
from training.world.assets.concepts import CATALOGUE, SHAPES, STYLES
from training.world.dialogues.talk import Picture
from training.world.pictures.charts import FORMS, Chart
from training.world.pictures.portraits import WORDS, Portrait
from training.world.pictures.posters import Poster
from training.world.pictures.screens import Screen, plan
from training.world.pictures.stickers import EFFECTS, Sticker
from training.world.scenes.render import sprite_px
from training.world.scenes.scene import MOST, WEATHERS, Background, Scene, members, unit_px
from training.world.tasks.pictures import KINDS
from training.world.tasks.sample import Frame
from wanimage.conditions import COLORS, SETTINGS, TIMES
from wanimage.models.qwen3vl import see

NAMES: dict[str, tuple[str, ...]] = {
    "concept": (*CATALOGUE, *SHAPES),
    "color": tuple(COLORS),
    "style": STYLES,
    "size": ("small", "medium", "large"),
    "count": tuple(str(n) for n in range(1, MOST + 1)),
    "kind": tuple(KINDS),
    "setting": tuple(SETTINGS),
    "time": tuple(TIMES),
    "weather": tuple(WEATHERS),
    "ground": ("transparent", *COLORS),
    "form": (*FORMS, *EFFECTS),
    **{f"portrait {name}": words for name, words in WORDS.items() if name != "background"},
}
"""What a token can show, by group; in each group index 0 stands for nothing of it."""
INDEX = {group: {name: i for i, name in enumerate(names, 1)} for group, names in NAMES.items()}
OBJECT_GROUPS = ("concept", "color", "style", "size", "count")
"""Groups that are named where an object lies; the others everywhere."""
EMPTY_WEIGHT = 0.15
"""Weight of the tokens without an object in the object groups: there are many more of them."""

GROUP_WEIGHTS = {"concept": 8.0, "color": 2.0, "count": 2.0}
"""Groups that are hard to learn; hundreds of nouns take far longer than a dozen settings."""


@dataclass(frozen=True)
class Sighting:
    """An object in a picture: what it is, by group, and its square in pixels."""

    shows: dict[str, str]
    cx: float
    cy: float
    side: float


def targets(picture: Picture, rows: int, columns: int) -> np.ndarray:
    """What each vision token shows: `[rows*columns, len(NAMES)]` int64, indices into the groups.

    An object is named by the tokens whose centre it covers, and by the one nearest to its own.
    """
    height, width = picture.grid[0] * 16, picture.grid[1] * 16
    found = np.zeros((rows, columns, len(NAMES)), np.int64)
    order = {group: number for number, group in enumerate(NAMES)}
    for group, name in everywhere(picture).items():
        found[..., order[group]] = INDEX[group][name]
    y = (np.arange(rows) + 0.5)[:, None] * height / rows
    x = (np.arange(columns) + 0.5)[None] * width / columns
    for seen in sightings(picture.scene, height, width):
        inside = (abs(y - seen.cy) < seen.side / 2) & (abs(x - seen.cx) < seen.side / 2)
        nearest = (
            min(rows - 1, max(0, int(seen.cy * rows / height))),
            min(columns - 1, max(0, int(seen.cx * columns / width))),
        )
        inside[nearest] = True
        for group in OBJECT_GROUPS:
            name = seen.shows.get(group)
            found[inside, order[group]] = INDEX[group][name] if name else 0
    return found.reshape(rows * columns, -1)


def everywhere(picture: Picture) -> dict[str, str]:
    """What is named by every token of a picture."""
    graph = picture.scene
    found = {"kind": kind_name(picture)}
    if isinstance(graph, Scene):
        found |= _ground(graph.background)
    elif isinstance(graph, Portrait):
        found |= {f"portrait {name}": getattr(graph, name) for name in WORDS if name != "background"}
        found["ground"] = graph.background
    elif isinstance(graph, Chart):
        found["form"] = graph.form
    elif isinstance(graph, Sticker):
        found |= {"form": graph.effect, "ground": "transparent"}
    elif isinstance(graph, Poster) and graph.ground.scenery:
        found |= _ground(graph.ground.scenery)
    return found


def _ground(ground: Background) -> dict[str, str]:
    named = {
        "setting": ground.setting,
        "time": ground.time,
        "weather": ground.weather,
        "ground": ground.color,
    }
    if ground.kind == "transparent":
        named["ground"] = "transparent"
    return {group: name for group, name in named.items() if name}


def sightings(graph: Any, height: int, width: int) -> Iterator[Sighting]:
    """The objects of a picture whose places its graph tells."""
    unit = unit_px(height, width)
    if isinstance(graph, Scene):
        for item in graph.objects:
            shows = {
                "concept": item.concept,
                "style": item.style,
                "count": str(item.count),
                "size": item.size_word,
            }
            shows |= {"color": item.color} if item.color else {}
            for one in members(item, height, width):
                yield Sighting(shows, one.cx * width, one.cy * height, sprite_px(one.size * unit))
    elif isinstance(graph, Sticker):
        shows = {"concept": graph.concept, "style": graph.style, "count": "1", "size": "large"}
        shows |= {"color": graph.color} if graph.color else {}
        yield Sighting(shows, width / 2, height / 2, graph.size * min(height, width))
    elif isinstance(graph, Poster) and graph.object:
        yield Sighting({"concept": graph.object}, graph.cx * width, graph.cy * height, graph.size * unit)
    elif isinstance(graph, Screen):
        for card, (cx, cy, side) in zip(graph.cards, plan(graph, height, width).icons, strict=True):
            yield Sighting({"concept": card.icon}, cx, cy, side)


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
            weight = (
                torch.where(some, 1.0, EMPTY_WEIGHT) if group in OBJECT_GROUPS else torch.ones_like(losses)
            )
            total = total + GROUP_WEIGHTS.get(group, 1.0) * (losses * weight).sum() / weight.sum()
            if group in ("concept", "color", "count", "setting") and bool(some.any()):
                right[group] = float((logits.argmax(-1) == wanted)[some].float().mean())
        return total / len(NAMES), right


SHARES = {"scene": 0.7, "portrait": 0.1, "sticker": 0.08, "screen": 0.04, "poster": 0.05, "chart": 0.03}
"""Kinds of picture in the tower's own stage."""
GRIDS = ((8, 8), (8, 8), (8, 8), (6, 10), (10, 6))


@dataclass(frozen=True)
class PictureBatch:
    """Pictures with what their tokens show."""

    patches: Tensor
    """`[P, 1536]` fp32."""
    grids: list[tuple[int, int]]
    truth: Tensor
    """`[P/4, groups]` int64."""


def picture_batch(step: int, count: int, seed: int, preprocessor: dict) -> PictureBatch:
    """The pictures of one step of the tower's own stage."""
    rng = np.random.default_rng([seed, 2, step])
    names, shares = list(SHARES), np.array(list(SHARES.values()))
    frames = []
    for _ in range(count):
        kind, grid = names[int(rng.choice(len(names), p=shares))], GRIDS[int(rng.integers(len(GRIDS)))]
        frames.append(Frame(KINDS[kind].sample(rng, "train", grid), grid, "", kind))
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
