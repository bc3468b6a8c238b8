"""Tables of a run: measures by family and category, the bars with their intervals, and causes of faults."""

import json
import os
import platform
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.intervals import wilson
from training.understanding.evaluation.cases import Case
from training.understanding.evaluation.judging import Verdict
from training.understanding.evaluation.writing import Written

BARS: dict[str, tuple[str, float]] = {  # measure: what it is, and what it has to reach in percent
    "route": ("task routed right", 97),
    "count": ("number of images right", 97),
    "size": ("size right", 95),
    "orientation": ("orientation right", 95),
    "well_formed": ("markup well formed, without grammar", 99),
    "well_formed_grammar": ("markup well formed, with grammar", 100),
    "scene": ("a picture's prompt carries all that is demanded", 90),
    "consistent": ("a character keeps its description", 95),
    "vqa": ("world VQA", 85),
    "answered": ("not needlessly refused", 100),
    "ambiguous": ("ambiguous request read in an accepted way", 90),
}


@dataclass
class Tally:
    """(right, asked) by measure."""

    right: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def add(self, marks: dict[str, tuple[int, int]]) -> None:
        """Count one turn's measures."""
        for name, (right, asked) in marks.items():
            self.right[name] += right
            self.asked[name] += asked

    def table(self) -> dict[str, list[float]]:
        """`{measure: [percent, low, high, n]}`."""
        return {
            name: [round(100 * self.right[name] / asked, 1), *wilson(self.right[name], asked), asked]
            for name, asked in sorted(self.asked.items())
            if asked
        }


@dataclass
class Results:
    """All verdicts of a run."""

    families: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    categories: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    total: Tally = field(default_factory=Tally)
    causes: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    items: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    wrong: list[dict[str, object]] = field(default_factory=list)

    def add(self, case: Case, written: Written, verdict: Verdict) -> None:
        """Count a turn of the main pass."""
        for tally in (self.families[case.family], self.categories[case.category], self.total):
            tally.add(verdict.marks)
        self.items[case.name] = verdict.marks
        self.causes.update({fault.name for fault in verdict.faults})  # once a turn
        if verdict.expected_route != verdict.written_route:
            self.routes[f"{verdict.expected_route} -> {verdict.written_route}"] += 1
        if not verdict.right or verdict.faults:
            self.wrong.append(_wrong(case, written, verdict))

    def add_only(self, name: str, case: Case, right: bool) -> None:
        """Count one measure of a further pass."""
        self.total.add({name: (int(right), 1)})
        self.families[case.family].add({name: (int(right), 1)})
        key = f"{case.name} {name}"
        self.items[key] = {name: (int(right), 1)}

    def summary(self) -> dict[str, Any]:
        """What is written as JSON."""
        total = self.total.table()
        return {
            "bars": {
                name: {"what": what, "goal": goal, "measured": total.get(name)}
                for name, (what, goal) in BARS.items()
            },
            "all": total,
            "categories": {name: tally.table() for name, tally in sorted(self.categories.items())},
            "families": {name: tally.table() for name, tally in sorted(self.families.items())},
            "turns with a fault, by cause": dict(self.causes.most_common()),
            "routed wrong": dict(self.routes.most_common()),
        }


def _wrong(case: Case, written: Written, verdict: Verdict) -> dict[str, object]:
    return {
        "case": case.name,
        "shown": [str(getattr(p.scene, "spec", p.scene)) for p in case.shown],
        "request": case.request,
        "gold": case.gold.text,
        "written": written.plain(),
        "faults": [
            f"{fault.name}: wanted {fault.wanted!r}, wrote {fault.written!r}" for fault in verdict.faults
        ],
    }


def machine() -> str:
    """The processor and how many of its cores this process may use."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def compact(summary: dict[str, Any]) -> str:
    """JSON with every innermost list on a line of its own."""
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text) + "\n"


def printed(summary: dict[str, Any]) -> str:
    """The tables in words: bars, families, categories, causes."""
    lines = ["bar".ljust(52) + "goal   measured  95 % interval      n"]
    for bar in summary["bars"].values():
        if bar["measured"]:
            percent, low, high, n = bar["measured"]
            lines.append(f"{bar['what']:<52}{bar['goal']:>4}   {percent:>8}  {low:>5} - {high:<5} {n:>7}")
    if gain := summary["think - instruct"]:
        lines.append(f"think - instruct on numeric and logical items, goal 5: {gain}")
    shown = ("route", "count", "size", "scene", "consistent", "vqa", "well_formed")
    lines.append("\n" + "family".ljust(26) + "".join(name.rjust(12) for name in shown))
    for name, table in {**summary["families"], **summary["categories"], "all": summary["all"]}.items():
        cells = [f"{table[m][0]:>7} /{table[m][3]:<3}" if m in table else " " * 12 for m in shown]
        lines.append(name.ljust(26) + "".join(cell.rjust(12) for cell in cells))
    parts = [m for m in summary["all"] if m not in shown and not m.startswith("vqa ")]
    lines.append("\nparts: " + ", ".join(f"{m} {summary['all'][m][0]}" for m in parts))
    asked = [m for m in summary["all"] if m.startswith("vqa ")]
    lines.append(
        "questions: " + ", ".join(f"{m[4:]} {summary['all'][m][0]} /{summary['all'][m][3]}" for m in asked)
    )
    for title in ("turns with a fault, by cause", "routed wrong"):
        lines.append(f"{title}: " + ", ".join(f"{name} {n}" for name, n in list(summary[title].items())[:25]))
    return "\n".join(lines)
