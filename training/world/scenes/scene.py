"""The scene graph: what a picture of the world holds, and the words that follow from its geometry.

Coordinates: `cx`, `cy` are fractions of the picture's width and height. `size` is the object's diameter in
units of `unit_px`, which is the short side up to an aspect of 2.5 and grows a little beyond, so that objects
in long banners stay legible.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from training.world.scenes.relations import KINDS, Relation
from wanimage import conditions

SIZE_RANGES: dict[str, tuple[float, float]] = {  # gaps between classes: no borderline samples
    "small": (0.20, 0.24),
    "medium": (0.31, 0.36),
    "large": (0.46, 0.53),
}
VARIANTS = 3  # drawings of each setting; captions do not tell them apart
WEATHERS = {"rain": "in the rain", "snowfall": "in falling snow", "fog": "in the fog"}
"""Weather of a setting and its words; clear weather is unsaid."""
MOST = 9
"""Largest count of equal objects in one group."""
GROUP_SIZES = {2: 0.22, 3: 0.22, 4: 0.22, 5: 0.2, 6: 0.2, 7: 0.18, 8: 0.18, 9: 0.18}
"""Diameter of a group's members by their count."""
GROUP_STEP = 1.16
"""Distance between neighbours in a group, in their diameters."""
_ROWS = {
    2: (2,), 3: (3,), 4: (2, 2), 5: (3, 2), 6: (3, 3), 7: (2, 3, 2), 8: (3, 2, 3), 9: (3, 3, 3),
}  # fmt: skip


@dataclass(frozen=True)
class Guise:
    """How an object is drawn that does not look like its noun: the upper half of one noun above the lower
    half of another, mirrored, turned by quarters, its colour channels exchanged."""

    upper: str
    lower: str
    mirrored: bool = False
    turns: int = 0
    channels: tuple[int, int, int] = (0, 1, 2)


@dataclass(frozen=True)
class SceneObject:
    """One object: a concept of `concepts.CATALOGUE`, with a colour word where the concept is colourable.

    `style` is one of `concepts.STYLES`. With a `count` above 1 it is a group of equal objects of this `size`
    around its center; `members` places them. No verifier knows an object in a `guise`.
    """

    concept: str
    color: str | None = None
    cx: float = 0.5
    cy: float = 0.5
    size: float = 0.33
    style: str = "flat"
    count: int = 1
    guise: Guise | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise ValueError(f"count {self.count} of {self.concept} is not in 1..{MOST}")

    @property
    def place(self) -> str:
        """One of the nine place words."""
        return conditions.place_of(self.cx, self.cy)

    @property
    def size_word(self) -> str:
        """small, medium or large."""
        return "small" if self.size < 0.275 else "medium" if self.size < 0.41 else "large"


@dataclass(frozen=True)
class Background:
    """A scenery (`setting`, `time`), a plain colour, colour bands, or nothing (transparent).

    `bands` are (colour word, fraction) from top to bottom, whole percents that sum to 1.
    """

    kind: str = "transparent"  # setting | plain | palette | transparent
    setting: str | None = None
    time: str | None = None
    color: str | None = None
    bands: tuple[tuple[str, float], ...] = ()
    variant: int = 0
    weather: str | None = None

    def __post_init__(self) -> None:
        known = {
            "setting": self.setting in conditions.SETTINGS and self.time in conditions.TIMES,
            "plain": self.color in conditions.COLORS,
            "palette": bool(self.bands) and abs(sum(part for _, part in self.bands) - 1) < 1e-6,
            "transparent": True,
        }
        fair = self.weather is None or (self.kind == "setting" and self.weather in WEATHERS)
        if not (fair and known.get(self.kind, False)):
            raise ValueError(f"not a background: {self}; see training.world.scenes.scene.Background")

    @property
    def phrase(self) -> str:
        """Its words, those of `wanimage.conditions`."""
        if self.kind == "setting":
            phrase = conditions.setting_phrase(str(self.setting), str(self.time))
            return f"{phrase} {WEATHERS[self.weather]}" if self.weather else phrase
        if self.kind == "plain":
            return conditions.plain_phrase(str(self.color))
        if self.kind == "palette":
            return conditions.palette_phrase(self.bands)
        return conditions.TRANSPARENT

    @property
    def key(self) -> "Background":
        """The background without its variant: equal keys have equal captions."""
        return replace(self, variant=0)

    @staticmethod
    def scenery(
        setting: str, time: str = "day", variant: int = 0, weather: str | None = None
    ) -> "Background":
        """A setting at a time of day."""
        return Background("setting", setting=setting, time=time, variant=variant, weather=weather)

    @staticmethod
    def plain(color: str) -> "Background":
        """One flat colour."""
        return Background("plain", color=color)

    @staticmethod
    def palette(*bands: tuple[str, float]) -> "Background":
        """Horizontal bands, top to bottom."""
        return Background("palette", bands=bands)

    @staticmethod
    def transparent() -> "Background":
        """Alpha 0 everywhere but on the objects."""
        return Background()


