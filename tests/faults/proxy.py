"""A TCP proxy between a service and a server, whose link can be made bad and good again while it is in use.

    async with Proxy.before("127.0.0.1:4222") as proxy:      # connect to proxy.address
        proxy.link(delay=0.3, jitter=0.1)                    # seconds, each way
        proxy.link(bytes_per_second=64_000)
        proxy.link(swallow=Way.BACK)                         # half open: nothing comes back, nothing ends
        proxy.link(breaks_at=b"[DONE]")                      # RST instead of this, when the server sends it
        proxy.reset()                                        # RST to both ends of every connection, once
        proxy.cut()                                          # partition: silence, nothing new
        proxy.heal()                                         # all good; what a partition silenced is reset

A partition drops packets, so neither end hears of it: connections go silent, and new ones are refused.
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Flag

CHUNK = 16 * 1024
_RST = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends RST."""


class Way(Flag):
    """Directions of a link."""

    NONE = 0
    THERE = 1
    """From who connected to the server."""
    BACK = 2
    BOTH = 3


@dataclass(frozen=True)
class Link:
    """How bytes travel; the same both ways unless said otherwise."""

    delay: float = 0.0
    """Seconds each way."""
    jitter: float = 0.0
    """Most seconds by which a delay may be longer; order is kept."""
    bytes_per_second: float = float("inf")
    """Each way of each connection."""
    swallow: Way = Way.NONE
    """Bytes in these directions disappear; connections stay open."""
    breaks_at: bytes = b""
    """A connection that would bring this back from the server is reset just before, if one read holds it."""


@dataclass
class Proxy:
    """Forwards one port of this machine to `target`. Make it with `Proxy.before`."""

    host: str
    port: int
    random: random.Random
    """Draws the jitter."""
    address: str = ""
    """host:port to connect to instead."""
    accepted: int = 0
    """Connections ever made."""
    _link: Link = field(default_factory=Link)
    _refuse: bool = False
    _pairs: "set[_Pair]" = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def before(cls, target: str, seed: int = 0) -> "AsyncIterator[Proxy]":
        """A good link to host:port, until the block is left."""
        host, _, port = target.rpartition(":")
        proxy = cls(host, int(port), random.Random(seed))
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK)
        server = await asyncio.start_server(proxy._accept, sock=listening, limit=CHUNK)
        name = listening.getsockname()
        proxy.address = f"{name[0]}:{name[1]}"
        try:
            yield proxy
        finally:
            server.close()
            proxy.reset()
            await asyncio.gather(*(pair.gone.wait() for pair in list(proxy._pairs)))
            await server.wait_closed()

    def link(self, **how: object) -> None:
        """Change the link of all connections from now on; what is not named becomes good again."""
        self._link = replace(Link(), **how)  # type: ignore[arg-type]

    def reset(self) -> None:
        """Abort every connection with RST, once."""
        for pair in list(self._pairs):
            pair.abort()

    def cut(self) -> None:
        """Partition: connections go silent, new ones are refused, until `heal`."""
        self._refuse = True
        self.link(swallow=Way.BOTH)

    def heal(self) -> None:
        """A good link. Connections that lost bytes are reset, as a host answers what it no longer knows."""
        for pair in list(self._pairs):
            if pair.lost:
                pair.abort()
        self._refuse = False
        self.link()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuse:
            _abort(writer)
            return
        self.accepted += 1
        try:
            server_reader, server_writer = await asyncio.open_connection(self.host, self.port, limit=CHUNK)
        except OSError:
            _abort(writer)
            return
        raw = server_writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK)
        pair = _Pair(self, (writer, server_writer))
        self._pairs.add(pair)
        try:
            await pair.run(reader, server_reader)
        finally:
            self._pairs.discard(pair)
            pair.gone.set()


@dataclass(eq=False)
class _Pair:
    """One connection through the proxy: the client's half and the server's."""

    proxy: Proxy
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    lost: bool = False
    """Bytes of it were swallowed: it can never be right again."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _task: "asyncio.Future[object] | None" = None

    async def run(self, client: asyncio.StreamReader, server: asyncio.StreamReader) -> None:
        """Forward until both ends have closed, or one is aborted."""
        mine, theirs = self.writers
        self._task = asyncio.gather(
            self._forward(client, theirs, Way.THERE), self._forward(server, mine, Way.BACK)
        )
        try:
            await self._task
            for writer in self.writers:
                writer.close()
        except (OSError, asyncio.CancelledError):
            self._task.cancel()
            for writer in self.writers:
                _abort(writer)

    def abort(self) -> None:
        """RST to both ends."""
        if self._task:
            self._task.cancel()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        clock = asyncio.get_running_loop().time
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        sender = asyncio.create_task(self._send(queue, writer, way))
        try:
            due = 0.0
            while True:
                data = await reader.read(CHUNK)
                link = self.proxy._link
                due = max(due, clock() + link.delay + self.proxy.random.uniform(0, link.jitter))
                await queue.put((due, data))
                if not data:
                    break
                # A slow link reads slowly: what waits for it waits in its sender.
                await asyncio.sleep(len(data) / link.bytes_per_second)
            await sender
        finally:
            sender.cancel()

    async def _send(
        self, queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter, way: Way
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - clock())
            link = self.proxy._link
            if way in link.swallow:
                self.lost = True
                continue  # the end of the stream too: its peer hears nothing
            if not data:
                with suppress(OSError):
                    writer.write_eof()
                return
            before, found, _ = data.partition(link.breaks_at) if link.breaks_at else (data, b"", b"")
            if found and way is Way.BACK:
                writer.write(before)
                return self.abort()
            writer.write(data)
            await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()
