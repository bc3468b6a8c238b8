"""How many pictures the world draws a second, sampled, drawn and put into words; and whole samples of tasks.

    python benchmarks/world.py [--pictures 600] [--size 256] [--kinds classic scene task]

Every kind in one process and in two, after a warm-up of as many pictures with another seed. Seconds are CPU
seconds of the slower process, so that a busy machine counts less. Prints a table, then one JSON line.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from training.world.kinds import Kind
from training.world.pictures import palettes, portraits, stickers
from training.world.scenes import kind as scenes
from training.world.scenes.caption import caption
from training.world.scenes.render import render
from training.world.scenes.sample import sample_scene
from training.world.tasks import sample_task

KINDS: tuple[Kind, ...] = (scenes.KIND, stickers.KIND, palettes.KIND, portraits.KIND)
PROCESSES = (1, 2)
BASE_CELLS = 8
"""Cells a side of a task's square picture."""


def classic(rng: np.random.Generator, size: int) -> None:
    """One picture of the shipped family's own world."""
    scene = sample_scene(rng)
    render(scene, size, size)
    caption(scene, rng)


def one_of(kind: Kind) -> Callable[[np.random.Generator, int], None]:
    """One picture of a kind."""

    def draw(rng: np.random.Generator, size: int) -> None:
        graph = kind.sample(rng, "train", (size, size))
        kind.draw(graph, size, size)
        kind.phrase(graph)

    return draw


def task(rng: np.random.Generator, size: int) -> None:
    """One sample of any task: all of its pictures, captions and requests, its dialogue and near misses."""
    sample = sample_task(rng, "train")
    for frame in (*sample.inputs, *sample.outputs):
        frame.draw(size // BASE_CELLS)


def maker(name: str) -> Callable[[np.random.Generator, int], None]:
    """What makes one of a name on the command line."""
    given = {"classic": classic, "task": task}
    return given.get(name) or one_of(next(kind for kind in KINDS if kind.name == name))


def seconds(name: str, seed: int, pictures: int, size: int) -> float:
    """CPU seconds for some pictures, after as many to fill the caches."""
    make = maker(name)
    for part in range(2):
        rng = np.random.default_rng((seed, part))
        start = time.process_time()
        for _ in range(pictures):
            make(rng, size)
    return time.process_time() - start


def rate(name: str, processes: int, pictures: int, size: int) -> float:
    """Pictures a second of all processes together."""
    with ProcessPoolExecutor(processes) as pool:
        runs = [pool.submit(seconds, name, seed, pictures, size) for seed in range(processes)]
        return processes * pictures / max(run.result() for run in runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--pictures", type=int, default=600, help="a kind and process, and as many to warm up"
    )
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    names = ("classic", *(kind.name for kind in KINDS), "task")
    parser.add_argument("--kinds", nargs="+", choices=names, default=names, help="what to draw")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for name in options.kinds:
        found[name] = {
            f"processes_{count}": rate(name, count, options.pictures, options.size) for count in PROCESSES
        }
        print(
            f"{name:10}"
            + "".join(f"{value:8.0f} a second on {key[-1]}" for key, value in found[name].items())
        )
    print(json.dumps({"benchmark": "world", "size": options.size, "pictures": options.pictures, **found}))


if __name__ == "__main__":
    main()