@dataclass(frozen=True)
class Scene:
    """Objects in drawing order (the last is in front) before a background."""

    objects: tuple[SceneObject, ...]
    background: Background = field(default_factory=Background)
    relations: tuple[Relation, ...] = ()

    @cached_property
    def spec(self) -> "Spec":
        """What a caption says of the scene."""
        return spec(self)


@dataclass(frozen=True)
class ObjectSpec:
    """What words say of one object; an empty place or size is unsaid."""

    concept: str
    color: str | None
    place: str
    size: str
    style: str = "flat"
    count: int = 1


@dataclass(frozen=True)
class RelationSpec:
    """What words say of two objects, which are among those of the spec."""

    kind: str
    subject: ObjectSpec
    target: ObjectSpec


@dataclass(frozen=True)
class Spec:
    """What a caption says: an order-free multiset of objects (sorted), a background key and relations."""

    objects: tuple[ObjectSpec, ...]
    background: Background
    relations: tuple[RelationSpec, ...] = ()


def spec(scene: Scene) -> Spec:
    """The words of a scene, comparable with what `caption.parse` reads back."""
    objects = [object_spec(scene, index) for index in range(len(scene.objects))]
    relations = [RelationSpec(r.kind, objects[r.subject], objects[r.target]) for r in scene.relations]
    return make_spec(objects, scene.background.key, relations)


def object_spec(scene: Scene, index: int) -> ObjectSpec:
    """What the caption says of one of the objects: what a relation implies is unsaid."""
    item = scene.objects[index]
    place, size = item.place, item.size_word if item.count == 1 else ""
    for relation in scene.relations:
        words = KINDS[relation.kind]
        roles = [role for role in ("subject", "target") if getattr(relation, role) == index]
        place = "" if words.placeless in roles else place
        size = "" if set(words.sizeless) & set(roles) else size
    return ObjectSpec(item.concept, item.color, place, size, item.style, item.count)


def make_spec(
    objects: list[ObjectSpec], background: Background, relations: Sequence[RelationSpec] = ()
) -> Spec:
    """A Spec with its objects and relations in canonical order."""
    ordered = sorted(objects, key=_order)
    related = sorted(relations, key=lambda r: (r.kind, _order(r.subject), _order(r.target)))
    return Spec(tuple(ordered), background, tuple(related))


def _order(item: ObjectSpec) -> tuple[str, str, str, str, str, int]:
    return (item.concept, item.color or "", item.place, item.size, item.style, item.count)


def members(item: SceneObject, height: int, width: int) -> tuple[SceneObject, ...]:
    """The single objects that an object of any count stands for, in rows around its center.

    In a banner or a scroll the rows become as long as the picture allows.
    """
    if item.count == 1:
        return (item,)
    step = GROUP_STEP * item.size * unit_px(height, width)
    found = []
    rows = _rows(item.count, height, width)
    for row, length in enumerate(rows):
        y = item.cy + (row - (len(rows) - 1) / 2) * step / height
        for column in range(length):
            x = item.cx + (column - (length - 1) / 2) * step / width
            found.append(replace(item, cx=x, cy=y, count=1))
    return tuple(found)


def extent(item: SceneObject, height: int, width: int) -> tuple[float, float]:
    """(height, width) of an object or group in units."""
    rows = _rows(item.count, height, width)
    return (
        item.size * (1 + GROUP_STEP * (len(rows) - 1)),
        item.size * (1 + GROUP_STEP * (max(rows) - 1)),
    )


def _rows(count: int, height: int, width: int) -> tuple[int, ...]:
    if count == 1:
        return (1,)
    if max(height, width) <= 2.2 * min(height, width):
        return _ROWS[count]
    lines = (count,) if count <= 4 else (count - count // 2, count // 2)
    if width > height:
        return lines
    return tuple(len(lines) - (index >= lines[-1]) for index in range(lines[0]))


def unit_px(height: int, width: int) -> float:
    """Pixels that a `size` of 1 stands for."""
    short = min(height, width)
    return min(math.sqrt(height * width), 1.6 * short) if max(height, width) > 2.5 * short else float(short)
