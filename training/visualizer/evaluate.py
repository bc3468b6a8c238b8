"""What the visualizer can do: `python -m training.visualizer.evaluate --n 200 --out runs/nano/eval`.

Paints held-out cases of every capability (`capabilities.py`), has the world's verifiers judge them, and
writes `rows.json`, `table.md` and a contact sheet a row with prompt and verdict under each picture: look at
them. Rates come with Wilson 95 % intervals, other means with 1.96 standard errors. Rows do not depend on each
other, so `--jobs` processes share them, which takes less time than as many threads. `--compare` runs the rows
with one sampler setting changed at a time instead.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from training.intervals import wilson
from training.loop import faster_precision
from training.vae.export import load as load_vae
from training.visualizer.capabilities import LOST_OUTSIDE, Measures, Row, outside, psnr, report_of, rows
from training.visualizer.sample import Painter
from training.visualizer.sheet import contact_sheet
from training.visualizer.tasks import Task, text_to_image
from training.world.report import Report
from wanimage.coloring import Coloring
from wanimage.models.mot import Mot
from wanimage.models.understanding import Understanding
from wanimage.models.vae import premultiplied, straight
from wanimage.sampling import SamplerConfig, Solver
from wanimage.steering import Helpers

log = logging.getLogger("training.visualizer.evaluate")
TOKENS = 1600
"""Noisy tokens of a batch, about."""
SHOWN = 12
"""Cases on a contact sheet."""
COMPARED = 40
"""Cases whose whole pictures are compared with the true ones."""
PLAIN = ("kept", "count", "relation")
"""Measures that a table shows of a row without bars."""
ALSO = ("right", "dB outside")
"""Measures that a table shows of every row: all that was asked, and how well an edit keeps the rest."""


@dataclass(frozen=True)
class Case:
    """A task with what was painted for it."""

    task: Task
    pictures: list[np.ndarray]
    measures: Measures
    report: Report


def main() -> None:
    """Parse, paint, judge, write."""
    parser = argparse.ArgumentParser(prog="python -m training.visualizer.evaluate", description=__doc__)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--out", type=Path, default=Path("runs/nano/visualizer/eval"))
    parser.add_argument("--n", type=int, default=200, help="cases a row")
    parser.add_argument("--rows", default="", help="only rows whose name has one of these words in it")
    parser.add_argument("--compare", action="store_true", help="compare steps, guidance and solvers instead")
    hold = "hold what edits leave alone (wanimage/keeping.py)"
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help=hold)
    color = "lead stated palettes to their colours (wanimage/coloring.py)"
    parser.add_argument("--color", action=argparse.BooleanOptionalAction, default=True, help=color)
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time")
    parser.add_argument("--threads", type=int, default=2, help="of a job")
    arguments = parser.parse_args()
    for name in ("n", "jobs", "threads"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} {getattr(arguments, name)}: give 1 or more")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    wanted = chosen(arguments.rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    painter = load(arguments.family)
    if arguments.compare:
        compare(painter, wanted, arguments.n, arguments.out)
    else:
        sampler = SamplerConfig(keep=arguments.keep, color=arguments.color)
        said = {"count": arguments.n, "out": arguments.out, "sampler": sampler}
        judge = partial(measured, arguments.family, painter.precision, **said)
        evaluate(judge, [row.name for row in wanted], arguments.out, arguments.jobs, arguments.threads)


@cache
def load(family: Path, precision: str | None = None) -> Painter:
    """The models of a family, if not told otherwise in the precision that paints sooner on this machine."""
    models = Understanding.load(family / "understanding"), Mot.load(family), load_vae(family)
    painter = Painter(*models, helpers=Helpers.of(family, Coloring.load(family)))
    if precision:
        return replace(painter, precision=precision)
    task = text_to_image(np.random.default_rng(0))
    # Within the autocast that is tried, which "fp32" leaves as it is.
    precision = faster_precision(lambda: painter.paint([task], SamplerConfig(steps=1)))
    return replace(painter, precision=precision)


def chosen(words: str) -> list[Row]:
    """The rows whose names have one of the comma-separated words in them; all without words."""
    found = [row for row in rows().values() if any(word.strip() in row.name for word in words.split(","))]
    if not found:
        raise SystemExit(f"--rows {words}: no such row; there are {', '.join(rows())}")
    return found


def evaluate(
    judge: Callable[[str], dict], names: Sequence[str], out: Path, jobs: int, threads: int
) -> list[dict]:
    """`judge` the rows of these names, in `jobs` processes of as many threads each; writes as they end."""
    results: list[dict] = []
    processes = ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,))
    with processes as pool:
        for found in pool.map(judge, names):
            results.append(found)
            log.info("%s", json.dumps(found))
            (out / "rows.json").write_text(json.dumps(results, indent=1) + "\n")
            (out / "table.md").write_text(table(results))
    print(table(results))
    return results


def measured(
    family: Path, precision: str, name: str, *, count: int, out: Path, sampler: SamplerConfig
) -> dict:
    """Paint and judge one row; writes its contact sheet."""
    painter = load(family, precision)
    row, started = rows()[name], time.perf_counter()
    cases = run(painter, row, count, sampler)
    measures, bars = gathered([case.measures for case in cases]), dict(row.bars)
    if "dB outside" in measures:
        bars["dB outside"] = round(kept_by_vae(painter, [case.task for case in cases]) - LOST_OUTSIDE, 2)
    found = {
        "row": row.name,
        "task": row.task,
        "n": len(cases),
        "measures": measures,
        "bars": bars,
        "dB": db_of(painter, cases),
        "seconds": round(time.perf_counter() - started, 1),
    }
    contact_sheet(
        [(c.task, c.pictures, [c.report] * len(c.pictures)) for c in cases[:SHOWN]],
        out / f"{row.name.replace(' ', '_').replace(',', '').replace(':', 'x')}.png",
    )
    return found


def compare(painter: Painter, wanted: Sequence[Row], count: int, out: Path) -> list[dict]:
    """Steps, guidance, renorm and solvers, one changed at a time; writes compare.json."""
    base = SamplerConfig()
    options = {f"steps {n}": replace(base, steps=n) for n in (8, 12, 16, 20, 28)}
    options |= {f"euler {n}": replace(base, solver=Solver.EULER, steps=n) for n in (12, 20, 28)}
    options |= {f"heun {n}": replace(base, solver=Solver.HEUN, steps=n) for n in (6, 8)}
    options |= {f"guidance {g}": replace(base, guidance=g) for g in (1.0, 1.5, 2.0, 3.0, 4.0)}
    options |= {f"image guidance {g}": replace(base, image_guidance=g) for g in (1.5, 2.0)}
    options |= {f"shift {s}": replace(base, shift=s) for s in (0.7, 1.5, 2.0)}
    options["nothing kept"] = replace(base, keep=False)
    options |= {f"renorm {r}": replace(base, renorm=r) for r in (0.0, 0.5, 1.0)}
    results = []
    for name, sampler in options.items():
        started = time.perf_counter()
        cases = [case for row in wanted for case in run(painter, row, count, sampler)]
        found = {"option": name, "measures": gathered([case.measures for case in cases])}
        results.append(found | {"seconds_a_case": round((time.perf_counter() - started) / len(cases), 3)})
        print(json.dumps(results[-1]), flush=True)
        (out / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
    return results


def run(painter: Painter, row: Row, count: int, sampler: SamplerConfig) -> list[Case]:
    """The first `count` cases of a row, always the same, each with the same noise."""
    tasks = [row.make(np.random.default_rng((zlib.crc32(row.name.encode()), i))) for i in range(count)]
    cases: list[Case] = []
    while len(cases) < count:
        batch, first = _batch(tasks[len(cases) :]), len(cases)
        painted = painter.paint(batch, sampler, seed=first * 100)
        for task, pictures in zip(batch, painted, strict=True):
            report = report_of(task, pictures)
            cases.append(Case(task, pictures, row.judge(task, pictures, report), report))
    return cases


def _batch(tasks: Sequence[Task]) -> list[Task]:
    """As many of the next tasks as one batch holds."""
    batch: list[Task] = []
    longest = 0
    for task in tasks:
        longest = max(longest, sum(r * c for r, c in (f.grid for f in (*task.shots, *task.references))))
        if batch and longest * (len(batch) + 1) > TOKENS:
            break
        batch.append(task)
    return batch


def db_of(painter: Painter, cases: Sequence[Case]) -> dict[str, float]:
    """Median dB to the true pictures, and of the VAE's own reconstructions of them, of the first cases."""
    own, vae = [], []
    for case in cases[:COMPARED]:
        for frame, picture in zip(case.task.shots, case.pictures, strict=True):
            true = frame.draw()
            own.append(psnr(true, picture))
            vae.append(psnr(true, coded_by(painter, true)))
    return {"pictures": round(float(np.median(own)), 1), "vae": round(float(np.median(vae)), 1)}


