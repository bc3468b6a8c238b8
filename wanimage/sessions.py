"""Sessions as event logs: append fenced, replay, follow, fork.

A session is the sequence of `Event`s on the subject `wan.session.<tenant>.<session>`, and nothing else:
whoever reads it has all there is. `Event.seq` counts 1, 2, 3 ... without gaps within a session. Two writers
cannot both append: each append names the stream position it follows, and the loser gets `Conflict` and must
stop or `refresh()`.

Following costs one plain subscription and no consumer: every message carries the position of the one before
it, so a follower knows that it missed nothing, and reads the stream again when it did.
"""

import asyncio
import secrets
import uuid
from collections.abc import AsyncGenerator

from google.protobuf.message import DecodeError

from wanimage import clock
from wanimage.bus import Bus
from wanimage.errors import Conflict, DataLoss, InvalidInput, NotFound, SchemaMismatch, Unavailable
from wanimage.messages import Stored
from wanimage.subjects import MSG_ID_HEADER, SEQ_HEADER, SESSIONS, token
from wanimage.v1.events_pb2 import Event, SessionCreated

RECHECK_SECONDS = 2.0
"""How often a follower reads the log although nothing woke it (a wake-up is lost when NATS restarts)."""
BATCH = 256
ENDINGS = {"turn_finished": "finished", "turn_failed": "failed", "turn_cancelled": "cancelled"}
"""The kinds of event that end a turn, and what has become of it then."""
SCHEMA = 1
"""Version of the log's schema: what `Event.schema` says of events written here, and the newest read here."""


def new_session_id() -> str:
    """20 hexadecimal characters that sort by time of creation: 48 bits of milliseconds, 32 random ones."""
    return f"{int(clock.now().timestamp() * 1000):012x}{secrets.token_hex(4)}"


class SessionLog:
    """The writing end of one session. Get it from `Sessions.create` or `Sessions.open`; one a writer."""

    def __init__(self, bus: Bus, tenant: str, session_id: str, last_seq: int, position: int) -> None:
        self.tenant, self.session_id = tenant, session_id
        self.last_seq = last_seq
        """`seq` of the last event, as far as this writer knows."""
        self._bus, self._position = bus, position
        self._subject = subject_of(tenant, session_id)
        self._lock = asyncio.Lock()
        self._lost = ""
        self._unsure: tuple[str, bytes] | None = None
        self._storing: asyncio.Future[int] | None = None

    @property
    def lost(self) -> bool:
        """Whether an append met another writer's."""
        return bool(self._lost)

    async def append(self, event: Event) -> Event:
        """Append and return the event as stored, with `seq`, `session_id` and `time` filled in.

        Raises Conflict once another writer has appended (for good, until `refresh`). Raises Unavailable when
        NATS is away; the event may then be in the log or not, and appending the same event again stores it at
        most once.
        """
        async with self._lock:
            if self._lost:
                raise Conflict(self._lost)
            content = _content(event)
            if self._unsure and (stored := await self._resolve(content)):
                return stored
            return await self._append(event, content)

    async def _append(self, event: Event, content: bytes) -> Event:
        stored = Event()
        stored.CopyFrom(event)
        stored.seq, stored.session_id = self.last_seq + 1, self.session_id
        stored.schema = stored.schema or SCHEMA
        if not stored.HasField("time"):
            stored.time.FromDatetime(clock.now())
        msg_id = uuid.uuid4().hex
        self._storing = asyncio.ensure_future(
            self._bus.store(
                self._subject,
                stored.SerializeToString(),
                msg_id=msg_id,
                expected_last=self._position,
                headers={SEQ_HEADER: str(stored.seq)},
            )
        )
        self._storing.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            position = await asyncio.shield(self._storing)
        except Conflict as error:
            self._lost = str(error)
            raise
        except (Unavailable, asyncio.CancelledError):
            self._unsure = (msg_id, content)
            raise
        self.last_seq, self._position = stored.seq, position
        return stored

    async def _resolve(self, content: bytes) -> Event | None:
        """Find out whether the append that ended in doubt is in the log; its event if it is `content`
        again."""
        assert self._unsure
        msg_id, unsure = self._unsure
        await self._still()
        last = await self._bus.last(SESSIONS, self._subject)
        self._unsure = None
        if last is None or last.headers.get(MSG_ID_HEADER) != msg_id:
            return None
        self.last_seq, self._position = _seq(last), last.seq
        return read_event(last.data) if unsure == content else None

    async def _still(self) -> None:
        """Wait until nothing is on its way: an append whose caller was cancelled would land behind our back,
        and the next one fail as if somebody else had written."""
        if self._storing:
            await asyncio.wait({self._storing})

    async def tell(self, event: Event) -> None:
        """Show a live-only event (ImageProgress) to followers; it has `seq` 0, is not stored and may be
        lost."""
        shown = Event()
        shown.CopyFrom(event)
        shown.seq, shown.session_id = 0, self.session_id
        if not shown.HasField("time"):
            shown.time.FromDatetime(clock.now())
        await self._bus.tell(f"wan.live.{self.tenant}.{self.session_id}.notice", shown.SerializeToString())

    async def refresh(self) -> None:
        """Move to the log's end, whoever wrote it; a lost writer may append again. Raises Unavailable."""
        async with self._lock:
            await self._still()
            last = await self._bus.last(SESSIONS, self._subject)
            self.last_seq, self._position = (_seq(last), last.seq) if last else (0, 0)
            self._lost, self._unsure = "", None


