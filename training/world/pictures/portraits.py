"""Portraits whose every attribute has a word: hair, its colour, skin, expression, glasses, beard, clothes.

Drawn by DiceBear from "Open Peeps" by Pablo Stanley (CC0 1.0), a package dependency. One word is one drawing,
so a caption says all there is to see and `verify` can read it back.
"""

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np
from dicebear import Avatar, Style
from PIL import Image

from training.world.assets.sprites import rasterise
from training.world.kinds import Kind, Pixels
from training.world.report import Finding, Report
from training.world.scenes import scenery
from training.world.scenes.caption import with_article
from training.world.scenes.matching import Floats, checked, softened
from training.world.scenes.sample import SPLITS, split_of_key
from training.world.scenes.scene import Background
from wanimage.conditions import COLORS

HAIR = {
    "braided": "cornrows", "curly": "mediumBangs2", "fringed": "bangs", "medium-length": "grayMedium",
    "mohawk": "mohawk", "pinned-up": "grayBun", "short": "grayShort", "tousled": "short4",
}  # fmt: skip
BLACK_HAIR = {
    "afro": "afro", "bob-cut": "bangs2", "dreadlocked": "dreads1", "flat-topped": "flatTop",
    "long": "long", "no": "noHair1", "twisted": "twists",
}  # fmt: skip
"""Their drawings have no colour of their own."""
HAIR_COLORS = {
    "black": "#2c1b18",
    "brown": "#724133",
    "red": "#c93305",
    "blond": "#d6b370",
    "pink": "#f59797",
}
SKINS = {"pale": "#ffdbb4", "tan": "#d08b5b", "brown": "#ae5d29", "dark": "#694d3d"}
EXPRESSIONS = {
    "smiling": "smile", "grinning": "smileBig", "laughing": "smileLOL", "sad": "solemn", "tired": "blank",
    "angry": "rage", "astonished": "awe", "enamoured": "lovingGrin1",
}  # fmt: skip
GLASSES = {
    "no glasses": "", "glasses": "glasses3", "white glasses": "glasses4", "sunglasses": "sunglasses",
    "an eyepatch": "eyepatch",
}  # fmt: skip
BEARDS = {"no beard": "", "a full beard": "full3", "a goatee": "goatee2", "a moustache": "moustache3"}
CLOTHES = {"blue": "#8fa7df", "green": "#78e185", "orange": "#ffcf77", "purple": "#e279c7", "red": "#e78276"}

WORDS: dict[str, tuple[str, ...]] = {
    "hair": (*HAIR, *BLACK_HAIR), "hair_color": tuple(HAIR_COLORS), "skin": tuple(SKINS),
    "expression": tuple(EXPRESSIONS), "glasses": tuple(GLASSES), "beard": tuple(BEARDS),
    "clothes": tuple(CLOTHES), "background": ("transparent", *COLORS),
}  # fmt: skip
"""Every attribute and the words it may have."""
BARE = 0.4
"""Share of faces that are made to wear no glasses, and as many no beard, beside those left so by chance."""
VIEW = "0 0 704 704"
"""DiceBear's canvas for this style."""
NOVEL = {"hair": "mohawk", "expression": "enamoured", "glasses": "an eyepatch"}
"""Words that only the split `heldout_concepts` has."""
COMPARED_PX = 64
"""Largest side at which `verify` compares; eyes are seven of these pixels wide."""
SOFT = 1.0
"""Deviation in compared pixels of a second set of templates, for pictures that a VAE softened."""


@dataclass(frozen=True)
class Portrait:
    """One face, in words of `WORDS`. Hair of `BLACK_HAIR` is black."""

    hair: str = "short"
    hair_color: str = "black"
    skin: str = "pale"
    expression: str = "smiling"
    glasses: str = "no glasses"
    beard: str = "no beard"
    clothes: str = "blue"
    background: str = "transparent"

    def __post_init__(self) -> None:
        for name, words in WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(words)}")
        if self.hair in BLACK_HAIR and self.hair_color != "black":
            raise ValueError(f"{self.hair} hair is drawn in black only, not in {self.hair_color}")

    @property
    def ground(self) -> Background:
        """What is behind the face."""
        return Background() if self.background == "transparent" else Background.plain(self.background)

    @property
    def phrase(self) -> str:
        """Its caption: "a smiling person with pale skin, short red hair, glasses and blue clothes, on a
        transparent background"."""
        hair = "no hair" if self.hair == "no" else f"{self.hair} {self.hair_color} hair"
        worn = [word for word in (self.glasses, self.beard) if not word.startswith("no ")]
        listed = ", ".join([f"{self.skin} skin", hair, *worn])
        worn_below = f"{self.clothes} clothes, {self.ground.phrase}"
        return f"{with_article(self.expression)} person with {listed} and {worn_below}"


def sample_portrait(rng: np.random.Generator) -> Portrait:
    """A random face; half of them wear no glasses, half no beard, and half have no background."""
    chosen = {name: words[int(rng.integers(len(words)))] for name, words in WORDS.items()}
    for name in ("glasses", "beard", "background"):
        if rng.random() < BARE:
            chosen[name] = WORDS[name][0]
    if chosen["hair"] in BLACK_HAIR:
        chosen["hair_color"] = "black"
    return Portrait(**chosen)


def sample(rng: np.random.Generator, split: str, aspect: tuple[int, int] = (1, 1)) -> Portrait:
    """A random face of a split, whatever its aspect; splits are by hair, expression, glasses and beard."""
    if split not in (*SPLITS, "heldout_concepts"):
        raise ValueError(f"no split {split!r}; one of {(*SPLITS, 'heldout_concepts')}")
    while split_of(found := sample_portrait(rng)) != split:
        pass
    return found


