"""`python -m training.enhancer.pictures --out benchmarks/enhancer/pictures`: do enhanced prompts draw better?

The shipped visualizer paints every held-out request twice with the same noise: from the raw words, and from
what the enhancer (fast, greedy) makes of them. A picture passes when the world's verifier finds all that the
request determines of it, and nothing is asked of what it leaves open, so that neither side is favoured. A
request that passes through keeps its words, its noise and so its picture; it is painted once.

Only scenes are painted: the visualizer has never been shown letters, so posters, charts and screens fail on
both sides and say nothing. Of the activated categories that leaves storyboards and knowledge: the steps of a
how-to (a diagram) are the enhancer's choice, its request names nothing that could be looked for.
`general` is what must not lose, `general rewritten` is what a caller gets who forces it. Of a series the
first two pictures are painted, each by itself.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from training.enhancer.data import Row, described, sample_row
from training.enhancer.evaluation import answers, loaded
from training.intervals import paired, wilson
from training.understanding.evaluation.determined import said_scene
from training.understanding.evaluation.report import compact, machine
from training.vae.export import load as load_vae
from training.visualizer.sample import Painter
from training.visualizer.sheet import contact_sheet
from training.visualizer.tasks import BASE, Task
from training.world.report import Report
from training.world.scenes.scene import Background, ObjectSpec, Scene, make_spec
from training.world.scenes.verify import verify
from training.world.tasks.sample import Frame
from wanimage.models.mot import Mot
from wanimage.models.understanding import Understanding
from wanimage.sampling import SamplerConfig

GROUPS = ("storyboard", "knowledge", "general", "general rewritten")
MOST_OF_A_SERIES = 2
BATCH = 20


@dataclass(frozen=True)
class Ask:
    """One picture of a request: the scene of the row's own answer, and what the request determines of it."""

    row: Row
    index: int
    prompt: str
    """What the enhancer makes of it; the request itself where that passes through or is ill-formed."""


@dataclass(frozen=True)
class Painted:
    """One picture and the verdict on what the request determines."""

    frame: Frame
    picture: np.ndarray
    report: Report


def group_of(row: Row) -> str:
    """One of GROUPS."""
    return "general rewritten" if row.forced else row.result.category


def held_out(group: str, count: int) -> list[Row]:
    """Always the same requests of a group, those that are answered with scenes or by nothing at all."""
    task = "t2i" if group.startswith("general") else "t2s"
    found: list[Row] = []
    seed = 0
    while len(found) < count:
        row = sample_row(np.random.default_rng([12, GROUPS.index(group), seed]), "heldout", task=task)
        seed += 1
        if group_of(row) == group and row.scenes and len(row.scenes[0].objects) and determined(row, 0):
            found.append(row)
    return found


def determined(row: Row, index: int) -> list[ObjectSpec]:
    """The objects of a picture that the request names, with what it says of them."""
    scene = row.scenes[index]
    demand = said_scene(scene.spec, described(scene).natural, row.request)
    found = []
    for wanted in demand.objects:
        one = {name: next(iter(allowed)) for name, allowed in wanted.fields.items() if len(allowed) == 1}
        if "concept" in one:
            found.append(
                ObjectSpec(
                    str(one["concept"]), one.get("color"), str(one.get("place", "")),
                    str(one.get("size", "")), str(one.get("style", "flat")), int(one.get("count", 1)),
                )
            )  # fmt: skip
    return found


def judge(row: Row, index: int, picture: np.ndarray) -> Report:
    """The verifier's findings on what the request determines: objects, and the ground where it is said."""
    scene = row.scenes[index]
    demand = said_scene(scene.spec, described(scene).natural, row.request)
    ground: Background = scene.background.key
    report = verify(make_spec(determined(row, index), ground), picture)
    asked = set(demand.ground)
    told = bool(asked & {"setting", "color", "bands"}) or "kind" in asked
    kept = tuple(f for f in report.findings if told or f.property not in ("background", "alpha", "weather"))
    return Report(kept, report.unexplained)


