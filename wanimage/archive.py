"""A session as one file: a zip of its events, its blobs and a manifest, written and read in bounded memory.

    manifest.json     {"format": 1, "schema": 1, "session_id": ..., "tenant": ..., "events": n,
                       "events_sha256": ..., "blobs": {sha256: {"size": bytes, "media_type": ...}}}
    events.binpb      every Event, each after its length in 4 bytes, big-endian
    blobs/<sha256>    every blob that an event names

Nothing is compressed: pictures are already, and a small file must not become a large one. A reader checks the
whole file (lengths, digests, the order of the events, that all is there and nothing else) before it stores
anything; then blobs go first and events last, all but the last one marked `more`, so that the session is
there whole or not at all. An import that broke off goes on when it is repeated.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.errors import Conflict, DataLoss, InvalidInput, SchemaMismatch
from wanimage.references import blob_refs
from wanimage.retention import running_turn
from wanimage.sessions import SCHEMA, SessionLog, Sessions, read_event
from wanimage.subjects import token
from wanimage.v1.events_pb2 import Event
from wanimage.v1.types_pb2 import BlobRef

FORMAT = 1
MANIFEST, EVENTS, BLOBS = "manifest.json", "events.binpb", "blobs/"
MAX_MANIFEST_BYTES = 64_000_000
MAX_EVENT_BYTES = 1_000_000
"""NATS stores no larger message."""
MAX_BLOB_BYTES = 256_000_000
"""One blob is held in memory at a time."""
CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Contents:
    """What an archive holds, and, after an import, where it went."""

    tenant: str
    session_id: str
    events: int
    blobs: int
    blob_bytes: int

    def record(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


async def export_session(bus: Bus, blobs: Blobs, tenant: str, session_id: str, path: Path) -> Contents:
    """Write a session to `path`, whole or not at all.

    Raises NotFound for a session or blob that is not there, Conflict while a turn runs, DataLoss,
    SchemaMismatch, Unavailable.
    """
    sessions = Sessions(bus)
    log = await sessions.open(tenant, session_id)
    if turn_id := await running_turn(sessions, tenant, session_id):
        raise Conflict(
            f"session {session_id} is busy with turn {turn_id}; wait for its end with `wan sessions watch`"
        )
    temporary = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            refs, digest = await _write_events(archive, sessions, tenant, session_id, log.last_seq)
            for ref in refs.values():
                with archive.open(_entry(BLOBS + ref.sha256), "w", force_zip64=True) as entry:
                    entry.write(await blobs.get(tenant, ref))
            named = {sha256: {"size": ref.size, "media_type": ref.media_type} for sha256, ref in refs.items()}
            manifest = {
                "format": FORMAT, "schema": SCHEMA, "session_id": session_id, "tenant": tenant,
                "events": log.last_seq, "events_sha256": digest, "blobs": named,
            }  # fmt: skip
            archive.writestr(_entry(MANIFEST), json.dumps(manifest, indent=1))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return Contents(tenant, session_id, log.last_seq, len(refs), sum(ref.size for ref in refs.values()))


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _EPOCH)  # equal sessions make equal files


async def _write_events(
    archive: zipfile.ZipFile, sessions: Sessions, tenant: str, session_id: str, last_seq: int
) -> tuple[dict[str, BlobRef], str]:
    refs: dict[str, BlobRef] = {}
    digest = hashlib.sha256()
    with archive.open(_entry(EVENTS), "w", force_zip64=True) as entry:
        async for event in sessions.replay(tenant, session_id):
            if event.seq > last_seq:
                break  # a turn began meanwhile; the file ends before it
            refs |= {ref.sha256: ref for ref in blob_refs(event, f"event {event.seq}")}
            event.more, event.schema = False, event.schema or 1
            data = event.SerializeToString(deterministic=True)
            framed = len(data).to_bytes(4, "big") + data
            digest.update(framed)
            entry.write(framed)
    return refs, digest.hexdigest()


class Archive:
    """A file of `export_session`, checked whole. A context manager; opening raises InvalidInput naming the
    entry that is damaged, SchemaMismatch for a newer version's file."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise _refused(path.name, str(error)) from error
        try:
            self.manifest = self._read_manifest()
            self.blobs: dict[str, BlobRef] = {}
            self._check()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def session_id(self) -> str:
        return str(self.manifest["session_id"])

    def events(self) -> Iterator[Event]:
        """The events in order, each checked to follow the one before it."""
        seq = 0
        for data in self._frames():
            try:
                event = read_event(data)
            except DataLoss as error:
                raise _refused(EVENTS, str(error)) from error
            seq += 1
            kind = event.WhichOneof("kind")
            if event.seq != seq or event.session_id != self.session_id or event.more:
                raise _refused(EVENTS, f"event {event.seq} of {event.session_id!r} stands as number {seq}")
            if (kind == "session_created") != (seq == 1) or kind == "session_deleted":
                raise _refused(EVENTS, f"event {seq} is a {kind}")
            yield event
        if seq != self.manifest["events"]:
            raise _refused(EVENTS, f"{seq} events, the manifest says {self.manifest['events']}")

    def read_blob(self, sha256: str) -> bytes:
        """The bytes of a blob."""
        with self._open(BLOBS + sha256) as entry:
            return entry.read(MAX_BLOB_BYTES)

    def _frames(self) -> Iterator[bytes]:
        with self._open(EVENTS) as entry:
            while head := entry.read(4):
                length = int.from_bytes(head, "big")
                data = entry.read(min(length, MAX_EVENT_BYTES))
                if len(head) < 4 or len(data) < length:
                    raise _refused(EVENTS, f"breaks off, or an event has {length:,} bytes")
                yield data

    def _open(self, name: str) -> "_Entry":
        return _Entry(self._zip, name)

    def _read_manifest(self) -> dict[str, Any]:
        names = self._zip.namelist()
        if len(set(names)) < len(names):
            raise _refused(self._zip.filename or "file", "an entry is there twice")
        with self._open(MANIFEST) as entry:
            data = entry.read(MAX_MANIFEST_BYTES)
        try:
            manifest = json.loads(data)
            for name, known in (("format", FORMAT), ("schema", SCHEMA)):
                if manifest[name] > known:
                    raise SchemaMismatch(f"the {name} of this file", manifest[name], known)
            token("session_id", manifest["session_id"])
            wanted = {MANIFEST, EVENTS} | {BLOBS + sha256 for sha256 in manifest["blobs"]}
            if not isinstance(manifest["events"], int) or not isinstance(manifest["events_sha256"], str):
                raise TypeError("events, events_sha256")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _refused(MANIFEST, f"not a manifest ({error!r})") from error
        if wanted != set(names):
            problem = "missing" if wanted - set(names) else "not in the manifest"
            raise _refused(sorted(wanted ^ set(names))[0], problem)
        return dict(manifest)

    def _check(self) -> None:
        for event in self.events():
            self.blobs |= {ref.sha256: ref for ref in blob_refs(event, f"event {event.seq} of this file")}
        if self._digest(EVENTS)[0] != self.manifest["events_sha256"]:
            raise _refused(EVENTS, "its SHA-256 is not the manifest's")
        if set(self.blobs) != set(self.manifest["blobs"]):
            raise _refused(MANIFEST, "it does not list the blobs that the events name")
        for sha256, ref in self.blobs.items():
            found, size = self._digest(BLOBS + sha256)
            if (found, size) != (sha256, ref.size) or size > MAX_BLOB_BYTES:
                raise _refused(
                    BLOBS + sha256, f"{size:,} bytes with SHA-256 {found[:12]}, expected {ref.size:,}"
                )

    def _digest(self, name: str) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with self._open(name) as entry:
            while chunk := entry.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return digest.hexdigest(), size


