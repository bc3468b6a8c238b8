"""Admission: how much work of a kind may wait. Fronts ask before they store anything of a request.

A queue may be as long as is finished within `max_wait` seconds, by the rate at which jobs of its kind were
finished lately, and never longer than `max_pending`. It is shared out among the tenants who have jobs in it
and one who may come: one alone gets half, two get a third each. Since workers serve tenants in turn, a tenant
waits no longer than its share takes, however long the queue of another is.

Only a request is asked, not the jobs it leads to: a turn's renders are queued in any case, since a turn must
not fail half done. And asking costs the same under any load: the queue is looked at at most every
`LOOK_SECONDS`; between two looks a front counts what it hears of new jobs and what it has let in itself.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from wanimage import metrics
from wanimage.bus import Bus
from wanimage.errors import Overloaded
from wanimage.messages import Standing
from wanimage.subjects import JOBS

DEFAULT_MAX_PENDING = 256
DEFAULT_MAX_WAIT_SECONDS = 30.0
MIN_PENDING = 32
"""As many may always wait: a slow or idle service must not refuse the first few."""
BUSY_PENDING = 16
"""A queue that never held fewer kept its workers busy, so its rate is what they can do."""
LOOK_SECONDS = 0.25
RATE_SECONDS, RATE_JOBS, MEMORY_SECONDS = 10.0, 8, 120.0
"""The rate is that of the last ten seconds, or of as many as eight jobs took, but at most of two minutes."""
RETRY_SECONDS = (1.0, 60.0)
"""Least and most that a refused caller is told to wait."""
UNKNOWN_RETRY_SECONDS = 2.0
"""What it is told while nobody knows how fast the queue moves."""
RETRY_SPREAD = 0.25
"""Refused callers are sent back at different times, or they would return together."""


class Admission:
    """The queue of one kind, seen from one front."""

    def __init__(
        self,
        bus: Bus,
        kind: str,
        *,
        max_pending: int = DEFAULT_MAX_PENDING,
        max_wait: float = DEFAULT_MAX_WAIT_SECONDS,
    ) -> None:
        """`max_pending` counts jobs waiting or being worked on; `max_wait` is in seconds."""
        self.kind = kind
        self._bus, self._max_pending, self._max_wait = bus, max_pending, max_wait
        self._pace = _Pace()
        self._seen: Counter[str] = Counter()
        self._heard: Counter[str] = Counter()
        self._entering: Counter[str] = Counter()
        self._arrived = 0
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._hints: Standing | None = None

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        """A place in the queue for one job, kept until the block ends: by then it is queued, or never will
        be.

        Raises Overloaded (with `retry_after`) when there is none, Unavailable.
        """
        async with self._looking:
            if asyncio.get_running_loop().time() >= self._looked_at + LOOK_SECONDS:
                await self._look()
        self._check(tenant)
        self._entering[tenant] += 1
        try:
            yield
        finally:
            self._entering[tenant] -= 1

    @property
    def limit(self) -> int:
        """Jobs that may wait now."""
        if self._pace.rate is None:
            return self._max_pending
        return min(self._max_pending, max(MIN_PENDING, round(self._pace.rate * self._max_wait)))

    def _check(self, tenant: str) -> None:
        there = self._seen + self._heard + self._entering
        own, total = there[tenant], there.total()
        if total >= self._max_pending:
            metrics.JOBS_SHED.labels(self.kind, "queue_full", metrics.tenant(tenant)).inc()
            raise Overloaded(f"the {self.kind} queue", self._max_pending, self._retry_after(total))
        share = self.limit / (len({tenant, *there}) + 1)
        if own >= share:
            metrics.JOBS_SHED.labels(self.kind, "tenant_share", metrics.tenant(tenant)).inc()
            what = f"tenant {tenant}'s share of the {self.kind} queue"
            raise Overloaded(what, own, self._retry_after(total))

    def _retry_after(self, total: int) -> float:
        """Until about half of what waits now is done, each time a little different."""
        seconds = UNKNOWN_RETRY_SECONDS
        if self._pace.rate is not None:
            least, most = RETRY_SECONDS
            seconds = min(max(total / 2 / max(self._pace.rate, 1e-9), least), most)
        return seconds * random.uniform(1 - RETRY_SPREAD, 1 + RETRY_SPREAD)

    async def _look(self) -> None:
        if self._hints is None:
            self._hints = await self._bus.on(f"wan.queued.{self.kind}.*", self._on_queued)
        self._heard.clear()
        found = await self._bus.subjects(JOBS, f"wan.jobs.{self.kind}.*")
        self._seen = Counter({subject.rsplit(".", 1)[1]: count for subject, count in found.items()})
        self._looked_at = asyncio.get_running_loop().time()
        self._pace.note(self._looked_at, self._arrived, self._seen.total())

    async def _on_queued(self, message: Msg) -> None:
        self._heard[message.subject.rsplit(".", 1)[1]] += 1
        self._arrived += 1


class _Pace:
    """How fast jobs are finished: what arrived, less what is still there."""

    def __init__(self) -> None:
        self.rate: float | None = None
        """Jobs a second; None until some were finished."""
        self._notes: deque[tuple[float, int, int]] = deque()
        """(time, finished in all, there then)."""

    def note(self, now: float, arrived: int, there: int) -> None:
        """The queue held `there` of what has `arrived` since this front listens."""
        self._notes.append((now, arrived - there, there))
        while now - self._notes[0][0] > MEMORY_SECONDS:
            self._notes.popleft()
        first = self._notes[0]
        for note in reversed(self._notes):
            first = note
            if now - note[0] >= RATE_SECONDS and self._notes[-1][1] - note[1] >= RATE_JOBS:
                break
        seconds, finished = now - first[0], self._notes[-1][1] - first[1]
        if seconds < RATE_SECONDS:
            return
        # A queue that ran empty meanwhile says what came, not what could have been done.
        busy = all(each[2] >= BUSY_PENDING for each in self._notes if each[0] >= first[0])
        if busy or (self.rate is None and finished >= RATE_JOBS):
            self.rate = finished / seconds
        elif self.rate is not None:
            self.rate = max(self.rate, finished / seconds)
