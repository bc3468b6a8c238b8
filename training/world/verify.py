"""Does a picture show its scene? Exact per-property verdicts, from the words alone.

Only what a caption says is asked for (concept, colour, place word, size word, background), so the same
check serves rendered and generated pictures. Every candidate is compared as it would look: a sprite `t` with
opacity `a` over the background `b` gives t + (1 - a) b, so the squared error against the picture x = b + y,

    |y + a b - t|^2 = |y|^2 + 2 a (y b) + a^2 b^2 - 2 t y - 2 a t b + t^2,

is linear in the window features (y, b, y b, b^2): all sprites at all positions are one matrix product.
Pictures are compared at `TEMPLATE` pixels an object, with sharp and soft sprites, so that blur does little.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.world import scenery
from training.world.assets import sprite
from training.world.concepts import CONCEPTS, SHAPES
from training.world.report import Finding, Report
from training.world.scene import VARIANTS, Background, ObjectSpec, Scene, Spec, unit_px
from wanimage.conditions import COLORS, PLACES, SETTINGS, TIMES

Floats = NDArray[np.float32]

TEMPLATE = 16  # pixels along a sprite when compared
EXPLAINED = 0.5  # least share of a window's energy that a present object explains
SURROUND = 1.7  # the box around an object, in its sizes, whose energy it must mostly explain, too
SOFT = 1.0  # standard deviation, in template pixels, of the soft sprites
GROUND_CELLS = 24  # rows and columns at which backgrounds are compared
GROUND_ERROR = 40.0  # most mean error (0..255) between a picture's ground and its class
ALPHA_ERROR = 0.1  # most mean opacity of a clear ground
MIDDLES = (0.24, 0.5, 0.76)  # centers of the columns and rows
REACH = 0.11  # how far from them an object may stand
_SIZES = {"small": (0.21, 0.235), "medium": (0.32, 0.35), "large": (0.47, 0.515)}


class _View:
    """A picture as differences from a background, and its resizings."""

    def __init__(self, picture: Floats, ground: Floats) -> None:
        """Both premultiplied RGBA, all four on 0..255, `[H, W, 4]`."""
        self.picture, self.ground = picture, ground
        self.height, self.width = picture.shape[:2]
        self._both = np.concatenate([picture - ground, ground], -1).transpose(2, 0, 1).copy()  # [8, H, W]
        self._scaled: dict[float, Floats] = {}

    def features(self, size: float) -> Floats:
        """`[10, h, w]` features (y, b, y b, b^2) at the scale where `size` is TEMPLATE pixels, padded."""
        if size not in self._scaled:
            scale = TEMPLATE / (size * unit_px(self.height, self.width))
            height, width, pad = round(self.height * scale), round(self.width * scale), TEMPLATE // 2
            rows, columns = _resizer(self.height, height), _resizer(self.width, width)
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


@dataclass(frozen=True)
class _Match:
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


@dataclass(frozen=True)
class _Sight:
    """What stands at an object's place: the best of its own sprites, and the best of all."""

    match: _Match
    concept: str
    color: str | None  # of the wanted concept's sprites
    box: tuple[slice, slice]  # the surroundings, in the picture


def verify(scene: Scene | Spec, image: NDArray[np.uint8]) -> Report:
    """Check a picture (straight RGBA uint8 `[H, W, 4]`) against what a caption of the scene says."""
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 [H, W, 4], got {image.dtype} {list(image.shape)}")
    wanted = scene if isinstance(scene, Spec) else scene.spec
    picture = _premultiplied(image)
    best, error = _nearest_ground(wanted, picture)
    findings = [_ground_finding(wanted, picture, best, error)]
    view = _View(picture, _ground(best, *picture.shape[:2]))
    expected = view.ground.copy()
    seen = [_look(view, item, expected) for item in wanted.objects]  # draws what it sees into `expected`
    for item, sight in zip(wanted.objects, seen, strict=True):
        findings += _object_findings(view, item, sight, expected)
    findings.append(_alpha_finding(wanted, picture))
    unexplained = float((np.abs(picture - expected).mean(-1) > 40).mean())
    return Report(tuple(findings), unexplained)


