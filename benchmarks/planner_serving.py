"""The planner service under 1, 4 and 16 sessions: first token, tokens a second, going on after a picture.

    python benchmarks/planner_serving.py [--rounds 2] [--seconds 12] [--seed 1]

Two planners run side by side on the shipped weights, each a process with a NATS and an S3 of its own: one
with vLLM's prefix cache, one without; they are measured by turns. Everything is as in a deployment but the
pictures, which are there at once (noise of 128 px, another one each time), so that only the planner is
measured. A session asks for stories of three pictures, four a session, as soon as the last one has ended.

First token and going on are what a client sees: from the request, or from `ImageReady`, to the first event
with words (or to the end of the turn); where a picture comes first, nothing is counted. Tokens of a turn that
ended outside of the measured time count by the share that lies inside. Prints a table, then one JSON line.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # the child processes' harness is part of the tests

from services.planner.__main__ import SERVICE, SLOTS
from tests.processes import ServiceProcess
from tests.scripted import InstantDrawing
from wanimage import images, serve
from wanimage.rpc import channel
from wanimage.stack import LocalStack
from wanimage.takenjob import TakenJob
from wanimage.v1 import jobs_pb2, planner_pb2, planner_pb2_grpc, types_pb2

SIDES = {"cache": True, "no cache": False}
SESSIONS = (1, 4, 16)
STORIES_A_SESSION = 4
SIDE = 128
"""Pixels of a picture's side."""
WIDTHS = (16, 26, 26, 10, 8)
HEROES = ("fox", "cat", "dog", "owl", "bear", "frog", "mouse", "rabbit", "lion", "penguin")
THINGS = ("red balloon", "blue car", "green hat", "yellow boat", "key", "cake", "kite", "lantern")

Stub = planner_pb2_grpc.PlannerServiceStub


