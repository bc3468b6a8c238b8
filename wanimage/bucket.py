"""The bucket as its keeper sees it: listing, copying and removing, for `wan gc`. Synchronous, as minio is.

Services use `Blobs`, which can do none of this.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import minio
import urllib3
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

from wanimage import tls
from wanimage.blobs import ABSENT
from wanimage.config import Settings
from wanimage.errors import Unavailable

COPIES_AT_ONCE = 8
REQUEST_SECONDS = 30.0


@dataclass(frozen=True)
class Held:
    """An object of the bucket."""

    key: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970, by the clock of S3."""


class Bucket:
    """All methods raise Unavailable when S3 does not answer or refuses."""

    def __init__(self, settings: Settings) -> None:
        self._name, self._endpoint = settings.s3_bucket, settings.s3_endpoint
        self._client = minio.Minio(
            settings.s3_endpoint,
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
            secure=settings.s3_secure,
            region="us-east-1",
            http_client=urllib3.PoolManager(
                maxsize=COPIES_AT_ONCE,
                timeout=REQUEST_SECONDS,
                retries=urllib3.Retry(2),
                ca_certs=tls.ca_file(settings),
            ),
        )

    def folders(self, prefix: str) -> set[str]:
        """Names of the folders right under `prefix`."""
        listed = self._objects(prefix, recursive=False)
        return {str(each.object_name).rstrip("/").rpartition("/")[2] for each in listed if each.is_dir}

    def objects(self, prefix: str) -> Iterator[Held]:
        """Every object under `prefix`, listed as the iterator is consumed."""
        for each in self._objects(prefix, recursive=True):
            assert each.last_modified is not None
            yield Held(str(each.object_name), each.size or 0, each.last_modified.timestamp())

    def _objects(self, prefix: str, *, recursive: bool) -> "Iterator[minio.datatypes.Object]":
        try:
            yield from self._client.list_objects(bucket_name=self._name, prefix=prefix, recursive=recursive)
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unavailable(error) from error

    def has(self, key: str) -> bool:
        """Whether there is an object under `key`."""
        return self._found(lambda: self._client.stat_object(bucket_name=self._name, object_name=key))

    def copy_all(self, pairs: Sequence[tuple[Held, str]]) -> list[Held]:
        """Copy each object to a key inside of S3; returns those copied. One that is gone is left out."""
        with ThreadPoolExecutor(COPIES_AT_ONCE) as threads:
            done = list(threads.map(lambda pair: self._copy(pair[0].key, pair[1]), pairs))
        return [held for (held, _), copied in zip(pairs, done, strict=True) if copied]

    def _copy(self, source: str, target: str) -> bool:
        origin = CopySource(bucket_name=self._name, object_name=source)
        return self._found(
            lambda: self._client.copy_object(bucket_name=self._name, object_name=target, source=origin)
        )

    def _found(self, operation: Callable[[], object]) -> bool:
        """Do something with an object; False when there is none."""
        try:
            operation()
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, S3Error) and error.code in ABSENT:
                return False
            raise self._unavailable(error) from error
        return True

    def remove_all(self, keys: Sequence[str]) -> None:
        """Remove objects in one request; one that is gone already is no error."""
        if not keys:
            return
        try:
            failed = list(
                self._client.remove_objects(
                    bucket_name=self._name, delete_object_list=[DeleteObject(key) for key in keys]
                )
            )
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unavailable(error) from error
        if failed:
            raise Unavailable(self._where, f"{failed[0].name}: {failed[0].code}: {failed[0].message}")

    @property
    def _where(self) -> str:
        return f"S3 {self._endpoint}/{self._name}"

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(self._where, f"{type(error).__name__}: {error}"[:200])
