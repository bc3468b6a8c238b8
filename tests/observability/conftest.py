"""One small system for all of these tests: a scripted planner, the real visualizer and VAE, a collector."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import urllib3
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import SHIPPED
from tests.observability.collector import Collector, collecting
from tests.processes import ServiceProcess
from wanimage import rpc
from wanimage.stack import LocalStack, free_ports
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc, types_pb2

TURN_SECONDS = 90
COMMANDS = {
    "planner": ("-m", "tests.standins", "planner"),
    "visualizer": ("-m", "services.visualizer"),
    "vae": ("-m", "services.vae"),
}


@dataclass
class Observed:
    """The system, with where it tells what it does."""

    stack: LocalStack
    services: dict[str, ServiceProcess]
    metrics_ports: dict[str, int]
    collector: Collector

    async def scrape(self, service: str) -> list[Metric]:
        """The metric families of a service now."""
        url = f"http://127.0.0.1:{self.metrics_ports[service]}/metrics"
        answer = await asyncio.to_thread(urllib3.request, "GET", url, retries=False, timeout=10.0)
        assert answer.status == 200, answer.data
        return list(text_string_to_metric_families(answer.data.decode()))

    @asynccontextmanager
    async def turn(self, text: str, steps: int = 4) -> AsyncIterator["Turn"]:
        """A turn under way, inside a trace that begins at the client."""
        client = TracerProvider().get_tracer("test").start_span("client")
        options = types_pb2.TurnOptions(sampling=types_pb2.SamplingOptions(seed=3, steps=steps))
        request = planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text=text), options=options)
        async with rpc.channel(self.services["planner"].address) as channel:
            with trace.use_span(client):
                stream = planner_pb2_grpc.PlannerServiceStub(channel).Generate(request, timeout=TURN_SECONDS)
            yield Turn(
                stream, client.get_span_context().trace_id, f"{client.get_span_context().span_id:016x}"
            )


@dataclass
class Turn:
    """A turn as its client sees it."""

    stream: planner_pb2_grpc.PlannerServiceStub
    trace_id: int
    client_span: str

    async def until(self, kind: str) -> events_pb2.Event:
        """Read on to the next event of a kind."""
        async for response in self.stream:
            if response.event.WhichOneof("kind") == kind:
                return response.event
        raise AssertionError(f"the turn ended without {kind}")


def with_samples(families: Iterable[Metric]) -> set[str]:
    """Names of families (a counter's with `_total`) that hold at least one value."""
    return {
        family.name + ("_total" if family.type == "counter" else "") for family in families if family.samples
    }


@pytest.fixture(scope="package")
async def observed(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    """All processes ready, sharing one collector. A stopping service gives its work back at once."""
    folder = tmp_path_factory.mktemp("observed")
    ports = dict(zip(COMMANDS, free_ports(len(COMMANDS)), strict=True))
    async with collecting() as collector:
        shared = stack.environment | {
            "WAN_WEIGHTS": str(SHIPPED), "WAN_ACK_WAIT": "2", "WAN_DRAIN_SECONDS": "0", "WAN_THREADS": "1",
            "WAN_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}", "OTEL_BSP_SCHEDULE_DELAY": "100",
        }  # fmt: skip
        services = {
            name: ServiceProcess(
                name, shared | {"WAN_METRICS_PORT": str(ports[name])}, folder, command=command
            )
            for name, command in COMMANDS.items()
        }
        try:
            for process in services.values():
                process.start()
            await asyncio.gather(*(process.ready() for process in services.values()))
            yield Observed(stack, services, ports, collector)
        finally:
            for process in services.values():
                process.kill()


@pytest.fixture(scope="package")
async def scraped(observed: Observed) -> list[Metric]:
    """What all processes export during a turn and after it was run again, from results that were there."""
    found: list[Metric] = []
    for _ in range(2):
        async with observed.turn("Draw 1 lantern", steps=20) as turn:
            await turn.until("image_planned")
            found += await observed.scrape("planner")
            await turn.until("turn_finished")
    for service in COMMANDS:
        found += await observed.scrape(service)
    return found