def kept_by_vae(painter: Painter, tasks: Sequence[Task]) -> float:
    """Mean dB that the VAE alone keeps of what edits leave alone."""
    kept = (outside(task, coded_by(painter, task.shots[0].draw())) for task in tasks)
    return float(np.mean([value for value in kept if value is not None]))


@torch.inference_mode()
def coded_by(painter: Painter, picture: np.ndarray) -> np.ndarray:
    """What the VAE alone makes of a picture, straight RGBA uint8 `[H, W, 4]`, as the picture is."""
    planes = painter.vae(premultiplied(torch.from_numpy(picture[None])))
    return straight(planes.float())[0].numpy()


def gathered(measures: Sequence[Measures]) -> dict[str, list[float]]:
    """Each measure as [value, low, high, n] over the cases that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for case in measures:
        for name, value in case.items():
            values[name].append(value)
    return {name: [round(x, 4) for x in (*_mean(found), len(found))] for name, found in values.items()}


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    """A mean with its 95 % interval: Wilson's where all values are 0 or 1."""
    n, p = len(values), float(np.mean(values))
    if set(values) <= {0.0, 1.0}:
        low, high = wilson(round(sum(values)), n, digits=6)
        return p, low / 100, high / 100
    spread = 1.96 * float(np.std(values)) / math.sqrt(n)
    return p, p - spread, p + spread


