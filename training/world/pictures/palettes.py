"""Palettes: colours by hex and share, laid out as swatches, bands, stripes, a mosaic or abstract shapes.

Shares are whole percents and the layouts keep them to the pixel, so both can be read back without knowing
where a colour stands.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from training.world.kinds import Kind, Pixels
from training.world.report import Finding, Report
from training.world.scenes.matching import Floats, checked
from training.world.scenes.sample import SPLITS, pick, split_of_key

LAYOUTS = {
    "bands": "horizontal bands",
    "stripes": "vertical stripes",
    "swatches": "a row of swatches in blocks",
    "mosaic": "a mosaic of small tiles",
    "shapes": "soft abstract shapes",
}
LEAST_PERCENT = 7
LEAST_APART = 75.0
"""Least distance of two colours, the root of their summed squares in sRGB 0..255."""
_TILES = 100  # of a mosaic: one a percent
_REPEATS = 3  # of stripes, at most
_SHAPES = 4  # colours of abstract shapes, at most, and
_SHAPE_PERCENT = 14  # the least share of each: shapes shrink where colours meet
_NOISE = 4.0  # usual difference of neighbours in a noisy picture
_FLAT = 20.0  # largest difference of neighbours inside one colour
_CORE = 0.2  # share of a colour's flattest pixels that it is read from
DEVIATION = 16.0
"""Most distance of a colour that was read from the one that was asked for."""
SHARE_ERROR = 0.03
"""Most difference of a share that was read from the one that was asked for."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """(hex, percent) of 2 to 8 colours in order; percents sum to 100. `seed` arranges tiles and shapes."""

    colors: tuple[tuple[str, int], ...]
    layout: str = "bands"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"no layout {self.layout!r}; one of {', '.join(LAYOUTS)}")
        if not 2 <= len(self.colors) <= 8 or sum(percent for _, percent in self.colors) != 100:
            raise ValueError(f"a palette has 2 to 8 colours whose percents sum to 100, not {self.colors}")

    @property
    def phrase(self) -> str:
        """Its caption: "a palette of #F01818 60% and #2040E0 40%, in horizontal bands"."""
        listed = [f"{color} {percent}%" for color, percent in self.colors]
        return f"a palette of {', '.join(listed[:-1])} and {listed[-1]}, in {LAYOUTS[self.layout]}"


def sample(rng: np.random.Generator, split: str, aspect: tuple[int, int] = (1, 1)) -> Palette:
    """A random palette of a split, by its colours to the nearest sixteenth and its layout.

    Raises ValueError for `heldout_concepts`: colours and shares are numbers, none of which is new.
    """
    if split not in SPLITS:
        raise ValueError(f"palettes have no split {split!r}; one of {SPLITS}")
    while True:
        found = _random(rng)
        if split_of(found) == split:
            return found


def split_of(palette: Palette) -> str:
    """The one split of a palette's coarse colours in its layout."""
    coarse = sorted("".join(f"{value // 16:x}" for value in _rgb(color)) for color, _ in palette.colors)
    return split_of_key(f"{palette.layout} {' '.join(coarse)}")


def _random(rng: np.random.Generator) -> Palette:
    layout = pick(rng, list(LAYOUTS))
    shapes = layout == "shapes"
    count = int(rng.integers(2, 1 + (_SHAPES if shapes else 8)))
    least = _SHAPE_PERCENT if shapes else LEAST_PERCENT
    colors: list[Rgb] = []
    while len(colors) < count:
        red, green, blue = (int(value) for value in rng.integers(8, 248, 3))
        new = (red, green, blue)
        if all(np.linalg.norm(np.subtract(new, old)) > LEAST_APART for old in colors):
            colors.append(new)
    rest = rng.multinomial(100 - least * count, rng.dirichlet(np.full(count, 1.5)))
    listed = tuple((_hex(c), least + int(r)) for c, r in zip(colors, rest, strict=True))
    return Palette(listed, layout, int(rng.integers(2**16)))


def draw(palette: Palette, height: int, width: int) -> Pixels:
    """The palette as straight RGBA uint8 `[height, width, 4]`, opaque."""
    table = np.array([(*_rgb(color), 255) for color, _ in palette.colors], np.uint8)
    return table[_LABELS[palette.layout](palette, height, width)]


def _edges(palette: Palette, length: int) -> np.ndarray:
    """Which colour each of some equal parts has, in order."""
    ends = np.cumsum([percent for _, percent in palette.colors]) / 100
    return np.searchsorted(ends - 1e-9, (np.arange(length) + 0.5) / length)


def _bands(palette: Palette, height: int, width: int) -> np.ndarray:
    return np.repeat(_edges(palette, height)[:, None], width, 1)