def split_of(portrait: Portrait) -> str:
    """The one split that a face belongs to."""
    if any(getattr(portrait, name) == word for name, word in NOVEL.items()):
        return "heldout_concepts"
    return split_of_key("|".join((portrait.hair, portrait.expression, portrait.glasses, portrait.beard)))


def draw(portrait: Portrait, height: int, width: int | None = None) -> Pixels:
    """The portrait as straight RGBA uint8 `[height, width, 4]`: the largest square in the middle holds it."""
    width = height if width is None else width
    side = min(height, width)
    canvas = np.zeros((height, width, 4), np.uint8)
    canvas[:] = scenery.draw(portrait.ground, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    over = Image.fromarray(_face(replace(portrait, background="transparent"), side))
    under = Image.fromarray(canvas)
    under.alpha_composite(over, (left, top))
    return np.array(under)


@lru_cache(maxsize=4096)
def _face(portrait: Portrait, px: int) -> Pixels:
    """A portrait on nothing."""
    glasses, beard = GLASSES[portrait.glasses], BEARDS[portrait.beard]
    options = {
        "seed": "", "maskProbability": 0,
        "headVariant": (HAIR | BLACK_HAIR)[portrait.hair],
        "headContrastColor": HAIR_COLORS[portrait.hair_color],
        "skinColor": SKINS[portrait.skin],
        "expressionVariant": EXPRESSIONS[portrait.expression],
        "clothingColor": CLOTHES[portrait.clothes],
        "accessoriesProbability": 100 if glasses else 0,
        "facialHairProbability": 100 if beard else 0,
    }  # fmt: skip
    options |= {"accessoriesVariant": glasses} if glasses else {}
    options |= {"facialHairVariant": beard} if beard else {}
    # The clip is the canvas itself, and costs as much as all the rest.
    svg = re.sub(r' clip-path="url\(#clip-[^"]*\)"', "", Avatar(_style(), options).to_string())
    return rasterise(svg, VIEW, px, px)


def read(image: Pixels, start: Portrait | None = None) -> Portrait:
    """The portrait that a picture shows: straight RGBA uint8 `[H, W, 4]`.

    The reading starts from some portrait and changes one attribute at a time, each time the one that brings
    it nearest to the picture, until no change does.
    """
    height, width = checked(image).shape[:2]
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    side = min(COMPARED_PX, square)
    seen = _compared(image[top : top + square, left : left + square], side)
    found = start or Portrait()
    while (best := min(_neighbours(found), key=lambda each: _error(seen, each, side))) != found:
        found = best
    return found


def verify(portrait: Portrait, image: Pixels) -> Report:
    """Whether a picture shows every word of a portrait."""
    found = read(image, portrait)
    return Report(
        tuple(
            Finding(
                name, "the portrait", getattr(portrait, name) == getattr(found, name), getattr(found, name)
            )
            for name in WORDS
        )
    )


def attributes(portrait: Portrait) -> dict[str, str]:
    """Sentences by name of `captions.ATTRIBUTES`."""
    worn = [word for word in (portrait.glasses, portrait.beard) if not word.startswith("no ")]
    hair = "no hair" if portrait.hair == "no" else f"{portrait.hair} {portrait.hair_color} hair"
    return {
        "global_semantics": f"A drawn portrait of {with_article(portrait.expression)} person.",
        "human_subjects": f"One person with {portrait.skin} skin, {hair}"
        + "".join(f", {word}" for word in worn)
        + f" and {portrait.clothes} clothes.",
        "object_counts": "One person.",
        "actions": f"The person looks {portrait.expression}.",
        "background": portrait.ground.phrase[0].upper() + portrait.ground.phrase[1:] + ".",
        "composition": "Head and shoulders, centered.",
        "viewpoint": "Seen at eye level.",
        "style": "A line drawing with flat colours.",
    }


def _neighbours(portrait: Portrait) -> list[Portrait]:
    """The portrait, and all that differ in one word; black hair takes its colour with it."""
    found = [portrait]
    for name, words in WORDS.items():
        if name == "hair_color" and portrait.hair in BLACK_HAIR:
            continue
        for word in words:
            forced = {"hair_color": "black"} if name == "hair" and word in BLACK_HAIR else {}
            found += [replace(portrait, **{name: word}, **forced)] if word != getattr(portrait, name) else []
    return found


def _error(seen: Floats, portrait: Portrait, side: int) -> float:
    """Squared error to the portrait, sharp or soft, whichever is nearer."""
    return min(float(np.square(seen - template).sum()) for template in _templates(portrait, side))


@lru_cache(maxsize=4096)
def _templates(portrait: Portrait, side: int) -> tuple[Floats, Floats]:
    """The portrait at `side` pixels, premultiplied: sharp, and soft."""
    sharp = _compared(draw(portrait, side), side)
    return sharp, softened(sharp, SOFT, bounded=True)


def _compared(image: Pixels, side: int) -> Floats:
    """Straight uint8 `[H, W, 4]` as premultiplied float32 0..255 `[side, side, 4]`."""
    small = Image.fromarray(image, "RGBA").convert("RGBa").resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


@lru_cache(maxsize=1)
def _style() -> Style:
    return Style(json.loads(files("dicebear_styles").joinpath("open-peeps.json").read_text("utf-8")))


KIND = Kind(
    "portrait", "non-photorealistic", sample, draw, verify, lambda portrait: portrait.phrase, attributes
)
