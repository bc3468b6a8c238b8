"""Single icons at a known box: drawn over a canvas, and named again from its pixels."""

from functools import lru_cache

import numpy as np

from training.world.assets.concepts import CONCEPTS
from training.world.assets.sprites import sprite
from training.world.pictures.lettering import Floats
from training.world.pixels import paste
from training.world.scenes.matching import resized

SIDE = 20  # pixels at which icons are compared
SHIFTS = (-0.06, 0.0, 0.06)  # of the side, by which an icon may be off
UNSEEN = 0.6  # error beside that of the bare ground at which no icon is seen


def paint_icon(canvas: Floats, name: str, cx: float, cy: float, px: float) -> None:
    """Draw an icon with its middle at (cx, cy), in pixels, over a premultiplied canvas, in place."""
    side = max(4, 2 * round(px / 2))
    mark = sprite(name, None, side)
    paste(canvas, mark, round(cy - side / 2), round(cx - side / 2))


@lru_cache(maxsize=1)
def _templates() -> tuple[tuple[str, ...], Floats]:
    """Names, and premultiplied RGBA with alpha on 0..1, `[K, SIDE, SIDE, 4]`."""
    names = tuple(CONCEPTS)
    return names, np.stack([resized(np.array(sprite(n, None, 4 * SIDE)), SIDE, SIDE) for n in names])


def icon_at(canvas: Floats, cx: float, cy: float, px: float) -> str:
    """The concept whose icon stands at (cx, cy), in pixels, or "nothing".

    The ground under it is the median of a rim around it.
    """
    names, marks = _templates()
    height, width = canvas.shape[:2]
    rim = _window(canvas, cx, cy, 1.16 * px, height, width)
    edge = np.concatenate([rim[0], rim[-1], rim[:, 0], rim[:, -1]])
    ground = np.median(edge, 0)[:3]
    drawn = (marks[..., :3] + (1 - marks[..., 3:]) * ground).reshape(len(names), -1)
    best, found = np.inf, "nothing"
    for dy in SHIFTS:
        for dx in SHIFTS:
            seen = _window(canvas, cx + dx * px, cy + dy * px, px, height, width)
            small = resized(np.ascontiguousarray(seen), SIDE, SIDE)[..., :3].ravel()
            errors = np.square(drawn - small).sum(1)
            bare = float(np.square(small.reshape(-1, 3) - ground).sum())
            k = int(np.argmin(errors))
            if errors[k] < min(best, UNSEEN * bare) and bare > SIDE * SIDE * 100:
                best, found = float(errors[k]), names[k]
    return found


def _window(canvas: Floats, cx: float, cy: float, px: float, height: int, width: int) -> Floats:
    rows = np.clip(np.arange(round(cy - px / 2), round(cy + px / 2)), 0, height - 1)
    columns = np.clip(np.arange(round(cx - px / 2), round(cx + px / 2)), 0, width - 1)
    return canvas[rows[:, None], columns[None]]