class Sessions:
    """All sessions, seen through one `Bus`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def create(self, tenant: str, session_id: str, family: str) -> SessionLog:
        """A new log with its SessionCreated event. Raises Conflict when the session exists."""
        log = SessionLog(self._bus, tenant, session_id, 0, 0)
        await log.append(Event(session_created=SessionCreated(family=family)))
        return log

    async def open(self, tenant: str, session_id: str) -> SessionLog:
        """A writer at the end of an existing log. Raises NotFound, also while the session is being imported,
        forked or deleted."""
        last = await self._bus.last(SESSIONS, subject_of(tenant, session_id))
        if last is None or not is_whole(read_event(last.data)):
            raise _no_session(session_id)
        return SessionLog(self._bus, tenant, session_id, _seq(last), last.seq)

    async def exists(self, tenant: str, session_id: str) -> bool:
        return await self._bus.last(SESSIONS, subject_of(tenant, session_id)) is not None

    async def list(self, tenant: str) -> list[str]:
        """Ids of all the tenant's sessions, newest first where they come from `new_session_id`."""
        held = await self._bus.subjects(SESSIONS, subject_of(tenant, "*"))
        return sorted((subject.rsplit(".", 1)[1] for subject in held), reverse=True)

    async def first(self, tenant: str, session_id: str) -> Event:
        """The SessionCreated event. Raises NotFound."""
        held = await self._bus.read(SESSIONS, subject_of(tenant, session_id), 1, batch=1)
        if not held:
            raise _no_session(session_id)
        return read_event(held[0].data)

    async def last(self, tenant: str, session_id: str) -> Event:
        """The newest event. Raises NotFound."""
        held = await self._bus.last(SESSIONS, subject_of(tenant, session_id))
        if held is None:
            raise _no_session(session_id)
        return read_event(held.data)

    async def replay(self, tenant: str, session_id: str, after: int = 0) -> AsyncGenerator[Event, None]:
        """The events with `seq` > `after`, in order, up to the log's end now. Raises NotFound,
        Unavailable."""
        async for stored in self._replay(tenant, session_id, 0):
            if _seq(stored) > after:
                yield read_event(stored.data)

    async def _replay(self, tenant: str, session_id: str, position: int) -> AsyncGenerator[Stored, None]:
        while True:
            batch = await self._bus.read(SESSIONS, subject_of(tenant, session_id), position + 1, BATCH)
            if not batch and position == 0:
                raise _no_session(session_id)
            for stored in batch:
                yield stored
            if len(batch) < BATCH:
                return
            position = batch[-1].seq

    async def follow(self, tenant: str, session_id: str, after: int = 0) -> AsyncGenerator[Event, None]:
        """Like `replay`, then new events as they are appended, until the caller leaves: no gap, no
        repetition.

        Live-only events (`seq` 0) appear between them.
        """
        position = 0
        async with self._bus.listen(
            f"wan.live.{token('tenant', tenant)}.{token('session_id', session_id)}.*"
        ) as live:
            behind = True
            while True:
                if behind:
                    async for stored in self._replay(tenant, session_id, position):
                        position = stored.seq
                        if _seq(stored) > after:
                            yield read_event(stored.data)
                message = await live.next(RECHECK_SECONDS)
                behind = message is None
                if message is None:
                    continue
                if message.subject.endswith(".notice"):
                    yield read_event(message.data)
                    continue
                stored = Stored.from_direct(message)
                if stored.seq <= position:
                    continue  # the replay was faster
                behind = stored.previous_seq != position
                if not behind:
                    position = stored.seq
                    if _seq(stored) > after:
                        yield read_event(stored.data)

    async def fork(self, tenant: str, source: str, at_seq: int, target: str) -> SessionLog:
        """Copy events 1..`at_seq` (0: all) of `source` into the new session `target`; blobs are shared, not
        copied.

        The copy keeps seq and times; its first event names where it came from. It is no session before its
        last event is in; when a fork broke off, calling it again with the same arguments goes on where it
        stopped. Raises NotFound, InvalidInput when `source` has no such event, Conflict when `target` holds
        anything else.
        """
        events = [each async for each in self.replay(tenant, source)]
        at_seq = at_seq or len(events)
        if at_seq > len(events):
            raise InvalidInput(
                "at_seq", f"{at_seq} of {len(events)} events", "fork at an event the session has"
            )
        copies = [_copy(each, target) for each in events[:at_seq]]
        copies[0].session_created.forked_from, copies[0].session_created.forked_at = source, at_seq
        log = SessionLog(self._bus, tenant, target, 0, 0)
        await log.refresh()
        held = [each async for each in self.replay(tenant, target)] if log.last_seq else []
        if [_copy(each, target) for each in held] != copies[: len(held)]:
            raise Conflict(
                f"session {target!r} exists and is no fork of {source!r} at {at_seq}; choose another id"
            )
        for copy in copies[len(held) :]:
            copy.more = copy.seq < at_seq
            await log.append(copy)
        return log


