"""`python -m training.visualizer.evaluate --n 200 --out runs/nano/visualizer/eval [--compare]`: paint
held-out renders.

Every picture is checked by the world's verifier against the words of its prompt. Pass rates come with Wilson
95 % intervals; PSNR is to the scene behind the prompt (for references, where the picture is determined by
what they show). The last lines are one JSON each. Contact sheets show prompt and verdict under each picture:
look at them.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training.vae.export import load as load_vae
from training.visualizer.data import paint
from training.visualizer.sample import Painter
from training.visualizer.sheet import contact_sheet
from training.visualizer.tasks import Shot, Task, after_references, series
from training.world.report import Report
from training.world.scenes.caption import caption
from training.world.scenes.render import render
from training.world.scenes.sample import sample_scene
from training.world.scenes.scene import VARIANTS, Scene
from training.world.scenes.verify import verify
from wanimage.models.mot import Mot
from wanimage.models.understanding import Understanding
from wanimage.sampling import SamplerConfig, Solver

log = logging.getLogger("training.visualizer.evaluate")
BATCH = 20
PROPERTIES = ("object", "color", "size", "background", "alpha")


@dataclass(frozen=True)
class Result:
    """One painted shot."""

    shot: Shot
    picture: np.ndarray
    report: Report
    psnr: float


def main() -> None:
    """Parse, paint, verify, write."""
    parser = argparse.ArgumentParser(prog="python -m training.visualizer.evaluate", description=__doc__)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--out", type=Path, default=Path("runs/nano/visualizer/eval"))
    parser.add_argument(
        "--n", type=int, default=200, help="single pictures; a fifth as many series and references"
    )
    parser.add_argument("--split", default="heldout", choices=["train", "val", "heldout"])
    parser.add_argument("--compare", action="store_true", help="compare steps, guidance and solvers instead")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    understanding = Understanding.load(arguments.family / "understanding")
    painter = Painter(understanding, Mot.load(arguments.family), load_vae(arguments.family))
    arguments.out.mkdir(parents=True, exist_ok=True)
    make = compare if arguments.compare else evaluate
    make(painter, arguments.n, arguments.split, arguments.out)


def evaluate(
    painter: Painter, count: int, split: str, out: Path, sampler: SamplerConfig | None = None
) -> dict:
    """All tasks with one sampler; writes metrics.json and a contact sheet a task, returns the metrics."""
    sampler = sampler or SamplerConfig()
    few = max(2, count // 5)
    metrics: dict[str, object] = {"split": split, "sampler": str(sampler)}
    for name, tasks in {
        "single": single_tasks(count, split),
        "wide": single_tasks(few, split, grids=((6, 10), (10, 6), (4, 16), (16, 4), (3, 24), (24, 3))),
        "series": [series(np.random.default_rng((2, i)), split) for i in range(few)],
        "references": [after_references(np.random.default_rng((3, i)), split) for i in range(few)],
    }.items():
        started = time.perf_counter()
        painted = [
            (task, results) for task, results in zip(tasks, paint_all(painter, tasks, sampler), strict=True)
        ]
        results = [result for _, row in painted for result in row]
        metrics[name] = summary(results) | {"seconds": round(time.perf_counter() - started, 1)}
        if name == "series":
            metrics[name] |= one_ground(painted)  # type: ignore[operator]
        contact_sheet(painted[:24], out / f"{name}.png")
        log.info("%s %s", name, json.dumps(metrics[name]))
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(json.dumps(metrics))
    return metrics


def compare(painter: Painter, count: int, split: str, out: Path) -> list[dict]:
    """Steps, guidance, renorm and solvers by pass rate and PSNR; writes compare.json and returns its rows."""
    base = SamplerConfig()
    options = {f"steps {n}": replace(base, steps=n) for n in (8, 12, 16, 20, 28)}
    options |= {f"euler {n}": replace(base, solver=Solver.EULER, steps=n) for n in (12, 20, 28)}
    options |= {f"heun {n}": replace(base, solver=Solver.HEUN, steps=n) for n in (6, 8)}
    options |= {f"guidance {g}": replace(base, guidance=g) for g in (1.0, 1.5, 2.0, 3.0)}
    options |= {f"shift {s}": replace(base, shift=s) for s in (0.7, 1.5, 2.0)}
    options["no renorm"] = replace(base, renorm=0.0)
    tasks, rows = single_tasks(count, split), []
    for name, sampler in options.items():
        started = time.perf_counter()
        results = [result for row in paint_all(painter, tasks, sampler) for result in row]
        seconds = (time.perf_counter() - started) / count
        rows.append({"option": name, **summary(results), "seconds_a_picture": round(seconds, 3)})
        print(json.dumps(rows[-1]), flush=True)
    edits = [after_references(np.random.default_rng((3, i)), split) for i in range(count // 2)]
    for scale in (1.0, 1.5, 2.0):
        sampler = replace(base, image_guidance=scale)
        results = [result for row in paint_all(painter, edits, sampler) for result in row]
        rows.append({"option": f"image guidance {scale}", **summary(results)})
        print(json.dumps(rows[-1]), flush=True)
    (out / "compare.json").write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def single_tasks(count: int, split: str, grids: Sequence[tuple[int, int]] = ((8, 8),)) -> list[Task]:
    """Single pictures with 1, 2, 3, ... objects in turn, always the same for a split."""
    tasks = []
    for i in range(count):
        rng = np.random.default_rng((1, i))
        grid = grids[i % len(grids)]
        scene = sample_scene(rng, split, n_objects=1 + i % 3, aspect=grid)
        tasks.append(Task((Shot(scene, grid, caption(scene, rng)),)))
    return tasks


def paint_all(painter: Painter, tasks: Sequence[Task], sampler: SamplerConfig) -> list[list[Result]]:
    """Paint and verify in batches."""
    rows = []
    for first in range(0, len(tasks), BATCH):
        chunk = tasks[first : first + BATCH]
        for task, pictures in zip(chunk, painter.paint(chunk, sampler, seed=first * 100), strict=True):
            rows.append([_judge(shot, picture) for shot, picture in zip(task.shots, pictures, strict=True)])
    return rows


def _judge(shot: Shot, picture: np.ndarray) -> Result:
    return Result(shot, picture, verify(shot.scene, picture), psnr(picture, paint(shot)))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB between two straight RGBA pictures, premultiplied, all four planes."""
    flat = [np.concatenate([x[..., :3] * (x[..., 3:] / 255.0), x[..., 3:]], -1) for x in (a, b)]
    return float(10 * np.log10(255**2 / max(1e-9, np.square(flat[0] - flat[1]).mean())))