def table(results: Sequence[dict]) -> str:
    """The rows in Markdown: what they have bars for, which are bold where met, and `ALSO`; in percent unless
    the name of a measure has a unit."""
    lines = ["| capability | n | measure | bar | reached |", "|---|---|---|---|---|"]
    for row in results:
        shown = [name for name in (*(row["bars"] or PLAIN), *ALSO) if name in row["measures"]]
        head = (row["row"], str(row["n"]))
        for name in dict.fromkeys(shown):
            value, low, high = (_number(name, each) for each in row["measures"][name][:3])
            cells = (*head, name.removeprefix("least "), _bar(row, name), f"{value} ({low}-{high})")
            lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|")
            head = ("", "")  # a row is named once
    return "\n".join(lines) + "\n"


def _bar(row: dict, name: str) -> str:
    if name not in row["bars"]:
        return ""
    bar, value = row["bars"][name], row["measures"][name][0]
    met = value <= bar if name.startswith("least") else value >= bar
    return f"**{_number(name, bar)}**" if met else _number(name, bar)


def _number(name: str, value: float) -> str:
    if name.startswith("dB") or name in ("least deltaE2000", "least share off", "least fringe"):
        return f"{value:.1f}"
    return f"{value:.3f}" if name == "least alpha off" else f"{100 * value:.0f}"


if __name__ == "__main__":
    main()
