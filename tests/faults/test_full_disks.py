"""Servers without room: writes are refused with their own error, nothing is half there, and room mends it."""

import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.conftest import eventually, nats_settings
from tests.decode_jobs import FAMILY, decode_job, decoded, running
from tests.faults.test_network import assert_whole
from tests.standins.deployment import Deployment, deployed
from wanimage import rpc
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.errors import NotFound, StorageFull, Unavailable
from wanimage.jobs import Jobs
from wanimage.sessions import Sessions
from wanimage.stack import LocalStack, NatsServer, free_ports
from wanimage.subjects import SESSIONS
from wanimage.v1 import planner_pb2, planner_pb2_grpc, types_pb2
from wanimage.v1.events_pb2 import Event, TextDelta

pytestmark = pytest.mark.timeout(180)

MIB = 1024 * 1024
AT_ONCE = 1.0
"""Seconds within which a server that is full says so."""
PROMISED_SECONDS = 5.0


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of `size` bytes at `folder`; skips where mounting is not allowed."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room on the folder's disk; the file that took it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(64 * 1024)):
                pass
        except OSError:
            return filler
    raise AssertionError("the disk has no end")


async def fill_store(bus: Bus) -> None:
    """Let sessions of nobody take what JetStream may store."""
    with pytest.raises(StorageFull):
        for number in range(1000):
            await bus.store(f"wan.session.nobody.s{number}", bytes(200_000))


async def make_room(bus: Bus) -> None:
    await bus.jetstream.purge_stream(SESSIONS, subject="wan.session.nobody.*")


async def refused(work, kind: type[Exception], seconds: float) -> None:
    """`work` raises exactly `kind` within `seconds`."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        await work
    assert type(caught.value) is kind
    assert time.monotonic() - began < seconds


async def said(bus: Bus, tenant: str) -> list[str]:
    """The texts in the log of the tenant's session s1."""
    return [each.text_delta.text async for each in Sessions(bus).replay(tenant, "s1", after=1)]


def text(of: str) -> Event:
    return Event(turn_id="t", text_delta=TextDelta(text=of))


# JetStream at its limit. -----------------------------------------------------------------------------------


@pytest.fixture
async def small_bus(tmp_path) -> AsyncIterator[Bus]:
    server = NatsServer(tmp_path / "nats", free_ports(1)[0])
    server.max_file_store = 4 * MIB
    server.start()
    try:
        async with await Bus.connect(nats_settings(server)) as connected:
            yield connected
    finally:
        server.stop()


async def test_full_jetstream_refuses_at_once_and_whole_and_recovers(small_bus, tenant):
    log, jobs = await Sessions(small_bus).create(tenant, "s1", FAMILY), Jobs(small_bus)
    await log.append(text("before"))
    await fill_store(small_bus)

    await refused(log.append(text("after")), StorageFull, AT_ONCE)
    await refused(jobs.submit(decode_job()), StorageFull, AT_ONCE)
    await refused(Sessions(small_bus).create(tenant, "s2", FAMILY), StorageFull, AT_ONCE)
    assert await said(small_bus, tenant) == ["before"]  # reading goes on
    assert not await Sessions(small_bus).exists(tenant, "s2")

    await make_room(small_bus)
    await log.append(text("after"))
    assert await said(small_bus, tenant) == ["before", "after"]
    assert (await jobs.submit(decode_job())).attempt == 1


async def test_result_that_finds_jetstream_full_is_held_until_there_is_room(small_bus):
    jobs, full, worked = Jobs(small_bus), asyncio.Event(), []

    async def handler(taken):
        worked.append(taken.delivery)
        await full.wait()
        return decoded()

    async with running(jobs, handler):
        waiting = asyncio.create_task(jobs.run(decode_job()))
        await eventually(lambda: bool(worked))
        await fill_store(small_bus)
        full.set()
        await asyncio.wait({waiting}, timeout=1.0)
        assert not waiting.done()
        await make_room(small_bus)
        assert (await waiting).decode == decoded()
    assert worked == [1]


