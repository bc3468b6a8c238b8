"""Blobs against a real `weed server -s3`."""

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncIterator, Iterator

import minio
import pytest
import torch

from tests.conftest import eventually, stack_settings
from wanimage.blobs import ASK_BYTES, Blobs, key_of
from wanimage.config import Settings
from wanimage.errors import DataLoss, InvalidInput, NotFound, Unavailable
from wanimage.stack import LocalStack
from wanimage.v1.types_pb2 import BlobRef

PROMISED_SECONDS = 5.0


@pytest.fixture
async def blobs(settings: Settings) -> AsyncIterator[Blobs]:
    async with await Blobs.connect(settings) as connected:
        yield connected


@pytest.fixture
def raw(settings: Settings) -> minio.Minio:
    """S3 behind the back of `Blobs`, to damage things and to count them."""
    secret = settings.s3_secret_key.get_secret_value()
    return minio.Minio(settings.s3_endpoint, settings.s3_access_key, secret, secure=False, region="us-east-1")


def overwrite(raw: minio.Minio, settings: Settings, key: str, data: bytes) -> None:
    raw.put_object(bucket_name=settings.s3_bucket, object_name=key, data=io.BytesIO(data), length=len(data))


async def fresh_get(settings: Settings, tenant: str, ref: BlobRef) -> bytes:
    """Read past the writer's cache."""
    async with await Blobs.connect(settings) as other:
        return await other.get(tenant, ref)


async def test_put_names_bytes_by_their_hash(blobs: Blobs, settings: Settings, tenant: str) -> None:
    ref = await blobs.put(tenant, b"picture", "image/png", dtype="uint8", shape=[1, 7, 1])

    assert ref == BlobRef(
        sha256=hashlib.sha256(b"picture").hexdigest(),
        size=7,
        media_type="image/png",
        dtype="uint8",
        shape=[1, 7, 1],
    )
    assert await fresh_get(settings, tenant, ref) == b"picture"


async def test_put_skips_a_large_upload_when_the_key_exists(
    blobs: Blobs, settings: Settings, raw: minio.Minio, tenant: str
) -> None:
    once = bytes(ASK_BYTES)
    ref = await blobs.put(tenant, once, "image/png")
    first = raw.stat_object(bucket_name=settings.s3_bucket, object_name=key_of(tenant, ref.sha256))
    async with await Blobs.connect(settings) as other:
        assert await other.put(tenant, once, "image/png") == ref
    second = raw.stat_object(bucket_name=settings.s3_bucket, object_name=key_of(tenant, ref.sha256))

    assert second.last_modified == first.last_modified
    assert second.etag == first.etag


