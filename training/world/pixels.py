"""Pixels on their way to a picture: a canvas is premultiplied float32 RGBA, colour 0..255 and alpha 0..1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]


def canvas_of(pixels: NDArray[np.uint8]) -> Canvas:
    """The canvas of straight uint8 RGBA `[H, W, 4]`."""
    canvas = pixels.astype(np.float32)
    alpha = canvas[..., 3]
    alpha /= 255
    _scale(canvas, alpha, 3)
    return canvas


def planes_of(pixels: NDArray[np.uint8]) -> Canvas:
    """Premultiplied float32 `[H, W, 4]` of straight uint8 RGBA, all planes 0..255: how differences are
    measured, so that nobody sees what is compared but not shown."""
    planes = canvas_of(pixels)
    planes[..., 3] *= 255
    return planes


def straight(canvas: Canvas) -> NDArray[np.uint8]:
    """Straight uint8 RGBA of a canvas `[H, W, 4]`; colour is 0 where alpha is 0."""
    alpha = canvas[..., 3:]
    opaque = alpha.min() >= 1  # as most pictures are; dividing takes most of the time
    both = canvas.copy() if opaque else canvas / np.where(alpha > 1e-3, alpha, np.float32(np.inf))
    np.multiply(alpha, 255, out=both[..., 3:])
    np.clip(both, 0, 255, out=both)
    both += 0.5
    return both.astype(np.uint8)


def paste(canvas: Canvas, part: Canvas, top: int, left: int) -> None:
    """Draw a part "over" a canvas, in place; what lies outside of the canvas is cut off."""
    (height, width), (rows, columns) = canvas.shape[:2], part.shape[:2]
    y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + rows), min(width, left + columns)
    if y0 >= y1 or x0 >= x1:
        return
    part = part[y0 - top : y1 - top, x0 - left : x1 - left]
    view = canvas[y0:y1, x0:x1]
    _scale(view, 1 - part[..., 3], 4)
    view += part


def cells_of(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    """A picture `[H, W, planes]` cut into squares, row by row: `[cells, side * side, planes]`."""
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    return pixels.reshape(rows, side, columns, side, -1).swapaxes(1, 2).reshape(rows * columns, side**2, -1)


def _scale(canvas: Canvas, by: Canvas, planes: int) -> None:
    """Multiply the first planes of a canvas `[H, W, 4]` by `[H, W]`, in place: one by one, which takes numpy
    a third of the time for all at once."""
    for plane in range(planes):
        canvas[..., plane] *= by
