"""Dead letters: jobs nobody could do, kept for 30 days with the reason (docs/bus.md); list, retry, drop.

    letters = DeadLetters(bus)
    async for letter in letters.all(kind="render"): ...
    await letters.retry(letter, seconds=600)

For operators: services may only add letters. Needs the rights that docs/deployment.md lists.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError

from wanimage import clock
from wanimage.bus import Bus
from wanimage.cancellation import heeding
from wanimage.errors import InvalidInput, NotFound, Unavailable
from wanimage.jobs import KINDS, Jobs, Submission, kind_of
from wanimage.messages import Stored
from wanimage.subjects import DEAD_LETTERS, REASON_HEADER, token
from wanimage.v1.jobs_pb2 import Job

BATCH = 256
MIN_PREFIX = 6
"""Characters of a name that are enough when no other letter begins with them."""
_GONE = (10043, 10057)
"""JetStream's codes for a message that is not there."""


@dataclass(frozen=True)
class DeadLetter:
    """One job that was given up, or a message that is no job at all."""

    position: int
    """In the stream; no other letter ever has it."""
    kind: str
    tenant: str
    reason: str
    time: datetime
    """When it was given up (UTC)."""
    job: Job | None
    """None for a message that nobody could read."""
    data: bytes
    """The message itself."""

    @property
    def name(self) -> str:
        """The job's id; of a message that is no job, `message-<position>`."""
        return self.job.id if self.job else f"message-{self.position}"

    @classmethod
    def from_stored(cls, stored: Stored) -> "DeadLetter":
        _, _, kind, tenant = stored.subject.split(".")
        time = datetime.fromisoformat(stored.headers["Nats-Time-Stamp"].replace(" UTC", ""))
        reason = stored.headers.get(REASON_HEADER, "")
        return cls(stored.seq, kind, tenant, reason, time.replace(tzinfo=UTC), _job(stored.data), stored.data)


def _job(data: bytes) -> Job | None:
    try:
        job = Job.FromString(data)
    except DecodeError:
        return None
    return job if job.id and kind_of(job) else None


class DeadLetters:
    """All of them, seen through one `Bus`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._jobs = Jobs(bus)

    async def all(self, *, kind: str = "", tenant: str = "") -> AsyncGenerator[DeadLetter, None]:
        """Letters, oldest first, of one kind and one tenant where given.

        Raises InvalidInput for a kind that does not exist and for a bad tenant, Unavailable.
        """
        if kind and kind not in KINDS:
            raise InvalidInput("kind", f"{kind[:80]!r} is none", f"use one of {', '.join(KINDS)}")
        subject = f"wan.dlq.{kind or '*'}.{token('tenant', tenant) if tenant else '*'}"
        position = 0
        while batch := await self._bus.read(DEAD_LETTERS, subject, position + 1, BATCH):
            for stored in batch:
                yield DeadLetter.from_stored(stored)
            position = batch[-1].seq

    async def find(self, name: str) -> list[DeadLetter]:
        """The letters of one job, oldest first: it may have been given up more than once.

        `name` is `DeadLetter.name` or an unambiguous beginning of it. Raises NotFound, InvalidInput when it
        is too short or several jobs begin so, Unavailable.
        """
        if len(name) < MIN_PREFIX:
            raise InvalidInput("id", f"{name!r} is short", f"give {MIN_PREFIX} characters or more")
        found = [letter async for letter in self.all() if letter.name.startswith(name)]
        exact = [letter for letter in found if letter.name == name]
        names = {letter.name for letter in exact or found}
        if not names:
            raise NotFound("dead letter", name, "`wan dlq list` shows those there are")
        if len(names) > 1:
            raise InvalidInput("id", f"{len(names)} jobs begin with {name!r}", "give more of it")
        return exact or found

    async def retry(self, letters: list[DeadLetter], seconds: float) -> Submission:
        """Queue the job of these letters as a fresh attempt, due in `seconds`, then remove them.

        A crash between the two leaves letters whose job is queued: retrying them again within two hours
        queues nothing new (an equal attempt is stored once), and later at most one more attempt. Raises
        InvalidInput for a message that is no job, Overloaded, Unavailable.
        """
        newest = letters[-1]
        if newest.job is None:
            raise InvalidInput("id", f"{newest.name} is no job", "it can only be dropped")
        job = Job()
        job.CopyFrom(newest.job)
        job.deadline.FromDatetime(clock.now() + timedelta(seconds=seconds))
        submission = await self._jobs.submit(job)
        await self.drop(letters)
        return submission

    async def drop(self, letters: list[DeadLetter]) -> None:
        """Remove letters for good; harmless for those that are gone already. Raises Unavailable."""
        for letter in letters:
            try:
                await heeding(self._bus.jetstream.delete_msg(DEAD_LETTERS, letter.position))
            except nats.js.errors.APIError as error:
                if error.err_code not in _GONE:
                    raise
            except (nats.errors.Error, TimeoutError) as error:
                raise self._not_deleted(error) from error

    def _not_deleted(self, error: Exception) -> Unavailable:
        # A right that is missing shows as silence, and as the client's last error.
        said = str(self._bus.client.last_error or "")
        if "permissions violation" in said.lower():
            right = f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS}"
            said = f"this user may not publish {right}; come as an operator, see docs/deployment.md"
        return Unavailable("NATS", said or repr(error))
