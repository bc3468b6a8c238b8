"""What the visualizer is asked: a single picture, a joint series, a picture after references (report 4.2).

Captions never say which drawing of a setting is meant, nor where exactly in its place an object stands. A
single picture may choose; a series must choose once for all its pictures, and a picture after a reference
must choose as the reference did. That is what makes these tasks more than text to image in a world whose
nouns all look alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from training.world.assets.concepts import CONCEPTS
from training.world.scenes.caption import caption
from training.world.scenes.sample import (
    allowed_places,
    apart,
    pick,
    place_object,
    places_of,
    sample_background,
    sample_color,
    sample_scene,
    visible,
)
from training.world.scenes.scene import Background, Scene, SceneObject
from wanimage.conditions import COLORS
from wanimage.models.layout import Grid

BASE: Grid = (8, 8)
OTHERS: tuple[Grid, ...] = ((6, 10), (10, 6), (5, 12), (12, 5), (4, 16), (16, 4), (3, 24), (24, 3))
TRIES = 30


@dataclass(frozen=True)
class Shot:
    """One picture: a scene on a grid, and the prompt that asks for it (empty for a reference)."""

    scene: Scene
    grid: Grid = BASE
    prompt: str = ""


@dataclass(frozen=True)
class Task:
    """One render: the shots to paint, jointly if several, and the references they are painted after."""

    shots: tuple[Shot, ...]
    references: tuple[Shot, ...] = ()


def sample_grid(rng: np.random.Generator, base: float = 0.65) -> Grid:
    """The base grid with probability `base`, otherwise another one."""
    return BASE if rng.random() < base else OTHERS[int(rng.integers(len(OTHERS)))]


def text_to_image(rng: np.random.Generator, split: str = "train") -> Task:
    """A single picture."""
    grid = sample_grid(rng)
    return Task((_shot(sample_scene(rng, split, aspect=grid), grid, rng),))


def first_words(rng: np.random.Generator, split: str = "train") -> Task:
    """One object, or two, mostly before an empty ground: where nouns and places are learned soonest."""
    ground = sample_background(rng)
    if ground.kind == "setting" and rng.random() < 0.7:
        ground = Background.transparent() if rng.random() < 0.5 else Background.plain(pick(rng, list(COLORS)))
    count = 1 if rng.random() < 0.7 else 2
    for _ in range(TRIES):
        names = [str(name) for name in rng.choice(list(CONCEPTS), size=count, replace=False)]
        if all(visible(name, None, ground) for name in names):
            return Task((_shot(sample_scene(rng, split, concepts=names, background=ground), BASE, rng),))
    return text_to_image(rng, split)


def series(rng: np.random.Generator, split: str = "train") -> Task:
    """Two to four pictures painted jointly: the same objects in a new arrangement, or a set of stickers."""
    count = int(rng.choice([2, 3, 4], p=[0.3, 0.4, 0.3]))
    grid = sample_grid(rng, base=0.85)
    make = _stickers if rng.random() < 0.4 else _same_cast
    return Task(tuple(_shot(scene, grid, rng) for scene in make(rng, split, grid, count)))


def after_references(rng: np.random.Generator, split: str = "train") -> Task:
    """One picture after one or two references: an edit of the first, or a composition of both."""
    grid = sample_grid(rng, base=0.8)
    for _ in range(TRIES):
        edit = _EDITS[int(rng.choice(len(_EDITS), p=_EDIT_WEIGHTS))]
        made = edit(rng, split, grid)
        if made is not None:
            before, after = made
            references = tuple(Shot(scene, grid if len(before) == 1 else BASE) for scene in before)
            return Task((_shot(after, grid, rng),), references)
    raise ValueError(f"no edit fits a {split} picture of grid {grid}; ask for a larger grid")


def _shot(scene: Scene, grid: Grid, rng: np.random.Generator) -> Shot:
    return Shot(scene, grid, caption(scene, rng))


def _same_cast(rng: np.random.Generator, split: str, grid: Grid, count: int) -> list[Scene]:
    """The same objects, newly placed, on one ground or on a new one each time."""
    first = sample_scene(rng, split, n_objects=int(rng.integers(1, 3)), aspect=grid)
    stays = rng.random() < 0.6
    scenes = [first]
    while len(scenes) < count:
        ground = first.background if stays else _ground_for(rng, first.objects)
        names = [item.concept for item in first.objects]
        new = sample_scene(rng, split, concepts=names, background=ground, aspect=grid)
        dressed = (replace(b, color=a.color) for a, b in zip(first.objects, new.objects, strict=True))
        scenes.append(Scene(tuple(dressed), ground))
    return scenes


def _stickers(rng: np.random.Generator, split: str, grid: Grid, count: int) -> list[Scene]:
    """One object each, all on one ground, most often none."""
    ground = Background.transparent() if rng.random() < 0.6 else sample_background(rng)
    return [sample_scene(rng, split, n_objects=1, background=ground, aspect=grid) for _ in range(count)]


def _ground_for(rng: np.random.Generator, objects: tuple[SceneObject, ...]) -> Background:
    """A ground that every object stands out from."""
    for _ in range(TRIES):
        ground = sample_background(rng)
        if all(visible(item.concept, item.color, ground) for item in objects):
            return ground
    return Background.transparent()


_Edit = tuple[tuple[Scene, ...], Scene]


def _new_ground(rng: np.random.Generator, split: str, grid: Grid) -> _Edit | None:
    scene = sample_scene(rng, split, aspect=grid)
    return (scene,), replace(scene, background=_ground_for(rng, scene.objects))


def _move(rng: np.random.Generator, split: str, grid: Grid) -> _Edit | None:
    scene = sample_scene(rng, split, aspect=grid)
    chosen = int(rng.integers(len(scene.objects)))
    item, others = scene.objects[chosen], [o for i, o in enumerate(scene.objects) if i != chosen]
    places = [p for p in places_of(item.concept, split) if p in allowed_places(grid) and p != item.place]
    for _ in range(TRIES if places else 0):
        moved = place_object(rng, item.concept, item.color, pick(rng, places), item.size_word, grid)
        if all(apart(moved, other, grid) for other in others):
            return (scene,), _with(scene, chosen, moved)
    return None


def _recolour(rng: np.random.Generator, split: str, grid: Grid) -> _Edit | None:
    scene = sample_scene(rng, split, aspect=grid)
    colored = [i for i, item in enumerate(scene.objects) if item.color]
    if not colored:
        return None
    chosen = colored[int(rng.integers(len(colored)))]
    item = scene.objects[chosen]
    color = sample_color(rng, item.concept, scene.background)
    return None if color == item.color else ((scene,), _with(scene, chosen, replace(item, color=color)))


def _add_or_remove(rng: np.random.Generator, split: str, grid: Grid) -> _Edit | None:
    scene = sample_scene(rng, split, aspect=grid)
    if len(scene.objects) < 2:
        return None
    fewer = replace(scene, objects=scene.objects[:-1])
    return ((fewer,), scene) if rng.random() < 0.5 else ((scene,), fewer)


def _new_scene(rng: np.random.Generator, split: str, grid: Grid) -> _Edit | None:
    """The same objects elsewhere: the next picture of a story."""
    first, second = _same_cast(rng, split, grid, 2)
    return (first,), second


def _compose(rng: np.random.Generator, split: str, grid: Grid) -> _Edit | None:
    """Two objects, each from a picture of its own, in one scene."""
    scene = sample_scene(rng, split, n_objects=2, aspect=grid)
    if len(scene.objects) < 2:
        return None
    alone = [replace(item, cx=0.5, cy=0.5, size=0.5) for item in scene.objects]
    return tuple(Scene((item,), Background.transparent()) for item in alone), scene


def _with(scene: Scene, index: int, item: SceneObject) -> Scene:
    objects = list(scene.objects)
    objects[index] = item
    return replace(scene, objects=tuple(objects))


_EDITS: tuple[Callable[[np.random.Generator, str, Grid], _Edit | None], ...] = (
    _new_ground, _move, _recolour, _add_or_remove, _new_scene, _compose,
)  # fmt: skip
_EDIT_WEIGHTS = (0.25, 0.2, 0.15, 0.15, 0.15, 0.1)
