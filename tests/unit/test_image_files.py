"""Pictures that are stored lying, as phones do, come out upright."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from wanimage import images

PIXELS = np.random.default_rng(1).integers(0, 256, (32, 64, 4), np.uint8)


def stored(exif: bytes | Image.Exif, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert("RGB").save(file, kind, exif=exif)
    return file.getvalue()


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (1, lambda lying: lying),
        (2, np.fliplr),
        (3, lambda lying: np.rot90(lying, 2)),
        (4, np.flipud),
        (5, lambda lying: lying.swapaxes(0, 1)),
        (6, lambda lying: np.rot90(lying, -1)),
        (7, lambda lying: np.rot90(lying, 2).swapaxes(0, 1)),
        (8, np.rot90),
    ],
)
def test_a_picture_is_turned_as_its_exif_says(value: int, seen: Callable[[Any], Any]) -> None:
    assert np.array_equal(
        images.decode(stored(orientation(value)), "picture")[..., :3], seen(PIXELS[..., :3])
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_lying_photo_of_any_format_stands_up(kind: str) -> None:
    assert images.decode(stored(orientation(6), kind), "picture").shape == (64, 32, 4)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0no tiff", b"Exif\0\0II*\0\xff\xff\xff\xff", orientation(99)])
def test_metadata_that_says_nothing_leaves_a_picture_as_it_is(exif: bytes | Image.Exif) -> None:
    assert images.decode(stored(exif), "picture").shape == (32, 64, 4)
