"""What is where in a picture, by its graph: the truth that the vision tower is taught with.

A `Sighting` names what an area shows. Letters are told one by one, in reading order within each token, so
that a word is read from the tokens it crosses, whether or not it was ever seen before.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.understanding.pictures import kind_name
from training.world.dialogues.talk import Picture
from training.world.pictures import charts, screens
from training.world.pictures.charts import Chart
from training.world.pictures.lettering import Lettering, advance, cap_height, layout
from training.world.pictures.portraits import WORDS, Portrait
from training.world.pictures.posters import Poster
from training.world.pictures.screens import Screen
from training.world.pictures.stickers import Sticker
from training.world.scenes.render import sprite_px
from training.world.scenes.scene import Background, Scene, members, unit_px
from wanimage.conditions import COLORS

LETTERS = " " + string.ascii_letters + string.digits + ".,:;!?'\"-&%#/()+"
SLOTS = 5
"""Letters told of one token: as many as stand in 32 px of the smallest lettering."""
LEVEL = 5
"""Percents in one class of a chart's values."""


@dataclass(frozen=True)
class Sighting:
    """An area of a picture, in pixels, and what it shows, by group."""

    shows: dict[str, str]
    cx: float
    cy: float
    width: float
    height: float


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
        found |= {"form": graph.form, "ground": graph.ground}
    elif isinstance(graph, Screen):
        found["form"] = graph.theme
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
    """The objects of a picture, and the other areas that have a name, in a picture of that size in pixels."""
    unit = unit_px(height, width)
    if isinstance(graph, Scene):
        yield from _objects(graph, height, width, unit)
    elif isinstance(graph, Sticker):
        shows = {"concept": graph.concept, "style": graph.style, "count": "1", "size": "large"}
        yield _square(shows | _painted(graph.color), width / 2, height / 2, graph.size * min(height, width))
    elif isinstance(graph, Poster) and graph.object:
        yield _square({"concept": graph.object}, graph.cx * width, graph.cy * height, graph.size * unit)
    elif isinstance(graph, Chart):
        for entry, label in zip(graph.entries, charts.plan(graph, height, width).labels, strict=True):
            level = str(LEVEL * round(entry.value / LEVEL))
            yield from _block(label, {"level": level, "color": entry.color}, height, width)
    elif isinstance(graph, Screen):
        where = screens.plan(graph, height, width)
        for color, (x0, y0, x1, y1) in ((graph.bar, where.bar), (graph.button_color, where.button)):
            yield Sighting({"color": color}, (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        for card, icon in zip(graph.cards, where.icons, strict=True):
            yield _square({"concept": card.icon}, *icon)


def _objects(scene: Scene, height: int, width: int, unit: float) -> Iterator[Sighting]:
    for item in scene.objects:
        shows = {
            "concept": item.concept, "style": item.style, "count": str(item.count), "size": item.size_word,
            "place": item.place, **_painted(item.color),
        }  # fmt: skip
        for one in members(item, height, width):
            yield _square(shows, one.cx * width, one.cy * height, sprite_px(one.size * unit))


def _painted(color: str | None) -> dict[str, str]:
    return {"color": color} if color in COLORS else {}


def _square(shows: dict[str, str], cx: float, cy: float, side: float) -> Sighting:
    return Sighting(shows, cx, cy, side, side)


# --- lettering -------------------------------------------------------------------------------------------


def blocks(graph: Any, height: int, width: int) -> Iterator[Lettering]:
    """All lettering of a picture of that size."""
    if isinstance(graph, Poster):
        yield from graph.blocks
    elif isinstance(graph, Chart):
        where = charts.plan(graph, height, width)
        yield from (where.title, *where.labels)
    elif isinstance(graph, Screen):
        plan = screens.plan(graph, height, width)
        yield from (plan.title, *plan.labels, plan.caption)


def _block(block: Lettering, shows: dict[str, str], height: int, width: int) -> Iterator[Sighting]:
    """The lines of a block as areas."""
    for line in layout(block, height, width):
        yield Sighting(shows, line.x + line.width / 2, line.y - 0.35 * line.em, line.width, line.em)


def lettering(graph: Any, height: int, width: int) -> Iterator[Sighting]:
    """Fonts and colours of the letters, where they stand."""
    for block in blocks(graph, height, width):
        yield from _block(block, {"face": block.font, **_painted(block.color)}, height, width)


def letters(graph: Any, height: int, width: int, rows: int, columns: int) -> np.ndarray:
    """The letters whose middle lies in each token, left to right: `[rows, columns, SLOTS]` int64.

    They are counted in LETTERS from 1; 0 is none. Where two lines meet in a token it tells the one nearer to
    its middle. What is not in LETTERS is left out.
    """
    found = np.zeros((rows, columns, SLOTS), np.int64)
    nearest = np.full((rows, columns), np.inf)
    for block in blocks(graph, height, width):
        for line in layout(block, height, width):
            middle = (line.y - cap_height(block.font) * line.em / 2) * rows / height
            row = min(rows - 1, max(0, int(middle)))
            told: dict[int, list[int]] = {}
            for index, letter in enumerate(line.text):
                if letter in LETTERS:
                    x = line.x + advance(line.text[:index], line.font, line.em)
                    x += advance(letter, line.font, line.em) / 2
                    column = min(columns - 1, max(0, int(x * columns / width)))
                    told.setdefault(column, []).append(1 + LETTERS.index(letter))
            for column, several in told.items():
                if (distance := abs(middle - row - 0.5)) < nearest[row, column]:
                    nearest[row, column] = distance
                    found[row, column] = (several + [0] * SLOTS)[:SLOTS]
    return found
