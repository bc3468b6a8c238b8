"""What telemetry costs: the same turns through one stack, recorded and not, alternately.

    python benchmarks/telemetry.py [--turns 30] [--text "..."]

A client that traces decides whether its turn is recorded, so both sides run in the very same processes: a
turn whose trace is sampled and exported to a collector on this machine, and one whose trace is not. Each pair
has a seed of its own and the order changes from pair to pair; the sides are two tenants, or the second turn
of a pair would find its pictures drawn. Compared are wall-clock seconds, and CPU seconds of all the stack's
processes, NATS and S3 included, up to the end of the export; the collector's own are left out.

Metrics come on top, by their cost alone: scrapes of an idle stack, at the pace of deploy/observability; and
counting, which cannot be turned off, as the number of events times the measured cost of one. Prints a table,
then one JSON line.
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from rich.console import Console

from wanimage import metrics
from wanimage.cli import background
from wanimage.cli.readings import Reading, read
from wanimage.cli.stackfile import Stack
from wanimage.cli.up import choose
from wanimage.rpc import channel
from wanimage.stack import free_ports
from wanimage.v1 import planner_pb2, planner_pb2_grpc, types_pb2

TEXT = "Tell a three-picture story about a fox who finds a red balloon."
SEED = 11
SCRAPE_SECONDS = 10.0
"""Between two scrapes, as deploy/observability/prometheus.yml has it."""
SCRAPES = 40
EXPORT_DELAY_SECONDS, EXPORT_SECONDS = 1.0, 1.4
"""Pause between two exports of a process, and how long after a turn its last spans have surely left."""
KEYS = {recorded: secrets.token_hex(16) for recorded in (False, True)}
WARM_UP = 2
"""Pairs of turns before it counts."""
COLLECT = "--collect"


class Sink(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans and counts them; says so in a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._spans = path, 0

    async def Export(self, request: object, context: object) -> trace_service_pb2.ExportTraceServiceResponse:
        """As the protocol says."""
        scopes = [scope for each in request.resource_spans for scope in each.scope_spans]  # type: ignore[attr-defined]
        self._spans += sum(len(scope.spans) for scope in scopes)
        self._path.write_text(str(self._spans))
        return trace_service_pb2.ExportTraceServiceResponse()


async def collect(port: int, path: Path) -> None:
    """Be the collector until killed."""
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Sink(path), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    path.write_text("0")
    await server.start()
    await server.wait_for_termination()


@contextmanager
def collector(folder: Path) -> Iterator[tuple[str, Path]]:
    """A collector in a process of its own: its endpoint, and the file with the number of its spans."""
    (port,), path = free_ports(1), folder / "spans"
    child = subprocess.Popen([sys.executable, __file__, COLLECT, str(port), str(path)])
    try:
        yield f"http://127.0.0.1:{port}", path
    finally:
        child.kill()
        child.wait()


def cpu_seconds(stack: Stack) -> float:
    """User and system time of a stack's processes so far."""
    root = psutil.Process(stack.pid)
    times = [process.cpu_times() for process in [root, *root.children(recursive=True)]]
    return sum(each.user + each.system for each in times)


@dataclass
class Side:
    """Turns of one kind through the stack, and what they took."""

    stack: Stack
    recorded: bool
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    async def turn(self, text: str, seed: int) -> None:
        """One turn, whole, and the export that follows it."""
        options = types_pb2.TurnOptions(sampling=types_pb2.SamplingOptions(seed=seed))
        request = planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text=text), options=options)
        written, cpu, began = "", cpu_seconds(self.stack), time.perf_counter()
        with trace.use_span(trace.NonRecordingSpan(begun(self.recorded))):
            async with channel(self.stack.parts["planner"].address, KEYS[self.recorded]) as connection:
                stub = planner_pb2_grpc.PlannerServiceStub(connection)
                async for response in stub.Generate(request, timeout=300):
                    written += response.event.text_delta.text
                    if response.event.WhichOneof("kind") in ("turn_failed", "turn_cancelled"):
                        raise RuntimeError(f"the turn ended with {response.event}")
        self.wall.append(time.perf_counter() - began)
        await asyncio.sleep(EXPORT_SECONDS)
        self.cpu.append(cpu_seconds(self.stack) - cpu)
        self.texts.append(written)


def begun(recorded: bool) -> trace.SpanContext:
    """A trace as a client begins it, with its decision."""
    flags = trace.TraceFlags.SAMPLED if recorded else trace.TraceFlags.DEFAULT
    return trace.SpanContext(
        random.getrandbits(128), random.getrandbits(64), is_remote=False, trace_flags=trace.TraceFlags(flags)
    )


