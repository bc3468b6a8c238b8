"""Random scenes of all that a scene can hold: styles, the whole catalogue, groups, relations, weather.

Splits are by composition, as in `training.world.scenes.sample`: a (concept, place), a (concept, count) and a
(concept, relation, concept) belong to one split for ever. The split `heldout_concepts` has the concepts that
no other split shows.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from training.world.assets.concepts import CATALOGUE, CONCEPTS, STYLES, colorable, concept, is_held_out
from training.world.assets.sprites import sprite
from training.world.scenes import relations, scenery
from training.world.scenes.matching import alike, difference
from training.world.scenes.relations import OVERLAPPING, Relation
from training.world.scenes.render import render
from training.world.scenes.sample import (
    CENTERS,
    SPLITS,
    allowed_places,
    pick,
    place_object,
    sample_background,
    split_of_key,
)
from training.world.scenes.scene import (
    GROUP_SIZES,
    WEATHERS,
    Background,
    Scene,
    SceneObject,
    extent,
    members,
    unit_px,
)
from wanimage.conditions import COLORS, PLACES

RICH_SPLITS = (*SPLITS, "heldout_concepts")
STYLE_SHARES = (0.4, 0.2, 0.2, 0.2)
WEATHER_SHARE = 0.4
"""Share of the settings that are not clear."""
CONTRAST = 42.0
"""Least mean difference (0..255) between an object and what is behind it."""
INK_CONTRAST = 65.0
"""The same for the outline style, whose lines are thin."""
SHADES = 16
"""Pixels along a sprite when its contrast is measured."""
HOLDERS = ("animal", "person")
CONTAINERS = (
    "basket", "bucket", "house", "car", "boat", "tent", "backpack", "gift", "train", "truck", "book", "hat",
    "teapot", "umbrella",
)  # fmt: skip
"""What things can be inside of."""
_RELATED = 0.6
"""Share of arranged scenes that hold a relation; the others hold a group."""
_ARRANGED_MOST = 5
"""Of a thing, in an arranged scene."""
_TRIES, _NOUN_TRIES = 600, 30
_CROWD, _CROWD_SMALL = 6, 0.75
"""Things that a crowded scene tries to hold, and the share of small ones; the others are medium."""
_COVERED = (0.1, 0.45)
"""Share of an object that another before it may cover: seen to be behind, and seen to be what it is."""
_STYLE_MARGIN = 0.06
"""Least difference of a coloured noun from its drawings in other styles, as `matching.difference`."""
_EDGE = 0.01  # of the short side, left free around a group and an object whose place follows from another's
_SIZES = ("small", "medium", "large")

Build = Callable[[np.random.Generator, "_Draft"], bool]


class _Draft:
    """A scene in the making."""

    def __init__(
        self, split: str, aspect: tuple[int, int], style: str, ground: Background, core: bool = False
    ) -> None:
        self.aspect, self.style, self.ground, self.core = aspect, style, ground, core
        self.novel = split == "heldout_concepts"
        self.objects: list[SceneObject] = []
        self.relations: list[Relation] = []

    def concept(self, rng: np.random.Generator, among: tuple[str, ...] | None = None) -> str:
        """A noun of the split that the scene does not hold yet; the first of novel scenes is a new one."""
        names = _names(self.novel and not self.objects, self.core)
        used = {item.concept for item in self.objects}
        fair = [n for n in names if n not in used and (among is None or n in among)]
        for _ in range(_NOUN_TRIES):  # not a list of all that fit: that would draw the whole catalogue
            name = pick(rng, fair or names)
            if style_shows(name, self.style):
                return name
        return name

    def dressed(self, rng: np.random.Generator, item: SceneObject) -> SceneObject:
        """The object in the scene's style, with a colour word where it takes one."""
        colors = colors_of(item.concept, self.style)
        return replace(item, color=pick(rng, colors) if colors else None, style=self.style)

    def put(self, item: SceneObject, touching: bool = False) -> bool:
        """Add an object if it stands out, stays inside, and is apart from all that it need not touch."""
        height, width = self.aspect
        apart = touching or all(_apart(item, other, self.aspect) for other in self.objects)
        if not (apart and inside(item, height, width) and stands_out(item, self.ground)):
            return False
        self.objects.append(item)
        return True

    def scene(self) -> Scene:
        return Scene(tuple(self.objects), self.ground, tuple(self.relations))


