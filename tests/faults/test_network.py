"""Every way a network is bad, on every link: what the client sees; nothing is lost, doubled or stuck.

The table of docs/reliability.md, "Network faults", is `CELLS`. All services are behind one proxy for NATS and
one for S3, the client behind one for gRPC; the fault comes in the middle of a turn's first picture.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

import grpc
import pytest

from tests.faults.proxy import Proxy, Way
from tests.standins.deployment import deployed
from wanimage import rpc
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc, types_pb2

pytestmark = pytest.mark.timeout(150)


class Fault(Enum):
    """How a link is bad, and for how many seconds (0: until the turn is over)."""

    LATENCY = "latency"
    BANDWIDTH = "bandwidth"
    RESET = "reset"
    PARTITION = "partition"
    HALF_OPEN = "half-open"

    def strike(self, proxy: Proxy) -> None:
        match self:
            case Fault.LATENCY:
                proxy.link(delay=0.2, jitter=0.1)
            case Fault.BANDWIDTH:
                proxy.link(bytes_per_second=64_000)
            case Fault.RESET:
                proxy.reset()
            case Fault.PARTITION:
                proxy.cut()
            case Fault.HALF_OPEN:
                proxy.link(swallow=Way.BACK)

    @property
    def silent(self) -> bool:
        return self in (Fault.PARTITION, Fault.HALF_OPEN)


class Place(Enum):
    """Which link."""

    GRPC = "gRPC"
    NATS = "NATS"
    S3 = "S3"


@dataclass(frozen=True)
class Seen:
    """What a client sees while the fault lasts."""

    stream: str
    """How the running turn's stream ends: OK, or a status."""
    stream_seconds: float
    """At most so long after the fault began (OK: after it ended)."""
    call: str
    """What a new call answers that needs the link."""
    call_seconds: float
    hold: float = 0.0
    """Seconds the fault lasts; 0: until the turn and the call are over."""


KEEPALIVE = 30.0
"""Seconds until a gRPC connection that went silent is given up."""
WELL = Seen("OK", 30, "OK", 5)
CELLS = {
    (Fault.LATENCY, Place.GRPC): WELL,
    (Fault.LATENCY, Place.NATS): WELL,
    (Fault.LATENCY, Place.S3): WELL,
    (Fault.BANDWIDTH, Place.GRPC): WELL,
    (Fault.BANDWIDTH, Place.NATS): WELL,
    (Fault.BANDWIDTH, Place.S3): WELL,
    (Fault.RESET, Place.GRPC): Seen("UNAVAILABLE", 1, "OK", 2),
    (Fault.RESET, Place.NATS): WELL,
    (Fault.RESET, Place.S3): WELL,
    (Fault.PARTITION, Place.GRPC): Seen("UNAVAILABLE", KEEPALIVE + 1, "UNAVAILABLE", KEEPALIVE + 1, 32),
    (Fault.PARTITION, Place.NATS): Seen("UNAVAILABLE", 7, "UNAVAILABLE", 5, 8),
    (Fault.PARTITION, Place.S3): Seen("OK", 30, "UNAVAILABLE", 5, 8),
    (Fault.HALF_OPEN, Place.GRPC): Seen("UNAVAILABLE", KEEPALIVE + 1, "UNAVAILABLE", KEEPALIVE + 1, 32),
    (Fault.HALF_OPEN, Place.NATS): Seen("UNAVAILABLE", 7, "UNAVAILABLE", 5, 8),
    (Fault.HALF_OPEN, Place.S3): Seen("OK", 30, "UNAVAILABLE", 5, 8),
}
SLICE = {
    (Fault.RESET, Place.GRPC),
    (Fault.RESET, Place.NATS),
    (Fault.RESET, Place.S3),
    (Fault.HALF_OPEN, Place.NATS),
}
"""What `make test` has time for."""


@dataclass
class Client:
    """A client behind the proxies, and the system behind them."""

    planner: planner_pb2_grpc.PlannerServiceStub
    proxies: dict[Place, Proxy]
    session: str = ""
    events: list[events_pb2.Event] = field(default_factory=list)
    """Stored ones, by whatever stream they came."""
    drawing: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn(self, text: str, seed: int) -> str:
        """Run a turn in a new session; how its stream ends."""
        sampling = types_pb2.SamplingOptions(steps=25, seed=seed)
        request = planner_pb2.GenerateRequest(
            user=types_pb2.UserMessage(text=text), options=types_pb2.TurnOptions(sampling=sampling)
        )
        return await self._follow(self.planner.Generate(request, timeout=90))

    async def resume(self) -> str:
        """Watch the session's turn to its end, from the last event seen."""
        request = planner_pb2.WatchRequest(
            session_id=self.session, after_seq=len(self.events), until_idle=True
        )
        return await self._follow(self.planner.Watch(request, timeout=90))

    async def _follow(self, stream: AsyncIterator) -> str:
        async def run() -> None:
            async for response in stream:
                self.session = response.event.session_id
                if response.event.seq:
                    self.events.append(response.event)
                elif response.event.HasField("image_progress"):
                    self.drawing.set()

        return await status_of(run())

    async def ask(self, place: Place) -> str:
        """A call whose answer needs the link."""
        if place is Place.S3:
            nothing = types_pb2.BlobRef(sha256="0" * 64, size=1)
            stream = self.planner.FetchBlob(planner_pb2.FetchBlobRequest(blob=nothing), timeout=60)
            answer = await status_of(anext(aiter(stream)))
            return "OK" if answer == "NOT_FOUND" else answer  # S3 was asked, and knows
        request = planner_pb2.GetSessionRequest(session_id=self.session)
        return await status_of(self.planner.GetSession(request, timeout=60))


