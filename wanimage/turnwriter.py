"""Writes one turn into its session's log: words that come fast are joined, all else keeps its place."""

import asyncio
import math
import time
from collections.abc import Callable
from types import TracebackType

from wanimage.errors import Unavailable
from wanimage.sessions import SessionLog
from wanimage.v1.events_pb2 import Event, TextDelta, ThinkDelta

COALESCE_SECONDS = 0.05
"""Deltas younger than this are joined into one event: 20 appends a second a turn instead of 60."""


class TurnWriter:
    """Writes the events of one turn, joining text deltas that come fast. An async context manager.

    `text` and `think` return at once; what they hold is appended `COALESCE_SECONDS` after the last words, or
    before any other event: the order is that of the calls. The next call raises a delayed append's error.
    """

    def __init__(
        self,
        log: SessionLog,
        turn_id: str,
        *,
        seconds: float = COALESCE_SECONDS,
        on_append: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """`on_append` is told each event as it is stored, in order."""
        self.log, self.turn_id = log, turn_id
        self._seconds, self._on_append = seconds, on_append
        self._pieces: list[str] = []
        self._thinking = False
        self._unsure: Event | None = None
        self._timer: asyncio.Task[None] | None = None
        self._stored = -math.inf  # when words were, by the monotonic clock
        self._lock = asyncio.Lock()
        self._error: BaseException | None = None

    async def text(self, piece: str) -> None:
        """More of the answer."""
        await self._hold(piece, thinking=False)

    async def think(self, piece: str) -> None:
        """More of the reasoning."""
        await self._hold(piece, thinking=True)

    async def append(self, event: Event) -> Event:
        """Append any other event of the turn, after all text so far. Raises as `SessionLog.append`.

        When it raised Unavailable or was cancelled, the next call, or `flush`, appends the event first.
        """
        async with self._lock:
            self._raise_delayed()
            await self._flush()
            event.turn_id = self.turn_id
            return await self._store(event)

    async def tell(self, event: Event) -> None:
        """Show a live-only event; it may overtake text that is still held."""
        event.turn_id = self.turn_id
        await self.log.tell(event)

    async def flush(self) -> None:
        """Append now what is held."""
        self._raise_delayed()
        async with self._lock:
            await self._flush()

    async def _flush(self) -> None:
        if self._unsure:
            await self._store(self._unsure)
        while self._pieces:
            await self._store(self._joined())
            self._stored = time.monotonic()

    def _joined(self) -> Event:
        text, self._pieces = "".join(self._pieces), []
        if self._thinking:
            return Event(turn_id=self.turn_id, think_delta=ThinkDelta(text=text))
        return Event(turn_id=self.turn_id, text_delta=TextDelta(text=text))

    async def _store(self, event: Event) -> Event:
        self._unsure = None
        try:
            stored = await self.log.append(event)
        except (Unavailable, asyncio.CancelledError):
            self._unsure = event  # it may be in the log, and must not be there twice: it goes first
            raise
        self._on_append(stored)
        return stored

    async def _hold(self, piece: str, thinking: bool) -> None:
        self._raise_delayed()
        if self._pieces and thinking != self._thinking:
            await self.flush()
        if not piece:
            return
        self._thinking = thinking
        self._pieces.append(piece)
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._flush_later())

    async def _flush_later(self) -> None:
        await asyncio.sleep(max(self._stored + self._seconds - time.monotonic(), 0))
        try:
            await self.flush()
        except Exception as error:
            self._error = error

    def _raise_delayed(self) -> None:
        if self._error:
            error, self._error = self._error, None
            raise error

    async def __aenter__(self) -> "TurnWriter":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if kind is None:
            await self.flush()
        if self._timer:
            self._timer.cancel()