def summary(results: Sequence[Result]) -> dict:
    """Pass rate with its interval, by number of objects and by property, and the median PSNR."""
    by_count: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        by_count[str(len(result.shot.scene.objects))].append(result.report.passed)
    passed = [result.report.passed for result in results]
    return {
        "n": len(results), "passed": rate(passed), "interval": interval(passed),
        "by_objects": {k: [rate(v), *interval(v)] for k, v in sorted(by_count.items())},
        "by_property": {p: mean([r.report.score(p) for r in results]) for p in PROPERTIES},
        "unexplained": mean([r.report.unexplained for r in results]),
        "psnr": round(float(np.median([r.psnr for r in results])), 2),
    }  # fmt: skip


def one_ground(painted: Sequence[tuple[Task, list[Result]]]) -> dict[str, float]:
    """How often pictures of a series that share a setting show the same drawing of it (1 in 3 or less by
    chance)."""
    same = []
    for task, results in painted:
        grounds = {shot.scene.background.key for shot in task.shots}
        if len(grounds) == 1 and next(iter(grounds)).kind == "setting":
            same.append(len({_drawing(result) for result in results}) == 1)
    return {"series_with_one_setting": len(same)} | ({"show_one_drawing": rate(same)} if same else {})


def _drawing(result: Result) -> int:
    """Which variant of its setting a picture is nearest to."""
    ground, (height, width) = result.shot.scene.background, result.picture.shape[:2]
    drawn = [render(Scene((), replace(ground, variant=v)), height, width) for v in range(VARIANTS)]
    return int(np.argmin([np.abs(d.astype(float) - result.picture).mean() for d in drawn]))


def mean(values: Sequence[float]) -> float:
    """Four digits of a mean."""
    return round(float(np.mean(values)), 4)


def rate(passed: Sequence[bool]) -> float:
    """Share that passed."""
    return round(sum(passed) / len(passed), 4)


def interval(passed: Sequence[bool], z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate."""
    n, p = len(passed), sum(passed) / len(passed)
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return round((middle - spread) / (1 + z * z / n), 4), round((middle + spread) / (1 + z * z / n), 4)


if __name__ == "__main__":
    main()
