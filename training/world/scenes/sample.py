"""Random scenes. Splits are by composition: a (concept, place) pair belongs to one split for ever.

A train scene holds train pairs only; a val or heldout scene holds at least one pair of its own split, and
otherwise train pairs. Margins keep every object inside its place word and its size word.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

from training.world.assets.concepts import CONCEPTS, concept
from training.world.scenes.scene import SIZE_RANGES, VARIANTS, Background, Scene, SceneObject, unit_px
from wanimage.conditions import COLORS, PLACES, SETTINGS, TIMES

T = TypeVar("T")
SPLITS = ("train", "val", "heldout")
CENTERS = {0: (0.21, 0.27), 1: (0.46, 0.54), 2: (0.73, 0.79)}  # column or row -> range of its centers
_PALE_GROUNDS = {
    ("white", "snow"),
    ("grey", "city"),
    ("green", "meadow"),
    ("green", "forest"),
    ("green", "hills"),
}
_WHITE = ("swan", "ghost", "letter")  # all white: lost in the snow
# natural colours that would vanish on an equal plain ground
_TINTS = {
    "white": "rabbit panda ghost snowman letter swan cow mouse",
    "grey": "koala wolf elephant mouse rabbit shell duck camera train",
    "yellow": "banana chick cheese crown cat duck bee truck",
    "orange": "fox tiger carrot pumpkin cat bread basket burger butterfly octopus truck pencil",
    "brown": "bear monkey dog horse owl hedgehog snail teddy_bear squirrel cookie doughnut",
    "green": "frog turtle tree cactus dinosaur pine_tree palm_tree tractor",
    "red": "crab ladybug strawberry watermelon pizza robot drum guitar",
    "blue": "whale fish dolphin airplane bicycle",
    "pink": "pig octopus parrot doughnut",
    "black": "penguin bee horse ladybug train camera panda owl",
    "purple": "penguin rocket camera",
}
_TWO_BANDS = ((60, 40), (50, 50), (70, 30), (40, 60))
_THREE_BANDS = ((50, 30, 20), (40, 40, 20), (30, 40, 30), (40, 30, 30))


def split_of(name: str, place: str) -> str:
    """The split of a (concept, place) pair: 88 % train, 5 % val, 7 % heldout, by hash."""
    return split_of_key(f"{name}|{place}")


def split_of_key(key: str) -> str:
    """The split of any composition named by a string."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    return "train" if bucket < 88 else "val" if bucket < 93 else "heldout"


def one_of_split(
    split: str, make: Callable[[], T], key: Callable[[T], str], fits: Callable[[T], bool] = lambda _: True
) -> T:
    """The first fitting graph that `make` gives of a split, by the hash of its key.

    For kinds whose maker knows what is held out of "heldout_concepts": all it gives for that split is of it.
    Raises ValueError when none of 2,000 is.
    """
    for _ in range(2000):
        found = make()
        if (split == "heldout_concepts" or split_of_key(key(found)) == split) and fits(found):
            return found
    raise ValueError(f"nothing of the split {split!r}; one of {(*SPLITS, 'heldout_concepts')}")


@lru_cache(maxsize=4096)
def places_of(name: str, split: str) -> tuple[str, ...]:
    """The places whose pair with this concept belongs to a split."""
    return tuple(place for place in PLACES if split_of(name, place) == split)


@lru_cache(maxsize=8)
def _pairs(split: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, place) for name in CONCEPTS for place in places_of(name, split))


def in_split(scene: Scene, split: str) -> bool:
    """Whether a scene may be drawn for a split."""
    found = {split_of(o.concept, o.place) for o in scene.objects}
    return found <= {"train", split} and (split in found or not found)


