"""Does a picture show its scene? Exact per-property verdicts, from the words alone.

Only what a caption says is asked for (concept, colour, place word, size word, background), so the same
check serves rendered and generated pictures. Every candidate is compared as it would look: a sprite `t` with
opacity `a` over the background `b` gives t + (1 - a) b, so the squared error against the picture x = b + y,

    |y + a b - t|^2 = |y|^2 + 2 a (y b) + a^2 b^2 - 2 t y - 2 a t b + t^2,

is linear in the window features (y, b, y b, b^2): all sprites at all positions are one matrix product.
Pictures are compared at `TEMPLATE` pixels an object, which is what makes blur harmless.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.world import scenery
from training.world.assets import sprite
from training.world.concepts import CONCEPTS, SHAPES
from training.world.scene import VARIANTS, Background, ObjectSpec, Scene, Spec, unit_px
from wanimage.conditions import COLORS, PLACES, SETTINGS, TIMES

Floats = NDArray[np.float32]

TEMPLATE = 16  # pixels along a sprite when compared
EXPLAINED = 0.5  # least share of a window's energy that a present object explains
GROUND_CELLS = 24  # rows and columns at which backgrounds are compared
GROUND_ERROR = 40.0  # most mean error (0..255) between a picture's ground and its class
ALPHA_ERROR = 0.1
MIDDLES = (0.24, 0.5, 0.76)  # centers of the columns and rows
REACH = 0.11  # how far from them an object may stand
_SIZES = {"small": (0.21, 0.235), "medium": (0.32, 0.35), "large": (0.47, 0.515)}


@dataclass(frozen=True)
class Finding:
    """One property's verdict. `about` names the object (or the background)."""

    property: str  # object | color | size | background | alpha
    about: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Report:
    """All verdicts of a picture; `unexplained` is the share of its area that the scene leaves open."""

    findings: tuple[Finding, ...]
    unexplained: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every property holds."""
        return all(f.passed for f in self.findings)

    def score(self, *properties: str) -> float:
        """Share of verdicts that hold, of all or of some properties; 1.0 where nothing was asked."""
        asked = [f.passed for f in self.findings if not properties or f.property in properties]
        return sum(asked) / len(asked) if asked else 1.0

    def failures(self) -> list[str]:
        """Readable lines, one a failed property."""
        return [f"{f.property} of {f.about}: {f.found}" for f in self.findings if not f.passed]


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
    for item in wanted.objects:
        findings += _object_findings(view, item, expected)
    findings.append(_alpha_finding(wanted, picture, expected))
    unexplained = float((np.abs(picture - expected).mean(-1) > 40).mean())
    return Report(tuple(findings), unexplained)


# --- objects ---------------------------------------------------------------------------------------------


def _object_findings(view: _View, item: ObjectSpec, expected: Floats) -> list[Finding]:
    about = f"{item.concept} at {item.place}"
    own, keys = _templates(item.concept)
    matches = [_search(view, item.place, size, own) for sizes in _SIZES.values() for size in sizes]
    match = max(
        matches, key=lambda m: (m.explained > EXPLAINED, m.gain if m.explained > EXPLAINED else m.explained)
    )
    everything, everyone = _templates(None if item.concept in CONCEPTS else "shapes")
    height, width = view.places(match.size)
    near = _around(match.row, 1, height), _around(match.column, 1, width)
    windows = _windows(view, match.size, *near)
    concept, color = everyone[int(np.argmin((windows @ everything[0] + everything[1]).min(0)))]
    present = match.explained > EXPLAINED
    found = concept if present else "nothing"
    findings = [Finding("object", about, present and concept == item.concept, found)]
    if item.color is not None:
        own_color = keys[int(np.argmin((windows @ own[0] + own[1]).min(0)))][1]
        findings.append(Finding("color", about, present and own_color == item.color, str(own_color)))
    seen = next(word for word, sizes in _SIZES.items() if match.size in sizes)
    findings.append(Finding("size", about, present and seen == item.size, seen))
    if present:
        _paste(view, expected, match, concept, color)
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
    every = sliding_window_view(features, (TEMPLATE, TEMPLATE), axis=(1, 2))  # [10, rows, columns, 16, 16]
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
            t = _sprite(name, color, TEMPLATE)
            a = t[..., 3:] / 255
            weights = np.concatenate([-2 * t, -2 * a * t, 2 * a, a * a], -1)  # in the order of the features
            vectors.append(weights.transpose(2, 0, 1).reshape(-1))
            offsets.append(float((t * t).sum()))
            keys.append((name, color))
    return (np.stack(vectors, 1).astype(np.float32), np.array(offsets, np.float32)), keys


def _sprite(name: str, color: str | None, px: int) -> Floats:
    """A sprite with alpha on 0..255, averaged down from four times the size."""
    big = sprite(name, color, 4 * px) if px == TEMPLATE else sprite(name, color, px)
    pixels = big.reshape(px, 4, px, 4, 4).mean((1, 3)) if px == TEMPLATE else big.copy()
    pixels[..., 3] *= 255
    return np.asarray(pixels, np.float32)


def _paste(view: _View, expected: Floats, match: _Match, name: str, color: str | None) -> None:
    """Draw what was found into the expected picture."""
    height, width = expected.shape[:2]
    rows, columns = view.places(match.size)
    center_y, center_x = match.row / rows * height, match.column / columns * width
    side = max(2, 2 * round(match.size * unit_px(height, width) / 2))
    pixels = _sprite(name, color, side)
    top, left = round(center_y - side / 2), round(center_x - side / 2)
    y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + side), min(width, left + side)
    part = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    expected[y0:y1, x0:x1] *= 1 - part[..., 3:] / 255
    expected[y0:y1, x0:x1] += part


# --- background and alpha --------------------------------------------------------------------------------


def _ground_finding(wanted: Spec, picture: Floats, best: Background, error: float) -> Finding:
    passed = best.key == wanted.background and error < GROUND_ERROR
    found = f"{best.phrase} (error {error:.0f})"
    return Finding("background", "the background", passed, found)


def _alpha_finding(wanted: Spec, picture: Floats, expected: Floats) -> Finding:
    error = float(np.abs(picture[..., 3] - expected[..., 3]).mean() / 255)
    clear = wanted.background.kind == "transparent"
    limit = ALPHA_ERROR if clear else 0.03
    whole = error if clear else float(1 - picture[..., 3].mean() / 255)
    return Finding("alpha", "the background", whole < limit, f"mean alpha error {whole:.3f}")


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
