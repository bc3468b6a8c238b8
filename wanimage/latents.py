"""Latents as blobs: safetensors bytes that carry their family, checked whole before anybody computes with
them.

A latent is float32 `[Z, height_cells, width_cells]` of unit variance (Z = 48 in every shipped family), under
the one name `latent`, with the family digest in the file's metadata: two families' latents look alike and
mean nothing to each other, so the digest travels with the numbers. Needs no torch, so fronts check latents
too.
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wanimage.blobs import SAFETENSORS, Blobs
from wanimage.errors import FamilyMismatch, InvalidInput
from wanimage.limits import MAX_ASPECT
from wanimage.markup import MAX_CELLS
from wanimage.v1 import types_pb2

NAME = "latent"
"""The one tensor in the file."""
CHANNELS = 48
"""Z of the contract (report 3.2)."""
MAX_HEADER_BYTES = 4096
"""A latent's header is about 200 bytes."""

Latent = NDArray[np.float32]
"""`[Z, h, w]`."""


async def put_latent(blobs: Blobs, tenant: str, latent: Latent, family: str) -> types_pb2.BlobRef:
    """Store a latent `[Z, h, w]`. Raises Unavailable."""
    data = latent_bytes(latent, family)
    return await blobs.put(tenant, data, SAFETENSORS, dtype="float32", shape=list(latent.shape))


async def get_latent(blobs: Blobs, tenant: str, ref: types_pb2.BlobRef, family: str, field: str) -> Latent:
    """The latent a blob holds. Raises as `read_latent`, and NotFound, DataLoss, Unavailable."""
    return read_latent(await blobs.get(tenant, ref), family, field)


async def named_latent(
    blobs: Blobs, tenant: str, ref: types_pb2.BlobRef, family: str, field: str
) -> tuple[types_pb2.BlobRef, Latent]:
    """The latent that a client names, and its name as `put_latent` gives it: of the client's reference only
    what was checked goes on. Raises as `get_latent`."""
    latent = await get_latent(blobs, tenant, ref, family, field)
    shape = list(latent.shape)
    named = types_pb2.BlobRef(
        sha256=ref.sha256, size=ref.size, media_type=SAFETENSORS, dtype="float32", shape=shape
    )
    return named, latent


def latent_bytes(latent: Latent, family: str) -> bytes:
    """`latent` as a file; equal latents of one family give equal bytes."""
    assert latent.ndim == 3, latent.shape
    assert np.isfinite(latent).all(), "a latent must be finite"
    return save({NAME: np.ascontiguousarray(latent, np.float32)}, metadata={"family": family})


def read_latent(data: bytes, family: str, field: str) -> Latent:
    """The latent in `data`.

    Raises FamilyMismatch for another family's, InvalidInput naming `field` for anything else that is no
    float32 latent of 48 channels with 1 to 256 cells a side and finite values.
    """
    stated = _header(data, field)
    metadata = stated.pop("__metadata__", {})
    if set(stated) != {NAME}:
        raise _refused(field, f"a file of {sorted(stated)[:4]}, not of one {NAME!r}")
    shape, dtype = stated[NAME].get("shape"), stated[NAME].get("dtype")
    if dtype != "F32" or not _is_latent_shape(shape):
        raise _refused(
            field, f"{dtype} of shape {shape}, not F32 [{CHANNELS}, 1..{MAX_CELLS}, 1..{MAX_CELLS}]"
        )
    if "family" not in metadata:
        raise _refused(field, "a latent that names no family")
    if metadata["family"] != family:
        raise FamilyMismatch(str(metadata["family"]), family)
    try:
        latent = load(data)[NAME]
    except (SafetensorError, ValueError) as error:
        raise _refused(field, f"a damaged safetensors file ({error})") from None
    if not np.isfinite(latent).all():
        raise _refused(field, "a latent with values that are not finite")
    return latent


def _header(data: bytes, field: str) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    stated = None
    if 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        try:
            stated = json.loads(data[8 : 8 + length])
        except (ValueError, RecursionError):
            stated = None
    if not isinstance(stated, dict) or not all(isinstance(entry, dict) for entry in stated.values()):
        raise _refused(field, "not a safetensors file")
    return stated


def _is_latent_shape(shape: object) -> bool:
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(side) is int for side in shape):
        return False
    cells = shape[1:]
    return shape[0] == CHANNELS and min(cells) >= 1 and max(cells) <= min(MAX_CELLS, MAX_ASPECT * min(cells))


def _refused(field: str, problem: str) -> InvalidInput:
    return InvalidInput(field, problem, "pass a latent that Encode or Render of this family returned")
