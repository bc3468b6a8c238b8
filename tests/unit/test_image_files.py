"""Pictures that are stored lying, as phones do, come out upright."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

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


@pytest.mark.parametrize("value", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(value: int) -> None:
    data = stored(orientation(value))
    viewed = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(images.decode(data, "picture")[..., :3], viewed)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_lying_photo_of_any_format_stands_up(kind: str) -> None:
    assert images.decode(stored(orientation(6), kind), "picture").shape == (64, 32, 4)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0no tiff", b"Exif\0\0II*\0\xff\xff\xff\xff", orientation(99)])
def test_metadata_that_says_nothing_leaves_a_picture_as_it_is(exif: bytes | Image.Exif) -> None:
    assert images.decode(stored(exif), "picture").shape == (32, 64, 4)
