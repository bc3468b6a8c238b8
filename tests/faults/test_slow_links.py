"""Single links to NATS and S3, slow, silent or broken: every call ends in time, and as documented."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.conftest import nats_settings
from tests.decode_jobs import FAMILY, decode_job, decoded, running
from tests.faults.proxy import Proxy, Way
from wanimage import pacing
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.errors import Unavailable
from wanimage.jobs import Jobs
from wanimage.sessions import Sessions
from wanimage.v1.events_pb2 import Event, TextDelta

PROMISED_SECONDS = 5.0


@pytest.fixture
async def s3_link(stack) -> AsyncIterator[Proxy]:
    async with Proxy.before(stack.s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def blobs(settings, s3_link) -> AsyncIterator[Blobs]:
    behind = settings.model_copy(update={"s3_endpoint": s3_link.address})
    async with await Blobs.connect(behind, cache_bytes=0) as connected:
        yield connected


@pytest.fixture
async def nats_link(nats_server) -> AsyncIterator[Proxy]:
    async with Proxy.before(f"127.0.0.1:{nats_server.port}") as proxy:
        yield proxy


@pytest.fixture
async def far_bus(nats_server, nats_link) -> AsyncIterator[Bus]:
    """A connection over the link; `bus` is one beside it."""
    behind = nats_settings(nats_server).model_copy(update={"nats_url": f"nats://{nats_link.address}"})
    async with await Bus.connect(behind) as connected:
        yield connected


async def fails(work) -> float:
    """Seconds until it raises Unavailable."""
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await work
    return time.monotonic() - began


async def test_large_upload_over_a_slow_link_arrives(blobs, s3_link, tenant):
    s3_link.link(bytes_per_second=1_000_000)
    data = bytes(range(256)) * 16_000  # four seconds, more than any one answer may take
    ref = await blobs.put(tenant, data, "image/png")
    s3_link.heal()
    assert await blobs.get(tenant, ref) == data


@pytest.mark.parametrize("what", ["put", "get"])
async def test_transfer_that_only_trickles_is_given_up(blobs, s3_link, tenant, monkeypatch, what):
    monkeypatch.setattr(pacing, "GRACE_SECONDS", 1.0)
    data = bytes(400_000)
    ref = await blobs.put(tenant, data, "image/png")
    s3_link.link(bytes_per_second=100_000)
    transfer = blobs.get(tenant, ref) if what == "get" else blobs.put(tenant, data[1:], "image/png")
    assert 1.0 < await fails(transfer) < 4.5
    s3_link.heal()
    assert await blobs.get(tenant, ref) == data


@pytest.mark.parametrize("what", ["put", "get"])
async def test_reset_in_the_middle_of_a_transfer_is_not_seen(blobs, s3_link, tenant, what):
    data = bytes(range(256)) * 1_600
    ref = await blobs.put(tenant, data[1:], "image/png")
    s3_link.link(bytes_per_second=800_000)
    before = s3_link.accepted
    transfer = blobs.get(tenant, ref) if what == "get" else blobs.put(tenant, data, "image/png")
    moving = asyncio.create_task(transfer)
    await asyncio.sleep(0.15)
    assert not moving.done()
    s3_link.reset()
    await moving
    assert s3_link.accepted > before
    s3_link.heal()
    assert await blobs.get(tenant, ref) == data[1:]


@pytest.mark.parametrize("way", [Way.BACK, Way.BOTH], ids=["answers", "everything"])
async def test_silent_s3_is_unavailable_in_time(blobs, s3_link, tenant, way):
    ref = await blobs.put(tenant, b"x", "image/png")
    s3_link.link(swallow=way)
    calls = (blobs.get(tenant, ref), blobs.put(tenant, b"y", "image/png"), blobs.check())
    assert max(await asyncio.gather(*(fails(each) for each in calls))) < PROMISED_SECONDS
    s3_link.heal()
    assert await blobs.get(tenant, ref) == b"x"


async def test_append_whose_acknowledgement_is_lost_is_in_the_log_once(far_bus, bus, nats_link, tenant):
    log = await Sessions(far_bus).create(tenant, "s1", FAMILY)
    said = Event(turn_id="t", text_delta=TextDelta(text="once"))
    nats_link.link(swallow=Way.BACK)  # NATS hears, and is not heard
    assert await fails(log.append(said)) < PROMISED_SECONDS
    assert len([each async for each in Sessions(bus).replay(tenant, "s1")]) == 2
    nats_link.heal()
    await log.append(said)
    assert len([each async for each in Sessions(bus).replay(tenant, "s1")]) == 2


async def test_job_of_a_worker_that_went_silent_is_done_by_another(far_bus, bus, nats_link):
    began = asyncio.Event()
    done: list[str] = []

    async def stuck(taken):
        began.set()
        await asyncio.sleep(3)
        done.append("far")
        return decoded(height=16)

    async def quick(taken):
        done.append("near")
        return decoded()

    async with running(Jobs(far_bus), stuck, drain_seconds=0):
        waiting = asyncio.create_task(Jobs(bus).run(decode_job(seconds=30)))
        await began.wait()
        nats_link.cut()
        async with running(Jobs(bus), quick):
            result = await waiting
        nats_link.heal()
    assert done[0] == "near"
    assert result.decode == decoded()
    held = await Jobs(bus).held(decode_job().id)
    assert held is not None
    assert held.result.decode == decoded()  # whatever the silent one makes of it later