class _Entry:
    """An uncompressed entry of a zip, whose damage is reported under its name. A context manager."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._name = name
        try:
            if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                raise _refused(name, "it is compressed, which no export is")
            self._stream = archive.open(name)
        except _DAMAGE as error:
            raise _refused(name, str(error)) from error

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        try:
            return self._stream.read(size)
        except _DAMAGE as error:
            raise _refused(self._name, str(error)) from error

    def __enter__(self) -> "_Entry":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


async def import_session(
    bus: Bus, blobs: Blobs, archive: Archive, tenant: str, session_id: str = ""
) -> Contents:
    """Store a checked archive as a session of `tenant`, under its own id or another one.

    Repeating an import that is done changes nothing, and one that broke off goes on. Raises Conflict when the
    session holds anything else, InvalidInput for names, Unavailable.
    """
    target = token("session_id", session_id or archive.session_id)
    sessions = Sessions(bus)
    log = SessionLog(bus, tenant, target, 0, 0)
    await log.refresh()
    done = await _already_there(sessions, archive, tenant, target) if log.last_seq else 0
    size = sum(ref.size for ref in archive.blobs.values())
    contents = Contents(tenant, target, archive.manifest["events"], len(archive.blobs), size)
    if done == contents.events:
        return contents
    for sha256, ref in archive.blobs.items():
        await blobs.put(tenant, archive.read_blob(sha256), ref.media_type)
    for event in archive.events():
        if event.seq > done:
            event.more, event.schema = event.seq < contents.events, event.schema or 1
            await log.append(event)
    return contents


async def _already_there(sessions: Sessions, archive: Archive, tenant: str, target: str) -> int:
    """How many events of the archive the session holds; raises Conflict when it holds others."""
    held, events = 0, archive.events()
    async for event in sessions.replay(tenant, target):
        wanted = next(events, None)
        event.more, event.session_id = False, archive.session_id
        if event != wanted:
            raise Conflict(f"session {target!r} exists and is not this one; choose another id with --as")
        held += 1
    return held


_DAMAGE = (KeyError, OSError, EOFError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def _refused(entry: str, problem: str) -> InvalidInput:
    return InvalidInput(entry, problem, "the file is damaged or no export; export the session again")
