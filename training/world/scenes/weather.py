"""Rain, snowfall and fog as a veil over a scenery: straight RGBA of the scenery's size.

Each weather tints the whole picture enough to be told apart when streaks and flakes have been averaged away.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.world.assets.sprites import rasterise
from training.world.scenes.scene import WEATHERS

_TINTS: dict[str, dict[str, tuple[str, float]]] = {  # by weather and time: colour and opacity of the veil
    "rain": {"day": ("#5b6f8a", 0.5), "sunset": ("#574d6e", 0.5), "night": ("#3c4a5a", 0.45)},
    "snowfall": {"day": ("#b9c9dc", 0.4), "sunset": ("#cdb4cf", 0.45), "night": ("#64709c", 0.45)},
    "fog": {"day": ("#e4e6e2", 0.62), "sunset": ("#f1cdb8", 0.6), "night": ("#76808c", 0.42)},
}
_SEEDS = {name: 9000 + 10 * index for index, name in enumerate(WEATHERS)}


@lru_cache(maxsize=128)
def veil(weather: str, time: str, variant: int, height: int, width: int) -> NDArray[np.uint8]:
    """The veil of one weather, `[height, width, 4]`; cached and read-only."""
    rng = np.random.default_rng(_SEEDS[weather] + variant)
    tint, opacity = _TINTS[weather][time]
    body = f'<rect width="{width}" height="{height}" fill="{tint}" fill-opacity="{opacity}"/>'
    body += {"rain": _streaks, "snowfall": _flakes, "fog": _banks}[weather](rng, height, width, tint)
    pixels = rasterise(body, f"0 0 {width} {height}", width, height)
    pixels.setflags(write=False)
    return pixels


def _streaks(rng: np.random.Generator, height: int, width: int, _: str) -> str:
    unit = min(height, width)
    paths = []
    for x, y in _scattered(rng, height, width, 0.11 * unit):
        long = rng.uniform(0.07, 0.1) * unit
        paths.append(f"M{x:.1f} {y:.1f}l{-0.3 * long:.1f} {long:.1f}")
    stroke = f'stroke="#dbe8f5" stroke-opacity="0.75" stroke-width="{0.009 * unit:.2f}"'
    return f'<path d="{"".join(paths)}" fill="none" stroke-linecap="round" {stroke}/>'


def _flakes(rng: np.random.Generator, height: int, width: int, _: str) -> str:
    unit = min(height, width)
    discs = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{rng.uniform(0.009, 0.018) * unit:.2f}"/>'
        for x, y in _scattered(rng, height, width, 0.11 * unit)
    ]
    return f'<g fill="#ffffff" fill-opacity="0.95">{"".join(discs)}</g>'


def _banks(rng: np.random.Generator, height: int, width: int, tint: str) -> str:
    """Long soft-ended banks of thicker fog."""
    unit = min(height, width)
    banks = []
    for y in np.arange(0.3, 1.0, 0.17):
        x, long = rng.uniform(-0.2, 0.6) * width, rng.uniform(0.5, 0.9) * width
        box = f'x="{x:.1f}" y="{y * height:.1f}" width="{long:.1f}" height="{0.07 * unit:.1f}"'
        banks.append(f'<rect {box} rx="{0.035 * unit:.1f}"/>')
    return f'<g fill="{tint}" fill-opacity="0.4">{"".join(banks)}</g>'


def _scattered(rng: np.random.Generator, height: int, width: int, step: float) -> list[tuple[float, float]]:
    """One point in each cell of a grid, at random: dense everywhere and crowded nowhere."""
    rows, columns = max(1, round(height / step)), max(1, round(width / step))
    jitter = rng.uniform(0, 1, (rows, columns, 2))
    return [
        ((column + float(jitter[row, column, 0])) * width / columns,
         (row + float(jitter[row, column, 1])) * height / rows)
        for row in range(rows)
        for column in range(columns)
    ]  # fmt: skip
