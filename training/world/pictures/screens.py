"""Screens: a header with a title, two to four cards of an icon and a label, and a button, as apps have them.

On tall screens cards are rows, on wide ones they stand side by side. Every part is checked where it belongs.
"""

from dataclasses import dataclass

import numpy as np

from training.world.assets.concepts import CONCEPTS
from training.world.assets.sprites import rasterise
from training.world.kinds import Kind
from training.world.pictures import lettering, vocabulary
from training.world.pictures.icons import icon_at, paint_icon
from training.world.pictures.lettering import Lettering, Pixels, rgb
from training.world.pictures.text_findings import color_finding, of_block, patch
from training.world.pixels import canvas_of, straight
from training.world.report import Finding, Report
from training.world.scenes.sample import one_of_split
from training.world.scenes.scene import unit_px
from wanimage.conditions import COLORS

DARK, LIGHT = "#22262b", "#ffffff"
THEMES = {"light": ("#e8ebf0", "#ffffff"), "dark": ("#15181d", "#343b45")}  # page and cards
PAINTS = tuple(c for c in COLORS if c not in ("white", "grey", "black"))
TITLE_EM, LABEL_EM, BUTTON_EM = 0.085, 0.075, 0.068  # in units of `scene.unit_px`
CARD_REACH = 16.0  # most difference (0..255) of pages and cards
SIDE = 0.4  # ems beside a label that the reader looks at

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Card:
    """An icon of `CONCEPTS` and a label."""

    icon: str
    label: str


@dataclass(frozen=True)
class Screen:
    """A screen; `bar` and `button_color` are colour words."""

    title: str
    cards: tuple[Card, ...]
    button: str
    bar: str
    button_color: str
    font: str
    theme: str = "light"

    def __post_init__(self) -> None:
        if not 2 <= len(self.cards) <= 4:
            raise ValueError(f"a screen has 2 to 4 cards, got {len(self.cards)}")
        if self.theme not in THEMES:
            raise ValueError(f"no theme {self.theme!r}; one of {list(THEMES)}")


@dataclass(frozen=True)
class Plan:
    """Boxes (left, top, right, bottom) in pixels, and the lettering on them."""

    bar: Box
    cards: tuple[Box, ...]
    icons: tuple[tuple[float, float, float], ...]  # middle and side
    button: Box
    title: Lettering
    labels: tuple[Lettering, ...]
    caption: Lettering  # the button's


def plan(screen: Screen, height: int, width: int) -> Plan:
    """The layout of a screen at a size: four rows of cards at most, or four columns."""
    unit, n = unit_px(height, width), len(screen.cards)
    pad = 0.035 * unit
    bar = (0.0, 0.0, float(width), min(0.17 * unit, 0.2 * height))
    low = height - min(0.19 * unit, 0.22 * height)
    room = (pad, bar[3] + pad, width - pad, low)
    cards, icons, spots = (_columns if width > 1.3 * height else _rows)(n, room, pad, unit)
    ink = DARK if screen.theme == "light" else LIGHT
    em = min(
        LABEL_EM,
        *(
            most / unit / lettering.advance(card.label, screen.font, 1.0)
            for card, (_, _, most) in zip(screen.cards, spots, strict=True)
        ),
    )

    def words(text: str, color: str, size: float, x: float, y: float, most: float) -> Lettering:
        return Lettering((text,), screen.font, color, size, x / width, y / height, most_width=most / width)

    def on(color: str) -> str:
        return LIGHT if lettering.contrast(rgb(color), (255, 255, 255)) > 75 else DARK

    labels = []
    for card, (left, y, most) in zip(screen.cards, spots, strict=True):
        half = lettering.advance(card.label, screen.font, em) * unit / 2
        middle = left + half if width <= 1.3 * height else left + most / 2
        labels.append(words(card.label, ink, em, middle, y + 0.1 * em * unit, most))
    long = max(0.4 * unit, lettering.advance(screen.button, screen.font, BUTTON_EM) * unit + 0.12 * unit)
    middle = (low + height) / 2
    deep = 0.42 * (height - low)
    button = (width / 2 - long / 2, middle - deep, width / 2 + long / 2, middle + deep)
    shift = 0.1 * LABEL_EM * unit
    title = words(screen.title, on(screen.bar), TITLE_EM, width / 2, bar[3] / 2 + shift, 0.9 * width)
    caption = words(screen.button, on(screen.button_color), BUTTON_EM, width / 2, middle + shift, 0.9 * long)
    return Plan(bar, tuple(cards), tuple(icons), button, title, tuple(labels), caption)


Spots = tuple[list[Box], list[tuple[float, float, float]], list[tuple[float, float, float]]]


