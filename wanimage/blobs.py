"""Blobs in S3: content-addressed, verified on read, shared by nobody but their tenant.

The key of a blob is `<tenant>/<sha256>` (docs/bus.md). Bytes never change under a key, so a large upload is
skipped when the key exists, reads may be cached for ever, and a half-written blob is found by its hash.
`Blobs` speaks asyncio; under it the synchronous `minio` client works in threads. When S3 is away every call
raises `Unavailable` within 5 seconds, when it is full `StorageFull`, and the same `Blobs` works again once S3
does. A transfer that is slower than `pacing.SLOWEST` ends the same way. Whatever a broken connection
interrupts is done once more: repeating is harmless here.

`wan gc` (retention.py) moves what nobody refers to into `.trash/`, where it stays for a day and more. A read
that misses a blob looks there and puts it back, so a reference written while its blob was being collected
holds.
"""

import asyncio
import hashlib
import io
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import minio
import urllib3
from minio.error import MinioException, S3Error

from wanimage import clock, metrics, pacing, spans, telemetry, tls
from wanimage.config import Settings
from wanimage.errors import DataLoss, InvalidInput, NotFound, StorageFull, Unavailable
from wanimage.subjects import token
from wanimage.v1.types_pb2 import BlobRef

if TYPE_CHECKING:
    import torch

CONNECT_SECONDS = 1.0
READ_SECONDS = 2.5
"""Longest silence of S3 within one request. With one retry of connecting, a call ends within 5 s."""
ASK_BYTES = 256 * 1024
"""Blobs of this size or more are only sent when S3 lacks them; with smaller ones asking costs as much as
sending."""
MAX_BYTES = 2**30
"""Largest blob that is read; the largest made here, a latent or picture of 4096 px, is a tenth of it."""
THREADS = 8
CACHE_BYTES = 256 * 1024 * 1024
"""Verified blobs kept in memory; the least recently used leave first."""
VOUCHED_SECONDS = 3600.0
"""How long after S3 was last known to hold a blob `put` takes its being there for granted. `wan gc` relies on
it: what it collects is gone for good later than this and the longest deadline together."""
TRASH = ".trash"
"""Collected blobs lie under `.trash/<tenant>/<sha256>/<when>`; no tenant can have this name."""
TENSOR_NAME = "t"
"""Name of the one tensor in a stored safetensors file."""
SAFETENSORS = "application/x-safetensors"

ABSENT = ("NoSuchKey", "NoSuchObject", "NotFound")
"""Codes of S3 for an object that is not there."""
_OUTAGES = ("InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout")
_FULL = ("XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded")
"""As MinIO and Ceph say it; SeaweedFS says InternalError."""
T = TypeVar("T")
log = telemetry.logger(__name__)