# --- objects ---------------------------------------------------------------------------------------------


def _look(view: _View, item: ObjectSpec, expected: Floats) -> _Sight:
    own, own_keys = _templates(item.concept)
    matches = [_search(view, item.place, size, own) for sizes in _SIZES.values() for size in sizes]
    match = max(matches, key=lambda m: m.score)
    height, width = view.places(match.size)
    windows = _windows(view, match.size, _around(match.row, 1, height), _around(match.column, 1, width))
    everything, keys = _templates(None if item.concept in CONCEPTS else "shapes")
    concept, drawn_color = keys[int(np.argmin((windows @ everything[0] + everything[1]).min(0)))]
    errors = (windows @ own[0] + own[1]).min(0)
    named = [i for i, (_, color) in enumerate(own_keys) if color is not None or item.color is None]
    color = own_keys[named[int(np.argmin(errors[named]))]][1]
    box = _box(view, match, SURROUND)
    if match.explained > EXPLAINED:
        _paste(view, expected, match, concept, color if concept == item.concept else drawn_color)
    return _Sight(match, concept, color, box)


def _object_findings(view: _View, item: ObjectSpec, sight: _Sight, expected: Floats) -> list[Finding]:
    about = f"{item.concept} at {item.place}"
    rest = _coarse_energy(view.picture[sight.box] - expected[sight.box])
    share = sight.match.gain / max(sight.match.gain + rest, 1.0)
    present = sight.match.explained > EXPLAINED and share > EXPLAINED
    found = sight.concept if present else "nothing"
    findings = [Finding("object", about, present and sight.concept == item.concept, found)]
    if item.color is not None:
        findings.append(Finding("color", about, present and sight.color == item.color, str(sight.color)))
    size = next(word for word, sizes in _SIZES.items() if sight.match.size in sizes)
    findings.append(Finding("size", about, present and size == item.size, size))
    return findings


def _search(view: _View, place: str, size: float, own: tuple[Floats, Floats]) -> _Match:
    """The window around a place that the object's own sprites explain best: coarsely, then finely."""
    height, width = view.places(size)
    row, column = divmod(PLACES.index(place), 3)
    rows = _around(MIDDLES[row] * height, REACH * height, height)
    columns = _around(MIDDLES[column] * width, REACH * width, width)
    y, x, _, _ = _best(view, size, own, rows[::2], columns[::2])
    y, x, gain, share = _best(view, size, own, _around(y, 1, height), _around(x, 1, width))
    area = (size * unit_px(view.height, view.width) / TEMPLATE) ** 2
    return _Match(gain * area, share, size, y, x)


def _around(center: float, reach: float, most: int) -> range:
    return range(max(0, round(center - reach)), min(most, round(center + reach)) + 1)


def _best(
    view: _View, size: float, own: tuple[Floats, Floats], rows: range, columns: range
) -> tuple[int, int, float, float]:
    """(row, column, explained energy, its share) of the best window with its center at these places."""
    windows = _windows(view, size, rows, columns)
    energy = np.maximum(_energy(windows), 1.0)
    gains = -(windows @ own[0] + own[1]).min(1)  # positive is better than an empty window
    best = int(np.argmax(gains / energy))
    y, x = divmod(best, len(columns))
    return rows[y], columns[x], float(gains[best]), float(gains[best] / energy[best])


def _windows(view: _View, size: float, rows: range, columns: range) -> Floats:
    """Feature windows with their centers at these rows and columns, flattened `[N, 10*16*16]`."""
    features = view.features(size)
    every = sliding_window_view(features, (TEMPLATE, TEMPLATE), axis=(1, 2))  # type: ignore[call-overload]  # [10, rows, columns, 16, 16]
    chosen = every[:, rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step]
    return np.ascontiguousarray(chosen.transpose(1, 2, 0, 3, 4)).reshape(len(rows) * len(columns), -1)


def _energy(windows: Floats) -> Floats:
    y = windows[:, : 4 * TEMPLATE * TEMPLATE]
    return np.einsum("nd,nd->n", y, y)


