"""Template matching: where in a picture does a sprite fit, and which of many sprites fits best?

Every candidate is compared as it would look: a sprite `t` with opacity `a` over the background `b` gives
t + (1 - a) b, so the squared error against the picture x = b + y,

    |y + a b - t|^2 = |y|^2 + 2 a (y b) + a^2 b^2 - 2 t y - 2 a t b + t^2,

is linear in the window features (y, b, y b, b^2): all sprites at all positions are one matrix product.
Pictures are compared at `TEMPLATE` pixels an object, with sharp and soft sprites, so that blur does little.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.world.assets.concepts import colorable
from training.world.assets.sprites import sprite
from training.world.scenes.scene import unit_px
from wanimage.conditions import COLORS

Floats = NDArray[np.float32]

TEMPLATE = 16  # pixels along a sprite when compared
ALIKE = 0.016  # share of its energy by which a noun's drawings in two styles differ at least
FAINT = 5e4  # energy below which a window holds nothing
SOFT = 1.0  # standard deviation, in template pixels, of the soft sprites
ALL: tuple[str | None, ...] = (None, *COLORS)
"""Every colour that a sprite may have."""


@dataclass(frozen=True)
class Key:
    """What a template stands for."""

    concept: str
    color: str | None
    style: str


@dataclass(frozen=True)
class Templates:
    """Matrix `[2560, K]` and offsets `[K]` of the squared error, and what the K columns stand for."""

    weights: Floats
    offsets: Floats
    keys: tuple[Key, ...]

    def errors(self, windows: Floats) -> Floats:
        """Squared errors `[N, K]` of windows `[N, 2560]`, less the windows' energy."""
        result: Floats = windows @ self.weights + self.offsets
        return result

    def energy(self, window: Floats, column: int) -> float:
        """How far one sprite is from the background of a window `[2560]`."""
        plane = TEMPLATE * TEMPLATE
        bare = window.copy()
        bare[: 4 * plane] = bare[8 * plane : 9 * plane] = 0  # y and y b
        return max(1.0, float(bare @ self.weights[:, column] + self.offsets[column]))


class View:
    """A picture as differences from a background, and its resizings."""

    def __init__(self, picture: Floats, ground: Floats) -> None:
        """Both premultiplied RGBA, all four on 0..255, `[H, W, 4]`."""
        self.picture, self.ground = picture, ground
        self.height, self.width = picture.shape[:2]
        self.unit = unit_px(self.height, self.width)
        self._both = np.concatenate([picture - ground, ground], -1).transpose(2, 0, 1).copy()  # [8, H, W]
        self._scaled: dict[float, Floats] = {}

    def features(self, size: float) -> Floats:
        """`[10, h, w]` features (y, b, y b, b^2) at the scale where `size` is TEMPLATE pixels, padded."""
        if size not in self._scaled:
            scale = TEMPLATE / (size * self.unit)
            height, width, pad = round(self.height * scale), round(self.width * scale), TEMPLATE // 2
            rows, columns = resizer(self.height, height), resizer(self.width, width)
            padded = np.zeros((10, height + TEMPLATE, width + TEMPLATE), np.float32)
            inner = padded[:, pad : pad + height, pad : pad + width]
            inner[:8] = rows @ (self._both @ columns.T)
            y, b = inner[:4], inner[4:8]
            inner[8] = np.einsum("chw,chw->hw", y, b)
            inner[9] = np.einsum("chw,chw->hw", b, b)
            self._scaled[size] = padded
        return self._scaled[size]

    def places(self, size: float) -> tuple[int, int]:
        """(rows, columns) of window centers at that scale, less one."""
        _, height, width = self.features(size).shape
        return height - TEMPLATE, width - TEMPLATE

    def windows(self, size: float, rows: range, columns: range) -> Floats:
        """Feature windows with their centers at these rows and columns, flattened `[N, 10*16*16]`."""
        every = sliding_window_view(self.features(size), (TEMPLATE, TEMPLATE), axis=(1, 2))  # type: ignore[call-overload]  # [10, rows, columns, 16, 16]
        chosen = every[:, rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step]
        return np.ascontiguousarray(chosen.transpose(1, 2, 0, 3, 4)).reshape(len(rows) * len(columns), -1)