def _rows(n: int, room: Box, pad: float, unit: float) -> Spots:
    """Cards from the top; boxes, icons, and (left, middle, most width) of labels."""
    x0, y0, x1, y1 = room
    pitch = min((y1 - y0) / n, 0.3 * unit)
    cards = [(x0, y0 + i * pitch, x1, y0 + (i + 1) * pitch - 0.6 * pad) for i in range(n)]
    icons, spots = [], []
    for left, top, right, bottom in cards:
        side = min(0.76 * (bottom - top), 0.2 * (right - left))
        middle = (top + bottom) / 2
        icons.append((left + 0.7 * pad + side / 2, middle, side))
        start = left + 0.7 * pad + side + 0.06 * unit
        spots.append((start, middle, right - 0.05 * unit - start))
    return cards, icons, spots


def _columns(n: int, room: Box, pad: float, unit: float) -> Spots:
    """Cards side by side, the label under its icon."""
    x0, y0, x1, y1 = room
    pitch = (x1 - x0 + pad) / n
    cards = [(x0 + i * pitch, y0, x0 + (i + 1) * pitch - pad, y1) for i in range(n)]
    icons, spots = [], []
    for left, top, right, bottom in cards:
        side = min(0.5 * (bottom - top), 0.6 * (right - left), 0.34 * unit)
        icons.append(((left + right) / 2, top + 0.4 * (bottom - top), side))
        spots.append((left + 0.04 * unit, top + 0.83 * (bottom - top), right - left - 0.08 * unit))
    return cards, icons, spots


def draw(screen: Screen, height: int, width: int) -> Pixels:
    """The screen as opaque RGBA `[height, width, 4]`."""
    where = plan(screen, height, width)
    page, card = THEMES[screen.theme]
    round_ = 0.025 * unit_px(height, width)
    parts = [_rect((0, 0, width, height), page), _rect(where.bar, screen.bar)]
    parts += [_rect(box, card, round_) for box in where.cards]
    parts.append(_rect(where.button, screen.button_color, round_))
    canvas = canvas_of(rasterise("".join(parts), f"0 0 {width} {height}", width, height))
    for entry, icon in zip(screen.cards, where.icons, strict=True):
        paint_icon(canvas, entry.icon, *icon)
    for block in (where.title, *where.labels, where.caption):
        lettering.paint_block(canvas, block)
    return straight(canvas)


def _rect(box: Box, color: str, radius: float = 0) -> str:
    x0, y0, x1, y1 = box
    fill = lettering.hex_of(rgb(color))
    return f'<rect x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}" rx="{radius}" fill="{fill}"/>'


# --- reading ---------------------------------------------------------------------------------------------


def verify(screen: Screen, image: Pixels) -> Report:
    """Title, font, bar, page, every card with icon and label, and the button."""
    canvas = canvas_of(image)
    height, width = canvas.shape[:2]
    where = plan(screen, height, width)
    page, card_color = THEMES[screen.theme]
    gap = np.median(canvas[round(where.bar[3]) + 1 :, : max(1, round(0.012 * width))].reshape(-1, 4), 0)
    findings = [
        color_finding("the page", page, gap, CARD_REACH),
        color_finding("the header", screen.bar, _edge(canvas, where.bar)),
        *of_block(canvas, where.title, "the title"),
    ]
    for i, (card, box, icon, label) in enumerate(
        zip(screen.cards, where.cards, where.icons, where.labels, strict=True)
    ):
        about = f"card {i + 1}"
        there = color_finding(about, card_color, _edge(canvas, box), CARD_REACH)
        findings.append(Finding("box", about, there.passed, there.found))
        found = icon_at(canvas, *icon)
        findings.append(Finding("object", f"{card.icon} on {about}", found == card.icon, found))
        if there.passed:
            findings += of_block(canvas, label, about, SIDE, font=False)[:-1]
        else:
            findings.append(Finding("text", f"{about} {card.label!r}", False, "no card"))
    findings.append(Finding("count", "cards", (n := _count(screen, image)) == len(screen.cards), str(n)))
    findings.append(color_finding("the button", screen.button_color, _edge(canvas, where.button)))
    findings += of_block(canvas, where.caption, "the button", SIDE, font=False)[:-1]
    return Report(tuple(findings))


def _edge(canvas: lettering.Floats, box: Box) -> lettering.Floats:
    """The median colour just inside of a box, where no icon or label is."""
    x0, y0, x1, y1 = box
    reach = 0.11 * (y1 - y0)
    top = patch(canvas, x0 + 0.1 * (x1 - x0), y0 + 0.2 * reach, x1 - 0.1 * (x1 - x0), y0 + 1.2 * reach)
    low = patch(canvas, x0 + 0.1 * (x1 - x0), y1 - 1.2 * reach, x1 - 0.1 * (x1 - x0), y1 - 0.2 * reach)
    return np.asarray((top + low) / 2)


