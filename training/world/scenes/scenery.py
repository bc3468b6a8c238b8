"""The eight settings at three times of day, drawn as flat vector scenery at any size and aspect.

Shapes are few, large and crisp, so that a 16x autoencoder keeps them and a classifier tells them apart; each
setting has its own ground colour and its own skyline. `variant` moves the skyline and the sun.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.world.assets.sprites import rasterise
from training.world.scenes.scene import Background
from training.world.scenes.weather import veil
from wanimage.conditions import COLORS

Palette = dict[str, str]
# (day, sunset, night) of every named colour of the scenery
_TINTS: dict[str, tuple[str, str, str]] = {
    "sky": ("#8fd3f7", "#ff9a6b", "#141c4a"),
    "haze": ("#d9f1fc", "#ffd9a0", "#2f3f85"),
    "grass": ("#86cf4d", "#a58b3c", "#1f4a3f"),
    "grass2": ("#66b545", "#7f7236", "#193d38"),
    "hill": ("#4ba368", "#8a6a4a", "#163447"),
    "hill2": ("#79c389", "#b98457", "#21485a"),
    "hill3": ("#2f8763", "#6b4a44", "#0f2838"),
    "sand": ("#f6dfa4", "#eeb57b", "#6b6a82"),
    "sand2": ("#ecc982", "#d9945f", "#565672"),
    "sea": ("#2fa4dd", "#c56a86", "#17386f"),
    "sea2": ("#63c3ea", "#e8918a", "#25508f"),
    "dune": ("#efb45c", "#dd7f3d", "#5a4660"),
    "dune2": ("#dd9743", "#b95a35", "#463551"),
    "rock": ("#c4743c", "#8f3f34", "#35263f"),
    "snow": ("#f4f9fd", "#fbe0d8", "#93a6cf"),
    "snow2": ("#d5e6f3", "#eebfc0", "#7287b8"),
    "pine": ("#3d7f6d", "#6d4f5c", "#1d3556"),
    "wood": ("#2f7a46", "#5f5a32", "#0e2f2f"),
    "wood2": ("#1f5f3c", "#474329", "#0a2326"),
    "trunk": ("#6d4a34", "#4e3027", "#15201f"),
    "moss": ("#5a9148", "#7a6a35", "#163830"),
    "house": ("#a9b4c4", "#a3708a", "#2a2f5c"),
    "house2": ("#8592a8", "#80536f", "#1f2349"),
    "pane": ("#dcecf7", "#ffd873", "#ffd45e"),
    "road": ("#6f7682", "#67505f", "#20233c"),
    "line": ("#eef0f2", "#f3c9a0", "#8c90a8"),
    "peak": ("#7b8fb3", "#96688c", "#2a376b"),
    "peak2": ("#eef4fb", "#ffd0bd", "#8fa0d0"),
    "water": ("#3f8fd8", "#b9677c", "#1a3a78"),
    "water2": ("#7ab8ea", "#e59a84", "#3057a0"),
    "sun": ("#fff0a8", "#fff0b8", "#f3f1dc"),
    "dot": ("#ffffff", "#ffd3c0", "#8fb0a8"),
}
_TIMES = ("day", "sunset", "night")


class Pen:
    """Collects SVG elements on a canvas of `w` x `h` pixels; coordinates are fractions of it.

    Lengths that must not stretch with the aspect (radii, trees) are fractions of `u`, the short side.
    """

    def __init__(self, width: int, height: int, time: str, seed: int) -> None:
        self.w, self.h, self.u = float(width), float(height), float(min(width, height))
        self.time = time
        self.color = {name: tints[_TIMES.index(time)] for name, tints in _TINTS.items()}
        self.rng = np.random.default_rng(seed)
        self.elements: list[str] = []

    def fill(self, paint: str, path: str) -> None:
        """A filled path given in pixels."""
        self.elements.append(f'<path fill="{self.color[paint]}" d="{path}"/>')

    def band(self, paint: str, top: float, bottom: float = 1.0) -> None:
        """A horizontal band between two heights."""
        self.fill(paint, f"M0 {top * self.h:.1f}H{self.w}V{bottom * self.h:.1f}H0z")

    def circle(self, paint: str, x: float, y: float, radius: float) -> None:
        """A disc; `radius` in short sides."""
        center = f'cx="{x * self.w:.1f}" cy="{y * self.h:.1f}"'
        self.elements.append(f'<circle {center} r="{radius * self.u:.1f}" fill="{self.color[paint]}"/>')

    def ridge(self, paint: str, base: float, rise: float, step: float, sharp: bool = False) -> None:
        """A ground with a skyline of hills (or peaks) `rise` high and `step` short sides apart."""
        count = max(2, round(self.w / (step * self.u)) + 1)
        xs = np.linspace(-0.15, 1.15, 2 * count + 1) * self.w
        shift = self.rng.uniform(-0.35, 0.35) * (xs[1] - xs[0])
        ys = np.where(
            np.arange(2 * count + 1) % 2, base - rise * self.rng.uniform(0.6, 1, 2 * count + 1), base
        )
        points = [(x + shift, y * self.h) for x, y in zip(xs, ys, strict=True)]
        path = f"M{points[0][0]:.1f} {self.h}V{points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            middle = (x0 + x1) / 2
            path += (
                f"L{x1:.1f} {y1:.1f}"
                if sharp
                else f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
            )
        self.fill(paint, path + f"V{self.h}z")

    def box(self, paint: str, x: float, y: float, width: float, height: float) -> None:
        """A rectangle in pixels."""
        self.fill(paint, f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z")

    def spread(self, step: float) -> list[float]:
        """Pixel abscissas about `step` short sides apart, jittered."""
        count = max(2, round(self.w / (step * self.u)))
        return [float((i + self.rng.uniform(0.2, 0.8)) * self.w / count) for i in range(count)]


def _sky(pen: Pen, horizon: float) -> None:
    top, low = pen.color["sky"], pen.color["haze"]
    stops = f'<stop stop-color="{top}"/><stop offset="1" stop-color="{low}"/>'
    gradient = f'<linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient>'
    rectangle = f'<rect width="{pen.w}" height="{horizon * pen.h + 1:.1f}" fill="url(#sky)"/>'
    pen.elements.append(f"<defs>{gradient}</defs>{rectangle}")
    x = float(pen.rng.choice([0.14, 0.5, 0.86]))
    if pen.time == "night":
        for _ in range(round(9 * max(pen.w, pen.h) / pen.u)):
            pen.circle("dot", pen.rng.uniform(), pen.rng.uniform(0, 0.85 * horizon), 0.008)
        pen.circle("sun", x, 0.13, 0.06)
        pen.circle("sky", x + 0.03 * pen.u / pen.w, 0.11, 0.05)
    else:
        pen.circle(
            "sun", x, 0.13 if pen.time == "day" else horizon - 0.06, 0.07 if pen.time == "day" else 0.13
        )


def _meadow(pen: Pen) -> None:
    _sky(pen, 0.62)
    pen.ridge("grass2", 0.6, 0.05, 0.9)
    pen.band("grass", 0.66)
    for x in pen.spread(0.14):
        pen.circle("dot", x / pen.w, pen.rng.uniform(0.7, 0.97), 0.014)


def _beach(pen: Pen) -> None:
    _sky(pen, 0.5)
    pen.band("sea", 0.47)
    pen.band("sea2", 0.58)
    pen.ridge("sand", 0.7, 0.04, 1.1)
    pen.ridge("sand2", 0.93, 0.03, 0.8)


def _desert(pen: Pen) -> None:
    _sky(pen, 0.72)
    for x in pen.spread(0.8):
        wide = 0.26 * pen.u
        top = f"l{0.3 * wide:.1f} {-0.2 * pen.h:.1f}h{1.1 * wide:.1f}l{0.3 * wide:.1f} {0.2 * pen.h:.1f}z"
        pen.fill("rock", f"M{x - wide:.1f} {0.64 * pen.h:.1f}{top}")
    pen.ridge("dune", 0.66, 0.07, 0.8)
    pen.ridge("dune2", 0.86, 0.07, 1.0)


def _snow(pen: Pen) -> None:
    _sky(pen, 0.66)
    for x in pen.spread(0.22):
        tall = pen.rng.uniform(0.1, 0.18) * pen.u
        half = 0.45 * tall
        pen.fill("pine", f"M{x - half:.1f} {0.66 * pen.h:.1f}l{half:.1f} {-tall:.1f}l{half:.1f} {tall:.1f}z")
    pen.ridge("snow", 0.65, 0.05, 0.9)
    pen.ridge("snow2", 0.9, 0.05, 1.0)


def _forest(pen: Pen) -> None:
    _sky(pen, 0.7)
    pen.band("wood", 0.42, 0.75)
    for x in pen.spread(0.2):
        pen.circle("wood", x / pen.w, pen.rng.uniform(0.36, 0.44), 0.15)
    for x in pen.spread(0.26):
        pen.box("trunk", x - 0.025 * pen.u, 0.42 * pen.h, 0.05 * pen.u, 0.36 * pen.h)
    for x in pen.spread(0.26):
        pen.circle("wood2", x / pen.w, pen.rng.uniform(0.28, 0.4), 0.12)
    pen.ridge("moss", 0.75, 0.03, 0.7)


def _city(pen: Pen) -> None:
    _sky(pen, 0.8)
    for paint, step, low, high in (("house2", 0.2, 0.42, 0.62), ("house", 0.3, 0.24, 0.42)):
        for x in pen.spread(step):
            tall, wide = pen.rng.uniform(low, high) * pen.h, 0.8 * step * pen.u
            pen.box(paint, x - wide / 2, 0.8 * pen.h - tall, wide, tall + 1)
            for row in range(int(tall / (0.1 * pen.u)) if paint == "house" else 0):
                for side in (-0.3, 0.1):
                    y = 0.8 * pen.h - tall + (0.1 * row + 0.04) * pen.u
                    pen.box("pane", x + side * wide, y, 0.2 * wide, 0.045 * pen.u)
    pen.band("road", 0.8)
    for x in pen.spread(0.3):
        pen.box("line", x - 0.06 * pen.u, 0.89 * pen.h, 0.12 * pen.u, 0.02 * pen.h)


def _hills(pen: Pen) -> None:
    _sky(pen, 0.7)
    pen.ridge("hill2", 0.56, 0.2, 0.7)
    pen.ridge("hill", 0.72, 0.16, 0.9)
    pen.ridge("hill3", 0.94, 0.15, 1.1)


def _lake(pen: Pen) -> None:
    _sky(pen, 0.55)
    pen.ridge("peak", 0.56, 0.3, 0.6, sharp=True)
    pen.band("water", 0.54)
    for x in pen.spread(0.3):
        y = pen.rng.uniform(0.58, 0.8)
        pen.box("water2", x - 0.12 * pen.u, y * pen.h, 0.24 * pen.u, 0.018 * pen.h)
    pen.ridge("grass2", 0.91, 0.05, 1.0)


_DRAW: dict[str, Callable[[Pen], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "desert": _desert,
    "snow": _snow,
    "forest": _forest,
    "city": _city,
    "hills": _hills,
    "lake": _lake,
}


@lru_cache(maxsize=1024)
def draw(background: Background, height: int, width: int) -> NDArray[np.uint8]:
    """The background alone, straight RGBA uint8 `[height, width, 4]`; cached and read-only."""
    if background.kind == "setting":
        setting = str(background.setting)
        seed = 100 * list(_DRAW).index(setting) + background.variant
        pen = Pen(width, height, str(background.time), seed)
        _DRAW[setting](pen)
        pixels = rasterise("".join(pen.elements), f"0 0 {width} {height}", width, height)
        if background.weather:
            over = veil(background.weather, str(background.time), background.variant, height, width)
            pixels = _veiled(pixels, over)
    else:
        pixels = np.zeros((height, width, 4), np.uint8)
        top = 0.0
        bands = ((background.color, 1.0),) if background.kind == "plain" else background.bands
        for color, part in bands:
            rows = slice(round(top * height), round((top + part) * height))
            pixels[rows] = (*COLORS[str(color)], 255)
            top += part
    pixels.setflags(write=False)
    return pixels


def _veiled(pixels: NDArray[np.uint8], over: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A veil over an opaque picture, in whole numbers."""
    opacity = over[..., 3:].astype(np.uint16)
    mixed = pixels.astype(np.uint16) * (255 - opacity) + over.astype(np.uint16) * opacity + 127
    result = (mixed // 255).astype(np.uint8)
    result[..., 3] = 255
    return result
