"""What refined pictures are held to, each a number of one picture (`evaluate.py` gathers them).

Differences are of premultiplied colour and opacity, so that nobody sees what is compared but not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab

from training.visualizer.capabilities import psnr
from training.world.kinds import Graph, Pixels
from training.world.pictures.lettering import layout
from training.world.pictures.ocr import read_crops
from training.world.pixels import planes_of
from training.world.report import Report
from wanimage.enlarging import cells_of
from wanimage.images import CELL, resize
from wanimage.tiling import tiles_of

__all__ = [
    "characters_read",
    "colour_shift",
    "enlarged_by",
    "halo",
    "psnr",
    "same_verdicts",
    "seam",
    "sharpness",
    "tenengrad",
]

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
READ_PX = 1024
"""Long edge at which letters are read, of any picture."""


def enlarged_by(name: str, picture: Pixels, size: tuple[int, int]) -> Pixels:
    """The picture at `size` (height, width) by a classical filter."""
    image = Image.fromarray(picture, "RGBA").convert("RGBa")
    return np.asarray(image.resize(size[::-1], FILTERS[name]).convert("RGBA"))


def colour_shift(before: Pixels, after: Pixels) -> float:
    """Mean CIE 1976 difference of the picture, shrunk to its old size, from what it was; on white."""
    small = resize(after, *before.shape[:2])
    return float(np.linalg.norm(rgb2lab(_on_white(before)) - rgb2lab(_on_white(small)), axis=-1).mean())


def sharpness(picture: Pixels) -> float:
    """Steepness of the steepest hundredth of a picture: the 99th percentile of the luminance's gradient, a
    pixel. No reference is needed."""
    return float(np.percentile(_steepness(picture), 99))


def tenengrad(picture: Pixels) -> float:
    """Mean square of the luminance's gradient, in thousandths (Krotkov 1988): a sharper edge has more
    of it, though it covers fewer pixels. No reference is needed."""
    return float(1000 * np.square(_steepness(picture)).mean())


def seam(picture: Pixels, bicubic: Pixels) -> float:
    """Mean difference across the borders of tiles over that of all other rows and columns, each beyond the
    `bicubic` enlargement's own; 1 where no border shows."""
    rest = planes_of(picture) - planes_of(bicubic)
    grid = cells_of((picture.shape[0], picture.shape[1]))
    at, inside = [], []
    for axis in (0, 1):
        step = np.abs(np.diff(rest, axis=axis)).mean((1 - axis, 2))
        edges = {(t.rows, t.columns)[axis].first * CELL - 1 for t in tiles_of(grid)} - {-1}
        mask = np.zeros(len(step), bool)
        mask[[edge for edge in edges if edge < len(step)]] = True
        # The lattice of cells is the VAE's and shows or not whether there are tiles; borders lie on it.
        lattice = (np.arange(len(step)) % CELL == CELL - 1) & ~mask
        at.append(step[mask])
        inside.append(step[lattice])
    return float(np.concatenate(at).mean() / max(1e-9, np.concatenate(inside).mean()))


def halo(truth: Pixels, picture: Pixels) -> float:
    """Mean error of opacity (0 to 1) within 16 pixels of where the true picture's changes; 0 without
    edges."""
    alpha = truth[..., 3].astype(np.float32) / 255
    steep = ndimage.maximum_filter(alpha, 3) - ndimage.minimum_filter(alpha, 3) > 0.1
    edge = ndimage.binary_dilation(steep, iterations=16)
    if not edge.any():
        return 0.0
    return float(np.abs(alpha - picture[..., 3].astype(np.float32) / 255)[edge].mean())


def same_verdicts(before: Report, after: Report) -> float:
    """Share of a verifier's findings that stay as they were."""
    new = {(f.property, f.about): f.passed for f in after.findings}
    return sum(new.get((f.property, f.about)) == f.passed for f in before.findings) / max(
        1, len(before.findings)
    )


def characters_read(graph: Graph, picture: Pixels) -> float | None:
    """Share of a poster's characters that an OCR library reads in order; None where it knows no such
    letters. Every picture is read at one size."""
    height, width = (round(side * READ_PX / max(picture.shape[:2])) for side in picture.shape[:2])
    seen = enlarged_by("bicubic", picture, (height, width))
    wanted, crops = [], []
    for block in graph.blocks:
        for line in layout(block, height, width):
            if line.text.isascii():
                wanted.append(line.text)
                crops.append(_cut(seen, line.x, line.y, line.width, line.em))
    if not wanted:
        return None
    pairs: Sequence[tuple[str, str]] = list(zip(wanted, read_crops(crops), strict=True))
    right = sum(
        m.size for a, b in pairs for m in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    )
    return right / sum(map(len, wanted))


def _cut(picture: Pixels, x: float, y: float, width: float, em: float) -> Pixels:
    top, bottom = max(0, round(y - 1.1 * em)), round(y + 0.45 * em)
    return picture[top:bottom, max(0, round(x - 0.3 * em)) : round(x + width + 0.3 * em)]


def _steepness(picture: Pixels) -> np.ndarray:
    """`[H, W]`, of luminance from 0 to 1."""
    grey = _on_white(picture) @ np.array([0.299, 0.587, 0.114])
    return np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)) / 8


def _on_white(picture: Pixels) -> np.ndarray:
    """`[H, W, 3]`, 0 to 1."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    whole: np.ndarray = picture[..., :3] / 255 * alpha + 1 - alpha
    return whole