def sample_rich_scene(
    rng: np.random.Generator, split: str = "train", aspect: tuple[int, int] = (1, 1), crowded: bool = False
) -> Scene:
    """A random scene of a split of `RICH_SPLITS`, to be drawn at that (height, width), in any unit; `crowded`
    ones hold as many single things as find a place.

    Raises ValueError when no scene of that split was found.
    """
    return _one_of_split(split, aspect, lambda: _try(rng, split, aspect, crowded))


def sample_arranged_scene(
    rng: np.random.Generator, split: str = "train", aspect: tuple[int, int] = (1, 1)
) -> Scene:
    """A random scene of core nouns in flat style, two to five of one or two in a relation, of a split of
    `SPLITS`.

    Raises ValueError when none of that split was found.
    """
    return _one_of_split(split, aspect, lambda: _arranged(rng, split, aspect))


def _one_of_split(split: str, aspect: tuple[int, int], make: Callable[[], Scene | None]) -> Scene:
    if split not in RICH_SPLITS:
        raise ValueError(f"no split {split!r}; one of {RICH_SPLITS}")
    for _ in range(_TRIES):
        scene = make()
        if scene is not None and in_rich_split(scene, split):
            return scene
    raise ValueError(f"no {split} scene of aspect {aspect} in {_TRIES} tries; use an aspect nearer to 1:1")


def in_rich_split(scene: Scene, split: str) -> bool:
    """Whether a scene may be drawn for a split; it may for exactly one, or for none."""
    novel = any(is_held_out(item.concept) for item in scene.objects)
    if novel or split == "heldout_concepts":
        return novel and split == "heldout_concepts"
    found = {split_of_key(key) for key in compositions(scene)}
    return found <= {"train", split} and (split in found or not found)


def compositions(scene: Scene) -> Iterable[str]:
    """What the split of a scene follows from."""
    for item in scene.objects:
        yield f"{item.concept}|{item.place}"
        if item.count > 1:
            yield f"{item.count} {item.concept}"
    for relation in scene.relations:
        subject, target = (scene.objects[i].concept for i in (relation.subject, relation.target))
        yield f"{subject} {relation.kind} {target}"


def rich_background(rng: np.random.Generator) -> Background:
    """As `sample.sample_background`, with weather."""
    ground = sample_background(rng)
    if ground.kind == "setting" and rng.random() < WEATHER_SHARE:
        return replace(ground, weather=pick(rng, list(WEATHERS)))
    return ground


