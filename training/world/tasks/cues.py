"""Visual cues that a user draws on a picture: boxes, arrows, masks, scribbles and numbered marks.

Cues are drawn in colours that no picture of the world holds, so that they can be read back from pixels and a
result in which one was left is found out. Points are fractions of the picture's width and height.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.world.assets.sprites import rasterise
from training.world.kinds import Pixels

COLORS: dict[str, tuple[int, int, int]] = {
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "lime": (0, 255, 0),
}
SHAPES = ("box", "arrow", "mask", "scribble", "mark")
VEIL = 0.4
"""Opacity of a mask's inside; its rim is opaque."""
NEAR = 60
"""Largest sum of differences over the channels at which a pixel is of a cue's colour."""
MARK = 0.075
"""Radius of a numbered mark, in short sides."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Cue:
    """One cue.

    `points` are two opposite corners of a box or of a mask's ellipse, the tail and the tip of an arrow, the
    path of a scribble, or the center of a mark.
    """

    shape: str
    color: str
    points: tuple[Point, ...]
    number: int = 0

    def __post_init__(self) -> None:
        least = {"mark": 1, "scribble": 3}.get(self.shape, 2)
        known = self.shape in SHAPES and self.color in COLORS and len(self.points) >= least
        if not known or (self.shape == "mark") != (1 <= self.number <= 9):
            raise ValueError(f"not a cue: {self}; see training.world.tasks.cues.Cue")

    @property
    def phrase(self) -> str:
        """What a user calls it: `the magenta box`, or a mark's number."""
        return str(self.number) if self.shape == "mark" else f"the {self.color} {self.shape}"


def box(color: str, x: float, y: float, half_width: float, half_height: float) -> Cue:
    """A box around a point, cut at the picture's borders."""
    return Cue("box", color, _corners(x, y, half_width, half_height))


def mask(color: str, x: float, y: float, half_width: float, half_height: float) -> Cue:
    """An ellipse painted over a place."""
    return Cue("mask", color, _corners(x, y, half_width, half_height))


def arrow(color: str, tail: Point, tip: Point) -> Cue:
    """From a place to another."""
    return Cue("arrow", color, (tail, tip))


def scribble(color: str, x: float, y: float, half_width: float, half_height: float) -> Cue:
    """A zigzag over a place, as one crosses out."""
    (x0, y0), (x1, y1) = _corners(x, y, half_width, half_height)
    steps = 6
    ys = [y0 + (y1 - y0) * i / steps for i in range(steps + 1)]
    return Cue("scribble", color, tuple((x0 if i % 2 else x1, y) for i, y in enumerate(ys)))


def mark(color: str, x: float, y: float, number: int) -> Cue:
    """A numbered disc, 1 to 9, wholly inside the picture at any aspect up to 1:2."""
    return Cue(
        "mark", color, ((min(max(x, 2 * MARK), 1 - 2 * MARK), min(max(y, 2 * MARK), 1 - 2 * MARK)),), number
    )


def draw(image: Pixels, cues: tuple[Cue, ...]) -> Pixels:
    """The picture with cues over it; straight RGBA uint8 `[H, W, 4]` in and out."""
    if not cues:
        return image
    height, width = image.shape[:2]
    body = "".join(_svg(cue, height, width) for cue in cues)
    over = rasterise(body, f"0 0 {width} {height}", width, height)
    return np.array(Image.alpha_composite(Image.fromarray(image), Image.fromarray(over)))


def pixels_of(image: Pixels, color: str) -> NDArray[np.bool_]:
    """Which pixels are of a cue's colour, `[H, W]`."""
    far = np.abs(image[..., :3].astype(np.int16) - np.array(COLORS[color], np.int16)).sum(-1)
    found: NDArray[np.bool_] = (far < NEAR) & (image[..., 3] > 128)
    return found


def extent(image: Pixels, color: str) -> tuple[float, float, float, float] | None:
    """(x0, y0, x1, y1) of what has a cue's colour, in fractions of the picture; None when nothing has."""
    found = pixels_of(image, color)
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    if not len(rows):
        return None
    height, width = found.shape
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return float(x0 / width), float(y0 / height), float(x1 / width), float(y1 / height)