@lru_cache(maxsize=512)
def _templates(which: str | None) -> tuple[tuple[Floats, Floats], list[tuple[str, str | None]]]:
    """Matrix `[2560, K]` and offsets `[K]` of the squared error, and the K (concept, colour) they stand for.

    `which` is one concept, "shapes" for all procedural shapes, or None for every concept.
    """
    names = list(CONCEPTS) if which is None else list(SHAPES) if which == "shapes" else [which]
    keys: list[tuple[str, str | None]] = []
    vectors: list[Floats] = []
    offsets: list[float] = []
    for name in names:
        entry = CONCEPTS.get(name) or SHAPES[name]
        for color in (None, *COLORS) if entry.colorable else (None,):
            for t in _compared(name, color):
                a = t[..., 3:] / 255
                weights = np.concatenate(
                    [-2 * t, -2 * a * t, 2 * a, a * a], -1
                )  # as the features are ordered
                vectors.append(weights.transpose(2, 0, 1).reshape(-1))
                offsets.append(float((t * t).sum()))
                keys.append((name, color))
    return (np.stack(vectors, 1).astype(np.float32), np.array(offsets, np.float32)), keys


def _compared(name: str, color: str | None) -> list[Floats]:
    """The sprite at TEMPLATE pixels, averaged down from four times the size: sharp, and soft."""
    sharp = sprite(name, color, 4 * TEMPLATE).reshape(TEMPLATE, 4, TEMPLATE, 4, 4).mean((1, 3))
    sharp[..., 3] *= 255
    distance = np.arange(TEMPLATE)[:, None] - np.arange(TEMPLATE)[None]
    kernel = np.exp(-0.5 * (distance / SOFT) ** 2) / (SOFT * math.sqrt(2 * math.pi))
    soft = np.einsum("yi,xj,ijc->yxc", kernel, kernel, sharp)
    return [np.asarray(sharp, np.float32), np.asarray(soft, np.float32)]


def _coarse_energy(difference: Floats) -> float:
    """Energy of what is left around an object, in picture pixels; fine detail does not count."""
    height, width = difference.shape[:2]
    rows, columns = _resizer(height, round(10 * SURROUND)), _resizer(width, round(10 * SURROUND))
    small = rows @ difference.transpose(2, 0, 1) @ columns.T
    return float(np.square(small).mean() * 4 * height * width)


def _box(view: _View, match: _Match, factor: float) -> tuple[slice, slice]:
    """Rows and columns of the picture within `factor` sizes around a match."""
    rows, columns = view.places(match.size)
    half = factor * match.size * unit_px(view.height, view.width) / 2
    y, x = match.row / rows * view.height, match.column / columns * view.width
    return slice(max(0, round(y - half)), round(y + half)), slice(max(0, round(x - half)), round(x + half))


def _paste(view: _View, expected: Floats, match: _Match, name: str, color: str | None) -> None:
    """Draw what was found into the expected picture."""
    rows, columns = view.places(match.size)
    side = max(2, 2 * round(match.size * unit_px(view.height, view.width) / 2))
    top = round(match.row / rows * view.height - side / 2)
    left = round(match.column / columns * view.width - side / 2)
    pixels = sprite(name, color, side).copy()
    pixels[..., 3] *= 255
    y0, x0, y1, x1 = max(0, top), max(0, left), min(view.height, top + side), min(view.width, left + side)
    part = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    expected[y0:y1, x0:x1] *= 1 - part[..., 3:] / 255
    expected[y0:y1, x0:x1] += part


# --- background and alpha --------------------------------------------------------------------------------


def _ground_finding(wanted: Spec, picture: Floats, best: Background, error: float) -> Finding:
    passed = best.key == wanted.background and error < GROUND_ERROR
    found = f"{best.phrase} (error {error:.0f})"
    return Finding("background", "the background", passed, found)