def _count(screen: Screen, image: Pixels) -> int:
    """Runs of the cards' colour along the middle line of where cards stand, at their inner edge."""
    where = plan(screen, *image.shape[:2])
    page, card = (np.array(rgb(c), float) for c in THEMES[screen.theme])
    height, width = image.shape[:2]
    if width > 1.3 * height:
        y0, y1 = where.cards[0][1], where.cards[0][3]
        strip = np.median(image[round(y0 + 0.02 * (y1 - y0)) + 1 : round(y0 + 0.08 * (y1 - y0)) + 2], 0)
    else:
        x1 = where.cards[0][2]
        band = image[round(where.bar[3]) + 1 : round(where.button[1]) - 1]
        strip = np.median(band[:, round(x1 - 0.04 * width) : round(x1 - 0.015 * width) + 1], 1)
    on = (strip[:, :3] - page) @ (card - page) / ((card - page) @ (card - page)) > 0.5
    return int(on[0]) + int((on[1:] & ~on[:-1]).sum())


# --- at random -------------------------------------------------------------------------------------------


def sample(rng: np.random.Generator, split: str = "train", aspect: tuple[int, int] = (1, 1)) -> Screen:
    """A random screen of a split.

    A composition is (the icons in order, the bar's colour); "heldout_concepts" says held-out words.
    """
    return one_of_split(split, lambda: _any(rng, split, aspect), key)


def key(screen: Screen) -> str:
    """What its split is decided by."""
    return f"screen {[c.icon for c in screen.cards]} {screen.bar}"


def _any(rng: np.random.Generator, split: str, aspect: tuple[int, int]) -> Screen:
    theme = str(rng.choice(list(THEMES)))
    most = 4 if aspect[0] > 0.9 * aspect[1] or aspect[1] > 1.6 * aspect[0] else 3
    n = int(rng.integers(2, most + 1))
    icons = [str(c) for c in rng.choice(_shown(theme), n, replace=False)]
    long = 7 if aspect[1] > 1.3 * aspect[0] else 9
    labels = [w for w in vocabulary.words("latin", split == "heldout_concepts") if 3 <= len(w) <= long]
    chosen = [str(w).capitalize() for w in rng.choice(labels, n + 2, replace=False)]
    bar, button = (str(c) for c in rng.choice(PAINTS, 2, replace=False))
    cards = tuple(Card(*c) for c in zip(icons, chosen, strict=False))
    return Screen(chosen[-2], cards, chosen[-1], bar, button, lettering.sample_face(rng, "latin"), theme)


_LOST = {  # icons that vanish on a theme's cards
    "light": ("swan", "ghost", "letter", "rabbit", "snowman", "koala"),
    "dark": ("penguin", "bee", "horse", "camera", "wolf"),
}


def _shown(theme: str) -> list[str]:
    return [name for name in CONCEPTS if name not in _LOST[theme]]


# --- words -----------------------------------------------------------------------------------------------


def phrase(screen: Screen) -> str:
    """`a light app screen with a red header "Music" ..., 2 cards in order: "Bread" with a fox, ...`."""
    cards = ", ".join(f'"{c.label}" with {_article(c.icon)}' for c in screen.cards)
    return (
        f'a {screen.theme} app screen with a {screen.bar} header "{screen.title}" in a {screen.font} font, '
        f"{len(screen.cards)} cards in order: {cards}, "
        f'and {_article(screen.button_color)} button "{screen.button}"'
    )


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def attributes(screen: Screen) -> dict[str, str]:
    """Sentences for its structured caption."""
    labels = ", ".join(f'"{c.label}"' for c in screen.cards)
    return {
        "global_semantics": f'An app screen titled "{screen.title}".',
        "objects": f"Icons in order: {', '.join(c.icon for c in screen.cards)}.",
        "object_counts": f"{len(screen.cards)} cards and one button.",
        "background": f"A {screen.theme} page.",
        "palette": f"A {screen.bar} header and {_article(screen.button_color)} button.",
        "spatial_layout": "The header at the top, the cards below it, the button at the bottom.",
        "style": "A flat user interface.",
        "text_content": f'The title "{screen.title}", the labels {labels}, the button "{screen.button}".',
        "typography": f"{screen.font[0].upper()}{screen.font[1:]} letters.",
    }


KIND = Kind("screen", "text-centric", sample, draw, verify, phrase, attributes)
