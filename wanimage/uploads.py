"""Pictures handed in by clients: all are checked before any is stored, so a refused call leaves nothing
behind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from wanimage import images
from wanimage.blobs import Blobs
from wanimage.errors import InvalidInput
from wanimage.limits import MAX_ASPECT, check_images
from wanimage.v1 import jobs_pb2, types_pb2

_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


@dataclass(frozen=True)
class Upload:
    """A picture that passed every check."""

    data: bytes
    media_type: str
    height: int
    width: int
    """Pixels."""
    opaque: bool
    """Whether nothing behind it would show (`images.is_opaque`)."""
    bare: "Upload | None" = None
    """The same without the cues that were drawn on it; None where none were."""


async def check_uploads(
    blobs: Blobs, tenant: str, pictures: Sequence[types_pb2.ImageInput], field: str
) -> list[Upload]:
    """Read and decode every picture; writes nothing.

    Raises InvalidInput naming the picture, NotFound or DataLoss for a blob, Unavailable. References into a
    session are for the service that owns sessions.
    """
    check_images(pictures, field)
    return [
        await check_upload(blobs, tenant, each, f"{field}[{index}]") for index, each in enumerate(pictures)
    ]


async def check_upload(blobs: Blobs, tenant: str, picture: types_pb2.ImageInput, field: str) -> Upload:
    """One picture of `check_uploads`."""
    kind = picture.WhichOneof("source")
    if kind is None:
        raise InvalidInput(field, "no source", "give data or blob")
    if kind == "session_image":
        raise InvalidInput(f"{field}.session_image", "this service knows no sessions", "give data or blob")
    data = picture.data if kind == "data" else await blobs.get(tenant, picture.blob)
    # Decoding 40 megapixels takes a second: not on the event loop.
    pixels = await asyncio.to_thread(images.decode, data, f"{field}.{kind}")
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        problem = f"{width}x{height} pixels, outside 1:{MAX_ASPECT} to {MAX_ASPECT}:1"
        raise InvalidInput(f"{field}.{kind}", problem, "crop it")
    opaque = await asyncio.to_thread(images.is_opaque, pixels)
    return Upload(data, media_type_of(data), height, width, opaque)


async def store_upload(blobs: Blobs, tenant: str, upload: Upload) -> types_pb2.BlobRef:
    """Put a checked picture into S3 unless it is there; returns its name.

    A blob that the client named gets its name from here, too: what else its reference said goes no further.
    """
    shape = [upload.height, upload.width, 4]
    return await blobs.put(tenant, upload.data, upload.media_type, dtype="uint8", shape=shape)


def media_type_of(data: bytes) -> str:
    """Media type of a picture that `images.decode` accepted."""
    return next(media for start, media in _SIGNATURES.items() if data.startswith(start))


def encode_job(image: types_pb2.BlobRef, height: int, width: int, cells: int) -> jobs_pb2.EncodeJob:
    """The `encode` job of a picture of `height` x `width` pixels as a reference: its shape, at about
    `cells` cells."""
    rows, columns = images.fit_grid(height, width, cells)
    return jobs_pb2.EncodeJob(image=image, grid=types_pb2.Grid(height_cells=rows, width_cells=columns))