@dataclass(frozen=True)
class Match:
    """The best fit of one object: where, how large, and what it explains."""

    gain: float  # explained energy in picture pixels
    explained: float  # share of the window's energy, at most 1
    size: float
    row: int
    column: int

    @property
    def score(self) -> float:
        """What sizes compete by: a part of a large object must not pass for a small one."""
        return self.explained + 0.2 * math.log2(self.size)

    def center(self, view: View) -> tuple[float, float]:
        """(y, x) in picture pixels."""
        rows, columns = view.places(self.size)
        return self.row / rows * view.height, self.column / columns * view.width

    def windows(self, view: View, reach: int = 1) -> Floats:
        """The nine windows around it; with a `reach` of 0 its own."""
        height, width = view.places(self.size)
        return view.windows(self.size, around(self.row, reach, height), around(self.column, reach, width))


def search(
    view: View, size: float, own: Templates, rows: range, columns: range, step: int = 2, least: float = 1.0
) -> Match:
    """The window with its center at these places that the templates explain best: coarsely, then finely.

    A window of less energy than `least` counts as if it had that much.
    """
    height, width = view.places(size)
    y, x, gain, share = _best(view, size, own, rows[::step], columns[::step], least)
    if step > 1:
        near = around(y, step // 2, height), around(x, step // 2, width)
        y, x, gain, share = _best(view, size, own, *near, least)
    return Match(gain * (size * view.unit / TEMPLATE) ** 2, share, size, y, x)


def everywhere(view: View, size: float, own: Templates, least: float, step: int = 2) -> Iterator[Match]:
    """All windows that explain at least a share; near ones only once."""
    height, width = view.places(size)
    rows, columns = range(0, height + 1, step), range(0, width + 1, step)
    windows = view.windows(size, rows, columns)
    share = -own.errors(windows).min(1) / np.maximum(energy(windows), FAINT)
    share = share.reshape(len(rows), len(columns))
    reach = round(0.75 * TEMPLATE / step)
    found: list[Match] = []
    while share.max() >= _COARSELY * least:
        y, x = divmod(int(share.argmax()), share.shape[1])
        share[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 0
        near = (around(rows[y], step - 1, height), around(columns[x], step - 1, width))
        match = search(view, size, own, *near, step=1, least=FAINT)
        apart = all(math.hypot(match.row - m.row, match.column - m.column) > _APART for m in found)
        if apart and match.explained >= least:
            found.append(match)
            yield match


_COARSELY = 0.6  # of what a window explains, found at every second place
_APART = 0.7 * TEMPLATE  # least distance of two equal objects


def around(center: float, reach: float, most: int) -> range:
    """Whole numbers within `reach` of a center, in 0..most."""
    return range(max(0, round(center - reach)), min(most, round(center + reach)) + 1)


def energy(windows: Floats) -> Floats:
    """What windows hold beside their background."""
    y = windows[:, : 4 * TEMPLATE * TEMPLATE]
    result: Floats = np.einsum("nd,nd->n", y, y)
    return result


def _best(
    view: View, size: float, own: Templates, rows: range, columns: range, least: float
) -> tuple[int, int, float, float]:
    """(row, column, explained energy, its share) of the best window with its center at these places."""
    windows = view.windows(size, rows, columns)
    held = np.maximum(energy(windows), least)
    gains = -own.errors(windows).min(1)  # positive is better than an empty window
    best = int(np.argmax(gains / held))
    y, x = divmod(best, len(columns))
    return rows[y], columns[x], float(gains[best]), float(gains[best] / held[best])


@lru_cache(maxsize=1024)
def templates(
    names: tuple[str, ...], styles: tuple[str, ...] = ("flat",), colors: tuple[str | None, ...] = ALL
) -> Templates:
    """Templates of concepts in styles and colours (None is the natural one), each sharp and soft."""
    keys: list[Key] = []
    vectors: list[Floats] = []
    offsets: list[float] = []
    for name in names:
        for style in styles:
            for color in colors if colorable(name, style) else (None,):
                for t in _compared(name, color, style):
                    a = t[..., 3:] / 255
                    weights = np.concatenate([-2 * t, -2 * a * t, 2 * a, a * a], -1)  # as features are
                    vectors.append(weights.transpose(2, 0, 1).reshape(-1))
                    offsets.append(float((t * t).sum()))
                    keys.append(Key(name, color, style))
    return Templates(np.stack(vectors, 1).astype(np.float32), np.array(offsets, np.float32), tuple(keys))


def _compared(name: str, color: str | None, style: str) -> tuple[Floats, Floats]:
    """The sprite at TEMPLATE pixels, averaged down from four times the size: sharp, and soft."""
    sharp = sprite(name, color, 4 * TEMPLATE, style).reshape(TEMPLATE, 4, TEMPLATE, 4, 4).mean((1, 3))
    sharp[..., 3] *= 255
    return np.asarray(sharp, np.float32), softened(sharp, SOFT)


def alike(name: str, style: str, other: str) -> bool:
    """Whether a noun's drawings in two styles hardly differ when soft."""
    return difference(name, None, style, other) < ALIKE


@lru_cache(maxsize=20000)
def difference(name: str, color: str | None, style: str, other: str) -> float:
    """How far a noun's soft drawings in two styles are apart, as a share of the energy of the fainter one.

    Each has the colour if its style takes one.
    """
    colors = [color if colorable(name, each) else None for each in (style, other)]
    soft = [_compared(name, c, each)[1] for c, each in zip(colors, (style, other), strict=True)]
    a, b = (softened(each, SOFT) for each in soft)  # once more: pictures may be softer than templates
    return float(np.square(a - b).sum() / min(np.square(a).sum(), np.square(b).sum()))


def softened(pixels: Floats, sigma: float, bounded: bool = False) -> Floats:
    """Square premultiplied pixels `[N, N, C]` after a Gaussian blur of `sigma` pixels.

    Beyond their edges is nothing, or, when `bounded`, what is at the edges weighs more.
    """
    places = np.arange(len(pixels))
    kernel = np.exp(-0.5 * ((places[:, None] - places[None]) / sigma) ** 2)
    kernel /= kernel.sum(1, keepdims=True) if bounded else sigma * math.sqrt(2 * math.pi)
    down = np.tensordot(kernel, pixels, (1, 0))  # [y, j, c]
    return np.tensordot(kernel, down, (1, 1)).transpose(1, 0, 2).astype(np.float32)


def checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture itself; raises ValueError when it is not straight RGBA uint8 `[H, W, 4]`."""
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 [H, W, 4], got {image.dtype} {list(image.shape)}")
    return image


@lru_cache(maxsize=256)
def resizer(source: int, target: int) -> Floats:
    """Box-filter resampling as a matrix `[target, source]`; bilinear where it enlarges."""
    scale = source / target
    centers = (np.arange(target) + 0.5) * scale - 0.5
    distance = np.abs(centers[:, None] - np.arange(source)[None]) / max(scale, 1.0)
    weights = np.maximum(0, 1 - distance).astype(np.float32)
    matrix: Floats = weights / weights.sum(1, keepdims=True)
    return matrix


def resized(pixels: Floats, height: int, width: int) -> Floats:
    """Pixels `[H, W, C]` averaged or enlarged to `[height, width, C]`."""
    rows, columns = resizer(pixels.shape[0], height), resizer(pixels.shape[1], width)
    return np.ascontiguousarray((rows @ pixels.transpose(2, 0, 1) @ columns.T).transpose(1, 2, 0))
