"""The VAE service, in one process, against a real NATS and S3."""

import asyncio
import io
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import minio
import numpy as np
import pytest

from services.vae.__main__ import SERVICE
from tests.families import build_family
from tests.fronts import SECONDS, calling, for_tenants, picture_of
from wanimage import images, rpc, serve
from wanimage.config import Settings
from wanimage.errors import FamilyMismatch
from wanimage.jobs import make_job
from wanimage.latents import put_latent, read_latent
from wanimage.v1 import jobs_pb2, types_pb2, vae_pb2, vae_pb2_grpc

TENANT = f"t-{uuid.uuid4().hex[:12]}"
STRANGER = f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
async def vae(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[serve.Process]:
    family = build_family(tmp_path_factory.mktemp("family"))
    async with serve.running(SERVICE, for_tenants(settings, family.path, TENANT, STRANGER)) as process:
        yield process


@pytest.fixture
async def stub(vae: serve.Process) -> AsyncIterator[vae_pb2_grpc.VaeServiceStub]:
    async with calling(vae, TENANT, vae_pb2_grpc.VaeServiceStub) as found:
        yield found


def png(height: int, width: int, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return images.encode(pixels)[0]


async def encoded(stub: vae_pb2_grpc.VaeServiceStub, data: bytes) -> vae_pb2.EncodeResponse:
    return await stub.Encode(vae_pb2.EncodeRequest(image=types_pb2.ImageInput(data=data)), timeout=SECONDS)


async def test_a_picture_comes_back_at_its_own_size(
    vae: serve.Process, stub: vae_pb2_grpc.VaeServiceStub
) -> None:
    latent = await encoded(stub, png(48, 80))
    decoded = await stub.Decode(vae_pb2.DecodeRequest(latent=latent.latent, inline=True), timeout=SECONDS)

    assert (latent.grid.height_cells, latent.grid.width_cells) == (3, 5)
    assert (latent.latent.dtype, list(latent.latent.shape)) == ("float32", [48, 3, 5])
    assert (decoded.size.height, decoded.size.width) == (48, 80)
    pixels = await picture_of(vae.ground.blobs, TENANT, decoded.image)
    assert pixels.shape == (48, 80, 4)
    np.testing.assert_array_equal(images.decode(decoded.data, "data"), pixels)


async def test_sides_are_rounded_to_cells(stub: vae_pb2_grpc.VaeServiceStub) -> None:
    found = await encoded(stub, png(50, 75))

    assert (found.grid.height_cells, found.grid.width_cells) == (3, 5)


async def test_a_thin_picture_stays_within_one_to_eight(stub: vae_pb2_grpc.VaeServiceStub) -> None:
    found = await encoded(stub, png(20, 160))  # 20 rounds down to 16, and 160 / 16 is beyond 8

    assert (found.grid.height_cells, found.grid.width_cells) == (1, 8)


async def test_a_size_asked_for_is_encoded_at(stub: vae_pb2_grpc.VaeServiceStub) -> None:
    request = vae_pb2.EncodeRequest(
        image=types_pb2.ImageInput(data=png(40, 40)), size=types_pb2.Size(height=64, width=128)
    )
    found = await stub.Encode(request, timeout=SECONDS)

    assert (found.grid.height_cells, found.grid.width_cells) == (4, 8)


async def test_decode_makes_the_format_asked_for(
    vae: serve.Process, stub: vae_pb2_grpc.VaeServiceStub
) -> None:
    latent = (await encoded(stub, png(32, 32))).latent
    request = vae_pb2.DecodeRequest(latent=latent, format=types_pb2.IMAGE_FORMAT_WEBP)
    found = await stub.Decode(request, timeout=SECONDS)

    data = await vae.ground.blobs.get(TENANT, found.image)
    assert found.image.media_type == "image/webp"
    assert data[:4] == b"RIFF"
    assert found.data == b""  # only with `inline`


async def test_a_latent_carries_its_family(vae: serve.Process, stub: vae_pb2_grpc.VaeServiceStub) -> None:
    found = await encoded(stub, png(32, 32))
    data = await vae.ground.blobs.get(TENANT, found.latent)

    assert read_latent(data, vae.ground.family.digest, "latent").shape == (48, 2, 2)
    with pytest.raises(FamilyMismatch):
        read_latent(data, "0" * 64, "latent")


async def test_a_latent_of_another_family_is_refused(
    vae: serve.Process, stub: vae_pb2_grpc.VaeServiceStub
) -> None:
    foreign = await put_latent(vae.ground.blobs, TENANT, np.zeros((48, 2, 2), np.float32), "0" * 64)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Decode(vae_pb2.DecodeRequest(latent=foreign), timeout=SECONDS)
    assert rpc.error_details(caught.value).reason == "FamilyMismatch"
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_job_of_another_family_is_refused(vae: serve.Process) -> None:
    job = make_job(TENANT, "0" * 64, jobs_pb2.DecodeJob(latent=types_pb2.BlobRef(sha256="1" * 64)), SECONDS)

    with pytest.raises(FamilyMismatch):
        await vae.ground.jobs.run(job)


async def test_a_stranger_cannot_name_a_blob(vae: serve.Process, stub: vae_pb2_grpc.VaeServiceStub) -> None:
    latent = (await encoded(stub, png(32, 32))).latent

    async with calling(vae, STRANGER, vae_pb2_grpc.VaeServiceStub) as theirs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await theirs.Decode(vae_pb2.DecodeRequest(latent=latent), timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_damaged_bytes_are_data_loss(
    vae: serve.Process, settings: Settings, stub: vae_pb2_grpc.VaeServiceStub
) -> None:
    digest = "ab" * 32
    secret = settings.s3_secret_key.get_secret_value()
    s3 = minio.Minio(settings.s3_endpoint, settings.s3_access_key, secret, secure=False)
    s3.put_object(
        bucket_name=settings.s3_bucket, object_name=f"{TENANT}/{digest}", data=io.BytesIO(b"other"), length=5
    )

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        ref = types_pb2.BlobRef(sha256=digest, size=5, media_type="application/x-safetensors")
        await stub.Decode(vae_pb2.DecodeRequest(latent=ref), timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS


async def test_many_calls_at_once_all_get_their_own_picture(
    vae: serve.Process, stub: vae_pb2_grpc.VaeServiceStub
) -> None:
    latents = await asyncio.gather(*(encoded(stub, png(32, 32, seed)) for seed in range(8)))
    together = await asyncio.gather(
        *(stub.Decode(vae_pb2.DecodeRequest(latent=each.latent), timeout=SECONDS) for each in latents)
    )

    assert len({each.image.sha256 for each in together}) == 8


async def test_a_front_alone_needs_no_weights_but_the_manifest(
    vae: serve.Process, settings: Settings, tmp_path: Path
) -> None:
    family = vae.ground.family
    (tmp_path / "manifest.json").write_text((family.path / "manifest.json").read_text())

    async with (
        serve.running(SERVICE, for_tenants(settings, tmp_path, TENANT, role="front")) as front,
        calling(front, TENANT, vae_pb2_grpc.VaeServiceStub) as stub,
    ):
        found = await encoded(stub, png(16, 32))  # done by the other process
    assert (found.grid.height_cells, found.grid.width_cells) == (1, 2)
