"""What step-level batching gains in the visualizer, and what it leaves of a picture.

    python benchmarks/batching.py [--precision auto|fp32|bf16] [--rounds 3] [--seconds 25] [--seed 1]

The shipped weights behind the real StepLoop, in this process. Three ways to serve run on the same requests:

- step: renders join and leave between steps (what ships);
- whole: a batch is formed, runs to its end, then the next;
- single: one render at a time.

Measured: throughput of 8 concurrent requests; latency under Poisson arrivals of mixed sizes at `LOAD` of what
`step` can do; the largest difference of a picture drawn alone and in company; and how near a step comes to
the machine's matrix products, which bounds what batching can gain. Prints tables, then one JSON line.
"""

import argparse
import asyncio
import json
import logging
import random
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from products import TRIES, flops_a_second, seconds_of

from services.vae.engine import VaeEngine
from services.visualizer.engine import PictureSpec, RenderSpec, VisualizerEngine
from services.visualizer.steploop import StepLoop
from wanimage.config import Settings
from wanimage.engineloop import Ticket
from wanimage.sampling import SamplerConfig
from wanimage.weights import Family

CONCURRENT = 8
REQUESTS = 16
"""Of one round of the throughput measurement."""
LOAD = 0.85
GRIDS = {64: (8, 8), 128: (8, 16), 256: (16, 16)}
MIXED = (64, 64, 64, 64, 128, 128, 128, 256)
"""Cells of pictures, as often as they come in the mixed load."""
PROMPTS = ("a red fox", "two green balloons beside a small house", "a blue boat under a yellow moon at night")


class WholeBatches(StepLoop):
    """Whole-request batching: nobody joins a batch that has begun, and it ends with its last render."""

    _batch: tuple[Ticket, ...] = ()

    def _choose(self) -> list[Ticket]:
        going_on = [ticket for ticket in self._batch if ticket in self._active]
        if not going_on:
            self._batch = tuple(super()._choose())
        return going_on or list(self._batch)


Maker = Callable[[VisualizerEngine], StepLoop]
SIDES: dict[str, Maker] = {
    "step": StepLoop,
    "whole": WholeBatches,
    "single": lambda engine: StepLoop(engine, max_cells=1),  # one always fits, and no other does
}


def requests(cells: Sequence[int], count: int, seed: int) -> list[RenderSpec]:
    """`count` renders of one picture, sizes drawn from `cells`."""
    draw = random.Random(seed)
    return [
        RenderSpec(
            pictures=(PictureSpec(prompt=draw.choice(PROMPTS), grid=GRIDS[draw.choice(cells)], seed=n),)
        )
        for n in range(count)
    ]


async def served(make: Maker, engine: VisualizerEngine, specs: Sequence[RenderSpec]) -> float:
    """Seconds for all of `specs`, CONCURRENT at a time."""
    loop, gate = make(engine), asyncio.Semaphore(CONCURRENT)
    loop.start()

    async def one(spec: RenderSpec) -> None:
        async with gate:
            await loop.render(spec, lambda *_: None)

    began = time.perf_counter()
    await asyncio.gather(*(one(spec) for spec in specs))
    seconds = time.perf_counter() - began
    await asyncio.to_thread(loop.stop)
    return seconds


async def throughput(engine: VisualizerEngine, count: int, seed: int) -> dict[str, dict[str, float]]:
    """Requests a second of each side by load; medians of `count` rounds, in which the sides alternate."""
    found = {}
    loads = {str(cells): (cells,) for cells in GRIDS} | {"mixed": MIXED}
    for name, cells in loads.items():
        specs = requests(cells, REQUESTS, seed)
        for grid in {spec.pictures[0].grid for spec in specs}:
            engine.render(next(spec for spec in specs if spec.pictures[0].grid == grid))  # warm
        rounds = [
            {side: REQUESTS / await served(make, engine, specs) for side, make in SIDES.items()}
            for _ in range(count)
        ]
        found[name] = {side: statistics.median(each[side] for each in rounds) for side in SIDES}
        found[name]["gain"] = statistics.median(each["step"] / each["single"] for each in rounds)
        row = "  ".join(f"{side} {value:6.2f}" for side, value in found[name].items())
        print(f"requests/s, {name:>5} cells   {row}", flush=True)
    return found


