"""`python -m training.understanding.evaluation.compare sft=RUNS/sft opd=RUNS/opd`: models side by side.

Each NAME=PATH names what `evaluation --out PATH` wrote. Prints (or puts into --readme, between its markers)
the bars by model, the differences of each --pair (by default each model to the one before it) with bootstrap
intervals over the samples that both have, and the measures by category and by family of the last model.
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from training.intervals import Items, difference
from training.understanding.evaluation.report import BARS

AVERAGED = tuple(name for name in BARS if name != "well_formed_grammar")
"""The bars whose mean is the average of a model; the grammar's is the grammar's merit."""
_SHOWN = ("route", "count", "size", "scene", "consistent", "vqa", "ambiguous", "well_formed")
_BEGIN, _END = "<!-- begin: compare -->", "<!-- end: compare -->"


@dataclass(frozen=True)
class Run:
    """One model's evaluation."""

    name: str
    summary: dict[str, Any]
    items: Items

    @classmethod
    def read(cls, named: str) -> "Run":
        """`NAME=PATH`. Raises ValueError when it is not of that form."""
        name, equals, path = named.partition("=")
        if not equals:
            raise ValueError(f"{named!r} is not NAME=PATH, the path that evaluation's --out had")
        summary = json.loads(Path(path).with_suffix(".json").read_text())
        items = Path(path).with_suffix(".items.json")
        return cls(name, summary, json.loads(items.read_text()) if items.exists() else {})

    @property
    def average(self) -> float | None:
        """The mean of the bars; None where one was not measured."""
        found = [self.summary["all"].get(name) for name in AVERAGED]
        return None if None in found else round(sum(cell[0] for cell in found) / len(found), 1)


def tables(runs: list[Run], pairs: list[tuple[str, str]]) -> Iterator[str]:
    """Markdown, line by line."""
    yield from _bars(runs)
    yield from _differences({run.name: run for run in runs}, pairs)
    last = runs[-1]
    for title, key in (("category", "categories"), ("family", "families")):
        yield from ("", f"By {title}, {last.name}:", "", f"| {title} | " + " | ".join(_SHOWN) + " |")
        yield "|---" * (len(_SHOWN) + 1) + "|"
        for name, table in last.summary[key].items():
            yield f"| {name} | " + " | ".join(_share(table.get(measure)) for measure in _SHOWN) + " |"
    asked = {m.removeprefix("vqa "): c for m, c in last.summary["all"].items() if m.startswith("vqa ")}
    yield from (
        "",
        f"Questions, {last.name}: " + "; ".join(f"{m} {_share(c)}" for m, c in asked.items()) + ".",
    )
    causes = last.summary["turns with a fault, by cause"]
    yield from (
        "",
        f"Faults, {last.name}, in turns: " + "; ".join(f"{c} {n}" for c, n in causes.items()) + ".",
    )
    yield from ("", "| model | command | machine | date | seconds |", "|---|---|---|---|---|")
    for run in runs:
        keys = ("command", "machine", "date", "seconds")
        command, *rest = (str(run.summary[key]) for key in keys)
        yield f"| {run.name} | `{command}` | " + " | ".join(rest) + " |"


def _bars(runs: list[Run]) -> Iterator[str]:
    yield "| bar, % [95 % interval] | goal | " + " | ".join(run.name for run in runs) + " |"
    yield "|---" * (len(runs) + 2) + "|"
    for name, (what, goal) in BARS.items():
        cells = [_cell(run.summary["all"].get(name), goal) for run in runs]
        yield f"| {what} | {goal:g} | " + " | ".join(cells) + " |"
    gains = [run.summary["think - instruct"] for run in runs]
    said = [f"{g['gain']:+} [{g['low']:+}, {g['high']:+}] of {g['n']}" if g else "" for g in gains]
    yield "| reasoning forced on - off, numeric and logical items, points | 5 | " + " | ".join(said) + " |"
    averages = ["" if run.average is None else str(run.average) for run in runs]
    yield "| mean of the bars but the grammar's | | " + " | ".join(averages) + " |"


def _cell(found: list[float] | None, goal: float) -> str:
    if not found:
        return ""
    percent, low, high, count = found
    share = f"{percent}" if percent >= goal else f"**{percent}**"
    return f"{share} [{low}, {high}] of {count:g}"


def _share(found: list[float] | None) -> str:
    return f"{found[0]:g} /{found[3]:g}" if found else ""


def _differences(runs: dict[str, Run], pairs: list[tuple[str, str]]) -> Iterator[str]:
    if not pairs:
        return
    yield from ("", "Differences on the same samples, points [95 % interval]:", "")
    yield "| bar | " + " | ".join(f"{b} - {a}" for a, b in pairs) + " |"
    yield "|---" * (len(pairs) + 1) + "|"
    for what, measures in (*((BARS[name][0], [name]) for name in BARS), ("mean of them", list(AVERAGED))):
        cells = [_gain(difference(runs[a].items, runs[b].items, measures)) for a, b in pairs]
        yield f"| {what} | " + " | ".join(cells) + " |"


def _gain(found: tuple[float, float, float, int] | None) -> str:
    if found is None:
        return ""
    gain, low, high, _ = found
    return f"{gain:+} [{low:+}, {high:+}]" if low <= 0 <= high else f"**{gain:+}** [{low:+}, {high:+}]"


def main() -> None:
    """Parse, compare, print or write."""
    parser = argparse.ArgumentParser(
        prog="python -m training.understanding.evaluation.compare", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("runs", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--pair", action="append", default=[], metavar="A:B", help="measure B - A")
    parser.add_argument("--readme", type=Path, help="a file with the two markers of these tables")
    arguments = parser.parse_args()
    runs = [Run.read(named) for named in arguments.runs]
    names = [run.name for run in runs]
    pairs = [tuple(pair.split(":", 1)) for pair in arguments.pair] or list(pairwise(names))
    text = "\n".join(tables(runs, pairs))
    if not arguments.readme:
        print(text)
        return
    page = arguments.readme.read_text()
    between = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if not between.search(page):
        raise SystemExit(f"{arguments.readme} has no {_BEGIN} ... {_END}")
    arguments.readme.write_text(between.sub(lambda _: f"{_BEGIN}\n{text}\n{_END}", page))


if __name__ == "__main__":
    main()