async def status_of(call: Awaitable) -> str:
    """OK, or the name of the status the call failed with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@pytest.fixture(scope="module")
async def proxies(stack) -> AsyncIterator[dict[Place, Proxy]]:
    nats = stack.nats.url.removeprefix("nats://")
    async with Proxy.before(nats) as bus, Proxy.before(stack.s3.endpoint) as blobs:
        yield {Place.NATS: bus, Place.S3: blobs}


@pytest.fixture(scope="module")
async def services(stack, proxies, tmp_path_factory) -> AsyncIterator[object]:
    """Stand-ins behind the proxies; a dead worker's jobs are given on after two seconds."""
    environment = {
        "WAN_NATS_URL": f"nats://{proxies[Place.NATS].address}",
        "WAN_S3_ENDPOINT": proxies[Place.S3].address,
        "WAN_ACK_WAIT": 2,
    }
    async with deployed(stack, tmp_path_factory.mktemp("network"), **environment) as deployment:
        yield deployment


@pytest.fixture
async def client(services, proxies) -> AsyncIterator[Client]:
    (planner,) = services.services["planner"]
    async with Proxy.before(planner.address) as front, rpc.channel(front.address) as channel:
        stub = planner_pb2_grpc.PlannerServiceStub(channel)
        try:
            yield Client(stub, {**proxies, Place.GRPC: front})
        finally:
            for proxy in proxies.values():
                proxy.heal()
    await services.ready()


async def timed(work: Awaitable[str], clock: Callable[[], float] = time.monotonic) -> tuple[str, float]:
    """What it says, and when it said so."""
    return await work, clock()


@pytest.mark.parametrize(("fault", "place"), CELLS, ids=lambda each: each.value)
async def test_client_sees_what_is_documented_and_the_turn_is_whole(client, scale, fault, place):
    if scale == "slice" and (fault, place) not in SLICE:
        pytest.skip("part of `make faults`")
    expected, proxy = CELLS[fault, place], client.proxies[place]
    running = asyncio.create_task(timed(client.turn("2 foxes", seed=1 + list(CELLS).index((fault, place)))))
    await asyncio.wait_for(client.drawing.wait(), 20)

    began = time.monotonic()
    fault.strike(proxy)
    await asyncio.sleep(0.1)  # a call made with the blow shares its fate
    asking = asyncio.create_task(timed(client.ask(place)))
    try:
        if expected.hold:
            await asyncio.sleep(expected.hold)
        else:
            await asyncio.wait({running, asking})
    finally:
        proxy.heal()
    ended = time.monotonic() if expected.hold else began
    (stream, stream_at), (call, call_at) = await running, await asking

    since = ended if expected.stream == "OK" else began
    print(f"{fault.value}, {place.value}: {stream} {stream_at - since:.1f} s, {call} {call_at - began:.1f} s")
    assert (stream, call) == (expected.stream, expected.call)
    assert stream_at - since <= expected.stream_seconds
    assert call_at - began <= expected.call_seconds
    while client.events[-1].WhichOneof("kind") != "turn_finished":
        assert await client.resume() in ("OK", "UNAVAILABLE")
    assert_whole(client.events, pictures=2)
    assert await asyncio.wait_for(Client(client.planner, client.proxies).turn("0 foxes", seed=0), 10) == "OK"


def assert_whole(events: list[events_pb2.Event], pictures: int) -> None:
    """One unbroken sequence, each picture planned and committed once and in order, and a proper end."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    planned = [e.image_planned.index for e in events if e.HasField("image_planned")]
    ready = [e.image_ready.image.index for e in events if e.HasField("image_ready")]
    assert planned == ready == list(range(pictures))
    text = "".join(event.text_delta.text for event in events)
    assert text == "This is 2 foxes.That was part 0.That was part 1."
    assert events[-1].HasField("turn_finished"), events[-1]
    assert sum(event.HasField("turn_started") for event in events) == 1
