"""A tenant that asks a hundred times as often, for larger pictures, and what the other sees of it.

    python benchmarks/fairness.py [--seconds 40] [--seed 1]

The real queue, worker and StepLoop with the shipped weights, on a NATS and S3 of its own. One tenant asks for
a picture of 64 cells every two seconds, alone and beside a flood of 256 cells, first with fairness as it
ships and then without (no reserved slots, no tenants' accounts in the StepLoop). Prints a table, then one
JSON line.
"""

import argparse
import asyncio
import json
import random
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from services.visualizer.engine import PictureSpec, RenderSpec, VisualizerEngine
from services.visualizer.steploop import StepLoop
from services.visualizer.worker import SLOTS, RenderWorker, pixel_steps
from wanimage import engineloop, telemetry, worker
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.errors import Overloaded
from wanimage.jobs import Jobs, make_job
from wanimage.prompts import PromptLimit
from wanimage.stack import LocalStack
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.weights import Family

RATE = 0.5
TIMES = 100
SMALL, LARGE = 8, 16
"""Cells a side."""


def picture(side: int, seed: int) -> jobs_pb2.RenderJob:
    """A job of one picture of `side` * `side` cells."""
    grid = types_pb2.Grid(height_cells=side, width_cells=side)
    return jobs_pb2.RenderJob(pictures=[jobs_pb2.RenderPicture(prompt="a red fox", grid=grid, seed=seed)])


async def ask(jobs: Jobs, tenant: str, family: str, side: int, seed: int, due: float) -> float | None:
    """Seconds from `due` to the result, asked for as a front does; None when it was refused."""
    try:
        async with jobs.place("render", tenant):
            job = make_job(tenant, family, picture(side, seed), 120)
        await jobs.run(job)
    except Overloaded:
        return None
    return asyncio.get_running_loop().time() - due


async def stream(
    jobs: Jobs, tenant: str, family: str, side: int, rate: float, seconds: float, seed: int
) -> list:
    """Poisson requests at `rate` for `seconds`; what `ask` said of each."""
    draw, clock = random.Random(f"{seed} {tenant}"), asyncio.get_running_loop().time
    began, due, asked = clock(), draw.expovariate(rate), []
    while due < seconds:
        try:
            await asyncio.sleep(began + due - clock())
        except asyncio.CancelledError:
            await asyncio.gather(*(_ended(task) for task in asked))
            raise
        number = seed * 1_000_000 + len(asked)
        asked.append(asyncio.create_task(ask(jobs, tenant, family, side, number, began + due)))
        due += draw.expovariate(rate)
    return await asyncio.gather(*asked)  # cancelled with it


async def _ended(task: asyncio.Task) -> None:
    task.cancel()
    await asyncio.wait({task})


async def beside_a_flood(jobs: Jobs, family: str, seconds: float, seed: int) -> list[float | None]:
    """What the small tenant sees while the big one floods the queue."""
    flood = asyncio.create_task(stream(jobs, "big", family, LARGE, TIMES * RATE, seconds + 60, seed))
    await asyncio.sleep(3)  # the queue is full before the first small one comes
    found = await stream(jobs, "small", family, SMALL, RATE, seconds, seed)
    flood.cancel()
    with suppress(asyncio.CancelledError):
        await flood
    return found


async def measure(folder: Path, seconds: float, seed: int) -> dict[str, object]:
    """Alone, beside the flood, and beside it without fairness."""
    found: dict[str, object] = {"seed": seed}
    with LocalStack(folder) as stack:
        values = {name.removeprefix("WAN_").lower(): value for name, value in stack.environment.items()}
        settings = Settings(_env_file=None, **values)
        family = Family.load(settings.weights)
        loop = StepLoop(VisualizerEngine(family))
        loop.start()
        for grid in ((SMALL, SMALL), (LARGE, LARGE)):
            await loop.render(
                RenderSpec(pictures=(PictureSpec(prompt="warm", grid=grid, seed=0),)), lambda *_: None
            )
        for name, fair in (("alone", True), ("fair", True), ("unfair", False)):
            if not fair:
                engineloop.SLACK_CELLS, worker.RESERVED = 10**12, 0.0
            async with await Bus.connect(settings) as bus, await Blobs.connect(settings) as blobs:
                await bus.jetstream.purge_stream("JOBS")
                jobs = Jobs(bus)
                prompts = PromptLimit.load(family.path / "understanding")
                drawing = RenderWorker(loop, blobs, family, prompts, jobs)
                cost = lambda job: pixel_steps(job.render)  # noqa: E731
                async with worker.Worker(
                    jobs, "render", family=family.digest, slots=SLOTS, cost=cost, drain_seconds=0
                ) as taking:
                    task = asyncio.create_task(taking.run(drawing.render))
                    # The first blob of a new S3 takes a second.
                    await ask(jobs, "small", family.digest, SMALL, seed + 100, 0)
                    seen = (
                        await stream(jobs, "small", family.digest, SMALL, RATE, seconds, seed)
                        if name == "alone"
                        else await beside_a_flood(jobs, family.digest, seconds, seed + 1 + fair)
                    )
                    taking.stop_taking()
                    await task
            times = [each for each in seen if each is not None]
            quantiles = [float(np.quantile(times, share)) for share in (0.5, 0.95)]
            found[name] = {
                "requests": len(seen), "refused": len(seen) - len(times),
                "p50": quantiles[0], "p95": quantiles[1],
            }  # fmt: skip
            print(f"{name:>7}  {found[name]}", flush=True)
        await asyncio.to_thread(loop.stop)
    return found


def main() -> None:
    """Measure and print."""
    telemetry.configure("fairness", level="ERROR")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of each of the three loads")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder) / "stack", given.seconds, given.seed))
    print(json.dumps({"benchmark": "fairness", **found}))


if __name__ == "__main__":
    main()