def asks(planner: Understanding, rows: Sequence[Row]) -> list[Ask]:
    """The pictures to paint, with the enhancer's prompts."""
    found = []
    for answer in answers(planner, rows, "fast", "fp32"):
        result = answer.result
        for index in range(min(len(answer.row.scenes), MOST_OF_A_SERIES)):
            written = result.descriptions[index : index + 1] if result else ()
            found.append(Ask(answer.row, index, written[0].natural if written else answer.row.request))
    return found


def paint(painter: Painter, prompts: Sequence[str], sampler: SamplerConfig) -> list[np.ndarray]:
    """A base picture a prompt; equal places in the list have equal noise."""
    found = []
    for first in range(0, len(prompts), BATCH):
        tasks = [Task((Frame(Scene(()), BASE, prompt),)) for prompt in prompts[first : first + BATCH]]
        found += [pictures[0] for pictures in painter.paint(tasks, sampler, seed=first * 100)]
    return found


def compared(painter: Painter, some: Sequence[Ask], sampler: SamplerConfig) -> list[tuple[Painted, Painted]]:
    """(raw, enhanced) of every ask."""
    raw = paint(painter, [ask.row.request for ask in some], sampler)
    changed = [ask.prompt != ask.row.request for ask in some]
    better = paint(painter, [ask.prompt for ask in some], sampler) if any(changed) else raw
    pairs = []
    for ask, before, after, other in zip(some, raw, better, changed, strict=True):
        shots = (Frame(Scene(()), BASE, ask.row.request), Frame(Scene(()), BASE, ask.prompt))
        first = Painted(shots[0], before, judge(ask.row, ask.index, before))
        second = Painted(shots[1], after, judge(ask.row, ask.index, after)) if other else first
        pairs.append((first, second))
    return pairs


def summary(pairs: Sequence[tuple[Painted, Painted]]) -> dict[str, object]:
    """Pass rates of both sides with intervals, the paired gain in points, and how many prompts changed."""
    passed = np.array([[one.report.passed for one in pair] for pair in pairs], float)
    gains = passed[:, 1] - passed[:, 0]
    raw, enhanced = ([round(100 * p.mean(), 1), *wilson(int(p.sum()), len(pairs))] for p in passed.T)
    return {
        "pictures": len(pairs), "raw": raw, "enhanced": enhanced,
        "gain": [round(100 * each, 1) for each in paired(gains)],
        "changed": sum(a.frame.prompt != b.frame.prompt for a, b in pairs),
    }  # fmt: skip


def main() -> None:
    """Paint, verify, write."""
    parser = argparse.ArgumentParser(
        prog="python -m training.enhancer.pictures", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--adapter", type=Path, help="holds enhancer/; default: the family")
    parser.add_argument("--n", type=int, default=200, help="requests of each group")
    parser.add_argument("--group", action="append", choices=GROUPS, help="only these")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json and OUT.png")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.time()
    planner = loaded(arguments.family, arguments.adapter or arguments.family)
    eyes = Understanding.load(arguments.family / "understanding")
    painter = Painter(eyes, Mot.load(arguments.family), load_vae(arguments.family))
    found: dict[str, object] = {}
    shown: list[tuple[Painted, Painted]] = []
    for group in arguments.group or GROUPS:
        pairs = compared(painter, asks(planner, held_out(group, arguments.n)), SamplerConfig())
        found[group] = summary(pairs)
        shown += [pair for pair in pairs if pair[0] is not pair[1]][:9]
        print(group, json.dumps(found[group]), flush=True)
    found |= {
        "requests": arguments.n, "machine": machine(), "date": date.today().isoformat(),
        "seconds": round(time.time() - started),
    }  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(compact(found))
    tiles = [
        (Task(tuple(p.frame for p in pair)), [p.picture for p in pair], [p.report for p in pair])
        for pair in shown
    ]
    contact_sheet(tiles, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
