"""Pictures at the boundary: bytes to straight-alpha RGBA arrays and back, with every limit checked first."""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError
from scipy.ndimage import uniform_filter

from wanimage.errors import InvalidInput
from wanimage.v1 import types_pb2 as pb

MAX_BYTES = 20_000_000
"""Largest encoded input picture."""
MAX_PIXELS = 40_000_000
"""Largest decoded input picture."""
MAX_SHOWN = 2**20
"""Most pixels of a picture that a language model is shown; what its vision tower takes is less still."""
CELL = 16
"""Pixels along a latent cell (the VAE's factor, report 3.2)."""

OPAQUE = 255 * 97 // 100
"""Opacity (0..255) above which a pixel counts as opaque."""
STRAY = 0.001
"""Share of pixels that may be less without making a picture transparent."""

_INPUT_FORMATS = ("PNG", "JPEG", "WEBP")
_OUTPUT = {
    pb.IMAGE_FORMAT_UNSPECIFIED: ("PNG", "image/png"),
    pb.IMAGE_FORMAT_PNG: ("PNG", "image/png"),
    pb.IMAGE_FORMAT_WEBP: ("WEBP", "image/webp"),
    pb.IMAGE_FORMAT_JPEG: ("JPEG", "image/jpeg"),
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # a third of the default's time for an eighth more bytes
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 95},
}

Rgba = NDArray[np.uint8]
"""Straight-alpha picture, uint8 `[H, W, 4]`."""


def decode(data: bytes, field: str) -> Rgba:
    """Decode an untrusted PNG, JPEG or WebP, upright as viewers show it; `field` is what a refusal names.

    The header is read before any pixel, so a decompression bomb costs nothing.
    """
    if len(data) > MAX_BYTES:
        raise InvalidInput(field, f"{len(data):,} bytes, the limit is {MAX_BYTES:,}", "send a smaller file")
    # Pillow's own bomb warning is replaced by our limit, which is checked on the header.
    try:
        with Pillow.open(io.BytesIO(data), formats=_INPUT_FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise InvalidInput(
                    field, f"{width}x{height} is {width * height:,} pixels, the limit is {MAX_PIXELS:,}",
                    "scale it down first",
                )  # fmt: skip
            picture.load()  # a damaged one fails here: what fails in turning it is taken for its metadata
            return np.asarray(_upright(picture).convert("RGBA"))
    except (UnidentifiedImageError, Pillow.DecompressionBombError) as error:
        problem = (
            "not a PNG, JPEG or WebP picture" if isinstance(error, UnidentifiedImageError) else str(error)
        )
        raise InvalidInput(field, problem, "send PNG, JPEG or WebP up to 40 megapixels") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidInput(field, f"a damaged picture ({error})", "export it again and resend") from None


def _upright(picture: Pillow.Image) -> Pillow.Image:
    """The picture turned as its EXIF says (phones store what the sensor saw)."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # it fails in many ways, and damaged metadata is no reason to refuse a picture
        return picture


def encode(picture: Rgba, image_format: pb.ImageFormat = pb.IMAGE_FORMAT_PNG) -> tuple[bytes, str]:
    """Encode; return (bytes, media type). JPEG drops alpha over white."""
    name, media_type = _OUTPUT[image_format]
    image = Pillow.fromarray(picture, "RGBA")
    if name == "JPEG":
        flat = Pillow.new("RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    buffer = io.BytesIO()
    image.save(buffer, name, **_OPTIONS[name])
    return buffer.getvalue(), media_type


def is_opaque(picture: Rgba) -> bool:
    """Whether nothing behind it would show: all pixels but one in a thousand, which a decoder may leave, are
    opaque to 97 %."""
    return bool((picture[..., 3] <= OPAQUE).mean() <= STRAY)


def defringed(picture: Rgba) -> Rgba:
    """The picture with half-clear pixels that touch opaque ones coloured half as those are.

    A decoder's colour is divided by opacity, so it is least certain where little of it shows; before another
    ground that is a fringe. Opacity stays, and so does every pixel that is clear, opaque, or among its like.
    """
    color, alpha = picture[..., :3].astype(np.float32), picture[..., 3]
    solid = alpha >= OPAQUE
    edge = (alpha > 0) & ~solid
    if not edge.any():
        return picture
    beside = uniform_filter(solid.astype(np.float32), 3, mode="constant")
    shown = uniform_filter(color * solid[..., None], (3, 3, 1), mode="constant")
    bled = edge & (beside > 0.5 / 9)
    found = picture.copy()
    found[bled, :3] = (0.5 * (color[bled] + shown[bled] / beside[bled][:, None])).round()
    return found


def resize(picture: Rgba, height: int, width: int) -> Rgba:
    """Resize with alpha-correct filtering (premultiplied, so transparent colours never bleed)."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Pillow.fromarray(picture, "RGBA").convert("RGBa")
    return np.asarray(image.resize((width, height), Pillow.Resampling.LANCZOS).convert("RGBA"))


def shown_size(height: int, width: int) -> tuple[int, int]:
    """The size at which a language model is shown a picture of `height` x `width` pixels."""
    scale = min(1.0, math.sqrt(MAX_SHOWN / (height * width)))
    return max(1, int(height * scale)), max(1, int(width * scale))


def shown(data: bytes, field: str) -> Rgba:
    """A picture as a language model is shown it. Takes seconds where it is large: not on the event loop."""
    picture = decode(data, field)
    return resize(picture, *shown_size(*picture.shape[:2]))


def fit_grid(height: int, width: int, cells: int) -> tuple[int, int]:
    """The (height, width) grid nearest to the shape height:width, of `cells` cells give or take a quarter."""

    def miss(grid: tuple[int, int]) -> float:
        rows, columns = grid
        shape = abs(math.log(columns / rows * height / width))
        return 4 * shape + abs(math.log(rows * columns / cells))  # shape counts most

    allowed = [
        (rows, columns)
        for rows in range(1, cells + 1)
        for columns in range(math.ceil(0.75 * cells / rows), int(1.25 * cells / rows) + 1)
        if max(rows, columns) <= 8 * min(rows, columns)
    ]
    return min(allowed, key=miss)