def subject_of(tenant: str, session_id: str) -> str:
    """`wan.session.<tenant>.<session>`; "*" stands for all sessions. Raises InvalidInput for other names."""
    session = session_id if session_id == "*" else token("session_id", session_id)
    return f"wan.session.{token('tenant', tenant)}.{session}"


def read_event(data: bytes) -> Event:
    """An event as it lies in a log. Raises DataLoss for other bytes, SchemaMismatch for a newer version's."""
    try:
        event = Event.FromString(data)
    except DecodeError as error:
        raise DataLoss(f"a session log holds {len(data)} bytes that are no Event: {error}") from error
    if event.schema > SCHEMA:
        raise SchemaMismatch(f"event {event.seq} of session {event.session_id!r}", event.schema, SCHEMA)
    return event


def is_whole(last: Event) -> bool:
    """Whether a log that ends with this event is a session, and not one being imported, forked or deleted."""
    return not last.more and not last.HasField("session_deleted")


def _seq(stored: Stored) -> int:
    try:
        return int(stored.headers[SEQ_HEADER])
    except (KeyError, ValueError):
        raise DataLoss(f"message {stored.seq} of {stored.subject} has no {SEQ_HEADER}") from None


def _content(event: Event) -> bytes:
    """The event without what the log fills in."""
    bare = Event()
    bare.CopyFrom(event)
    bare.seq, bare.session_id = 0, ""
    bare.ClearField("time")
    return bare.SerializeToString(deterministic=True)


def _copy(event: Event, session_id: str) -> Event:
    copy = Event()
    copy.CopyFrom(event)
    copy.session_id, copy.schema, copy.more = session_id, copy.schema or 1, False
    return copy


def _no_session(session_id: str) -> NotFound:
    return NotFound("session", session_id, "list the tenant's sessions, or start one by leaving the id empty")
