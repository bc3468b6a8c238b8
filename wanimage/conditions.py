"""Words for what a picture is conditioned on: colours, places, regions, palettes, backgrounds.

The world's captions (training) and the services use these same phrases, so that a palette or a region
asked for through the API reads exactly like the prompts the family was trained on.

Places are a 3x3 grid over the picture; colours are twelve words with one sRGB value each.
"""

import re
from collections.abc import Sequence

RGB = tuple[int, int, int]

COLORS: dict[str, RGB] = {
    "red": (222, 40, 46),
    "orange": (247, 133, 24),
    "yellow": (252, 213, 55),
    "green": (52, 168, 68),
    "teal": (10, 158, 160),
    "blue": (44, 102, 226),
    "purple": (132, 66, 190),
    "pink": (248, 128, 184),
    "brown": (128, 80, 48),
    "black": (38, 38, 42),
    "white": (250, 250, 250),
    "grey": (144, 148, 154),
}
SETTINGS: dict[str, str] = {
    "meadow": "in a meadow",
    "beach": "on a beach",
    "desert": "in a desert",
    "snow": "in a snowy field",
    "forest": "in a forest",
    "city": "in a city",
    "hills": "in the hills",
    "lake": "by a lake",
}
TIMES: dict[str, str] = {"day": "by day", "sunset": "at sunset", "night": "at night"}
SIZES: tuple[str, ...] = ("small", "medium", "large")  # "medium" is never written
PLACES: tuple[str, ...] = (
    "top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
TRANSPARENT = "on a transparent background"


def place_of(cx: float, cy: float) -> str:
    """The place word of a point; `cx`, `cy` are fractions of width and height in [0, 1]."""
    column, row = min(2, int(cx * 3)), min(2, int(cy * 3))
    return PLACES[3 * row + column]


def place_phrase(place: str) -> str:
    """`left` -> `at the left`; the center takes `in`."""
    return f"{'in' if place == 'center' else 'at'} the {place}"


def region_phrase(text: str, x0: float, y0: float, x1: float, y1: float) -> str:
    """A region's own text with the place of its box, the corners given as fractions of the picture."""
    return f"{text} {place_phrase(place_of((x0 + x1) / 2, (y0 + y1) / 2))}"


def setting_phrase(setting: str, time: str) -> str:
    """`meadow`, `day` -> `in a meadow by day`."""
    return f"{SETTINGS[setting]} {TIMES[time]}"


def plain_phrase(color: str) -> str:
    """`blue` -> `on a plain blue background`."""
    return f"on a plain {color} background"


def palette_phrase(bands: Sequence[tuple[str, float]]) -> str:
    """Bands from top to bottom, (colour word, fraction): `on a background of red 60%, blue 40%`."""
    return "on a background of " + ", ".join(f"{color} {round(100 * part)}%" for color, part in bands)


_BACKGROUND = "|".join(
    [
        f"(?:{'|'.join(SETTINGS.values())}) (?:{'|'.join(TIMES.values())})",
        f"on a plain (?:{'|'.join(COLORS)}) background",
        r"on a background of [a-z]+ \d+%(?:, [a-z]+ \d+%)*",
        TRANSPARENT,
    ]
)
_BEHIND = re.compile(rf"(?P<subject>.*?),? (?P<behind>{_BACKGROUND})\.?", re.DOTALL)
_BEFORE = re.compile(rf"(?P<behind>{_BACKGROUND}): (?P<subject>.*)", re.DOTALL | re.IGNORECASE)


def split_background(prompt: str) -> tuple[str, str]:
    """(subject, background phrase) of a prompt; the phrase is empty when the prompt names none."""
    prompt = prompt.strip()
    found = _BEFORE.fullmatch(prompt) or _BEHIND.fullmatch(prompt)
    if not found:
        return prompt, ""
    behind = found["behind"]
    return found["subject"].strip(), behind[0].lower() + behind[1:]


def color_word(rgb: Sequence[int]) -> str:
    """The nearest of the twelve colour words to an sRGB value (0..255), by a luma-weighted distance."""
    return min(COLORS, key=lambda word: _distance(COLORS[word], rgb))


def hex_word(value: str) -> str:
    """The nearest colour word to `#RRGGBB`. Raises ValueError when it is not such a value."""
    if len(value) != 7 or not value.startswith("#"):
        raise ValueError(f"{value!r} is not a colour of the form #RRGGBB")
    return color_word([int(value[i : i + 2], 16) for i in (1, 3, 5)])


def _distance(a: Sequence[int], b: Sequence[int]) -> float:
    red, green, blue = (float(x) - float(y) for x, y in zip(a, b, strict=True))
    return 2 * red * red + 4 * green * green + 3 * blue * blue
