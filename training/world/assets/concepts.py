"""The nouns of the world: each names an icon that every emoji set has, or a procedural shape.

`CONCEPTS` are the nouns that the shipped weights were trained on; `CATALOGUE` has them first and all others
after them. A tenth of the others, `HELD_OUT_CONCEPTS`, is for judging what no training has seen.

`paints` lists the flat icon's colours that a colour word replaces; the first is the base, and the others keep
their lightness relative to it. A concept without paints has only its natural colours in that style; the
outline style has one colour, so there a colour word applies to every noun.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from training.world.assets.catalogue import ADDED, ADDED_COLORABLE


@dataclass(frozen=True)
class Concept:
    """One noun of the world."""

    name: str
    icon: str
    kind: str  # animal | person | food | vehicle | toy | nature | thing | shape
    paints: tuple[str, ...] = ()

    @property
    def colorable(self) -> bool:
        """Whether a colour word applies to it."""
        return bool(self.paints)

    @property
    def plural(self) -> str:
        """Its plural noun."""
        name = self.name
        if name in _PLURALS:
            return _PLURALS[name]
        if name[-1] == "y" and name[-2] not in "aeiou":
            return name[:-1] + "ies"
        return name + ("es" if name.endswith(("x", "s", "ch", "sh")) else "s")


_PLURALS = {
    "mouse": "mice",
    "fish": "fish",
    "leaf": "leaves",
    "wolf": "wolves",
    "snowman": "snowmen",
    "goose": "geese",
    "tooth": "teeth",
    "knife": "knives",
    "scarf": "scarves",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "volcano": "volcanoes",
    "mosquito": "mosquitoes",
    "bunch of grapes": "bunches of grapes",
    **{
        same: same
        for same in ("sheep", "deer", "moose", "bison", "dice", "jellyfish", "pufferfish", "shrimp")
    },
}

# kind: "name" or "name=icon", comma separated
_NATURAL = {
    "animal": "fox, cat=cat-face, dog=dog-face, rabbit=rabbit-face, bear, owl, mouse=mouse-face, frog, "
    "panda, lion, tiger=tiger-face, pig=pig-face, cow=cow-face, horse=horse-face, monkey=monkey-face, koala, "
    "wolf, penguin, duck, elephant, hedgehog, turtle, fish=tropical-fish, octopus, whale=spouting-whale, "
    "crab, snail, bee=honeybee, butterfly, ladybug=lady-beetle, squirrel=chipmunk, parrot, "
    "dinosaur=sauropod, dolphin, swan, chick=baby-chick",
    "person": "robot, snowman, ghost",
    "food": "banana, strawberry, watermelon, carrot, bread, cheese=cheese-wedge, pizza, burger=hamburger, "
    "cake=birthday-cake, cookie, doughnut, ice cream=soft-ice-cream, pumpkin=jack-o-lantern",
    "vehicle": "train=locomotive, bicycle, rocket, airplane, tractor, truck=delivery-truck",
    "toy": "drum, teddy bear=teddy-bear, crown, guitar",
    "nature": "tree=deciduous-tree, pine tree=evergreen-tree, palm tree=palm-tree, sunflower, cactus, "
    "shell=spiral-shell",
    "thing": "candle, basket, letter=envelope, pencil, camera",
}
_COLORABLE = (
    Concept("car", "automobile", "vehicle", ("#f8312f", "#ca0b4a")),
    Concept("boat", "sailboat", "vehicle", ("#fcd53f", "#ff8257", "#ff9f2e")),
    Concept("ball", "basketball", "toy", ("#ff6723",)),
    Concept("kite", "kite", "toy", ("#86d72f", "#f9c23c", "#00a6ed", "#f8312f")),
    Concept("balloon", "balloon", "toy", ("#f8312f", "#ca0b4a", "#ff8687", "#3f5fff")),
    Concept("gift", "wrapped-gift", "toy", ("#fcd53f", "#ffb02e")),
    Concept("flower", "tulip", "nature", ("#ff6dc6", "#f70a8d")),
    Concept("leaf", "maple-leaf", "nature", ("#f8312f", "#ca0b4a")),
    Concept("star", "star", "nature", ("#fcd53f",)),
    Concept("heart", "red-heart", "thing", ("#f8312f", "#ca0b4a", "#f37366")),
    Concept("apple", "red-apple", "food", ("#f8312f",)),
    Concept("mushroom", "mushroom", "nature", ("#f8312f", "#fbb8ab")),
    Concept("house", "house", "thing", ("#f3c07b", "#f8312f")),
    Concept("key", "key", "thing", ("#f9c23c",)),
    Concept("book", "closed-book", "thing", ("#ca0b4a", "#990838")),
    Concept("hat", "top-hat", "thing", ("#533566", "#321b41")),
    Concept("cap", "billed-cap", "thing", ("#6683ff", "#8bafff", "#3c378c", "#6a8cff", "#526ce3")),
    Concept("umbrella", "umbrella", "thing", ("#8d65c5", "#433b6b")),
    Concept("lantern", "red-paper-lantern", "thing", ("#ff822d", "#ca0b4a")),
    Concept("chair", "chair", "thing", ("#a56953", "#7d4533", "#402a32")),
    Concept("backpack", "backpack", "thing", ("#f8312f", "#ca0b4a")),
    Concept("tent", "tent", "thing", ("#86d72f", "#44911b")),
    Concept("dress", "dress", "thing", ("#46a4fb", "#6b438b")),
    Concept("shirt", "t-shirt", "thing", ("#86d72f", "#44911b", "#c3ef3c", "#00d26a")),
    Concept("bucket", "bucket", "thing", ("#00a6ed", "#0074ba")),
    Concept("teapot", "teapot", "thing", ("#f8312f", "#ca0b4a", "#ff822d")),
)
_SHAPES = tuple(
    Concept(name, f"shape:{name}", "shape", ("#f8312f",))
    for name in ("circle", "square", "triangle", "ring", "cross")
)


def _natural(table: Mapping[str, str]) -> list[Concept]:
    found = []
    for kind, names in table.items():
        for entry in names.split(", "):
            name, _, icon = entry.partition("=")
            found.append(Concept(name, icon or name, kind))
    return found


def _painted() -> list[Concept]:
    return [Concept(name, icon, kind, tuple(paints.split())) for name, icon, kind, paints in ADDED_COLORABLE]


def is_held_out(name: str) -> bool:
    """Whether a noun is kept from all training: a tenth of those that the shipped weights do not know."""
    digest = hashlib.sha256(name.encode()).digest()
    return name not in CONCEPTS and int.from_bytes(digest[:4], "big") % 10 == 0


STYLES = ("flat", "gradient", "outline", "noto")
CONCEPTS: dict[str, Concept] = {c.name: c for c in [*_natural(_NATURAL), *_COLORABLE]}
CATALOGUE: dict[str, Concept] = CONCEPTS | {c.name: c for c in [*_natural(ADDED), *_painted()]}
HELD_OUT_CONCEPTS: tuple[str, ...] = tuple(name for name in CATALOGUE if is_held_out(name))
SHAPES: dict[str, Concept] = {c.name: c for c in _SHAPES}  # need no assets; for tests
COLORABLE: tuple[str, ...] = tuple(c.name for c in CONCEPTS.values() if c.colorable)


def concept(name: str) -> Concept:
    """The concept of that name. Raises KeyError naming it when there is none."""
    found = CATALOGUE.get(name) or SHAPES.get(name)
    if found is None:
        raise KeyError(f"the world has no concept {name!r}")
    return found


def colorable(name: str, style: str = "flat") -> bool:
    """Whether a colour word applies to a noun drawn in that style."""
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; one of {STYLES}")
    return concept(name).colorable if style == "flat" or name in SHAPES else style == "outline"


def of_kind(*kinds: str, among: Mapping[str, Concept] = CONCEPTS) -> tuple[str, ...]:
    """Names of the concepts of these kinds, in a fixed order."""
    return tuple(c.name for c in among.values() if c.kind in kinds)