def _alpha_finding(wanted: Spec, picture: Floats) -> Finding:
    """Transparent ground is clear beside the objects; any other picture is opaque throughout."""
    alpha = _cells(picture[..., 3:])[..., 0] / 255
    if wanted.background.kind == "transparent":
        outside = _outside(wanted, *picture.shape[:2])
        mean = float((alpha * outside).sum() / outside.sum())
        return Finding(
            "alpha", "the background", mean < ALPHA_ERROR, f"mean alpha {mean:.2f} beside the objects"
        )
    mean = float(alpha.mean())
    return Finding("alpha", "the background", mean > 1 - ALPHA_ERROR / 3, f"mean alpha {mean:.2f}")


def _nearest_ground(wanted: Spec, picture: Floats) -> tuple[Background, float]:
    """The background that the picture outside of the wanted objects resembles most, and its mean error."""
    height, width = picture.shape[:2]
    grounds = [*_all_grounds()]
    stack = _ground_stack(height, width)
    if wanted.background.kind == "palette":
        swapped = Background.palette(*reversed(wanted.background.bands))
        extra = [wanted.background] + ([swapped] if swapped != wanted.background else [])
        grounds += extra
        stack = np.concatenate([stack, np.stack([_cells(_ground(g, height, width)) for g in extra])])
    outside = _outside(wanted, height, width)
    errors = np.abs(stack - _cells(picture)).mean(-1)  # [K, cells, cells]
    weighted = (np.minimum(errors, 80) * outside).sum((1, 2)) / outside.sum()
    index = int(np.argmin(weighted))
    return grounds[index], float(weighted[index])


@lru_cache(maxsize=1)
def _all_grounds() -> tuple[Background, ...]:
    sceneries = [Background.scenery(s, t, v) for s in SETTINGS for t in TIMES for v in range(VARIANTS)]
    return (*sceneries, *(Background.plain(c) for c in COLORS), Background.transparent())


@lru_cache(maxsize=64)
def _ground_stack(height: int, width: int) -> Floats:
    return np.stack([_cells(_ground(g, height, width)) for g in _all_grounds()])


def _outside(wanted: Spec, height: int, width: int) -> Floats:
    """Weight of every cell: 0 where a wanted object may be."""
    centers = (np.arange(GROUND_CELLS) + 0.5) / GROUND_CELLS
    weights = np.ones((GROUND_CELLS, GROUND_CELLS), np.float32)
    unit = unit_px(height, width)
    for item in wanted.objects:
        row, column = divmod(PLACES.index(item.place), 3)
        dy = (centers - MIDDLES[row]) * height / unit
        dx = (centers - MIDDLES[column]) * width / unit
        radius = _SIZES[item.size][1] / 2 + 0.06
        weights[dy[:, None] ** 2 + dx[None] ** 2 < radius**2] = 0.02
    return weights


def _cells(pixels: Floats) -> Floats:
    """Averages over a GROUND_CELLS x GROUND_CELLS grid, `[24, 24, 4]`."""
    rows, columns = _resizer(pixels.shape[0], GROUND_CELLS), _resizer(pixels.shape[1], GROUND_CELLS)
    small = rows @ pixels.transpose(2, 0, 1) @ columns.T
    return np.ascontiguousarray(small.transpose(1, 2, 0))


@lru_cache(maxsize=256)
def _ground(background: Background, height: int, width: int) -> Floats:
    pixels = _premultiplied(scenery.draw(background, height, width))
    pixels.setflags(write=False)
    return pixels


def _premultiplied(image: NDArray[np.uint8]) -> Floats:
    pixels = image.astype(np.float32)
    pixels[..., :3] *= pixels[..., 3:] / 255
    return pixels


@lru_cache(maxsize=256)
def _resizer(source: int, target: int) -> Floats:
    """Box-filter resampling as a matrix `[target, source]`; bilinear where it enlarges."""
    scale = source / target
    centers = (np.arange(target) + 0.5) * scale - 0.5
    distance = np.abs(centers[:, None] - np.arange(source)[None]) / max(scale, 1.0)
    weights = np.maximum(0, 1 - distance).astype(np.float32)
    matrix: Floats = weights / weights.sum(1, keepdims=True)
    return matrix