def key_of(tenant: str, sha256: str) -> str:
    """`<tenant>/<sha256>`; raises InvalidInput when either could leave the tenant's folder."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise InvalidInput(
            "sha256", f"{sha256[:80]!r} is no digest", "send 64 lower-case hexadecimal characters"
        )
    return f"{token('tenant', tenant)}/{sha256}"


class Blobs:
    """Puts and gets blobs of one bucket. Make it with `await Blobs.connect(settings)`."""

    def __init__(
        self,
        settings: Settings,
        *,
        cache_bytes: int = CACHE_BYTES,
        vouched_seconds: float = VOUCHED_SECONDS,
    ) -> None:
        self.bucket = settings.s3_bucket
        self.endpoint = settings.s3_endpoint
        # Connecting is tried twice, which hides a restarted server's stale connections; nothing else is
        # repeated.
        retries = urllib3.Retry(
            total=None, connect=1, read=0, redirect=0, status=0, other=1, backoff_factor=0.1
        )
        self._http = pacing.PacedPool(
            maxsize=THREADS,
            blocksize=pacing.BLOCK_BYTES,
            socket_options=pacing.SOCKET_OPTIONS,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=retries,
            ca_certs=tls.ca_file(settings),
        )
        self._client = minio.Minio(
            self.endpoint,
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
            secure=settings.s3_secure,
            region="us-east-1",  # given, so that the client need not ask; S3-compatible servers ignore it
            http_client=self._http,
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cache_limit, self._cached_bytes = cache_bytes, 0
        self._seen: dict[str, float] = {}  # by key of the cache: when S3 last held it, by the common clock
        self._vouched_seconds = vouched_seconds

    @classmethod
    async def connect(
        cls,
        settings: Settings,
        *,
        cache_bytes: int = CACHE_BYTES,
        vouched_seconds: float = VOUCHED_SECONDS,
    ) -> "Blobs":
        """Also creates the bucket when it is missing. Raises Unavailable."""
        blobs = cls(settings, cache_bytes=cache_bytes, vouched_seconds=vouched_seconds)
        try:
            await blobs._call("", blobs._ensure_bucket)
        except BaseException:
            await blobs.close()
            raise
        return blobs

    async def close(self) -> None:
        """End the threads and connections; calls in progress finish."""
        await asyncio.to_thread(self._pool.shutdown)
        self._http.clear()

    async def __aenter__(self) -> "Blobs":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check(self) -> None:
        """Readiness: the bucket is there. Raises Unavailable."""
        await self._call("", self._ensure_bucket)

    async def put(
        self, tenant: str, data: bytes, media_type: str, *, dtype: str = "", shape: Sequence[int] = ()
    ) -> BlobRef:
        """Store `data` and name it; large data is not sent when the key exists. Raises InvalidInput,
        Unavailable."""
        digest = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        key = key_of(tenant, digest)
        if clock.now().timestamp() - self._seen.get(key, 0.0) < self._vouched_seconds:
            metrics.BLOBS.labels("put", "cache").inc()
            self._cache.move_to_end(key)
        else:
            with spans.object_store("PutObject", self.bucket, key), metrics.exchange("put"):
                await self._call(key, lambda: self._upload(key, data, media_type))
            metrics.BLOB_BYTES.labels("put").inc(len(data))
            self._remember(key, data)
        return BlobRef(sha256=digest, size=len(data), media_type=media_type, dtype=dtype, shape=list(shape))

    async def get(self, tenant: str, ref: BlobRef) -> bytes:
        """The bytes `ref` names, checked against its size and digest.

        Raises NotFound when this tenant has no such blob, DataLoss when the stored bytes are others,
        InvalidInput for a reference that cannot be one, Unavailable.
        """
        key = key_of(tenant, ref.sha256)
        if ref.size > MAX_BYTES:
            problem = f"{ref.size:,} bytes, the limit is {MAX_BYTES:,}"
            raise InvalidInput("size", problem, "send the reference as it came")
        if key in self._cache:
            metrics.BLOBS.labels("get", "cache").inc()
            self._cache.move_to_end(key)
            data = self._cache[key]
            if ref.size != len(data):
                raise self._loss(key, f"expected {ref.size} bytes, got {len(data)}")
            return data
        with spans.object_store("GetObject", self.bucket, key), metrics.exchange("get"):
            data = await self._call(key, lambda: self._download(key, ref.size))
        metrics.BLOB_BYTES.labels("get").inc(len(data))
        actual = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        if actual != ref.sha256:
            raise self._loss(key, f"expected sha256 {ref.sha256}, got {actual}")
        self._remember(key, data)
        return data

    async def holds(self, tenant: str, ref: BlobRef) -> bool:
        """Whether the tenant has a blob of this name and size, or did until it was collected. Raises
        Unavailable."""
        key = key_of(tenant, ref.sha256)
        return await self._call(key, lambda: self._exists(key, ref.size) or any(self._trashed(key)))

    async def put_tensor(self, tenant: str, tensor: "torch.Tensor") -> BlobRef:
        """Store one tensor as safetensors, with its dtype ("float32") and shape in the reference."""
        from safetensors.torch import save  # torch is slow to import, and fronts do without it

        data = save({TENSOR_NAME: tensor.detach().cpu().contiguous()})
        return await self.put(
            tenant, data, SAFETENSORS, dtype=str(tensor.dtype).removeprefix("torch."), shape=tensor.shape
        )

    async def get_tensor(self, tenant: str, ref: BlobRef) -> "torch.Tensor":
        """The tensor `ref` names. Raises as `get`, and InvalidInput when it is no tensor or not the one
        described."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        if ref.media_type != SAFETENSORS:
            raise InvalidInput(
                "media_type", f"{ref.media_type!r} is not {SAFETENSORS!r}", "send a tensor's blob"
            )
        try:
            tensor = load(await self.get(tenant, ref))[TENSOR_NAME]
        except (SafetensorError, KeyError) as error:
            raise InvalidInput(
                "blob", f"not a safetensors file with one tensor: {error}", "store it again"
            ) from error
        held = (str(tensor.dtype).removeprefix("torch."), list(tensor.shape))
        if held != (ref.dtype, list(ref.shape)):
            raise InvalidInput(
                "blob",
                f"described as {ref.dtype} {list(ref.shape)}, is {held[0]} {held[1]}",
                "send the ref of put",
            )
        return tensor

    # In threads. -----------------------------------------------------------------------------------------

    async def _call(self, key: str, operation: Callable[[], T]) -> T:
        where = f"S3 {self.endpoint}/{self.bucket}/{key}".rstrip("/")
        try:
            try:
                return await self._in_thread(operation)
            except urllib3.exceptions.HTTPError as error:
                if not pacing.broke(error):
                    raise
                return await self._in_thread(operation)
        except S3Error as error:
            if error.code in ABSENT:
                tenant, _, digest = key.partition("/")
                raise NotFound(
                    "blob",
                    digest,
                    f"tenant {tenant!r} has none of that name in bucket {self.bucket!r}; store it first",
                ) from error
            if error.code in _FULL:
                raise StorageFull(where, f"{error.code}: {error.message}") from error
            if error.code in _OUTAGES:
                raise Unavailable(where, f"{error.code}: {error.message}") from error
            if error.code == "NoSuchBucket":
                raise Unavailable(
                    where, f"bucket {self.bucket!r} is gone; it is made again at the next check"
                ) from error
            if error.code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
                raise Unavailable(
                    where, f"{error.code}; set WAN_S3_ACCESS_KEY and WAN_S3_SECRET_KEY"
                ) from error
            raise
        except (urllib3.exceptions.HTTPError, OSError, MinioException) as error:
            raise Unavailable(where, f"{type(error).__name__}: {error}"[:200]) from error

    def _in_thread(self, operation: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, operation)

    def _ensure_bucket(self) -> None:
        if self._client.bucket_exists(bucket_name=self.bucket):
            return
        try:
            self._client.make_bucket(bucket_name=self.bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise  # otherwise another process was faster

    def _exists(self, key: str, size: int) -> bool:
        try:
            held = self._client.stat_object(bucket_name=self.bucket, object_name=key)
        except S3Error as error:
            if error.code in ABSENT:
                return False
            raise
        if held.size != size:
            log.warning("blob_replaced", bucket=self.bucket, key=key, held=held.size, size=size)
        return held.size == size  # a half-written one is written again

    def _upload(self, key: str, data: bytes, media_type: str) -> None:
        if len(data) >= ASK_BYTES and self._exists(key, len(data)):
            return
        self._send(key, data, media_type)

    def _send(self, key: str, data: bytes, media_type: str) -> None:
        arguments: dict[str, Any] = {
            "data": io.BytesIO(data),
            "length": len(data),
            "content_type": media_type,
        }
        self._client.put_object(bucket_name=self.bucket, object_name=key, **arguments)

    def _download(self, key: str, size: int) -> bytes:
        try:
            return self._read(key, size)
        except S3Error as error:
            if error.code not in ABSENT or (data := self._salvaged(key, size)) is None:
                raise
            return data

    def _trashed(self, key: str) -> Iterator[str]:
        """Keys of what was collected under `key`."""
        listed = self._client.list_objects(bucket_name=self.bucket, prefix=f"{TRASH}/{key}/", recursive=True)
        return (str(each.object_name) for each in listed)

    def _salvaged(self, key: str, size: int) -> bytes | None:
        """A collected blob, put back under its key; None when there is none."""
        for trashed in self._trashed(key):
            with suppress(S3Error, DataLoss):  # emptied meanwhile, or damaged: another copy may do
                data = self._read(trashed, size)
                if hashlib.sha256(data).hexdigest() == key.rpartition("/")[2]:
                    log.info("blob_put_back", bucket=self.bucket, key=key)
                    self._send(key, data, "application/octet-stream")
                    return data
        return None

    def _read(self, key: str, size: int) -> bytes:
        response = self._client.get_object(bucket_name=self.bucket, object_name=key)
        try:
            # One byte more than promised is enough to know; never read what a wrong size would make us hold.
            data = pacing.read(response, size + 1)
        finally:
            response.close()
            response.release_conn()
        if len(data) != size:
            total = response.headers.get("Content-Length", f"at least {len(data)}")
            raise self._loss(key, f"expected {size} bytes, got {total}")
        return data

    def _loss(self, key: str, what: str) -> DataLoss:
        return DataLoss(
            f"blob {key} in bucket {self.bucket!r} at {self.endpoint}: {what}; "
            "it was damaged, or the reference is wrong"
        )

    def _remember(self, key: str, data: bytes) -> None:
        if len(data) > self._cache_limit:
            return
        self._cached_bytes += len(data) - len(self._cache.pop(key, b""))
        self._cache[key], self._seen[key] = data, clock.now().timestamp()
        while self._cached_bytes > self._cache_limit:
            oldest, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped)
            del self._seen[oldest]
