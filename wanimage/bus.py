"""NATS JetStream: the connection, its streams, and the few operations the rest is built from.

The names of subjects, streams and headers are in `subjects.py`. On top of this module sit `jobs.py` (submit,
wait, commit), `worker.py` (take and settle) and `sessions.py` (event logs).

Every operation either succeeds, raises its own typed error, or raises `Unavailable` within
`PATIENCE_SECONDS`; a server without room is not waited for (`StorageFull`). A NATS restart shorter than that
is not seen by callers; after a longer one the same `Bus` works again by itself. Operations are repeated in
that time, so each must be harmless when done twice; `store` is, by its fence.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api

from wanimage import clock, metrics, spans, telemetry, tls
from wanimage.cancellation import heeding
from wanimage.config import Settings
from wanimage.errors import Conflict, StorageFull, Unavailable
from wanimage.messages import Listener, Standing, Stored
from wanimage.subjects import EXPECTED_LAST_HEADER, JOBS, MSG_ID_HEADER, stream_of, streams

PATIENCE_SECONDS = 4.0
"""How long an operation outlasts a missing server. Callers are promised an answer within 5 s."""
ATTEMPT_SECONDS = 2.0
"""How long one try may take before it is made again."""
RECONNECT_SECONDS = 0.2
"""Pause between attempts to reach a server that is gone."""
PING_SECONDS = 2
"""Two missed pings mean a dead connection."""
PONG_SECONDS = 10
"""Longer than a dead connection takes to be found."""

_WRONG_LAST_SEQUENCE = (10071, 10164)
_STREAM_EXISTS = 10058
_NO_STREAM = 10059
"""A server that came back with an empty store, until somebody has made its streams again."""
_FULL = (10002, 10023, 10047, 10077)
"""JetStream's: an account's limit, a full disk or `max_file_store`, no room for a stream, its own limit."""
_TRANSIENT = (
    nats.errors.TimeoutError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.NoRespondersError,
    nats.errors.StaleConnectionError,
    nats.js.errors.NoStreamResponseError,
    nats.js.errors.ServiceUnavailableError,
    nats.js.errors.ServerError,
    TimeoutError,
    OSError,
)

T = TypeVar("T")
log = telemetry.logger(__name__)


class Bus:
    """One connection to NATS. Make it with `await Bus.connect(settings)`; close it last of all."""

    def __init__(self, settings: Settings, name: str, patience: float) -> None:
        self.client = Client()
        self.jetstream = self.client.jetstream(timeout=ATTEMPT_SECONDS)
        self._settings, self._name = settings, name
        self._closing = False
        self._patience = patience
        self._last_error = ""
        self._standing: set[Standing] = set()
        self._background: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(
        cls, settings: Settings, *, name: str = "wanimage", patience: float = PATIENCE_SECONDS
    ) -> "Bus":
        """Connect and make sure the streams exist. Raises Unavailable when no server answers in time."""
        async with AsyncExitStack() as failing:
            bus = await failing.enter_async_context(cls(settings, name, patience))
            try:
                async with asyncio.timeout(patience):
                    await bus._dial()
            except (TimeoutError, OSError, nats.errors.Error) as error:
                cause = bus.client.last_error or error
                raise Unavailable("NATS", f"{_without_user(settings.nats_url)}: {cause!r}") from error
            await bus._ensure_streams()
            await bus.check()
            failing.pop_all()  # what was opened stays open
        return bus

    async def close(self) -> None:
        """Close the connection; what was acknowledged stays."""
        self._closing = True
        for task in self._background:
            task.cancel()
        if not self.client.is_closed:
            with suppress(nats.errors.Error, OSError):
                await self.client.close()

    async def __aenter__(self) -> "Bus":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check(self) -> None:
        """Readiness: a round trip to JetStream, which also sets the common clock. Raises Unavailable."""
        await self._patiently(self._read_clock)

    # Operations. -----------------------------------------------------------------------------------------

    async def store(
        self,
        subject: str,
        data: bytes,
        *,
        msg_id: str | None = None,
        expected_last: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Append to the stream that owns `subject`; returns the stream position.

        `msg_id` makes a repetition within the stream's duplicate window a no-op. `expected_last` is the
        fence: the stream position of the subject's last message (0: none). When another message is there,
        raises Conflict, unless that message is this very one, stored by a try whose acknowledgement was lost.
        """
        timed = metrics.timed(metrics.NATS_STORE_SECONDS.labels(stream_of(subject)))
        with spans.sending(subject, len(data)), timed:
            sent = telemetry.inject_headers(dict(headers or {}))
            if msg_id is not None:
                sent[MSG_ID_HEADER] = msg_id
            if expected_last is not None:
                sent[EXPECTED_LAST_HEADER] = str(expected_last)

            async def publish() -> int:
                return (await self.jetstream.publish(subject, data, headers=sent or None)).seq

            try:
                return await self._patiently(publish)
            except nats.js.errors.APIError as error:
                if error.err_code not in _WRONG_LAST_SEQUENCE:
                    raise
                # The server checks the fence before it looks for duplicates, so we look ourselves.
                held = await self.last(stream_of(subject), subject)
                if held is not None and msg_id is not None and held.headers.get(MSG_ID_HEADER) == msg_id:
                    return held.seq
                raise Conflict(
                    f"{subject} ends at {held.seq if held else 0}, not at {expected_last}: "
                    "somebody else wrote first; read it again"
                ) from error

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message of `subject`, or None."""

        async def get() -> Stored | None:
            message = await self.client.request(
                f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout=ATTEMPT_SECONDS
            )
            status = (message.headers or {}).get("Status")
            if status == "404":
                return None
            if status is not None:
                raise nats.js.errors.ServiceUnavailableError(503, f"direct get answered {status}")
            return Stored.from_direct(message)

        return await self._patiently(get)

    async def read(self, stream: str, subject: str, from_seq: int, batch: int = 256) -> list[Stored]:
        """Up to `batch` messages of `subject` from stream position `from_seq` on, in order; [] at the end."""
        request = json.dumps({"batch": batch, "seq": max(from_seq, 1), "next_by_subj": subject}).encode()

        async def get() -> list[Stored]:
            found: list[Stored] = []
            inbox = self.client.new_inbox()
            subscription = await self.client.subscribe(inbox)
            try:
                await self.client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
                while True:
                    message = await subscription.next_msg(ATTEMPT_SECONDS)
                    status = (message.headers or {}).get("Status")
                    if status in ("204", "404"):  # end of batch, nothing there
                        return found
                    if status is not None:
                        raise nats.js.errors.ServiceUnavailableError(503, f"direct get answered {status}")
                    found.append(Stored.from_direct(message))
            finally:
                with suppress(nats.errors.Error):
                    await subscription.unsubscribe()

        return await self._patiently(get)

    async def purge(self, stream: str, subject: str, up_to: int) -> None:
        """Remove the messages of `subject` up to stream position `up_to`."""
        await self._patiently(lambda: self.jetstream.purge_stream(stream, seq=up_to + 1, subject=subject))

    async def subjects(self, stream: str, pattern: str) -> dict[str, int]:
        """Subjects of a stream that match `pattern`, with the number of messages each holds."""
        info = await self._patiently(lambda: self.jetstream.stream_info(stream, subjects_filter=pattern))
        return dict(info.state.subjects or {})

    async def tell(self, subject: str, data: bytes = b"") -> bool:
        """Tell whoever listens to a plain subject now. Lossy: False when the server is known to be away."""
        try:
            await self.client.publish(subject, data)
        except nats.errors.Error:
            return False
        return True

    async def heard(self, subject: str) -> bool:
        """Whether anybody listens to a plain subject now: an empty message goes there, and the server says at
        once when nobody took it."""

        async def ask() -> bool:
            inbox = self.client.new_inbox()
            subscription = await self.client.subscribe(inbox)
            try:
                await self.client.publish(subject, b"", reply=inbox)
                await self._round_trip()
                return subscription.pending_msgs == 0
            finally:
                with suppress(nats.errors.Error):
                    await subscription.unsubscribe()

        return await self._patiently(ask)

    @asynccontextmanager
    async def listen(self, subject: str) -> AsyncIterator[Listener]:
        """Subscribe to a plain subject for the length of the block. In force when the block is entered."""
        subscription = await self._patiently(lambda: self._subscribe(subject))
        try:
            yield Listener(self.client, subscription)
        finally:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def on(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Standing:
        """Call `callback` for every message of a plain subject, until the result's `unsubscribe()`."""
        standing = Standing(lambda: self._subscribe(subject, callback), self._standing.discard)
        await self._patiently(standing.subscribe)
        self._standing.add(standing)
        return standing

    async def ensure_consumer(self, stream: str, config: api.ConsumerConfig) -> None:
        """Create the pull consumer, or bring an older one to this configuration."""
        await self._patiently(lambda: self.jetstream.add_consumer(stream, config))

    # The connection. -------------------------------------------------------------------------------------

    async def _dial(self) -> None:
        user, url = self._settings.nats_user, self._settings.nats_url
        await self.client.connect(
            url.split(","),
            name=self._name,
            user=user or None,
            password=self._settings.nats_password.get_secret_value() or None,
            tls=tls.context(self._settings) if url.startswith("tls://") else None,
            # A user may hear its own answers and nobody else's (deploy/nats.conf).
            inbox_prefix=f"_INBOX_{user}" if user else "_INBOX",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,
            connect_timeout=1,
            ping_interval=PING_SECONDS,
            # Nothing is buffered while the server is away: callers are told, not surprised minutes later.
            pending_size=0,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            closed_cb=self._on_closed,
        )

    async def _subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]] | None = None
    ) -> Subscription:
        subscription = await self.client.subscribe(subject, cb=callback)
        try:
            await self._round_trip()
        except BaseException:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()
            raise
        return subscription

    async def _round_trip(self) -> None:
        """The server works through a connection in order: once it answers, what was sent before is in
        force."""
        # Asked in a task of its own: an answer that nobody awaits any more ends the client's reader.
        answer = asyncio.ensure_future(self.client.rtt(timeout=PONG_SECONDS))
        answer.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({answer}, timeout=ATTEMPT_SECONDS)
        if not answer.done():
            raise TimeoutError(f"no pong within {ATTEMPT_SECONDS:g} s")
        answer.result()

    async def _patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat `operation` over transient errors until it succeeds or patience ends."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await heeding(operation())
            except (*_TRANSIENT, nats.js.errors.NotFoundError) as error:
                if isinstance(error, nats.js.errors.APIError) and error.err_code in _FULL:
                    raise StorageFull("NATS", f"{error.err_code}: {error.description}") from error
                if isinstance(error, nats.js.errors.NotFoundError) and error.err_code != _NO_STREAM:
                    raise
                if clock() + RECONNECT_SECONDS >= deadline:
                    raise Unavailable("NATS", repr(error)) from error
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _ensure_streams(self) -> None:
        if not self._settings.nats_makes_streams:
            await self._patiently(lambda: self.jetstream.stream_info(JOBS))  # another service makes it
            return
        for config in streams():
            await self._patiently(lambda config=config: self._ensure(config))  # type: ignore[misc]

    async def _ensure(self, config: api.StreamConfig) -> None:
        try:
            await self.jetstream.add_stream(config)
        except nats.js.errors.BadRequestError as error:
            if error.err_code != _STREAM_EXISTS:
                raise
            await self.jetstream.update_stream(config)

    async def _read_clock(self) -> None:
        sent = time.monotonic()
        # Asked without the library, whose answer leaves out the server's time.
        message = await self.client.request(f"$JS.API.STREAM.INFO.{JOBS}", timeout=ATTEMPT_SECONDS)
        received, answer = time.monotonic(), json.loads(message.data)
        if "error" in answer:
            raise nats.js.errors.APIError.from_error(answer["error"])
        clock.observe(datetime.fromisoformat(answer["ts"]), sent, received)

    async def _on_error(self, error: Exception) -> None:
        # Called five times a second while the server is away: said once, at the first of each kind.
        if repr(error) != self._last_error:
            self._last_error = repr(error)
            log.info("nats_error", error=self._last_error)

    async def _on_disconnect(self) -> None:
        if not self._closing:
            log.warning("nats_disconnected")

    async def _on_reconnect(self) -> None:
        self._last_error = ""
        metrics.NATS_RECONNECTS.inc()
        log.info("nats_reconnected")
        # A server that came back with an empty store has no streams.
        self._start(self._restore())

    async def _on_closed(self) -> None:
        # The client gives up for good on some errors a busy server sends (such as "authentication timeout").
        # Listeners made before are deaf from now on, which costs wake-ups only: all who wait also look by
        # themselves.
        if not self._closing:
            log.error("nats_closed", error=repr(self.client.last_error))
            self._start(self._revive())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _revive(self) -> None:
        while not self._closing:
            with suppress(OSError, nats.errors.Error):
                await self._dial()
                for standing in list(self._standing):
                    await standing.subscribe()
                await self._on_reconnect()
                return
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _restore(self) -> None:
        try:
            await self._ensure_streams()
            await self.check()
        except Unavailable as error:
            # It left again; the next reconnect repeats this.
            log.warning("nats_streams_unchecked", error=str(error))

    def __repr__(self) -> str:
        url: Any = self.client.connected_url
        return f"Bus({_without_user(url.geturl()) if url else 'disconnected'})"


def _without_user(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