async def readings(stack: Stack) -> Reading:
    """A scrape of all services."""
    return await read({part.name: part.metrics for part in stack.parts.values() if part.metrics})


async def scrape_cost(stack: Stack) -> float:
    """CPU seconds that one scrape of all services takes of the stack, beyond what it takes idle."""
    began, cpu = time.perf_counter(), cpu_seconds(stack)
    for _ in range(SCRAPES):
        await readings(stack)
    scraping, spent = time.perf_counter() - began, cpu_seconds(stack) - cpu
    cpu = cpu_seconds(stack)
    await asyncio.sleep(scraping)
    return (spent - (cpu_seconds(stack) - cpu)) / SCRAPES


async def measure(stack: Stack, text: str, turns: int, spans: Path) -> dict[str, object]:
    """Alternate, the order changing from pair to pair; the first pairs warm up."""
    quiet, telling = Side(stack, recorded=False), Side(stack, recorded=True)
    before, told = await readings(stack), 0
    for number in range(-WARM_UP, turns):
        if number == 0:
            before, told = await readings(stack), int(spans.read_text())
            for taken in (quiet.wall, quiet.cpu, quiet.texts, telling.wall, telling.cpu, telling.texts):
                taken.clear()
        for side in (quiet, telling) if number % 2 else (telling, quiet):
            await side.turn(text, SEED + 100 * (number + WARM_UP))
    gained = (await readings(stack)).since(before)
    scrape = await scrape_cost(stack)
    turn_cpu, turn_wall = statistics.median(quiet.cpu), statistics.median(quiet.wall)
    return summary(quiet, telling) | {
        "scrape_cpu_s": scrape,
        "scraping_share_of_cpu": scrape * turn_wall / SCRAPE_SECONDS / turn_cpu,
        "spans_a_turn": (int(spans.read_text()) - told) / turns,
        **counting(gained, 2 * turns, turn_cpu),
    }


def summary(quiet: Side, telling: Side) -> dict[str, object]:
    """Medians over pairs, and how far apart single pairs lie."""
    found: dict[str, object] = {"turns": len(quiet.wall)}
    found["same_text"] = sum(a == b for a, b in zip(quiet.texts, telling.texts, strict=True))
    for name in ("wall", "cpu"):
        off, on = getattr(quiet, name), getattr(telling, name)
        ratios = sorted(b / a - 1 for a, b in zip(off, on, strict=True))
        found |= {
            f"{name}_off_s": statistics.median(off),
            f"{name}_on_s": statistics.median(on),
            f"{name}_overhead": statistics.median(ratios),
            f"{name}_overhead_of_sums": sum(on) / sum(off) - 1,
            f"{name}_quartiles": statistics.quantiles(ratios, n=4)[::2],
            f"{name}_standard_error": statistics.stdev(ratios) / len(ratios) ** 0.5,
        }
    return found


def counting(gained: Reading, turns: int, turn_cpu: float) -> dict[str, float]:
    """Counted events of a turn, as many as counters and histograms gained, at the cost of one."""
    events = sum(
        1 if name.endswith("_bytes_total") or "pixel_steps" in name or "tokens" in name else value
        for values in gained.processes.values()
        for (name, _), value in values.items()
        if name.startswith("wan_") and name.endswith(("_count", "_total"))
    )
    one = timeit.timeit(lambda: metrics.JOB_WORK_SECONDS.labels("turn").observe(1.0), number=100_000) / 1e5
    return {
        "counted_events_a_turn": events / turns,
        "one_event_us": one * 1e6,
        "counting_share_of_cpu": events / turns * one / turn_cpu,
    }


def main() -> None:
    """Start a stack, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--text", default=TEXT)
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, collector(Path(folder)) as (endpoint, spans):
        os.environ |= {
            "WAN_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": f"{1000 * EXPORT_DELAY_SECONDS:.0f}",
        }
        os.environ["WAN_API_KEYS"] = f"quiet={KEYS[False]},telling={KEYS[True]}"
        data = Path(folder) / "stack"
        stack = background.start(data, choose(None), console, with_us=True)
        try:
            found = asyncio.run(measure(stack, options.text, options.turns, spans))
        finally:
            background.stop(data, stack)
    for name, value in found.items():
        print(f"{name:24} {value:.4f}" if isinstance(value, float) else f"{name:24} {value}")
    print(json.dumps({"benchmark": "telemetry", **found}))


if __name__ == "__main__":
    if COLLECT in sys.argv:
        asyncio.run(collect(int(sys.argv[2]), Path(sys.argv[3])))
    else:
        main()
