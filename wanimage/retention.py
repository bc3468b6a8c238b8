"""What is kept and for how long: idle sessions are deleted, blobs that nobody names are collected.

Collecting is safe beside running turns without locks, leases or exactly agreeing clocks. The argument:

1. A blob is never destroyed under its key. It is first *moved into the trash*: copied to
   `.trash/<tenant>/<sha256>/<when>`, then removed. A read that misses the key finds the copy and puts it
   back (blobs.py), so a reference that appears after the marking, in the middle of the move or after it,
   holds.
2. Whoever writes a reference has known S3 to hold the blob (sent it, seen it there, or read it) at most
   `VOUCHED_SECONDS` plus the longest deadline before the reference lies in NATS: jobs, results and events
   all end with their deadline. So a reference to what is in the trash, by somebody who saw the blob before
   it went there, is in NATS that long after the move at the latest. Whoever comes later finds the key free,
   and stores the blob again.
3. A copy leaves the trash only when it lay there longer than `grace`, which must exceed those two together,
   and a marking that *began* after that does not name it; one that is named is put back under its key.
4. The copy of each move has a key of its own, so two collectors never destroy what the other relies on:
   each removes a blob only after its own copy is there, and destroys only copies older than `grace`.

Marking reads JOBS, DLQ, RESULTS and SESSIONS in this order, the way a reference travels. A log that cannot be
read, or that a newer version wrote, might name anything: its tenant is left alone.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice

from google.protobuf.message import DecodeError

from wanimage import clock, telemetry
from wanimage.blobs import TRASH, VOUCHED_SECONDS
from wanimage.bucket import Bucket, Held
from wanimage.bus import Bus
from wanimage.errors import Conflict, DataLoss, InvalidInput, NotFound, SchemaMismatch
from wanimage.messages import Stored
from wanimage.references import blob_refs
from wanimage.sessions import ENDINGS, Sessions, is_whole, read_event, subject_of
from wanimage.subjects import DEAD_LETTERS, JOBS, RESULTS, SESSIONS
from wanimage.v1.events_pb2 import Event, SessionDeleted
from wanimage.v1.jobs_pb2 import Job, JobResult

GRACE_SECONDS = 24 * 3600.0
"""Age below which no blob is collected, and time that a collected one stays in the trash."""
CLOCK_SLACK_SECONDS = 3600.0
"""How far the clocks of S3, the collector and the services may be apart."""
READ_BATCH = 1024
MOVE_BATCH = 500

log = telemetry.logger(__name__)


@dataclass
class Account:
    """What a collection found and did for one tenant; sizes in bytes."""

    tenant: str
    left_alone: str = ""
    """Why nothing of this tenant was touched, when nothing was."""
    sessions: int = 0
    sessions_deleted: int = 0
    kept: int = 0
    kept_bytes: int = 0
    young: int = 0
    """Not named, but younger than the grace time."""
    collected: int = 0
    """Moved into the trash."""
    collected_bytes: int = 0
    put_back: int = 0
    """Found in the trash and named after all."""
    destroyed: int = 0
    """Copies in the trash that are gone for good."""
    destroyed_bytes: int = 0

    def record(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass
class _Live:
    """Digests that are named, as bytes."""

    everywhere: set[bytes] = field(default_factory=set)
    """By results, which do not say whose they are."""
    of_tenant: dict[str, set[bytes]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Tenant to what could not be read."""

    def add(self, tenant: str, digests: set[bytes]) -> None:
        self.of_tenant.setdefault(tenant, set()).update(digests)

    def names(self, tenant: str, sha256: str) -> bool:
        digest = bytes.fromhex(sha256)
        return digest in self.everywhere or digest in self.of_tenant.get(tenant, ())


def check_grace(grace: float, max_deadline: float) -> None:
    """Raise InvalidInput when blobs could be destroyed while somebody may still name them."""
    least = VOUCHED_SECONDS + max_deadline + CLOCK_SLACK_SECONDS
    if grace < least:
        raise InvalidInput(
            "grace", f"{grace:.0f} s, a reference may take {least:.0f} s to be written", "give at least that"
        )