async def latencies(make: Maker, engine: VisualizerEngine, rate: float, seconds: float, seed: int) -> list:
    """Seconds from arrival to result of every request of a Poisson stream of mixed sizes."""
    specs = requests(MIXED, int(rate * seconds), seed)
    draw, loop = random.Random(seed), make(engine)
    loop.start()
    arrival, tasks = asyncio.get_running_loop().time(), []

    async def one(spec: RenderSpec, due: float) -> float:
        await loop.render(spec, lambda *_: None)
        return asyncio.get_running_loop().time() - due

    for spec in specs:
        arrival += draw.expovariate(rate)
        await asyncio.sleep(arrival - asyncio.get_running_loop().time())
        tasks.append(asyncio.create_task(one(spec, arrival)))
    found = await asyncio.gather(*tasks)
    await asyncio.to_thread(loop.stop)
    return found


async def under_load(engine: VisualizerEngine, rate: float, seconds: float, seed: int) -> dict[str, object]:
    """p50 and p99 of each side on one arrival sequence."""
    found: dict[str, object] = {"rate": rate}
    for side, make in SIDES.items():
        times = await latencies(make, engine, rate, seconds, seed)
        quantiles = {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}
        found[side] = {"requests": len(times), **quantiles}
        row = "  ".join(f"{name} {value:.3f} s" for name, value in quantiles.items())
        print(f"Poisson, {rate:.2f}/s, {side:>6} {row}", flush=True)
    return found


def differences(engine: VisualizerEngine, vae: VaeEngine, seed: int) -> dict[str, float]:
    """Largest differences of the same renders alone and all in one company: latents, and pixels in 1/255."""
    specs = requests(MIXED, CONCURRENT, seed)
    alone = [engine.render(spec)[0] for spec in specs]
    states = [engine.prepare(spec) for spec in specs]
    while not states[0].done:
        engine.step(states)
    together = [engine.finish(state)[0] for state in states]
    pixels = [
        np.abs(np.subtract(*(vae.decode([x.numpy()])[0].astype(int) for x in pair)))
        for pair in zip(alone, together, strict=True)
    ]
    latent = max(float((a - b).abs().max()) for a, b in zip(alone, together, strict=True))
    found = {
        "latent_max": latent,
        "pixel_max": float(max(each.max() for each in pixels)),
        "pixel_mean": float(statistics.mean(each.mean() for each in pixels)),
    }
    print("alone against in company: " + "  ".join(f"{k} {v:.4f}" for k, v in found.items()), flush=True)
    return found


def ceiling(engine: VisualizerEngine, seed: int) -> list[dict[str, float]]:
    """GFLOP/s of a step and of bare matrix products of its shapes, by size and renders in the batch."""
    found = []
    for cells in GRIDS:
        for renders in (1, CONCURRENT):
            specs = requests((cells,), renders, seed)
            longer = SamplerConfig(steps=20)
            states = [engine.prepare(RenderSpec(pictures=s.pictures, sampler=longer)) for s in specs]
            engine.step(states)
            steps = [seconds_of(lambda states=states: engine.step(states)) for _ in range(TRIES)]
            step = statistics.median(steps)
            tokens, context = 2 * cells * renders, states[0].branches[0].keys_values[0][0].shape[2]
            row = {
                "cells": cells,
                "renders": renders,
                "step_ms": 1e3 * step,
                "step_gflops": 2 * renders * engine.mot.flops(context, 0, cells) / step / 1e9,
                "matmul_gflops": flops_a_second(engine.precision, tokens) / 1e9,
            }
            found.append(row)
            print("  ".join(f"{name} {value:.1f}" for name, value in row.items()), flush=True)
    return found


async def measure(precision: str, rounds: int, seconds: float, seed: int) -> dict[str, object]:
    """Everything, in the order of the module's head."""
    family = Family.load(Settings().weights)
    engine = VisualizerEngine(family, precision)
    print(f"precision {engine.precision}, {torch.get_num_threads()} threads")
    found: dict[str, object] = {"precision": engine.precision, "seed": seed}
    rates = await throughput(engine, rounds, seed)
    found["throughput"] = rates
    found["latency"] = await under_load(engine, LOAD * rates["mixed"]["step"], seconds, seed)
    found["difference"] = differences(engine, VaeEngine.load(family), seed)
    found["ceiling"] = ceiling(engine, seed)
    return found


def main() -> None:
    """Measure and print."""
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--rounds", type=int, default=3, help="of the throughput measurement")
    parser.add_argument("--seconds", type=float, default=25.0, help="length of each Poisson stream")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = asyncio.run(measure(given.precision, given.rounds, given.seconds, given.seed))
    print(json.dumps({"benchmark": "batching", **found}))


if __name__ == "__main__":
    main()
