"""Damaged blobs and references: what is read is what was stored, or there is a typed error."""

import asyncio
import hashlib
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from google.protobuf.message import DecodeError
from hypothesis import strategies as st
from safetensors.torch import save

from tests.fuzz import originals
from tests.fuzz.campaign import campaign
from tests.fuzz.mutation import mutated, mutations
from tests.fuzz.stand_ins import memory_blobs
from wanimage.blobs import TENSOR_NAME, key_of
from wanimage.errors import WanError
from wanimage.latents import get_latent, latent_bytes, read_latent
from wanimage.v1.types_pb2 import BlobRef

TENANT = originals.TENANT


def with_header(header: bytes, body: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    return len(header).to_bytes(8, "little") + header + body


def entry(dtype: str, shape: str, end: int, name: str = "latent") -> bytes:
    metadata = f'"__metadata__":{{"family":"{originals.FAMILY}"}},'
    text = f'{{{metadata}"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}'
    return with_header(text.encode(), bytes(end))


FULL = latent_bytes(np.linspace(-1, 1, 48 * 6, dtype=np.float32).reshape(48, 2, 3), originals.FAMILY)
NOT_FINITE = FULL[:-4] + np.array([np.nan], np.float32).tobytes()
FILES = [
    FULL,
    NOT_FINITE,
    FULL[:-8] + np.array([np.inf, 1], np.float32).tobytes(),
    save({TENSOR_NAME: torch.arange(12, dtype=torch.float32).reshape(3, 4)}),
    save({TENSOR_NAME: torch.zeros(2, 2, dtype=torch.bfloat16), "other": torch.zeros(1)}),
    entry("F32", "[48,2,3]", 1152),
    entry("F32", "[48,256,256]", 64),
    entry("F64", "[48,1,1]", 384),
    entry("F32", "[48,-1,-1]", 192),
    entry("F32", "[48,4294967296,4294967296]", 0),
    with_header(b"[" * 4000),
    with_header(b'{"latent":' * 400),
    originals.PICTURE,
]
REFS = [
    BlobRef(
        sha256="a" * 64,
        size=len(FULL),
        media_type="application/x-safetensors",
        dtype="float32",
        shape=[48, 2, 3],
    ),
    BlobRef(sha256="b" * 64, size=7, media_type="image/png"),
    BlobRef(sha256="c" * 64, size=2**64 - 1, media_type="application/x-safetensors"),
    BlobRef(sha256="c" * 64, size=2**63 - 1, media_type="application/x-safetensors"),
]
SERIALIZED = [ref.SerializeToString(deterministic=True) for ref in REFS]
CORPUS = [((index, []), (0, []), True) for index in range(len(FILES))]
CORPUS += [((0, []), (index, []), False) for index in range(len(REFS))]


@campaign(
    "blobs and references",
    st.tuples(mutations(len(FILES)), mutations(len(REFS)), st.booleans()),
    few=500,
    full=20_000,
    corpus=CORPUS,
)
def test_a_damaged_blob_is_read_whole_or_refused(case: Any, ground: None) -> None:
    damage, of_ref, renamed = case
    data = mutated(FILES, damage)
    digest = hashlib.sha256(data).hexdigest()
    try:
        ref = BlobRef.FromString(mutated(SERIALIZED, of_ref))
    except DecodeError:
        ref = BlobRef(media_type="application/x-safetensors")
    if renamed:
        ref.sha256, ref.size = digest, len(data)

    async def read() -> None:
        blobs, _ = memory_blobs(TENANT, [data])
        try:
            if not renamed:  # bytes under a name that is not theirs
                blobs._client.held[key_of(TENANT, ref.sha256)] = data  # type: ignore[attr-defined]
            assert await blobs.get(TENANT, ref) == data
            assert (ref.sha256, ref.size) == (digest, len(data))
        except WanError:
            pass
        try:
            tensor = await blobs.get_tensor(TENANT, ref)
            assert list(tensor.shape) == list(ref.shape)
        except WanError:
            pass
        try:
            latent = await get_latent(blobs, TENANT, ref, originals.FAMILY, "latent")
            assert renamed or ref.sha256 == digest
        except WanError:
            latent = None
        checked(latent)
        await blobs.close()

    asyncio.run(read())
    with suppress(WanError):
        checked(read_latent(data, originals.FAMILY, "latent"))


def checked(latent: np.ndarray | None) -> None:
    """What everybody takes for granted of a latent."""
    if latent is None:
        return
    assert latent.dtype == np.float32
    assert latent.shape[0] == 48
    assert max(latent.shape[1:]) <= 256
    assert np.isfinite(latent).all()
