"""What is read from NATS: messages as a stream holds them, and a plain subscription to wait on."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from wanimage.cancellation import heeding
from wanimage.errors import Unavailable


@dataclass(frozen=True)
class Stored:
    """A message as a stream holds it."""

    subject: str
    seq: int
    """Position in the stream, shared by all its subjects; strictly growing."""
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    previous_seq: int = 0
    """Stream position of the message before it on the same subject; only known for republished messages."""

    @classmethod
    def from_direct(cls, message: Msg) -> "Stored":
        headers = message.headers or {}
        return cls(
            subject=headers["Nats-Subject"],
            seq=int(headers["Nats-Sequence"]),
            data=message.data or b"",
            headers=headers,
            previous_seq=int(headers.get("Nats-Last-Sequence", 0)),
        )


class Listener:
    """A plain subscription. Messages may be lost over a reconnect; use it as a wake-up beside a stored
    truth."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        self._client, self._subscription = client, subscription

    async def next(self, timeout: float) -> Msg | None:
        """The next message, or None after `timeout` seconds. Raises Unavailable once the bus is closed."""
        try:
            return await heeding(self._subscription.next_msg(max(timeout, 0.001)))
        except (TimeoutError, nats.errors.Error) as error:
            if self._client.is_closed:
                raise Unavailable("NATS", "this connection was closed") from error
        return None


class Standing:
    """A callback for a plain subject, in force (also on a new connection) until `unsubscribe`."""

    def __init__(
        self, subscribe: Callable[[], Awaitable[Subscription]], forget: Callable[["Standing"], None]
    ) -> None:
        self._subscribe, self._forget = subscribe, forget
        self._subscription: Subscription | None = None

    async def subscribe(self) -> None:
        self._subscription = await self._subscribe()

    async def unsubscribe(self) -> None:
        self._forget(self)
        if self._subscription:
            with suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