class Noise(InstantDrawing):
    """Pictures at once, of the size that the family draws; no two alike, so none is in a cache."""

    async def decode(self, taken: TakenJob) -> jobs_pb2.DecodeResult:
        """Noise that follows from the latent's name."""
        generator = np.random.default_rng(int(taken.job.decode.latent.sha256[:12], 16))
        coarse = generator.integers(0, 255, (SIDE // 16, SIDE // 16, 4), dtype=np.uint8)
        pixels = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
        data, media_type = images.encode(pixels)
        shape = (SIDE, SIDE, 4)
        image = await self.blobs.put(taken.tenant, data, media_type, dtype="uint8", shape=shape)
        return jobs_pb2.DecodeResult(image=image, size=types_pb2.Size(height=SIDE, width=SIDE))


def serve_planner(side: str) -> int:
    """The real service, with or without the prefix cache, and the noise beside it."""
    from services.planner.engine import PlannerEngine
    from services.planner.turn import TurnRunner
    from wanimage.decoding import DecodingConfig
    from wanimage.sessions import Sessions

    @asynccontextmanager
    async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
        config = DecodingConfig(model=ground.family.planner, prefix_caching=SIDES[side])
        engine = await PlannerEngine.load(ground.family, config)
        runner = TurnRunner(engine, Sessions(ground.bus), ground.jobs, ground.blobs, ground.family.digest)
        noise = Noise(ground.blobs)
        yield [
            serve.Work("turn", runner.run, SLOTS),
            *(serve.Work(kind, getattr(noise, kind), SLOTS) for kind in ("render", "encode", "decode")),
        ]
        engine.close()

    sys.argv = sys.argv[:1]
    return serve.main(replace(SERVICE, open_worker=open_worker))


@dataclass
class Load:
    """What one phase saw, seconds."""

    first: list[float] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    tokens: float = 0.0
    turns: int = 0
    prompt: int = 0
    cached: int = 0

    def add(self, other: "Load") -> None:
        """Join another phase of the same kind."""
        self.first += other.first
        self.resumed += other.resumed
        self.tokens += other.tokens
        self.turns += other.turns
        self.prompt += other.prompt
        self.cached += other.cached


async def phase(stub: Stub, sessions: int, seconds: float, seed: int) -> Load:
    """Sessions that ask one story after the other for `seconds`."""
    load, began = Load(), time.perf_counter()

    async def session(number: int) -> None:
        choose = random.Random(f"{seed}/{number}")
        session_id, told = "", 0
        while time.perf_counter() - began < seconds:
            hero, thing = choose.choice(HEROES), choose.choice(THINGS)
            text = f"Tell a three-picture story about a {hero} who finds a {thing}."
            request = planner_pb2.GenerateRequest(
                session_id=session_id,
                user=types_pb2.UserMessage(text=text),
                options=types_pb2.TurnOptions(
                    image_count=3, sampling=types_pb2.SamplingOptions(seed=choose.randrange(2**32))
                ),
            )
            session_id = await turn(stub, request, load, began, seconds)
            told += 1
            if told % STORIES_A_SESSION == 0:
                session_id = ""

    async with asyncio.TaskGroup() as group:
        for number in range(sessions):
            group.create_task(session(number))
    return load


async def turn(
    stub: Stub, request: planner_pb2.GenerateRequest, load: Load, began: float, seconds: float
) -> str:
    """One turn, counted into `load`; returns its session's id."""
    asked = waiting = time.perf_counter()
    latencies: list[float] | None = load.first
    session_id = ""
    async for response in stub.Generate(request, timeout=300):
        event, now = response.event, time.perf_counter()
        session_id, kind = event.session_id, event.WhichOneof("kind")
        if kind == "image_ready":
            latencies, waiting = load.resumed, now
        elif kind in ("text_delta", "think_delta", "turn_finished") and latencies is not None:
            latencies.append(now - waiting)
            latencies = None
        elif kind == "image_planned":
            latencies = None
        if kind == "turn_finished":
            usage = event.turn_finished.usage
            inside = max(min(now, began + seconds) - asked, 0.0) / (now - asked)
            load.tokens += usage.generated_tokens * inside
            load.turns += 1
            load.prompt += usage.prompt_tokens
            load.cached += usage.cached_tokens
        elif kind in ("turn_failed", "turn_cancelled"):
            raise RuntimeError(f"the turn ended with {event}")
    return session_id


async def measure(rounds: int, seconds: float, seed: int) -> dict[tuple[str, int], Load]:
    """All phases, the sides by turns."""
    loads = {(side, count): Load() for side in SIDES for count in SESSIONS}
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        stubs = {}
        for side in SIDES:
            stack = exits.enter_context(LocalStack(folder / side.replace(" ", "-")))
            planner = ServiceProcess(
                "planner", {**stack.environment, "WAN_RATE": "1000", "WAN_MAX_WAIT": "600"}, folder,
                command=(str(Path(__file__).resolve()), "--serve", side),
            )  # fmt: skip
            planner.start()
            exits.callback(planner.kill)
            exits.push(lambda kind, _error, _trace, planner=planner: print(planner.tail()) if kind else None)
            await planner.ready()
            connection = await exits.enter_async_context(channel(planner.address))
            stubs[side] = Stub(connection)
            await phase(stubs[side], 2, 3.0, seed - 1)  # warms up
        for number in range(rounds):
            for count in SESSIONS:
                for side, stub in stubs.items():
                    loads[side, count].add(await phase(stub, count, seconds, seed + number))
    return loads


def summary(loads: dict[tuple[str, int], Load], seconds: float) -> dict[str, object]:
    """Medians, ninetieth percentiles, rates; `gain` is the rate of 16 sessions over that of one."""

    def quantiles(values: list[float]) -> list[float]:
        tenths = statistics.quantiles(values, n=10) if len(values) > 1 else values * 9
        return [round(tenths[4], 4), round(tenths[8], 4), len(values)]

    found = {
        f"{side}, {count}": {
            "first_token_s": quantiles(load.first),
            "resume_s": quantiles(load.resumed),
            "tokens_per_s": round(load.tokens / seconds, 1),
            "turns": load.turns,
            "cached": round(load.cached / max(load.prompt, 1), 3),
        }
        for (side, count), load in loads.items()
    }
    gains = {side: loads[side, SESSIONS[-1]].tokens / loads[side, 1].tokens for side in SIDES}
    return {"sides": found, "gain": gains}


def main() -> int:
    """Measure and print; `--serve` is what the script starts itself with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=12.0, help="of a phase; six phases a round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve_planner(options.serve)
    loads = asyncio.run(measure(options.rounds, options.seconds, options.seed))
    found = summary(loads, options.rounds * options.seconds)
    columns = ("side, sessions", "first token p50, p90, n", "going on p50, p90, n", "tokens/s", "cached")
    print("".join(f"{name:>{width}}" for name, width in zip(columns, WIDTHS, strict=True)))
    for name, row in found["sides"].items():  # type: ignore[attr-defined]
        cells = [name, *(" ".join(map(str, row[key])) for key in ("first_token_s", "resume_s"))]
        cells += [row["tokens_per_s"], row["cached"]]
        print("".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)))
    print(json.dumps({"benchmark": "planner_serving", "seed": options.seed, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