@pytest.mark.parametrize("size", [5, ASK_BYTES + 5])
async def test_put_replaces_a_half_written_blob(
    blobs: Blobs, settings: Settings, raw: minio.Minio, tenant: str, size: int
) -> None:
    whole = bytes(size)
    key = key_of(tenant, hashlib.sha256(whole).hexdigest())
    overwrite(raw, settings, key, whole[: size // 2])

    ref = await blobs.put(tenant, whole, "image/png")

    assert await fresh_get(settings, tenant, ref) == whole


async def test_get_refuses_bytes_whose_hash_differs(
    blobs: Blobs, settings: Settings, raw: minio.Minio, tenant: str
) -> None:
    ref = await blobs.put(tenant, b"genuine", "image/png")
    overwrite(raw, settings, key_of(tenant, ref.sha256), b"forgery")

    with pytest.raises(DataLoss) as caught:
        await fresh_get(settings, tenant, ref)

    forged = hashlib.sha256(b"forgery").hexdigest()
    for part in (ref.sha256, forged, settings.s3_bucket, key_of(tenant, ref.sha256)):
        assert part in str(caught.value)


@pytest.mark.parametrize("stored", [b"short", b"far too long"])
async def test_get_refuses_bytes_whose_size_differs(
    blobs: Blobs, settings: Settings, raw: minio.Minio, tenant: str, stored: bytes
) -> None:
    ref = await blobs.put(tenant, b"genuine", "image/png")
    overwrite(raw, settings, key_of(tenant, ref.sha256), stored)

    with pytest.raises(DataLoss, match=f"expected 7 bytes, got {len(stored)}"):
        await fresh_get(settings, tenant, ref)


async def test_get_does_not_find_another_tenants_blob(blobs: Blobs, tenant: str) -> None:
    ref = await blobs.put(tenant, b"private", "image/png")

    with pytest.raises(NotFound, match=ref.sha256):
        await blobs.get(f"{tenant}-2", ref)


@pytest.mark.parametrize("digest", ["", "ab", "../" + "a" * 61, "A" * 64])
def test_key_refuses_what_is_no_digest(digest: str) -> None:
    with pytest.raises(InvalidInput, match="sha256: "):
        key_of("acme", digest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
async def test_tensor_comes_back_bit_for_bit(
    blobs: Blobs, settings: Settings, tenant: str, dtype: torch.dtype
) -> None:
    tensor = (torch.arange(48 * 6, dtype=torch.float32).reshape(48, 2, 3) / 3).to(dtype)
    ref = await blobs.put_tensor(tenant, tensor.transpose(1, 2))

    assert list(ref.shape) == [48, 3, 2]
    async with await Blobs.connect(settings) as other:
        read = await other.get_tensor(tenant, ref)
    assert read.dtype == dtype
    assert torch.equal(read, tensor.transpose(1, 2))


async def test_get_tensor_refuses_a_wrong_description(blobs: Blobs, tenant: str) -> None:
    ref = await blobs.put_tensor(tenant, torch.zeros(48, 8, 8))
    ref.shape[:] = [48, 64]

    with pytest.raises(InvalidInput, match=r"described as float32 \[48, 64\], is float32 \[48, 8, 8\]"):
        await blobs.get_tensor(tenant, ref)


async def test_get_tensor_refuses_a_picture(blobs: Blobs, tenant: str) -> None:
    ref = await blobs.put(tenant, b"\x89PNG", "image/png")

    with pytest.raises(InvalidInput, match="image/png"):
        await blobs.get_tensor(tenant, ref)


async def test_cache_serves_recent_blobs_and_drops_the_oldest(
    settings: Settings, raw: minio.Minio, tenant: str
) -> None:
    async with await Blobs.connect(settings, cache_bytes=10) as small:
        refs = [await small.put(tenant, bytes([number]) * 4, "image/png") for number in range(3)]
        for ref in refs:
            raw.remove_object(bucket_name=settings.s3_bucket, object_name=key_of(tenant, ref.sha256))

        assert await small.get(tenant, refs[2]) == b"\x02" * 4
        assert await small.get(tenant, refs[1]) == b"\x01" * 4
        with pytest.raises(NotFound):
            await small.get(tenant, refs[0])


async def test_wrong_key_is_unavailable_and_names_the_setting(settings: Settings) -> None:
    wrong = settings.model_copy(update={"s3_access_key": "nobody"})
    with pytest.raises(Unavailable, match="WAN_S3_ACCESS_KEY"):
        await Blobs.connect(wrong)


@pytest.fixture(scope="module")
def doomed_stack(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """An S3 to kill; needs `stack` only for its skip."""
    servers = LocalStack(tmp_path_factory.mktemp("doomed"))
    servers.s3.start()
    yield servers
    servers.stop()


@pytest.mark.slow
async def test_blobs_are_unavailable_in_time_and_recover_when_s3_was_killed(
    doomed_stack: LocalStack, tenant: str
) -> None:
    async with await Blobs.connect(stack_settings(doomed_stack), cache_bytes=0) as blobs:
        ref = await blobs.put(tenant, b"durable", "image/png")
        doomed_stack.s3.kill()
        for call in (
            lambda: blobs.get(tenant, ref),
            lambda: blobs.put(tenant, b"new", "image/png"),
            blobs.check,
        ):
            started = time.monotonic()
            with pytest.raises(Unavailable, match=r"S3 127\.0\.0\.1"):
                await call()
            assert time.monotonic() - started < PROMISED_SECONDS

        await asyncio.to_thread(doomed_stack.s3.start)

        async def reads() -> bool:
            return await blobs.get(tenant, ref) == b"durable"

        await eventually(reads)


@pytest.mark.slow
async def test_a_silent_s3_is_unavailable_in_time(settings: Settings) -> None:
    # A server that accepts and never answers, as behind a broken load balancer.
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await Blobs.connect(settings.model_copy(update={"s3_endpoint": address}))
        assert time.monotonic() - started < PROMISED_SECONDS
