"""The proxy that the network's faults come from does what it says, else the other tests prove nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import eventually
from tests.faults.proxy import Proxy, Way


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with echo() as target, Proxy.before(target) as made:
        yield made


@asynccontextmanager
async def connected(proxy: Proxy):
    host, port = proxy.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def echoed(streams, data: bytes) -> float:
    """Seconds until `data` came back."""
    reader, writer = streams
    began = time.monotonic()
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), 10) == data
    return time.monotonic() - began


async def test_latency_comes_and_goes_on_a_live_connection(proxy):
    async with connected(proxy) as streams:
        assert await echoed(streams, b"quick") < 0.2
        proxy.link(delay=0.15, jitter=0.05)
        assert 0.3 <= await echoed(streams, b"slow") < 0.8
        proxy.heal()
        assert await echoed(streams, b"quick") < 0.2


async def test_bandwidth_is_what_was_asked_for(proxy):
    async with connected(proxy) as streams:
        proxy.link(bytes_per_second=200_000)
        assert 0.4 < await echoed(streams, bytes(100_000)) < 2


async def test_reset_reaches_both_ends_and_new_connections_are_good(proxy):
    async with connected(proxy) as streams:
        await echoed(streams, b"x")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(streams[0].read(1), 5)
    async with connected(proxy) as streams:
        await echoed(streams, b"x")


async def test_partition_is_silent_refuses_and_resets_when_it_ends(proxy):
    async with connected(proxy) as streams, connected(proxy) as idle:
        await echoed(streams, b"x")
        await echoed(idle, b"x")
        proxy.cut()
        streams[1].write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streams[0].read(1), 0.2)
        async with connected(proxy) as refused:
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(refused[0].read(1), 5)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(streams[0].read(1), 5)
        await echoed(idle, b"nothing of this one was lost")


async def test_half_open_link_loses_one_direction_only(proxy):
    async with connected(proxy) as streams:
        await echoed(streams, b"x")
        proxy.link(swallow=Way.BACK)
        streams[1].write(b"heard, and not answered")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streams[0].read(1), 0.2)
    async with connected(proxy) as streams:
        streams[1].write(b"accepted, and not answered")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streams[0].read(1), 0.2)
    assert proxy.accepted == 2


async def test_closed_connections_leave_nothing_behind(proxy):
    async with connected(proxy) as streams:
        await echoed(streams, b"x")
        streams[1].write_eof()
        assert await asyncio.wait_for(streams[0].read(), 5) == b""
    await eventually(lambda: not proxy._pairs)
