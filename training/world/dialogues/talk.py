"""What all dialogues share: turns, seeded choices, wordings of numbers, sizes and backgrounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from training.world.assets.concepts import CONCEPTS
from training.world.scenes.caption import caption, with_article
from training.world.scenes.sample import (
    allowed_places,
    apart,
    place_object,
    places_of,
    sample_color,
    sample_scene,
    visible,
)
from training.world.scenes.scene import VARIANTS, Background, Scene, SceneObject
from wanimage.conditions import COLORS, SETTINGS, TIMES

T = TypeVar("T")
Grid = tuple[int, int]
BASE_GRID: Grid = (8, 8)


@dataclass(frozen=True)
class Picture:
    """One picture: what it shows, its prompt (empty for a user's picture) and its grid of cells."""

    scene: Scene
    grid: Grid = BASE_GRID
    prompt: str = ""


@dataclass(frozen=True)
class Turn:
    """One message. A user's pictures stand before the text; an assistant's are one per <BOI>, in order."""

    role: str  # user | assistant
    text: str  # an assistant's is markup
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Dialogue:
    """A chat that starts with a user's turn and ends with an assistant's."""

    kind: str
    turns: tuple[Turn, ...]


NUMBERS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
SIZE_WORDINGS: dict[Grid, tuple[str, ...]] = {  # an adjective before "picture"
    (8, 8): ("square", "1:1"),
    (6, 10): ("wide", "landscape", "16:9", "horizontal"),
    (10, 6): ("tall", "portrait", "9:16", "vertical"),
    (5, 12): ("very wide", "panorama", "panoramic", "21:9"),
    (12, 5): ("very tall", "9:21"),
    (4, 16): ("banner", "4:1", "banner-shaped"),
    (16, 4): ("scroll", "1:4", "bookmark-shaped"),
    (3, 24): ("long banner", "8:1", "very long banner"),
    (24, 3): ("long scroll", "1:8", "very long scroll"),
}
SETTING_WORDINGS = {
    "meadow": ("in a meadow", "in the meadow", "on a green meadow", "in the grass"),
    "beach": ("on a beach", "at the beach", "on the beach", "by the sea"),
    "desert": ("in a desert", "in the desert"),
    "snow": ("in a snowy field", "in the snow", "in a field of snow"),
    "forest": ("in a forest", "in the forest", "in the woods"),
    "city": ("in a city", "in the city", "in town"),
    "hills": ("in the hills", "on the hills"),
    "lake": ("by a lake", "by the lake", "at the lake"),
}
TIME_WORDINGS = {
    "day": ("by day", "during the day", "on a sunny day", "in the daytime"),
    "sunset": ("at sunset", "in the evening", "at dusk"),
    "night": ("at night", "by night", "under the stars"),
}


class Talk:
    """Seeded choices for one dialogue of one split."""

    def __init__(self, rng: np.random.Generator, split: str) -> None:
        self.rng, self.split = rng, split

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def weighted(self, options: dict[T, float]) -> T:
        """One of the keys, by weight."""
        weights = np.fromiter(options.values(), float)
        return list(options)[int(np.searchsorted(np.cumsum(weights), self.rng.random() * weights.sum()))]

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def number(self, value: int) -> str:
        """A count in words, or sometimes in digits."""
        return str(value) if value >= len(NUMBERS) or self.chance(0.25) else NUMBERS[value]

    def scenery(self, setting: str | None = None, time: str | None = None) -> Background:
        """A setting at a time, day more often than not."""
        chosen = time or self.weighted({"day": 0.6, "sunset": 0.2, "night": 0.2})
        return Background.scenery(
            setting or self.pick(list(SETTINGS)), chosen, int(self.rng.integers(VARIANTS))
        )

    def color(self, concept: str, ground: Background) -> str | None:
        """A colour for a colourable concept that stands out."""
        return sample_color(self.rng, concept, ground)

    def scene(self, grid: Grid = BASE_GRID, **options: object) -> Scene:
        """A random scene of the split, for a grid."""
        return sample_scene(self.rng, self.split, aspect=grid, **options)  # type: ignore[arg-type]

    def stage(
        self,
        cast: Sequence[tuple[str, str | None, str]],
        ground: Background,
        grid: Grid = BASE_GRID,
        low: Sequence[str] = (),
    ) -> Scene | None:
        """Put (concept, colour, size) on a ground at places of the train split, apart from each other.

        Concepts in `low` stand in the lower two rows. None when no arrangement was found.
        """
        allowed = allowed_places(grid)
        for _ in range(40):
            placed: list[SceneObject] = []
            for concept, color, size in cast:
                places = [p for p in places_of(concept, "train") if p in allowed]
                lower = [p for p in places if not p.startswith("top")]
                places = (lower or places) if concept in low else places
                item = (
                    place_object(self.rng, concept, color, self.pick(places), size, grid) if places else None
                )
                if item is None or not all(apart(item, other, grid) for other in placed):
                    break
                placed.append(item)
            else:
                return Scene(tuple(placed), ground)
        return None

    def alone(self, concept: str, color: str | None, ground: Background, size: str = "large") -> Scene:
        """One object, in the center where the train split allows that."""
        places = places_of(concept, "train")
        place = "center" if "center" in places else self.pick(places)
        return Scene((place_object(self.rng, concept, color, place, size),), ground)

    def picture(self, scene: Scene, grid: Grid = BASE_GRID) -> Picture:
        """The scene with one of its captions."""
        return Picture(scene, grid, caption(scene, self.rng))

    def ground_words(self, ground: Background, time: bool = True) -> str:
        """How a user says a background."""
        if ground.kind == "setting":
            place = self.pick(SETTING_WORDINGS[str(ground.setting)])
            return f"{place} {self.pick(TIME_WORDINGS[str(ground.time)])}" if time else place
        if ground.kind == "plain":
            colored = with_article(f"{ground.color} background")
            plain = f"on a plain {ground.color} background"
            return self.pick([plain, f"on {colored}", f"on plain {ground.color}", f"with {colored}"])
        if ground.kind == "palette":
            bands = [f"{color} {round(100 * part)}%" for color, part in ground.bands]
            lead = self.pick(["on a background of", "with the palette", "on bands of", "in the colours"])
            return f"{lead} {', '.join(bands)}"
        return self.pick(
            [
                "on a transparent background",
                "with a transparent background",
                "without a background",
                "with no background",
            ]
        )

    def setting_words(self, setting: str) -> str:
        """A setting with its preposition: `in the woods`."""
        return self.pick(SETTING_WORDINGS[setting])

    def time_words(self, time: str) -> str:
        """`at night`."""
        return self.pick(TIME_WORDINGS[time])

    def other(self, options: Sequence[str], *but: object) -> str:
        """One of the options that is none of `but`."""
        return self.pick([option for option in options if option not in but])

    def other_color(self, item: SceneObject, ground: Background) -> str | None:
        """Another visible colour for a colourable object; None where the ground leaves no other."""
        colors = [c for c in COLORS if c != item.color and visible(item.concept, c, ground)]
        return self.pick(colors) if colors else None

    def concept(self, *but: str) -> str:
        """Any concept but these."""
        return self.other(list(CONCEPTS), *but)


def markup(picture: Picture) -> str:
    """`<imagine>PROMPT</imagine><size>8*8</size><BOI>`."""
    return f"<imagine>{picture.prompt}</imagine><size>{picture.grid[0]}*{picture.grid[1]}</size><BOI>"


def series(pictures: Sequence[Picture]) -> str:
    """`<series>n</series>` and its pictures' markup."""
    return f"<series>{len(pictures)}</series>" + "".join(markup(p) for p in pictures)


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def retime(ground: Background, time: str) -> Background:
    """The same setting at another time."""
    return replace(ground, time=time)


ALL_TIMES = tuple(TIMES)
