"""Damaged pictures through the decoder: pixels within the limits, or InvalidInput."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.campaign import campaign
from tests.fuzz.mutation import mutated, mutations
from wanimage import images
from wanimage.errors import InvalidInput
from wanimage.uploads import media_type_of

# Pillow warns of odd metadata and of sizes that our own limit refuses right after.
pytestmark = pytest.mark.filterwarnings("ignore")


def originals() -> list[bytes]:
    """Small pictures in every mode and layout the three formats have."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 4), np.uint8)
    picture = Image.fromarray(noise, "RGBA")
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "PNG", {}),
        *((picture.convert("RGB").convert(mode), "PNG", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    ]
    made += [
        (picture, "PNG", {"dpi": (72, 72), "icc_profile": b"profile" * 20}),
        (
            picture,
            "PNG",
            {"save_all": True, "append_images": [picture.rotate(90, expand=True)], "duration": 50},
        ),
        (picture.convert("P"), "PNG", {"transparency": bytes(range(256))}),
        *((picture.convert(mode), "JPEG", {"quality": 80}) for mode in ("L", "RGB", "CMYK", "YCbCr")),
        (picture.convert("RGB"), "JPEG", {"progressive": True, "subsampling": 2}),
        (picture.convert("RGB"), "JPEG", {"exif": _exif(), "comment": b"words", "optimize": True}),
        (picture, "WEBP", {"lossless": True}),
        (picture, "WEBP", {"quality": 50}),
        (picture.convert("RGB"), "WEBP", {"quality": 50, "exif": _exif()}),
        (picture, "WEBP", {"save_all": True, "append_images": [picture.rotate(180)], "duration": 40}),
    ]
    return [_encoded(*entry) for entry in made]


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a fox"
    return exif.tobytes()


def _encoded(picture: Image.Image, name: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


ORIGINALS = originals()


def test_every_original_decodes() -> None:
    for data in ORIGINALS:
        assert images.decode(data, "image").shape[2] == 4


def checksummed(data: bytes) -> bytes:
    """A PNG whose chunks have right checksums again, so that damage gets past the first look."""
    at, result = 8, bytearray(data[:8])
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        if len(body) < 4:
            break
        result += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(result)


@campaign(
    "mutated pictures",
    st.tuples(mutations(len(ORIGINALS)), st.booleans()),
    few=800,
    full=10_000,
)
def test_a_damaged_picture_decodes_within_limits_or_is_refused(case: Any, ground: None) -> None:
    damage, repair = case
    data = mutated(ORIGINALS, damage)
    if repair and data.startswith(b"\x89PNG"):
        data = checksummed(data)
    try:
        pixels = images.decode(data, "image")
    except InvalidInput:
        return
    height, width, channels = pixels.shape
    assert (pixels.dtype, channels) == (np.uint8, 4)
    assert height * width <= images.MAX_PIXELS
    assert media_type_of(data).startswith("image/")