async def test_nats_on_a_full_disk_is_unavailable_and_whole_after_a_restart(tmp_path, tenant):
    with disk(tmp_path / "nats" / "jetstream", 8 * MIB) as folder:
        server = NatsServer(tmp_path / "nats", free_ports(1)[0])
        server.start()
        try:
            async with await Bus.connect(nats_settings(server)) as bus:
                log = await Sessions(bus).create(tenant, "s1", FAMILY)
                await log.append(text("before"))
                filler = fill(folder)
                await refused(log.append(text("x" * 100_000)), Unavailable, PROMISED_SECONDS)
                filler.unlink()
                await asyncio.to_thread(server.stop)  # what nats-server needs after a failed write
                await asyncio.to_thread(server.start)
                await log.append(text("x" * 100_000))
                assert await said(bus, tenant) == ["before", "x" * 100_000]
        finally:
            server.stop()


# The whole system. -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def services(tmp_path_factory) -> AsyncIterator[Deployment]:
    """Stand-ins on an S3 with a disk of 48 MiB, and a JetStream that may store 8."""
    folder = tmp_path_factory.mktemp("full")
    with disk(folder / "s3" / "data", 48 * MIB):
        stack = LocalStack(folder)
        stack.s3.min_free_space, stack.nats.max_file_store = "1MiB", 8 * MIB
        stack.start()
        try:
            async with deployed(stack, folder) as deployment:
                yield deployment
        finally:
            stack.stop()


@pytest.fixture
async def planner(services) -> AsyncIterator[planner_pb2_grpc.PlannerServiceStub]:
    async with rpc.channel(services.target("planner")) as channel:
        yield planner_pb2_grpc.PlannerServiceStub(channel)


def foxes(seed: int, steps: int = 25) -> planner_pb2.GenerateRequest:
    sampling = types_pb2.SamplingOptions(steps=steps, seed=seed)
    return planner_pb2.GenerateRequest(
        user=types_pb2.UserMessage(text="2 foxes"), options=types_pb2.TurnOptions(sampling=sampling)
    )


async def until_drawing(events) -> list[Event]:
    """The stored events up to the first progress of a picture."""
    seen = []
    async for response in events:
        if response.event.HasField("image_progress"):
            break
        seen.append(response.event)
    return seen


async def test_turn_waits_for_room_in_s3_and_no_blob_is_half_there(services, planner, tenant):
    data = services.stack.s3.directory / "data"
    events = aiter(planner.Generate(foxes(seed=1), timeout=90))
    seen = await until_drawing(events)
    filler = await asyncio.to_thread(fill, data)
    async with await Blobs.connect(services.settings, cache_bytes=0) as blobs:
        await refused(blobs.put(tenant, os.urandom(MIB), "image/png"), Unavailable, PROMISED_SECONDS)
        lost = os.urandom(MIB)
        ref = types_pb2.BlobRef(size=len(lost))
        with pytest.raises(Unavailable):
            ref = await blobs.put(tenant, lost, "image/png")

        ref.sha256 = hashlib.sha256(lost).hexdigest()
        with pytest.raises(NotFound):
            await blobs.get(tenant, ref)
        filler.unlink()
        seen += [response.event async for response in events if response.event.seq]
        assert_whole(seen, pictures=2)
        for event in seen:
            if event.HasField("image_ready"):
                await blobs.get("default", event.image_ready.image.base)
                await blobs.get("default", event.image_ready.image.latent)


async def test_client_of_a_full_jetstream_is_refused_and_the_running_turn_waits(services, planner):
    events = aiter(planner.Generate(foxes(seed=2), timeout=90))
    seen = await until_drawing(events)
    async with await Bus.connect(services.settings) as bus:
        await fill_store(bus)
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in planner.Generate(foxes(seed=3), timeout=30):
                pass
        assert time.monotonic() - began < AT_ONCE
        details = rpc.error_details(caught.value)
        assert (details.code, details.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "StorageFull")
        assert details.retry_after == StorageFull.retry_after
        await make_room(bus)
    seen += [response.event async for response in events if response.event.seq]
    assert_whole(seen, pictures=2)
