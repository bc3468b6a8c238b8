"""What the fuzz suite puts around the code under test: a bucket in memory, a bus that only counts."""

import hashlib
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import minio.error

from wanimage.blobs import Blobs, key_of
from wanimage.config import Settings
from wanimage.jobs import Held
from wanimage.v1.jobs_pb2 import JobResult
from wanimage.v1.types_pb2 import BlobRef

NO_HEADERS: dict[str, str] = {}


def absent(key: str) -> minio.error.S3Error:
    return minio.error.S3Error(None, "NoSuchKey", "none", key, "", "")  # type: ignore[arg-type]


@dataclass
class Bucket:
    """The few calls that `Blobs` makes of the minio client."""

    held: dict[str, bytes] = field(default_factory=dict)

    def get_object(self, bucket_name: str, object_name: str) -> Any:
        if object_name not in self.held:
            raise absent(object_name)
        body = io.BytesIO(self.held[object_name])
        return SimpleNamespace(
            read=body.read, close=body.close, release_conn=lambda: None, headers=NO_HEADERS
        )

    def stat_object(self, bucket_name: str, object_name: str) -> Any:
        if object_name not in self.held:
            raise absent(object_name)
        return SimpleNamespace(size=len(self.held[object_name]))

    def put_object(self, bucket_name: str, object_name: str, data: io.BytesIO, **_: Any) -> None:
        self.held[object_name] = data.read()

    def list_objects(self, bucket_name: str, **_: Any) -> list[Any]:
        return []


def memory_blobs(tenant: str, contents: list[bytes]) -> tuple[Blobs, list[BlobRef]]:
    """`Blobs` over a bucket in memory that holds `contents`, and their names."""
    blobs = Blobs(Settings(_env_file=None), cache_bytes=0)
    bucket = Bucket()
    blobs._client = bucket  # type: ignore[assignment]
    names = []
    for data in contents:
        digest = hashlib.sha256(data).hexdigest()
        bucket.held[key_of(tenant, digest)] = data
        names.append(BlobRef(sha256=digest, size=len(data), media_type="image/png"))
    return blobs, names


@dataclass
class CountingBus:
    """Takes whatever is stored or told."""

    stored: list[str] = field(default_factory=list)

    async def store(self, subject: str, data: bytes, **_: Any) -> int:
        self.stored.append(subject)
        return len(self.stored)

    async def tell(self, subject: str, data: bytes = b"") -> bool:
        return True


@dataclass
class CountingJobs:
    """Jobs of which none has a result yet."""

    bus: CountingBus = field(default_factory=CountingBus)
    committed: list[JobResult] = field(default_factory=list)

    async def held(self, job_id: str) -> Held | None:
        return None

    async def commit(self, result: JobResult, attempt: int) -> JobResult:
        self.committed.append(result)
        return result


def message(data: bytes, subject: str, headers: dict[str, str], delivery: int = 1) -> Any:
    """A message of the work queue."""

    async def settle(**_: Any) -> None:
        return None

    metadata = SimpleNamespace(
        num_delivered=delivery, timestamp=datetime.now(UTC), sequence=SimpleNamespace(stream=1, consumer=1)
    )
    return SimpleNamespace(
        data=data, subject=subject, headers=headers, metadata=metadata, ack=settle, nak=settle,
        in_progress=settle,
    )  # fmt: skip
