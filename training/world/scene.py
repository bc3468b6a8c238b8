"""The scene graph: what a picture of the world holds, and the words that follow from its geometry.

Coordinates: `cx`, `cy` are fractions of the picture's width and height. `size` is the object's diameter in
units of `unit_px`, which is the short side up to an aspect of 2.5 and grows a little beyond, so that objects
in long banners stay legible.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

from wanimage import conditions

SIZE_RANGES: dict[str, tuple[float, float]] = {  # gaps between classes: no borderline samples
    "small": (0.20, 0.24),
    "medium": (0.31, 0.36),
    "large": (0.46, 0.53),
}
VARIANTS = 3  # drawings of each setting; captions do not tell them apart


@dataclass(frozen=True)
class SceneObject:
    """One object: a concept of `concepts.CONCEPTS`, with a colour word where the concept is colourable."""

    concept: str
    color: str | None = None
    cx: float = 0.5
    cy: float = 0.5
    size: float = 0.33

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

    def __post_init__(self) -> None:
        known = {
            "setting": self.setting in conditions.SETTINGS and self.time in conditions.TIMES,
            "plain": self.color in conditions.COLORS,
            "palette": bool(self.bands) and abs(sum(part for _, part in self.bands) - 1) < 1e-6,
            "transparent": True,
        }
        if not known.get(self.kind, False):
            raise ValueError(f"not a background: {self}; see training.world.scene.Background")

    @property
    def phrase(self) -> str:
        """Its words, those of `wanimage.conditions`."""
        if self.kind == "setting":
            return conditions.setting_phrase(str(self.setting), str(self.time))
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
    def scenery(setting: str, time: str = "day", variant: int = 0) -> "Background":
        """A setting at a time of day."""
        return Background("setting", setting=setting, time=time, variant=variant)

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

    @cached_property
    def spec(self) -> "Spec":
        """What a caption says of the scene."""
        return spec(self)


@dataclass(frozen=True)
class ObjectSpec:
    """What words say of one object."""

    concept: str
    color: str | None
    place: str
    size: str


@dataclass(frozen=True)
class Spec:
    """What a caption says: an order-free multiset of objects (sorted) and a background key."""

    objects: tuple[ObjectSpec, ...]
    background: Background


def spec(scene: Scene) -> Spec:
    """The words of a scene, comparable with what `caption.parse` reads back."""
    return make_spec(
        [ObjectSpec(o.concept, o.color, o.place, o.size_word) for o in scene.objects], scene.background.key
    )


def make_spec(objects: list[ObjectSpec], background: Background) -> Spec:
    """A Spec with its objects in canonical order."""
    return Spec(tuple(sorted(objects, key=lambda o: (o.concept, o.color or "", o.place, o.size))), background)


def unit_px(height: int, width: int) -> float:
    """Pixels that a `size` of 1 stands for."""
    short = min(height, width)
    return min(math.sqrt(height * width), 1.6 * short) if max(height, width) > 2.5 * short else float(short)
