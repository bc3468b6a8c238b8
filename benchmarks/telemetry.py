"""What telemetry costs: the same turns on two stacks, one that tells nothing and one that tells everything.

    python benchmarks/telemetry.py [--turns 12] [--text "..."]

The second exports every span to a collector on this machine and is scraped every second, ten times as
often as deploy/observability does. Both run at once and take turns alternately, each pair with a seed of its
own, so the same text and pictures come out (which is counted). Compared are wall-clock and CPU seconds of all
the stack's processes, NATS and S3 included; the collector's own are left out. Counting itself cannot be
turned off: its cost is the number of counted events times the measured cost of one. Prints a table, then one
JSON line.
"""

import argparse
import asyncio
import json
import os
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
SCRAPE_SECONDS = 1.0
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
    """One stack and what its turns took."""

    stack: Stack
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    async def turn(self, text: str, seed: int) -> None:
        """One turn, whole."""
        options = types_pb2.TurnOptions(sampling=types_pb2.SamplingOptions(seed=seed))
        request = planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text=text), options=options)
        written, cpu, began = "", cpu_seconds(self.stack), time.perf_counter()
        async with channel(self.stack.parts["planner"].address) as connection:
            stub = planner_pb2_grpc.PlannerServiceStub(connection)
            async for response in stub.Generate(request, timeout=300):
                written += response.event.text_delta.text
                if response.event.WhichOneof("kind") in ("turn_failed", "turn_cancelled"):
                    raise RuntimeError(f"the turn ended with {response.event}")
        self.wall.append(time.perf_counter() - began)
        self.cpu.append(cpu_seconds(self.stack) - cpu)
        self.texts.append(written)

    async def reading(self) -> Reading:
        """A scrape of all its services."""
        return await read({part.name: part.metrics for part in self.stack.parts.values() if part.metrics})


async def scrape_on(side: Side) -> None:
    """Be its Prometheus."""
    while True:
        await side.reading()
        await asyncio.sleep(SCRAPE_SECONDS)


async def measure(quiet: Side, telling: Side, text: str, turns: int, spans: Path) -> dict[str, object]:
    """Alternate, the order changing from pair to pair; the first pair warms up."""
    scraping = asyncio.create_task(scrape_on(telling))
    for side in (quiet, telling):
        await side.turn(text, SEED)
        for taken in (side.wall, side.cpu, side.texts):
            taken.clear()
    before, told = await telling.reading(), int(spans.read_text())
    for number in range(1, turns + 1):
        for side in (quiet, telling) if number % 2 else (telling, quiet):
            await side.turn(text, SEED + 100 * number)
    scraping.cancel()
    gained = (await telling.reading()).since(before)
    return summary(quiet, telling) | {
        "spans_a_turn": (int(spans.read_text()) - told) / turns,
        **counting(gained, turns, statistics.median(quiet.cpu)),
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
    """Start both stacks, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--text", default=TEXT)
    options = parser.parse_args()
    console = Console(stderr=True)
    stacks: list[tuple[Path, Stack]] = []
    with tempfile.TemporaryDirectory() as folder, collector(Path(folder)) as (endpoint, spans):
        try:
            for name, where in (("off", ""), ("on", endpoint)):
                os.environ["WAN_OTLP_ENDPOINT"] = where
                data = Path(folder) / name
                stacks.append((data, background.start(data, choose(None), console, with_us=True)))
            sides = [Side(stack) for _, stack in stacks]
            found = asyncio.run(measure(*sides, options.text, options.turns, spans))
        finally:
            for data, stack in stacks:
                background.stop(data, stack)
    for name, value in found.items():
        print(f"{name:24} {value:.4f}" if isinstance(value, float) else f"{name:24} {value}")
    print(json.dumps({"benchmark": "telemetry", **found}))


if __name__ == "__main__":
    if COLLECT in sys.argv:
        asyncio.run(collect(int(sys.argv[2]), Path(sys.argv[3])))
    else:
        main()