def sample_scene(
    rng: np.random.Generator,
    split: str = "train",
    n_objects: int | None = None,
    concepts: Sequence[str] | None = None,
    background: Background | None = None,
    aspect: tuple[int, int] = (1, 1),
) -> Scene:
    """A random scene of a split.

    `n_objects` 1..5 (usually 1-3 when None); `concepts` fixes the nouns (and so their number), and
    `background` the ground; `aspect` is the (height, width) it will be drawn at, in any unit.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; one of {SPLITS}")
    usual = min(int(rng.choice(5, p=[0.28, 0.38, 0.24, 0.06, 0.04])) + 1, len(allowed_places(aspect)))
    count = len(concepts) if concepts else n_objects or usual
    for _ in range(200):
        ground = background or sample_background(rng)
        names = list(concepts) if concepts else _names(rng, count)
        scene = _try_scene(rng, split, names, ground, aspect, not concepts)
        if scene is not None:
            return scene
    raise ValueError(f"no room for {count} objects in a {split} scene of aspect {aspect}; ask for fewer")


def sample_background(rng: np.random.Generator) -> Background:
    """Mostly sceneries; also plain colours, bands and transparency."""
    kind = rng.random()
    if kind < 0.62:
        return Background.scenery(
            pick(rng, list(SETTINGS)), pick(rng, list(TIMES)), int(rng.integers(VARIANTS))
        )
    if kind < 0.82:
        return Background.plain(pick(rng, list(COLORS)))
    if kind < 0.92:
        return Background.transparent()
    colors = [str(c) for c in rng.choice(list(COLORS), size=int(rng.integers(2, 4)), replace=False)]
    cuts = (
        [(60, 40), (50, 50), (70, 30), (40, 60)]
        if len(colors) == 2
        else [(50, 30, 20), (40, 40, 20), (30, 40, 30), (40, 30, 30)]
    )
    parts = cuts[int(rng.integers(len(cuts)))]
    return Background.palette(*((c, p / 100) for c, p in zip(colors, parts, strict=True)))


def sample_color(rng: np.random.Generator, name: str, ground: Background) -> str | None:
    """A colour word for a colourable concept that stands out from the ground; None for the others."""
    if not concept(name).colorable:
        return None
    return pick(rng, [c for c in COLORS if visible(name, c, ground)])


def visible(name: str, color: str | None, ground: Background) -> bool:
    """Whether an object stands out from a ground, by a table of colours."""
    tints = (
        {color} if color else {c for c, names in _TINTS.items() if name.replace(" ", "_") in names.split()}
    )
    if ground.kind == "plain":
        return ground.color not in tints and not (tints & {"white"} and ground.color == "grey")
    if ground.kind == "palette":
        return not tints & {c for c, _ in ground.bands}
    if ground.setting == "snow" and name in _WHITE:
        return False
    if ground.kind == "setting" and color:
        dark = ground.time == "night" and color == "black"
        return not dark and (color, ground.setting) not in _PALE_GROUNDS
    return True


def place_object(
    rng: np.random.Generator,
    name: str,
    color: str | None,
    place: str,
    size: str,
    aspect: tuple[int, int] = (1, 1),
) -> SceneObject:
    """An object well inside its place word and its size word; large ones stay inside the picture."""
    row, column = divmod(PLACES.index(place), 3)
    diameter = float(rng.uniform(*SIZE_RANGES[size]))
    height, width = aspect
    reach = diameter * unit_px(height, width) / 2
    cx = _coordinate(rng, column, reach / width)
    cy = _coordinate(rng, row, reach / height)
    return SceneObject(name, color, cx, cy, diameter)


def apart(a: SceneObject, b: SceneObject, aspect: tuple[int, int] = (1, 1)) -> bool:
    """Whether two objects hardly overlap."""
    unit = unit_px(*aspect)
    distance = math.hypot((a.cx - b.cx) * aspect[1], (a.cy - b.cy) * aspect[0]) / unit
    return distance > 0.5 * (a.size + b.size)


def allowed_places(aspect: tuple[int, int]) -> tuple[str, ...]:
    """A banner has one row and a scroll one column; other pictures have all nine places."""
    height, width = aspect
    if width > 2.2 * height:
        return PLACES[3:6]
    return PLACES[1::3] if height > 2.2 * width else PLACES


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of some strings."""
    return options[int(rng.integers(len(options)))]


def _names(rng: np.random.Generator, count: int) -> list[str]:
    names = [str(n) for n in rng.choice(list(CONCEPTS), size=count, replace=False)]
    if count > 1 and rng.random() < 0.15:
        names = [names[0]] * int(rng.integers(2, count + 1)) + names
    return names[:count]


def _try_scene(
    rng: np.random.Generator,
    split: str,
    names: list[str],
    ground: Background,
    aspect: tuple[int, int],
    free: bool,
) -> Scene | None:
    allowed = allowed_places(aspect)
    lead = int(rng.integers(len(names)))  # carries the pair of its split
    if split != "train" and free:
        names[lead] = pick(rng, [n for n, place in _pairs(split) if place in allowed])
    placed: list[SceneObject] = []
    for index, name in enumerate(names):
        own = split if index == lead else "train"
        places = [p for p in places_of(name, own) if p in allowed]
        if not places or not visible(name, None, ground):
            return None
        item = _fit(rng, name, places, ground, aspect, placed, len(names))
        if item is None:
            return None
        placed.append(item)
    return Scene(tuple(placed), ground)


def _fit(
    rng: np.random.Generator,
    name: str,
    places: list[str],
    ground: Background,
    aspect: tuple[int, int],
    placed: list[SceneObject],
    total: int,
) -> SceneObject | None:
    weights = {1: [0.2, 0.4, 0.4], 2: [0.3, 0.5, 0.2], 3: [0.4, 0.52, 0.08]}.get(total, [0.8, 0.2, 0.0])
    for _ in range(8):
        size = list(SIZE_RANGES)[int(rng.choice(3, p=weights))]
        item = place_object(rng, name, sample_color(rng, name, ground), pick(rng, places), size, aspect)
        if all(apart(item, other, aspect) for other in placed):
            return item
    return None


def _coordinate(rng: np.random.Generator, index: int, reach: float) -> float:
    """A center in third `index` such that an object of half-width `reach` stays inside where it can."""
    low, high = CENTERS[index]
    value = float(rng.uniform(low, high))
    if reach > 0.3:
        return value if index == 1 else (0.29 if index == 0 else 0.71)
    return min(max(value, reach), 1 - reach) if index != 1 else value
