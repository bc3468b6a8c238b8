"""Previews small enough for a message: PNG, one a picture, halved until all of a job fit."""

import math
from collections.abc import Sequence

from wanimage import images
from wanimage.images import Rgba
from wanimage.v1 import jobs_pb2

MAX_PREVIEW_BYTES = 256_000
"""Largest preview of one picture."""
MAX_PREVIEWS_BYTES = 768_000
"""All previews of a job together; a NATS message holds 1 MiB."""


def encode_previews(pictures: Sequence[Rgba]) -> list[jobs_pb2.Preview]:
    """PNGs of straight RGBA pictures `[H, W, 4]` uint8, scaled down where they would be too large."""
    limit = min(MAX_PREVIEW_BYTES, MAX_PREVIEWS_BYTES // max(1, len(pictures)))
    return [
        jobs_pb2.Preview(index=index, png=_fitted(picture, limit)) for index, picture in enumerate(pictures)
    ]


def _fitted(picture: Rgba, limit: int) -> bytes:
    png, _ = images.encode(picture)
    while len(png) > limit:
        height, width = picture.shape[:2]
        picture = images.resize(picture, math.ceil(height / 2), math.ceil(width / 2))
        png, _ = images.encode(picture)
    return png
