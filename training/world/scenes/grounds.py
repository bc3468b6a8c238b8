"""Which background does a picture have? Every class is drawn, averaged over a coarse grid and compared."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.world.pixels import planes_of
from training.world.scenes import scenery
from training.world.scenes.matching import Floats, resized
from training.world.scenes.scene import GROUP_SIZES, VARIANTS, WEATHERS, Background, Spec, unit_px
from wanimage.conditions import COLORS, PLACES, SETTINGS, TIMES

_SMALL = 96  # short side at which classes with weather are drawn
CELLS = 24  # rows and columns at which backgrounds are compared
COVERED = 0.02  # weight of a cell where a wanted object may be
CLIP = 80.0  # largest error that a cell counts with
FOREIGN = 30.0  # error to the nearest class from which a cell cannot be background
MIDDLES = (0.24, 0.5, 0.76)  # centers of the columns and rows


def nearest(
    wanted: Spec, picture: Floats, radii: dict[str, float], weathers: bool
) -> tuple[Background, float]:
    """The background that a picture outside of the wanted objects resembles most, and its mean error.

    `picture` is premultiplied `[H, W, 4]`; `radii` are those of the size words, in units.
    """
    height, width = picture.shape[:2]
    grounds = [*classes(weathers)]
    stack = _stack(height, width, weathers)
    if wanted.background.kind == "palette":
        swapped = Background.palette(*reversed(wanted.background.bands))
        extra = [wanted.background] + ([swapped] if swapped != wanted.background else [])
        grounds += extra
        stack = np.concatenate([stack, np.stack([cells(drawn(g, height, width)) for g in extra])])
    weights = outside(wanted, height, width, radii)
    errors = np.abs(stack - cells(picture)).mean(-1)  # [K, cells, cells]
    if any(not item.place or item.count > 1 for item in wanted.objects):  # they may be anywhere
        weights = np.where(errors.min(0) > FOREIGN, COVERED * weights, weights)
    weighted = (np.minimum(errors, CLIP) * weights).sum((1, 2)) / weights.sum()
    index = int(np.argmin(weighted))
    return grounds[index], float(weighted[index])


@lru_cache(maxsize=2)
def classes(weathers: bool) -> tuple[Background, ...]:
    """Every background but palettes; settings in all weathers, or clear ones only."""
    sceneries = [
        Background.scenery(setting, time, variant, weather)
        for weather in ((None, *WEATHERS) if weathers else (None,))
        for setting in SETTINGS
        for time in TIMES
        for variant in range(VARIANTS)
    ]
    return (*sceneries, *(Background.plain(c) for c in COLORS), Background.transparent())


@lru_cache(maxsize=64)
def _stack(height: int, width: int, weathers: bool) -> Floats:
    return np.stack([_class_cells(g, height, width) for g in classes(weathers)])


@lru_cache(maxsize=20000)
def _class_cells(ground: Background, height: int, width: int) -> Floats:
    if ground.weather:  # a hundred more, all but equal when drawn small
        scale = min(1.0, _SMALL / min(height, width))
        height, width = round(height * scale), round(width * scale)
    # Not through the caches: a few hundred backgrounds of one size would fill them.
    return cells(planes_of(scenery.draw.__wrapped__(ground, height, width)))


def outside(wanted: Spec, height: int, width: int, radii: dict[str, float]) -> Floats:
    """Weight of every cell: next to none where a wanted object may be, 1 elsewhere."""
    centers = (np.arange(CELLS) + 0.5) / CELLS
    weights = np.ones((CELLS, CELLS), np.float32)
    unit = unit_px(height, width)
    for item in wanted.objects:
        if not item.place:
            continue
        row, column = divmod(PLACES.index(item.place), 3)
        dy = (centers - MIDDLES[row]) * height / unit
        dx = (centers - MIDDLES[column]) * width / unit
        radius = radii[item.size] if item.size else GROUP_SIZES.get(item.count, radii["medium"])
        weights[dy[:, None] ** 2 + dx[None] ** 2 < radius**2] = COVERED
    return weights


def cells(pixels: Floats) -> Floats:
    """Averages over the grid, `[CELLS, CELLS, 4]`."""
    return resized(pixels, CELLS, CELLS)


@lru_cache(maxsize=256)
def drawn(background: Background, height: int, width: int) -> Floats:
    """A background, premultiplied; cached and read-only."""
    pixels: NDArray[np.float32] = planes_of(scenery.draw(background, height, width))
    pixels.setflags(write=False)
    return pixels
