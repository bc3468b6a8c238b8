"""Cues in the place of words: which marks stand for an object or a place, and what a request calls them."""

from collections.abc import Callable
from dataclasses import dataclass

from training.world.dialogues.talk import Grid, Talk
from training.world.scenes.scene import Scene, SceneObject, extent, unit_px
from training.world.tasks import cues
from training.world.tasks.changes import Change, referent
from training.world.tasks.cues import Cue
from wanimage.conditions import place_phrase

PAD = 0.03
"""Room between an object and the cue around it, in fractions of the picture."""


@dataclass(frozen=True)
class Pointing:
    """The words that fill a change's slots, and the cues they speak of."""

    old: str
    to: str
    cues: tuple[Cue, ...] = ()


def in_words(change: Change) -> Pointing:
    """By noun, colour and place."""
    old = referent(change.before, change.old) if change.old else ""
    to = place_phrase(change.new.place) if change.new else ""
    return Pointing(old, to.replace("at the", "to the") if change.name == "move" else to)


def by_cues(talk: Talk, change: Change, grid: Grid) -> Pointing | None:
    """By drawn cues; None where one would also hold another object, or where there is nothing to point at."""
    colors = list(cues.COLORS)
    color = talk.pick(colors)
    if change.name == "add" and change.new:
        return _target(talk, change.new, grid, color)
    if change.old is None or any(inside(o, change.old, grid) for o in change.before.objects):
        return None
    if change.name == "move" and change.new:
        return _route(talk, change.old, change.new, grid, color)
    name = talk.pick(list(_AROUND))
    return Pointing(*_AROUND[name](talk, change.old, grid, color))


def around(talk: Talk, scene: Scene, item: SceneObject, grid: Grid) -> Pointing | None:
    """A cue around one object of a scene; None where it would also hold another."""
    if any(inside(other, item, grid) for other in scene.objects):
        return None
    name = talk.pick([n for n in _AROUND if n != "arrow"])
    return Pointing(*_AROUND[name](talk, item, grid, talk.pick(list(cues.COLORS))))


def inside(other: SceneObject, item: SceneObject, grid: Grid) -> bool:
    """Whether another object's center lies within the cue around an object."""
    half_width, half_height = reach(item, grid)
    near = abs(other.cx - item.cx) < half_width and abs(other.cy - item.cy) < half_height
    return other is not item and near


def reach(item: SceneObject, grid: Grid) -> tuple[float, float]:
    """Half width and half height of a cue around an object, in fractions of the picture."""
    unit = unit_px(*grid)
    height, width = extent(item, *grid)
    return width * unit / (2 * grid[1]) + PAD, height * unit / (2 * grid[0]) + PAD


Named = tuple[str, str, tuple[Cue, ...]]


def _box(talk: Talk, item: SceneObject, grid: Grid, color: str) -> Named:
    cue = cues.box(color, item.cx, item.cy, *reach(item, grid))
    return talk.pick((f"what is in {cue.phrase}", f"the thing in {cue.phrase}")), "", (cue,)


def _mask(talk: Talk, item: SceneObject, grid: Grid, color: str) -> Named:
    cue = cues.mask(color, item.cx, item.cy, *reach(item, grid))
    return talk.pick((f"what is under {cue.phrase}", f"what I painted over in {color}")), "", (cue,)


def _scribble(talk: Talk, item: SceneObject, grid: Grid, color: str) -> Named:
    half_width, half_height = reach(item, grid)
    cue = cues.scribble(color, item.cx, item.cy, 0.7 * half_width, 0.7 * half_height)
    return talk.pick((f"what is under {cue.phrase}", f"what I scribbled on in {color}")), "", (cue,)


def _mark(talk: Talk, item: SceneObject, grid: Grid, color: str) -> Named:
    cue = cues.mark(color, item.cx, item.cy, 1)
    return talk.pick(("number 1", "object 1", "what is marked 1")), "", (cue,)


def _arrow(talk: Talk, item: SceneObject, grid: Grid, color: str) -> Named:
    x, y = item.cx + (0.35 if item.cx < 0.5 else -0.35), item.cy + (0.3 if item.cy < 0.5 else -0.3)
    cue = cues.arrow(color, (x, y), (item.cx, item.cy))
    return f"what {cue.phrase} points at", "", (cue,)


_AROUND: dict[str, Callable[[Talk, SceneObject, Grid, str], Named]] = {
    "box": _box,
    "mask": _mask,
    "scribble": _scribble,
    "mark": _mark,
    "arrow": _arrow,
}


def _target(talk: Talk, new: SceneObject, grid: Grid, color: str) -> Pointing:
    """Where something new shall be."""
    if talk.chance(0.4):
        return Pointing("", "at the place marked 1", (cues.mark(color, new.cx, new.cy, 1),))
    shape = cues.box if talk.chance(0.6) else cues.mask
    cue = shape(color, new.cx, new.cy, *reach(new, grid))
    return Pointing("", f"{'in' if cue.shape == 'box' else 'under'} {cue.phrase}", (cue,))


def _route(talk: Talk, old: SceneObject, new: SceneObject, grid: Grid, color: str) -> Pointing:
    """From where to where: an arrow, two marks, or two boxes."""
    form = talk.pick(("arrow", "marks", "boxes"))
    if form == "arrow":
        cue = cues.arrow(color, (old.cx, old.cy), (new.cx, new.cy))
        return Pointing(f"what is at the tail of {cue.phrase}", "to its tip", (cue,))
    if form == "marks":
        both = cues.mark(color, old.cx, old.cy, 1), cues.mark(color, new.cx, new.cy, 2)
        return Pointing(talk.pick(("1", "number 1", "object 1")), "to where 2 is", both)
    second = talk.pick([c for c in cues.COLORS if c != color])
    boxes = (
        cues.box(color, old.cx, old.cy, *reach(old, grid)),
        cues.box(second, new.cx, new.cy, *reach(new, grid)),
    )
    return Pointing(f"what is in {boxes[0].phrase}", f"into {boxes[1].phrase}", boxes)
