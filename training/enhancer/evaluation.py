"""`python -m training.enhancer.evaluation --adapter weights/nano --out benchmarks/enhancer/sft`: the bars.

Rows of held-out compositions, answered greedily and without a grammar, so that what a grammar would repair
counts as wrong here. Shares come with Wilson's 95 % intervals. `--against` names another adapter's results:
rewards and the other judge are compared row by row, with a bootstrap.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.enhancer import adapter
from training.enhancer.data import MIX, Row, sample_row
from training.enhancer.items import VARIANTS, prompt_of, text_of
from training.enhancer.reward import by_words, faithful, lost_share, reward, sides_right
from training.enhancer.sides import sides_kept
from training.intervals import paired, wilson
from training.loop import autocast
from training.understanding.evaluation.report import compact, machine
from training.understanding.rollout import RolloutConfig, roll_out
from wanimage.enhancing import Result, read
from wanimage.models.understanding import Understanding
from wanimage.weights import part_digest

BARS: dict[str, tuple[str, float]] = {
    "category": ("category decided right", 97),
    "fidelity": ("nothing asked for is lost, contradicted or invented", 95),
    "literals": ("quoted text, hex colours, numbers and names verbatim", 100),
    "entries": ("exactly n entries", 100),
    "sides": ("attributes on the right side of common and difference", 95),
    "sides, values too": ("the same, each with its very words", 95),
    "form": ("well formed without a grammar", 100),
}
MOST_TOKENS = 512


@dataclass(frozen=True)
class Answer:
    """A row and what the model wrote to it."""

    row: Row
    text: str
    tokens: int

    @property
    def result(self) -> Result | None:
        """What it says, if it is well formed."""
        try:
            return read(self.text)
        except ValueError:
            return None


def loaded(family: Path, holder: Path | None) -> Understanding:
    """The planner of a family with the adapter of `holder` (merged), or without one."""
    base = adapter.base_of(family)
    planner = Understanding.load(base)
    if holder is not None:
        adapter.load(planner.model, holder / "enhancer", part_digest(family, base.name))
        adapter.merge(planner.model)
    return planner


def rows(count: int, split: str, task: str, seed: int = 0) -> list[Row]:
    """Always the same rows of a task."""
    number = list(MIX).index(task)
    return [sample_row(np.random.default_rng([11, seed, number, i]), split, task=task) for i in range(count)]


def answers(planner: Understanding, asked: Sequence[Row], variant: str, precision: str) -> list[Answer]:
    """The likeliest answer to every row."""
    prompts = [prompt_of(row, variant, planner.vocabulary, planner.preprocessor) for row in asked]
    config = RolloutConfig(most_tokens=MOST_TOKENS, temperature=0, rows=32)
    with autocast(precision):
        found = roll_out(planner.model, prompts, planner.vocabulary.control, config, torch.Generator())
    return [
        Answer(row, text_of(ids, planner.vocabulary), len(ids)) for row, ids in zip(asked, found, strict=True)
    ]


def marks(answer: Answer) -> dict[str, tuple[float, float]]:
    """(right, asked) of every measure that applies to an answer."""
    row, result = answer.row, answer.result
    gold = row.result
    found: dict[str, tuple[float, float]] = {
        "form": (result is not None, 1),
        "category": (result is not None and result.category == gold.category, 1),
    }
    if gold.entries:
        whole = result is not None and result.entries == gold.entries
        found["entries"] = (whole, 1)
        if gold.descriptions:
            same = result is not None and len(result.descriptions) == len(gold.descriptions)
            found["fidelity"] = (same and result is not None and faithful(row, result), 1)
            found["literals"] = (result is not None and lost_share(row, result) == 0, 1)
        else:
            found["sides"] = (0.0 if result is None else sides_kept(gold, result), 1)
            found["sides, values too"] = (0.0 if result is None else sides_right(gold, result), 1)
    return found


def evaluate(planner: Understanding, count: int, split: str, precision: str) -> dict[str, Any]:
    """Every measure by variant and by family; rewards, words and tokens of every answer beside it."""
    summary: dict[str, Any] = {}
    for variant in VARIANTS:
        totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        families: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
        items, written = {}, []
        for task, share in MIX.items():
            asked = rows(max(4, round(count * share)), split, task)
            for number, answer in enumerate(answers(planner, asked, variant, precision)):
                for name, (right, out_of) in marks(answer).items():
                    for tally in (totals, families[answer.row.family]):
                        tally[name][0] += right
                        tally[name][1] += out_of
                worth = reward(answer.row, answer.text).total, by_words(answer.row, answer.text)
                items[f"{task} {number}"] = [round(each, 4) for each in worth]
                written.append(answer.tokens)
        summary[variant] = {
            "bars": table(totals),
            "families": {name: table(tally) for name, tally in sorted(families.items())},
            "reward": round(float(np.mean([a for a, _ in items.values()])), 4),
            "words": round(float(np.mean([b for _, b in items.values()])), 4),
            "tokens": {"median": int(np.median(written)), "most": max(written)},
            "items": items,
        }
    return summary


def table(tally: dict[str, list[float]]) -> dict[str, list[float]]:
    """`{measure: [percent, low, high, n]}`."""
    return {
        name: [round(100 * right / asked, 1), *wilson(round(right), round(asked)), round(asked)]
        for name, (right, asked) in sorted(tally.items())
    }


def gain(before: dict[str, list[float]], after: dict[str, list[float]], column: int) -> list[float]:
    """[mean gain, low, high, n] of a judge's marks (0: reward, 1: words), on the rows that both have."""
    names = sorted(before.keys() & after.keys())
    gains = np.array([after[name][column] - before[name][column] for name in names])
    return [*(round(each, 4) for each in paired(gains)), len(names)]


def main() -> None:
    """Answer, judge, write."""
    parser = argparse.ArgumentParser(
        prog="python -m training.enhancer.evaluation", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--family", type=Path, default=Path("weights/nano"), help="holds the planner")
    parser.add_argument("--adapter", type=Path, help="holds enhancer/; default: the family, none: no adapter")
    parser.add_argument("--n", type=int, default=600, help="rows over all tasks, for each variant")
    parser.add_argument("--split", default="heldout", choices=("train", "val", "heldout"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--against", type=Path, help="results of another adapter, as --out wrote them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.items.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.time()
    planner = loaded(arguments.family, arguments.adapter or arguments.family)
    summary = evaluate(planner, arguments.n, arguments.split, arguments.precision)
    items = {variant: summary[variant].pop("items") for variant in VARIANTS}
    if arguments.against:
        other = json.loads(arguments.against.with_suffix(".items.json").read_text())
        for variant in VARIANTS:
            for column, name in enumerate(("reward", "words")):
                summary[variant][f"{name} gain"] = gain(other[variant], items[variant], column)
    summary |= {
        "n": arguments.n, "split": arguments.split, "machine": machine(), "date": date.today().isoformat(),
        "seconds": round(time.time() - started),
    }  # fmt: skip
    print(compact(summary))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.with_suffix(".json").write_text(compact(summary))
        arguments.out.with_suffix(".items.json").write_text(json.dumps(items) + "\n")


if __name__ == "__main__":
    main()
