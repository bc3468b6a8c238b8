"""Portraits whose every attribute has a word: hair, its colour, skin, expression, glasses, beard, clothes.

Drawn by DiceBear from "Open Peeps" by Pablo Stanley (CC0 1.0), a package dependency. One word is one drawing,
so a caption says all there is to see and `verify` can read it back.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np
from dicebear import Avatar, Style
from numpy.typing import NDArray
from PIL import Image

from training.world.assets import rasterise

Floats = NDArray[np.float32]

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
    "clothes": tuple(CLOTHES),
}  # fmt: skip
"""Every attribute and the words it may have."""
BARE = 0.4
"""Share of faces that are made to wear no glasses, and as many no beard, beside those left so by chance."""
VIEW = "0 0 704 704"
"""DiceBear's canvas for this style."""
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

    def __post_init__(self) -> None:
        for name, words in WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(words)}")
        if self.hair in BLACK_HAIR and self.hair_color != "black":
            raise ValueError(f"{self.hair} hair is drawn in black only, not in {self.hair_color}")

    @property
    def phrase(self) -> str:
        """Its caption: "a smiling person with pale skin, short red hair, glasses and blue clothes"."""
        hair = "no hair" if self.hair == "no" else f"{self.hair} {self.hair_color} hair"
        worn = [word for word in (self.glasses, self.beard) if not word.startswith("no ")]
        listed = ", ".join([f"{self.skin} skin", hair, *worn])
        return f"a {self.expression} person with {listed} and {self.clothes} clothes"


@dataclass(frozen=True)
class Finding:
    """The verdict on one attribute: the word that the picture shows."""

    attribute: str
    wanted: str
    found: str

    @property
    def passed(self) -> bool:
        return self.wanted == self.found


def sample_portrait(rng: np.random.Generator) -> Portrait:
    """A random face; half of them wear no glasses, and half no beard."""
    chosen = {name: words[int(rng.integers(len(words)))] for name, words in WORDS.items()}
    for name in ("glasses", "beard"):
        if rng.random() < BARE:
            chosen[name] = WORDS[name][0]
    if chosen["hair"] in BLACK_HAIR:
        chosen["hair_color"] = "black"
    return Portrait(**chosen)


def draw(portrait: Portrait, px: int) -> NDArray[np.uint8]:
    """The portrait as straight RGBA uint8 `[px, px, 4]`, on nothing."""
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
    return rasterise(Avatar(_style(), options).to_string(), VIEW, px, px)


def verify(portrait: Portrait, image: NDArray[np.uint8]) -> list[Finding]:
    """Which word of every attribute a picture shows, when the portrait fills it: straight RGBA uint8 `[H, W,
    4]`.

    The reading starts from the wanted portrait and changes one attribute at a time, each time the one that
    brings it nearest to the picture, until no change does.
    """
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 [H, W, 4], got {image.dtype} {list(image.shape)}")
    side = min(COMPARED_PX, *image.shape[:2])
    seen = _compared(image, side)
    read = portrait
    while (best := min(_neighbours(read), key=lambda each: _error(seen, each, side))) != read:
        read = best
    return [Finding(name, getattr(portrait, name), getattr(read, name)) for name in WORDS]


def _neighbours(portrait: Portrait) -> list[Portrait]:
    """The portrait, and all that differ in one word; black hair takes its colour with it."""
    found = [portrait]
    for name, words in WORDS.items():
        if name == "hair_color" and portrait.hair in BLACK_HAIR:
            continue
        for word in words:
            forced = {"hair_color": "black"} if name == "hair" and word in BLACK_HAIR else {}
            found.append(replace(portrait, **{name: word}, **forced))
    return found


def _error(seen: Floats, portrait: Portrait, side: int) -> float:
    """Squared error to the portrait, sharp or soft, whichever is nearer."""
    return min(float(np.square(seen - template).sum()) for template in _templates(portrait, side))


@lru_cache(maxsize=4096)
def _templates(portrait: Portrait, side: int) -> tuple[Floats, Floats]:
    """The portrait at `side` pixels, premultiplied: sharp, and soft."""
    sharp = _compared(draw(portrait, side), side)
    distance = np.arange(side)[:, None] - np.arange(side)[None]
    kernel = np.exp(-0.5 * (distance / SOFT) ** 2)
    kernel /= kernel.sum(1, keepdims=True)
    soft = np.einsum("yi,xj,ijc->yxc", kernel, kernel, sharp, optimize=True)
    return sharp, np.asarray(soft, np.float32)


def _compared(image: NDArray[np.uint8], side: int) -> Floats:
    """Straight uint8 `[H, W, 4]` as premultiplied float32 0..255 `[side, side, 4]`."""
    small = Image.fromarray(image, "RGBA").convert("RGBa").resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


@lru_cache(maxsize=1)
def _style() -> Style:
    return Style(json.loads(files("dicebear_styles").joinpath("open-peeps.json").read_text("utf-8")))