class Collector:
    """Deletes idle sessions and collects blobs. `run` may break off anywhere and be repeated."""

    def __init__(
        self, bus: Bus, bucket: Bucket, *, grace: float = GRACE_SECONDS, session_ttl: float | None = None,
        dry_run: bool = False, now: Callable[[], float] = lambda: clock.now().timestamp(),
    ) -> None:  # fmt: skip
        """`grace` is for callers to check (`check_grace`); `session_ttl` None keeps sessions for ever."""
        self._bus, self._bucket = bus, bucket
        self._grace, self._session_ttl, self._dry_run = grace, session_ttl, dry_run
        self._now = now
        self._run = secrets.token_hex(4)
        self._accounts: dict[str, Account] = {}

    async def run(self, only: str = "") -> list[Account]:
        """Expire sessions, mark, collect, empty the trash; of all tenants, or of `only` one.

        Raises Unavailable; DataLoss and SchemaMismatch for a result that cannot be read.
        """
        await self._expire(only)
        began = self._now()
        live = await self._mark()
        for tenant in [only] if only else await self._tenants():
            account = self._account(tenant)
            account.left_alone = live.unreadable.get(tenant, "")
            if account.left_alone:
                log.warning("gc_left_alone", tenant=tenant, why=account.left_alone)
                continue
            await self._collect(account, live, began)
            await self._empty(account, live, began)
        return sorted(self._accounts.values(), key=lambda each: each.tenant)

    def _account(self, tenant: str) -> Account:
        return self._accounts.setdefault(tenant, Account(tenant))

    async def _tenants(self) -> list[str]:
        found = await asyncio.to_thread(
            lambda: {*self._bucket.folders(""), *self._bucket.folders(f"{TRASH}/")}
        )
        return sorted(found - {TRASH})

    # Sessions. -------------------------------------------------------------------------------------------

    async def _expire(self, only: str) -> None:
        for subject in await self._bus.subjects(SESSIONS, f"wan.session.{only or '*'}.*"):
            tenant, session_id = subject.split(".")[2:]
            account = self._account(tenant)
            account.sessions += 1
            last = await self._bus.last(SESSIONS, subject)
            if last is None:
                continue
            idle = self._now() - _stored_at(last)
            try:
                deleting = read_event(last.data).HasField("session_deleted")
                if not deleting and (self._session_ttl is None or idle < self._session_ttl):
                    continue
                if not self._dry_run:
                    await delete_session(self._bus, tenant, session_id, "idle")
                account.sessions_deleted += 1
            except (Conflict, NotFound) as error:  # it woke up, or somebody else was faster
                log.info("gc_session_kept", tenant=tenant, session=session_id, why=str(error))
            except (DataLoss, SchemaMismatch) as error:
                log.warning("gc_session_unreadable", tenant=tenant, session=session_id, why=str(error))

    # Marking. --------------------------------------------------------------------------------------------

    async def _mark(self) -> _Live:
        live = _Live()
        for stream in (JOBS, DEAD_LETTERS):
            async for stored in self._messages(stream):
                self._mark_job(live, stored, stored.subject.split(".")[3])
        async for stored in self._messages(RESULTS):
            if not stored.subject.startswith("$KV.RESULTS.") or not stored.data:
                continue
            try:
                result = JobResult.FromString(stored.data)
                live.everywhere |= {bytes.fromhex(ref.sha256) for ref in blob_refs(result, stored.subject)}
            except (DecodeError, ValueError) as error:
                raise DataLoss(f"{stored.subject} is no JobResult: {error}; nothing was collected") from error
        async for stored in self._messages(SESSIONS):
            tenant = stored.subject.split(".")[2]
            try:
                event = read_event(stored.data)
                live.add(tenant, {bytes.fromhex(ref.sha256) for ref in blob_refs(event, stored.subject)})
            except (DataLoss, SchemaMismatch, ValueError) as error:
                live.unreadable[tenant] = str(error)
        return live

    @staticmethod
    def _mark_job(live: _Live, stored: Stored, tenant: str) -> None:
        try:
            job = Job.FromString(stored.data)
            live.add(tenant, {bytes.fromhex(ref.sha256) for ref in blob_refs(job, stored.subject)})
        except (DecodeError, ValueError):
            return  # no worker can do it, and nobody can name a blob by it
        except SchemaMismatch as error:
            live.unreadable[tenant] = str(error)

    async def _messages(self, stream: str) -> AsyncIterator[Stored]:
        position = 0
        while batch := await self._bus.read(stream, ">", position + 1, READ_BATCH):
            for stored in batch:
                yield stored
            position = batch[-1].seq

    # Blobs. ----------------------------------------------------------------------------------------------

    async def _collect(self, account: Account, live: _Live, began: float) -> None:
        async for batch in _batches(self._bucket.objects(f"{account.tenant}/")):
            doomed = []
            for held in batch:
                sha256 = held.key.rpartition("/")[2]
                if not _is_digest(sha256):
                    continue  # not ours
                if live.names(account.tenant, sha256):
                    account.kept, account.kept_bytes = account.kept + 1, account.kept_bytes + held.size
                elif held.modified > began - self._grace:
                    account.young += 1
                else:
                    doomed.append(held)
            if doomed:
                await self._move(account, doomed)

    async def _move(self, account: Account, doomed: Sequence[Held]) -> None:
        # The time is taken before the copies: from then on it counts how long they lie in the trash.
        if self._dry_run:
            moved = list(doomed)
        else:
            when = f"{int(self._now() * 1000):013d}-{self._run}"
            moved = await asyncio.to_thread(
                self._bucket.copy_all, [(held, f"{TRASH}/{held.key}/{when}") for held in doomed]
            )
            await asyncio.to_thread(self._bucket.remove_all, [held.key for held in moved])
        account.collected += len(moved)
        account.collected_bytes += sum(held.size for held in moved)

    async def _empty(self, account: Account, live: _Live, began: float) -> None:
        async for batch in _batches(self._bucket.objects(f"{TRASH}/{account.tenant}/")):
            doomed = []
            for held in batch:
                _, tenant, sha256, when = held.key.split("/")
                if not _moved_at(when) < began - self._grace:
                    continue
                key = f"{tenant}/{sha256}"
                if live.names(tenant, sha256) and not await asyncio.to_thread(self._bucket.has, key):
                    account.put_back += 1
                    if not self._dry_run:  # the copy goes at a later run
                        await asyncio.to_thread(self._bucket.copy_all, [(held, key)])
                    continue
                doomed.append(held)
            account.destroyed += len(doomed)
            account.destroyed_bytes += sum(held.size for held in doomed)
            if doomed and not self._dry_run:
                await asyncio.to_thread(self._bucket.remove_all, [held.key for held in doomed])


