"""From prompts to graphs and pictures: what a perfect visualizer would draw of a planner's words.

Scenes and faces are drawn from the prompt that was written. Posters, screens, charts, palettes, stickers and
collages leave geometry open that their words do not give back, and so do prompts that are not of the world:
there the planner is shown the gold picture of that number, or nothing where there is none.
"""

from dataclasses import replace

import numpy as np

from training.understanding.evaluation.prompts import Said, face_of, understood
from training.world.dialogues.talk import Grid, Picture
from training.world.pictures.portraits import Portrait
from training.world.scenes import relations
from training.world.scenes.relations import KINDS
from training.world.scenes.render import render
from training.world.scenes.scene import GROUP_SIZES, ObjectSpec, Scene, SceneObject, Spec, unit_px
from training.world.tasks.pictures import kind_of
from training.world.tasks.sample import CELL, Frame
from wanimage.conditions import PLACES
from wanimage.markup import ImageSpec

_SIZES = {"small": 0.22, "medium": 0.33, "large": 0.49, "": 0.33}
_SEED = 5  # where a relation puts its objects, between its margins


def drawn(picture: Picture) -> np.ndarray:
    """A picture's pixels at its grid."""
    height, width = picture.grid[0] * CELL, picture.grid[1] * CELL
    return (
        picture.drawn(height, width) if isinstance(picture, Frame) else render(picture.scene, height, width)
    )


def picture_of(spec: ImageSpec, number: int, gold: tuple[Picture, ...]) -> np.ndarray | None:
    """What the planner is shown for its picture `number`."""
    said = understood(spec.prompt)
    height, width = spec.grid[0] * CELL, spec.grid[1] * CELL
    if isinstance(said, Spec):
        return render(scene_of(said, spec.grid), height, width)
    if isinstance(said, Said) and said.kind == "portrait":
        return kind_of("portrait").draw(Portrait(**face_of(said)), height, width)
    return drawn(gold[number]) if number < len(gold) else None


def scene_of(said: Spec, grid: Grid = (8, 8), before: Scene | None = None) -> Scene:
    """A graph that says this. What is of `before`, the picture that is edited, keeps its place there."""
    left = list(before.objects) if before else []
    taken: list[tuple[int, SceneObject]] = []
    fresh: list[SceneObject] = []
    specs = list(said.objects)
    for near in (_same, _recolored):
        for spec in list(specs):
            old = next((o for o in left if near(spec, o)), None)
            if old:
                taken.append((before.objects.index(old) if before else 0, replace(old, color=spec.color)))
                left.remove(old)
                specs.remove(spec)
    fresh = [_placed(spec) for spec in specs]
    objects = [item for _, item in sorted(taken, key=lambda pair: pair[0])] + fresh
    scene = Scene(tuple(objects), said.background)
    return _related(scene, said, grid) if said.relations else scene


def _same(spec: ObjectSpec, item: SceneObject) -> bool:
    return _recolored(spec, item) and spec.color == item.color


def _recolored(spec: ObjectSpec, item: SceneObject) -> bool:
    size = item.size_word if item.count == 1 else ""
    return (spec.concept, spec.place, spec.style, spec.count, spec.size) == (
        item.concept, item.place, item.style, item.count, size,
    )  # fmt: skip


def _placed(spec: ObjectSpec) -> SceneObject:
    """An object in the middle of its place."""
    row, column = divmod(PLACES.index(spec.place), 3) if spec.place else (1, 1)
    size = GROUP_SIZES[spec.count] if spec.count > 1 else _SIZES[spec.size]
    x, y = 0.24 + 0.26 * column, 0.24 + 0.26 * row
    return SceneObject(spec.concept, spec.color, x, y, size, spec.style, spec.count)


def _related(scene: Scene, said: Spec, grid: Grid) -> Scene:
    """Objects as large as a relation implies, and where it holds; the one in front is drawn last."""
    rng = np.random.default_rng(_SEED)
    objects = {item.concept: item for item in scene.objects}
    if len(objects) < len(scene.objects):
        return scene  # nouns that name two objects: which of them is meant is not said
    for relation in said.relations:
        words = relations.sizes(rng, relation.kind)
        for end, word in zip((relation.subject, relation.target), words, strict=True):
            if not end.size and end.count == 1:
                objects[end.concept] = replace(objects[end.concept], size=_SIZES[word])
        placeless = KINDS[relation.kind].placeless
        if placeless is None:
            continue
        subject, target = objects[relation.subject.concept], objects[relation.target.concept]
        dx, dy = relations.offset(rng, relation.kind, subject.size, target.size)
        unit = unit_px(*grid)
        anchor, free, sign = (subject, target, -1) if placeless == "target" else (target, subject, 1)
        x, y = anchor.cx + sign * dx * unit / grid[1], anchor.cy + sign * dy * unit / grid[0]
        del objects[free.concept]
        moved = {free.concept: replace(free, cx=x, cy=y)}
        objects = {**moved, **objects} if relation.kind == "behind" else {**objects, **moved}
    return replace(scene, objects=tuple(objects.values()))