def _stripes(palette: Palette, height: int, width: int) -> np.ndarray:
    least = min(percent for _, percent in palette.colors)
    repeats = min(_REPEATS, max(1, least // LEAST_PERCENT))
    places = (np.arange(width) + 0.5) / width * repeats % 1
    ends = np.cumsum([percent for _, percent in palette.colors]) / 100
    return np.repeat(np.searchsorted(ends - 1e-9, places)[None], height, 0)


def _swatches(palette: Palette, height: int, width: int) -> np.ndarray:
    """Two rows of blocks, each row as high as its colours' share."""
    shares = [percent for _, percent in palette.colors]
    cut = int(np.argmin([abs(sum(shares[:i]) - 50) for i in range(1, len(shares))])) + 1
    labels = np.empty((height, width), np.int64)
    row = round(sum(shares[:cut]) / 100 * height)
    for rows, first, some in ((slice(0, row), 0, shares[:cut]), (slice(row, height), cut, shares[cut:])):
        ends = np.cumsum(some) / sum(some)
        labels[rows] = first + np.searchsorted(ends - 1e-9, (np.arange(width) + 0.5) / width)[None]
    return labels


def _mosaic(palette: Palette, height: int, width: int) -> np.ndarray:
    """A hundred tiles, one a percent, in as square a grid as the picture allows."""
    grids = [(rows, _TILES // rows) for rows in range(1, _TILES + 1) if _TILES % rows == 0]
    rows, columns = min(grids, key=lambda grid: abs(np.log(height / grid[0] * grid[1] / width)))
    tiles = np.repeat(np.arange(len(palette.colors)), [percent for _, percent in palette.colors])
    tiles = np.random.default_rng(palette.seed).permutation(tiles).reshape(rows, columns)
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    return tiles[y[:, None], x[None]]


def _shapes(palette: Palette, height: int, width: int) -> np.ndarray:
    """Level sets of a few smooth waves: soft shapes whose areas are exact by rank."""
    rng = np.random.default_rng(palette.seed)
    short = min(height, width)
    y, x = np.mgrid[0:height, 0:width] / short
    field = np.zeros((height, width))
    for _ in range(4):
        angle, phase, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(2, 4.5)
        field += rng.uniform(0.6, 1) * np.sin(speed * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    ranks = np.empty(height * width, np.int64)
    ranks[np.argsort(field, axis=None, kind="stable")] = np.arange(height * width)
    return _edges(palette, height * width)[ranks].reshape(height, width)


_LABELS = {
    "bands": _bands, "stripes": _stripes, "swatches": _swatches, "mosaic": _mosaic, "shapes": _shapes,
}  # fmt: skip


def verify(palette: Palette, image: Pixels) -> Report:
    """Every colour's deviation and share, wherever it stands; anything else in the picture is unexplained."""
    pixels = _calm(checked(image)[..., :3].astype(np.float32))
    wanted = np.array([_rgb(color) for color, _ in palette.colors], np.float32)
    span = ndimage.maximum_filter(pixels, (3, 3, 1)) - ndimage.minimum_filter(pixels, (3, 3, 1))
    span = span.max(-1)
    labels = _grown(pixels, span)
    away = np.linalg.norm(labels[:, :, None] - wanted, axis=-1)
    nearest = away.argmin(-1)
    foreign = away.min(-1) > LEAST_APART / 2
    findings = []
    for index, (color, percent) in enumerate(palette.colors):
        mine = (nearest == index) & ~foreign
        share = float(mine.mean())
        core = mine & (span <= np.quantile(span[mine], _CORE)) if mine.any() else mine
        seen = np.median(pixels[core], 0) if mine.any() else np.zeros(3)
        deviation = float(np.linalg.norm(seen - wanted[index]))
        found = f"{_hex(seen)} {100 * share:.0f}%" if mine.any() else "nothing"
        findings.append(Finding("color", color, mine.any() and deviation < DEVIATION, found))
        right = abs(share - percent / 100) < SHARE_ERROR
        findings.append(Finding("proportion", color, right, found))
    opaque = float(image[..., 3].mean()) / 255
    findings.append(Finding("alpha", "the palette", opaque > 0.97, f"mean alpha {opaque:.2f}"))
    return Report(tuple(findings), float(foreign.mean()))


def _calm(pixels: Floats) -> Floats:
    """The pixels, averaged with their neighbours where most of them are noisy."""
    noisy = float(np.median(np.abs(np.diff(pixels, axis=1)))) > _NOISE
    return ndimage.uniform_filter(pixels, (5, 5, 1)) if noisy else pixels


def _grown(pixels: Floats, span: Floats) -> Floats:
    """Every pixel with the colour of the nearest flat one: the mixtures between two colours are neither."""
    rough = span > _FLAT
    if rough.all():
        return pixels
    rows, columns = ndimage.distance_transform_edt(rough, return_distances=False, return_indices=True)
    return pixels[rows, columns]


def attributes(palette: Palette) -> dict[str, str]:
    """Sentences by name of `captions.ATTRIBUTES`."""
    listed = ", ".join(f"{color} {percent}%" for color, percent in palette.colors)
    largest = max(palette.colors, key=lambda each: each[1])[0]
    return {
        "global_semantics": "An abstract colour palette.",
        "object_counts": f"{len(palette.colors)} colours.",
        "palette": f"{listed}.",
        "spatial_layout": f"The colours lie in {LAYOUTS[palette.layout]}.",
        "composition": f"The largest area is {largest}.",
        "style": "Flat areas with hard edges.",
        "medium": "A digital graphic.",
    }


def distance(a: str, b: str) -> float:
    """How far two hex colours are apart, as `LEAST_APART`."""
    return float(np.linalg.norm(np.subtract(_rgb(a), _rgb(b))))


def _rgb(value: str) -> Rgb:
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def _hex(rgb: "Rgb | np.ndarray") -> str:
    return "#" + "".join(f"{round(float(value)):02X}" for value in rgb)


KIND = Kind("palette", "non-photorealistic", sample, draw, verify, lambda palette: palette.phrase, attributes)
