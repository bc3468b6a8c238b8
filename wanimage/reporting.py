"""What a finished picture turned out to be, read from its pixels: its transparency, its palette."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

from wanimage.images import OPAQUE, Rgba
from wanimage.v1 import types_pb2 as pb

SOLID = 128
"""Opacity (0..255) from which a pixel has a colour."""
CLEAR = 8
"""Opacity below which nobody sees it."""
NEAR = 30.0
"""Largest difference (CIE 1976, in Lab) at which a pixel counts as of a palette's colour."""
MOST_SIDE = 512
"""Larger pictures are read at this size: shares and medians hardly move."""

_LAB = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")


def report(picture: Rgba, palette: pb.Palette) -> pb.PictureReport:
    """The report on `picture` `[H, W, 4]`, and what became of each colour of `palette`."""
    step = -(-max(picture.shape[:2]) // MOST_SIDE)
    pixels = picture[::step, ::step].reshape(-1, 4)
    alpha = pixels[:, 3]
    found = pb.PictureReport(
        transparent=float((alpha < CLEAR).mean()),
        translucent=float(((alpha >= CLEAR) & (alpha <= OPAQUE)).mean()),
    )
    if palette.colors:
        found.palette.extend(_findings(pixels[alpha >= SOLID, :3], [color.hex for color in palette.colors]))
    return found


def _findings(pixels: NDArray[np.uint8], wanted: list[str]) -> list[pb.PaletteFinding]:
    """Every pixel goes to the colour it is nearest to, unless it is near none; its median stands for it."""
    if not len(pixels):
        return [pb.PaletteFinding(hex=color) for color in wanted]
    targets = _lab(np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in wanted], np.uint8))
    lab = _lab(pixels)
    away = np.linalg.norm(lab[:, None] - targets, axis=-1)  # [pixels, colours]
    nearest = np.where(away.min(-1) < NEAR, away.argmin(-1), -1)
    findings = []
    for index, color in enumerate(wanted):
        mine = nearest == index
        finding = pb.PaletteFinding(hex=color, proportion=float(mine.mean()))
        if mine.any():
            median = np.median(pixels[mine], axis=0).round().astype(np.uint8)
            finding.found = "#" + median.tobytes().hex().upper()
            finding.delta_e = float(np.linalg.norm(_lab(median[None])[0] - targets[index]))
        findings.append(finding)
    return findings


def _lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """sRGB `[N, 3]` to Lab `[N, 3]`, L 0..100."""
    image = ImageCms.applyTransform(Pillow.fromarray(rgb[None], "RGB"), _LAB)
    assert image is not None
    l, a, b = (np.asarray(band, np.float32)[0] for band in image.split())  # noqa: E741
    return np.stack([l * (100 / 255), a - 128, b - 128], axis=-1)