def stands_out(item: SceneObject, ground: Background) -> bool:
    """Whether an object, or each of a group in a square picture, is seen well on a ground."""
    if ground.kind == "transparent":
        return True
    tint, alpha = _shades(item.concept, item.color, item.style)
    behind = scenery.draw(ground, _GROUND_PX, _GROUND_PX)[..., :3]
    least = INK_CONTRAST if item.style == "outline" else CONTRAST
    weights = alpha / alpha.sum()
    for each in members(item, 1, 1):
        half = max(1, round(each.size * _GROUND_PX / 2))
        y, x = (int(min(max(c, 0), 0.99) * _GROUND_PX) for c in (each.cy, each.cx))
        part = behind[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
        spots = part[:: max(1, half // 3), :: max(1, half // 3)].reshape(-1, 3).astype(np.float32)
        channels = (np.abs(tint[:, c, None] - spots[:, c]) for c in range(3))  # not a mean over three: slow
        contrasts = np.sort(weights @ (sum(channels) / 3))
        if contrasts.mean() < least or _faint(contrasts) < _FAINTEST * least:
            return False
    return True


def _faint(contrasts: np.ndarray) -> float:
    """The quantile `_SPOTS` of sorted values; `np.quantile` takes longer than all else here."""
    at = _SPOTS * (len(contrasts) - 1)
    low = int(at)
    high = min(low + 1, len(contrasts) - 1)
    return float(contrasts[low] + (contrasts[high] - contrasts[low]) * (at - low))


_GROUND_PX = 48
_SPOTS, _FAINTEST = 0.15, 0.7  # that share of the ground may have less than that much of the contrast


@lru_cache(maxsize=20000)
def _shades(name: str, color: str | None, style: str) -> tuple[np.ndarray, np.ndarray]:
    """Straight colours `[n, 3]` and opacities `[n]` of a sprite's visible pixels."""
    pixels = sprite(name, color, SHADES, style).reshape(-1, 4)
    seen = pixels[pixels[:, 3] > 0.3]
    return seen[:, :3] / seen[:, 3:], seen[:, 3]


@lru_cache(maxsize=4)
def _names(novel: bool, core: bool) -> tuple[str, ...]:
    return tuple(name for name in (CONCEPTS if core else CATALOGUE) if is_held_out(name) == novel)


def _try(rng: np.random.Generator, split: str, aspect: tuple[int, int], crowded: bool) -> Scene | None:
    style = STYLES[int(rng.choice(len(STYLES), p=STYLE_SHARES))]
    draft = _Draft(split, aspect, style, rich_background(rng))
    build = _crowd if crowded else (_plain, _relation, _group)[int(rng.choice(3, p=(0.35, 0.4, 0.25)))]
    return draft.scene() if build(rng, draft) else None


def _arranged(rng: np.random.Generator, split: str, aspect: tuple[int, int]) -> Scene | None:
    draft = _Draft(split, aspect, "flat", sample_background(rng), core=True)
    related = rng.random() < _RELATED
    built = _relation(rng, draft) if related else _group(rng, draft, _ARRANGED_MOST)
    return draft.scene() if built else None


def _plain(rng: np.random.Generator, draft: _Draft) -> bool:
    count = min(int(rng.choice(4, p=[0.3, 0.4, 0.22, 0.08])) + 1, len(allowed_places(draft.aspect)))
    return all(_add(rng, draft, draft.concept(rng), _size(rng, count)) for _ in range(count))


def _crowd(rng: np.random.Generator, draft: _Draft) -> bool:
    """Three to six single things: the most drawings that one picture can teach."""
    for _ in range(_CROWD):
        _add(rng, draft, draft.concept(rng), "small" if rng.random() < _CROWD_SMALL else "medium")
    return len(draft.objects) >= min(_CROWD // 2, len(allowed_places(draft.aspect)))


def _add(rng: np.random.Generator, draft: _Draft, name: str, size: str) -> bool:
    """Put one object at a free place."""
    for _ in range(6):
        place = pick(rng, allowed_places(draft.aspect))
        item = place_object(rng, name, None, place, size, draft.aspect)
        if draft.put(draft.dressed(rng, item)):
            return True
    return False


def _size(rng: np.random.Generator, count: int) -> str:
    weights = {1: [0.2, 0.4, 0.4], 2: [0.3, 0.5, 0.2], 3: [0.4, 0.52, 0.08]}.get(count, [0.8, 0.2, 0.0])
    return _SIZES[int(rng.choice(3, p=weights))]


def _group(rng: np.random.Generator, draft: _Draft, most: int = max(GROUP_SIZES)) -> bool:
    """A group of two to `most`, and beside a small one often something else."""
    count = int(rng.integers(2, most + 1))
    item = draft.dressed(rng, SceneObject(draft.concept(rng), size=GROUP_SIZES[count], count=count))
    for _ in range(8):
        row, column = divmod(PLACES.index(pick(rng, allowed_places(draft.aspect))), 3)
        item = replace(item, cx=float(rng.uniform(*CENTERS[column])), cy=float(rng.uniform(*CENTERS[row])))
        if draft.put(item):
            break
    else:
        return False
    return rng.random() < 0.5 or _add(rng, draft, draft.concept(rng), "small") or True


def _relation(rng: np.random.Generator, draft: _Draft) -> bool:
    # Line drawings do not hide what is behind them.
    kinds = [k for k in relations.KINDS if draft.style != "outline" or k not in OVERLAPPING]
    kind = pick(rng, kinds)
    first = draft.concept(rng, _fit_for("subject", kind))
    sizes = relations.sizes(rng, kind)
    if kind == "bigger than":
        if not _add(rng, draft, first, sizes[0]):
            return False
        if not _add(rng, draft, draft.concept(rng), sizes[1]):
            return False
        draft.relations.append(Relation(kind, 0, 1))
    elif not _paired(rng, draft, kind, first, sizes):
        return False
    return rng.random() < 0.75 or _add(rng, draft, draft.concept(rng), "small") or True


def _fit_for(role: str, kind: str) -> tuple[str, ...] | None:
    if kind == "holding" and role == "subject":
        return tuple(name for name in CATALOGUE if concept(name).kind in HOLDERS)
    return CONTAINERS if kind == "inside" and role == "target" else None


def _paired(rng: np.random.Generator, draft: _Draft, kind: str, first: str, sizes: tuple[str, str]) -> bool:
    """Two objects of which one is placed, and the other where the relation puts it."""
    placed = relations.KINDS[kind].placeless == "target"  # the subject has the place
    second_names = _fit_for("target", kind) or _names(False, draft.core)
    second = pick(rng, [name for name in second_names if name != first])
    place = pick(rng, allowed_places(draft.aspect))
    name, size = (first, sizes[0]) if placed else (second, sizes[1])
    anchor = draft.dressed(rng, place_object(rng, name, None, place, size, draft.aspect))
    other, other_size = (second, sizes[1]) if placed else (first, sizes[0])
    free = draft.dressed(rng, place_object(rng, other, None, "center", other_size, draft.aspect))
    subject, target = (anchor, free) if placed else (free, anchor)
    dx, dy = relations.offset(rng, kind, subject.size, target.size)
    sign = -1 if placed else 1
    height, width = draft.aspect
    unit = unit_px(height, width)
    free = replace(free, cx=anchor.cx + sign * dx * unit / width, cy=anchor.cy + sign * dy * unit / height)
    order = [free, anchor] if kind == "behind" else [anchor, free]
    if kind in OVERLAPPING and not (
        distinct(anchor, free) and _COVERED[0] < _covered(draft.aspect, *order) < _COVERED[1]
    ):
        return False
    if not all(draft.put(item, touching=kind in OVERLAPPING) for item in order):
        return False
    at = {id(item): index for index, item in enumerate(draft.objects)}
    subject, target = (anchor, free) if placed else (free, anchor)
    draft.relations.append(Relation(kind, at[id(subject)], at[id(target)]))
    return True


@lru_cache(maxsize=4096)
def colors_of(name: str, style: str) -> tuple[str, ...]:
    """The colour words of a noun in a style: those in which no other style looks like it."""
    if not colorable(name, style):
        return ()
    others = [each for each in STYLES if each not in (style, "outline")] if style == "flat" else []
    return tuple(c for c in COLORS if all(difference(name, c, style, o) > _STYLE_MARGIN for o in others))


@lru_cache(maxsize=4096)
def style_shows(name: str, style: str) -> bool:
    """Whether a noun may be drawn in a style: flat is unsaid, any other must be told from the rest."""
    return style == "flat" or not any(alike(name, style, other) for other in STYLES if other != style)


def _covered(aspect: tuple[int, int], back: SceneObject, front: SceneObject) -> float:
    """Share of an object that one before it covers."""
    height, width = (max(1, round(_GROUND_PX * side / min(aspect))) for side in aspect)
    layers = [render(Scene((item,)), height, width)[..., 3] > 127 for item in (back, front)]
    return float((layers[0] & layers[1]).sum() / max(1, layers[0].sum()))


def distinct(a: SceneObject, b: SceneObject) -> bool:
    """Whether one object is seen well before the other, by their mean colours."""
    return differs(a.concept, a.color, a.style, _tint(b.concept, b.color, b.style))


def differs(name: str, color: str | None, style: str, rgb: Sequence[float]) -> bool:
    """Whether an object's mean colour is well apart from another colour (0..255)."""
    return float(np.abs(np.subtract(_tint(name, color, style), rgb)).mean()) > CONTRAST


def _tint(name: str, color: str | None, style: str) -> tuple[float, ...]:
    """The mean colour of a sprite."""
    colors, alpha = _shades(name, color, style)
    return tuple((colors * alpha[:, None]).sum(0) / alpha.sum())


def inside(item: SceneObject, height: int, width: int) -> bool:
    """Whether all of an object or group is in the picture."""
    unit = unit_px(height, width)
    edge = _EDGE * min(height, width)
    tall, wide = (unit * side / 2 for side in extent(item, height, width))
    inside_y = tall + edge <= item.cy * height <= height - tall - edge
    return inside_y and wide + edge <= item.cx * width <= width - wide - edge


def _apart(a: SceneObject, b: SceneObject, aspect: tuple[int, int]) -> bool:
    """Whether no members of the two overlap."""
    height, width = aspect
    unit = unit_px(height, width)
    return all(
        math.hypot((i.cx - j.cx) * width, (i.cy - j.cy) * height) / unit > 0.52 * (i.size + j.size)
        for i in members(a, height, width)
        for j in members(b, height, width)
    )
