"""References that clients send: what was checked goes on into logs and jobs, and nothing else."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from services.refiner.service import RefinerService
from services.vae.service import VaeService
from wanimage import images, rpc
from wanimage.blobs import Blobs
from wanimage.config import Settings
from wanimage.latents import put_latent
from wanimage.stack import LocalStack
from wanimage.uploads import check_upload, store_upload
from wanimage.v1 import jobs_pb2, refiner_pb2, types_pb2, vae_pb2

FAMILY = "f" * 64
LONG = "x" * 2_000_000


@pytest.fixture
async def blobs(stack: LocalStack, settings: Settings) -> AsyncIterator[Blobs]:
    async with await Blobs.connect(settings) as connected:
        yield connected


def dressed(ref: types_pb2.BlobRef) -> types_pb2.BlobRef:
    """The reference with what nobody ever said of this blob."""
    return types_pb2.BlobRef(sha256=ref.sha256, size=ref.size, media_type=LONG, dtype=LONG, shape=range(1000))


async def test_a_picture_that_is_named_goes_on_under_a_name_of_ours(blobs: Blobs, tenant: str) -> None:
    data, media_type = images.encode(np.zeros((32, 48, 4), np.uint8))
    ref = await blobs.put(tenant, data, media_type, dtype="uint8", shape=[32, 48, 4])
    upload = await check_upload(blobs, tenant, types_pb2.ImageInput(blob=dressed(ref)), "image")
    assert await store_upload(blobs, tenant, upload) == ref


async def test_a_lying_photo_is_stored_as_it_was_sent_and_measured_upright(blobs: Blobs, tenant: str) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (64, 32)).save(file, "JPEG", exif=exif)
    upload = await check_upload(blobs, tenant, types_pb2.ImageInput(data=file.getvalue()), "image")
    ref = await store_upload(blobs, tenant, upload)
    assert (upload.height, upload.width, list(ref.shape)) == (64, 32, [64, 32, 4])
    assert await blobs.get(tenant, ref) == file.getvalue()


class NoJobs:
    """Keeps what it is asked to run."""

    ran: jobs_pb2.Job

    @asynccontextmanager
    async def place(self, *_: str) -> AsyncIterator[None]:
        yield

    async def run(self, job: jobs_pb2.Job) -> jobs_pb2.JobResult:
        self.ran = job
        return jobs_pb2.JobResult()


async def test_a_latent_that_is_named_goes_on_under_a_name_of_ours(
    blobs: Blobs, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = await put_latent(blobs, tenant, np.zeros((48, 4, 6), np.float32), FAMILY)
    jobs = NoJobs()
    ground: Any = SimpleNamespace(blobs=blobs, family=SimpleNamespace(digest=FAMILY), jobs=jobs)
    request = refiner_pb2.RefineRequest(
        latent=dressed(ref), options=types_pb2.RefineOptions(target_long_edge=2048)
    )
    refining: Any = RefinerService(ground, None)  # type: ignore[arg-type]
    assert (await refining._job(request, tenant)).latent == ref

    monkeypatch.setattr(rpc, "caller", lambda _: SimpleNamespace(tenant=tenant, seconds_left=lambda: 60.0))
    await VaeService(ground).Decode(vae_pb2.DecodeRequest(latent=dressed(ref)), None)  # type: ignore[arg-type]
    assert jobs.ran.decode.latent == ref