def left_in(image: Pixels) -> float:
    """Share of the picture in any cue's colour: a finished picture has none."""
    return float(np.mean([pixels_of(image, color).mean() for color in COLORS]) * len(COLORS))


# --- drawing ---------------------------------------------------------------------------------------------

_DIGITS = {  # polylines on a unit square
    1: "30,25 52,10 52,90",
    2: "25,28 38,12 62,12 75,28 75,42 25,90 78,90",
    3: "25,12 75,12 48,45 68,50 76,68 64,88 38,90 24,78",
    4: "65,90 65,10 22,66 80,66",
    5: "74,12 30,12 26,46 58,42 76,62 66,86 40,92 24,80",
    6: "68,12 40,32 26,66 40,90 64,88 76,68 62,50 40,52 27,68",
    7: "24,12 76,12 44,90",
    8: "50,48 30,36 32,18 50,10 68,18 70,36 50,48 26,66 32,86 50,92 68,86 74,66 50,48",
    9: "73,34 60,50 38,48 26,32 36,12 60,10 74,32 60,70 36,90",
}


def _corners(x: float, y: float, half_width: float, half_height: float) -> tuple[Point, Point]:
    edge = 0.015
    x0, x1 = max(edge, x - half_width), min(1 - edge, x + half_width)
    y0, y1 = max(edge, y - half_height), min(1 - edge, y + half_height)
    return (x0, y0), (x1, y1)


def _svg(cue: Cue, height: int, width: int) -> str:
    paint = "#" + "".join(f"{channel:02x}" for channel in COLORS[cue.color])
    stroke = max(2.0, 0.022 * min(height, width))
    line = f'fill="none" stroke="{paint}" stroke-width="{stroke:.2f}" stroke-linejoin="round"'
    points = [(x * width, y * height) for x, y in cue.points]
    if cue.shape in ("box", "mask"):
        (x0, y0), (x1, y1) = points
        if cue.shape == "box":
            return f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" {line}/>'
        center = f'cx="{(x0 + x1) / 2:.1f}" cy="{(y0 + y1) / 2:.1f}"'
        ellipse = f'{center} rx="{(x1 - x0) / 2:.1f}" ry="{(y1 - y0) / 2:.1f}"'
        return f'<ellipse {ellipse} fill="{paint}" fill-opacity="{VEIL}"/><ellipse {ellipse} {line}/>'
    if cue.shape == "mark":
        return _mark(points[0], min(height, width) * MARK, paint, cue.number)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    if cue.shape == "scribble":
        return f'<polyline points="{path}" {line}/>'
    return f'<polyline points="{path}" {line}/>' + _head(points[-2], points[-1], 3.2 * stroke, paint)


def _head(tail: Point, tip: Point, size: float, paint: str) -> str:
    """An arrow's head: a triangle whose point is the tip."""
    along = np.array(tip) - np.array(tail)
    along /= max(float(np.hypot(*along)), 1e-6)
    across = np.array([-along[1], along[0]])
    base = np.array(tip) - 1.6 * size * along
    corners = [np.array(tip), base + 0.8 * size * across, base - 0.8 * size * across]
    listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<polygon points="{listed}" fill="{paint}"/>'


def _mark(center: Point, radius: float, paint: str, number: int) -> str:
    x, y = center
    scale = 1.35 * radius / 100
    pairs = [tuple(map(float, p.split(","))) for p in _DIGITS[number].split()]
    strokes = " ".join(f"{x + (a - 50) * scale:.2f},{y + (b - 50) * scale:.2f}" for a, b in pairs)
    disc = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{paint}"/>'
    pen = f'fill="none" stroke="#101014" stroke-width="{0.24 * radius:.2f}" stroke-linejoin="round"'
    return f'{disc}<polyline points="{strokes}" {pen} stroke-linecap="round"/>'