async def _batches(objects: Iterator[Held]) -> AsyncIterator[list[Held]]:
    """Listing takes a round trip now and then: in a thread."""
    while batch := await asyncio.to_thread(lambda: list(islice(objects, MOVE_BATCH))):
        yield batch


def _is_digest(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


def _moved_at(when: str) -> float:
    return int(when.partition("-")[0]) / 1000


def _stored_at(stored: Stored) -> float:
    return datetime.fromisoformat(stored.headers["Nats-Time-Stamp"].replace("Z", "+00:00")).timestamp()


async def delete_session(bus: Bus, tenant: str, session_id: str, reason: str) -> None:
    """Delete a session; its blobs are collected once nothing names them any more.

    A SessionDeleted event closes the log first, fenced like every append, so no turn can begin or go on
    between looking and removing; what broke off is finished by the next call. Raises NotFound, and Conflict
    while a turn runs or when somebody else writes.
    """
    subject = subject_of(tenant, session_id)
    last = await bus.last(SESSIONS, subject)
    if last is None:
        raise NotFound("session", session_id, "list the tenant's sessions with `wan sessions list`")
    event = read_event(last.data)
    if not event.HasField("session_deleted"):
        sessions = Sessions(bus)
        if is_whole(event):
            writer = await sessions.open(tenant, session_id)
            if turn_id := await running_turn(sessions, tenant, session_id):
                raise Conflict(
                    f"session {session_id} is busy with turn {turn_id}; cancel it or wait for its end"
                )
            await writer.append(Event(session_deleted=SessionDeleted(reason=reason)))
            last = await bus.last(SESSIONS, subject)
            assert last is not None
    await bus.purge(SESSIONS, subject, last.seq)


async def running_turn(sessions: Sessions, tenant: str, session_id: str) -> str:
    """The turn of a session that has not ended and may still go on; "" when there is none."""
    turn_id, deadline = "", clock.now()
    async for event in sessions.replay(tenant, session_id):
        kind = event.WhichOneof("kind")
        if kind == "turn_started":
            turn_id, deadline = event.turn_id, event.turn_started.deadline.ToDatetime(UTC)
        elif kind in ENDINGS:
            turn_id = ""
    return turn_id if turn_id and deadline > clock.now() else ""
