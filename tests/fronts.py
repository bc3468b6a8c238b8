"""Services of the tiny family inside a test's own process, and callers of their fronts."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minio
from PIL import Image as Pillow

from wanimage import rpc, serve
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.subjects import JOBS, RESULTS

KEY = "key-of-"
SECONDS = 60.0
"""Deadline of a test's calls."""


def for_tenants(settings: Settings, family: Path, *tenants: str, **changes: object) -> Settings:
    """Settings of a service of the family in `family` that knows these tenants."""
    keys = {tenant: KEY + tenant for tenant in tenants}
    return settings.model_copy(
        update={"weights": family, "api_keys": _secrets(keys), "drain_seconds": 5.0, **changes}
    )


def _secrets(keys: Mapping[str, str]) -> dict[str, Any]:
    return Settings(_env_file=None, api_keys=dict(keys)).api_keys


@asynccontextmanager
async def calling(process: serve.Process, tenant: str, stub: type) -> AsyncIterator[Any]:
    """A stub whose calls come from `tenant`."""
    async with rpc.channel(f"127.0.0.1:{process.port}", api_key=KEY + tenant) as channel:
        yield stub(channel)


@dataclass(frozen=True)
class Stored:
    """Everything a call may leave behind."""

    keys: frozenset[str]
    """S3 keys of the tenant."""
    jobs: int
    """Stream position of the last job ever queued."""
    results: int

    @classmethod
    async def now(cls, settings: Settings, bus: Bus, tenant: str) -> "Stored":
        secret = settings.s3_secret_key.get_secret_value()
        client = minio.Minio(settings.s3_endpoint, settings.s3_access_key, secret, secure=False)
        listed = client.list_objects(bucket_name=settings.s3_bucket, prefix=f"{tenant}/")
        positions = [(await bus.jetstream.stream_info(name)).state.last_seq for name in (JOBS, RESULTS)]
        return cls(frozenset(each.object_name for each in listed), *positions)


async def picture_of(blobs: Blobs, tenant: str, ref: Any) -> Any:
    """The pixels `[H, W, 4]` of a stored picture."""
    from wanimage import images

    return images.decode(await blobs.get(tenant, ref), "picture")


def bomb() -> bytes:
    """A small PNG of 81 megapixels, twice the limit."""
    buffer = io.BytesIO()
    Pillow.new("1", (9000, 9000)).save(buffer, "PNG")
    return buffer.getvalue()
