"""Takes the queued jobs of one kind, one at a time, fairly over tenants.

Each tenant has its own pull consumer on the work queue. The next job comes from the tenant that has been
served least, in the cost its jobs declare (pixel-steps for pictures): surplus round robin, that is deficit
round robin that pays after the job is known, because JetStream shows a message only by handing it over. A
tenant that was idle starts level with the others, so waiting earns no credit. The account is each worker's
own; over many workers the shares add up.

A wake-up comes with every stored job (`wan.queued.<kind>.<tenant>`), so an idle worker takes a job about a
millisecond after it was queued. What has no wake-up (a redelivery after a worker died, a job put back with a
delay) is found by listing the queue's subjects every `POLL_SECONDS`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api

from wanimage.bus import ATTEMPT_SECONDS, Bus
from wanimage.cancellation import heeding
from wanimage.errors import Unavailable
from wanimage.messages import Standing
from wanimage.subjects import JOBS

POLL_SECONDS = 1.0
_PULL = b'{"batch":1,"no_wait":true}'


class FairQueue:
    """The jobs of one kind. Use `take` from one task at a time."""

    def __init__(self, bus: Bus, kind: str, *, ack_wait: float) -> None:
        self._bus, self._kind, self._ack_wait = bus, kind, ack_wait
        self._served: dict[str, float] = {}
        self._clock = 0.0
        self._ready: set[str] = set()
        self._consumers: set[str] = set()
        self._wake = asyncio.Event()
        self._listed_at = float("-inf")
        self._hints: Standing | None = None
        self._inbox: Subscription | None = None
        self._inbox_name = ""

    async def open(self) -> None:
        """Start hearing of queued jobs. Raises Unavailable."""
        self._hints = await self._bus.on(f"wan.queued.{self._kind}.*", self._on_queued)

    async def close(self) -> None:
        if self._hints:
            await self._hints.unsubscribe()
        if self._inbox:
            with suppress(nats.errors.Error):
                await self._inbox.unsubscribe()

    def wake(self) -> None:
        """Let a waiting `take` look again now (and return, when its caller has stopped wanting jobs)."""
        self._wake.set()

    def charge(self, tenant: str, cost: float) -> None:
        """Book a taken job's cost; until then it counts as free."""
        self._served[tenant] = self._served.get(tenant, self._clock) + cost

    async def take(self, timeout: float, may_take: Callable[[str], bool] = lambda tenant: True) -> Msg | None:
        """The next job's message of a tenant that `may_take`, or None after `timeout` seconds or at `wake()`.

        Raises Unavailable.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while True:
            self._wake.clear()
            if clock() >= self._listed_at + POLL_SECONDS:
                await self._list_tenants()
                self._listed_at = clock()
            while ready := [tenant for tenant in self._ready if may_take(tenant)]:
                # Forgotten before the pull, so that a wake-up during the pull is not.
                tenant = min(ready, key=lambda each: self._served[each])
                self._ready.discard(tenant)
                if message := await self._pull(tenant):
                    self._clock = max(self._clock, self._served[tenant])
                    self._ready.add(tenant)
                    return message
            left = deadline - clock()
            if left <= 0:
                return None
            try:
                async with asyncio.timeout(min(left, POLL_SECONDS)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            if not any(map(may_take, self._ready)):
                return None

    async def _on_queued(self, message: Msg) -> None:
        self._mark(message.subject.rsplit(".", 1)[1])
        self._wake.set()

    async def _list_tenants(self) -> None:
        for subject in await self._bus.subjects(JOBS, f"wan.jobs.{self._kind}.*"):
            self._mark(subject.rsplit(".", 1)[1])

    def _mark(self, tenant: str) -> None:
        if tenant not in self._ready:
            self._served[tenant] = max(self._served.get(tenant, 0.0), self._clock)
            self._ready.add(tenant)

    async def _pull(self, tenant: str) -> Msg | None:
        await self._ensure_consumer(tenant)
        try:
            inbox = await self._open_inbox()
            await self._bus.client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{JOBS}.{self._consumer(tenant)}", _PULL, reply=self._inbox_name
            )
            message = await heeding(inbox.next_msg(ATTEMPT_SECONDS))
        except nats.errors.Error as error:
            # A late answer must not be taken for the answer to a later pull, so the inbox goes with it; a job
            # in it comes back after ack_wait.
            stale, self._inbox = self._inbox, None
            if stale:
                with suppress(nats.errors.Error):
                    await stale.unsubscribe()
            raise Unavailable("NATS", repr(error)) from error
        status = (message.headers or {}).get("Status")
        if status is None:
            return message
        if status != "404":  # not "nothing waiting": the consumer is gone (503) or its server is
            self._consumers.discard(tenant)
            self.wake()
        return None

    async def _ensure_consumer(self, tenant: str) -> None:
        if tenant in self._consumers:
            return
        name = self._consumer(tenant)
        await self._bus.ensure_consumer(
            JOBS,
            api.ConsumerConfig(
                name=name,
                durable_name=name,
                filter_subject=f"wan.jobs.{self._kind}.{tenant}",
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=self._ack_wait,
                # Counted by the worker, which can tell the submitter; JetStream would fall silent.
                max_deliver=-1,
            ),
        )
        self._consumers.add(tenant)

    async def _open_inbox(self) -> Subscription:
        if self._inbox is None:
            self._inbox_name = self._bus.client.new_inbox()
            self._inbox = await self._bus.client.subscribe(self._inbox_name)
        return self._inbox

    def _consumer(self, tenant: str) -> str:
        return f"{self._kind}-{tenant}"
