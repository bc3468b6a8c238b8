"""`python -m training.understanding.evaluation --model DIR`: every bar of the planner, on held-out requests.

    --n 40        samples of each of 38 families (9 chats, 24 tasks, 4 of queries, a session); 8 for a look
    --think       auto (the model chooses, no grammar), on or off (the grammar starts in <think>, or bans it)
    --grammar     constrain every turn; without it the main pass measures the model alone
    --out NAME    writes NAME.json, the tables, and NAME.items.json, what every turn got, for compare
    --wrong FILE  writes the wrong answers with what is wrong with each

Further passes, unless --no-extras: a quarter of the samples under the grammar, and the numeric and logical
questions with reasoning forced on and off.
"""

import argparse
import asyncio
import json
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from training.intervals import difference
from training.understanding.evaluation.cases import FAMILIES
from training.understanding.evaluation.report import Results, compact, machine, printed
from training.understanding.evaluation.running import Plan, evaluate
from training.understanding.evaluation.writing import Mode


def main() -> None:
    """Parse, run, print, and write what was asked for."""
    arguments = _parser().parse_args()
    plan = Plan(
        arguments.model, arguments.n, arguments.split, arguments.seed,
        Mode(arguments.think, arguments.grammar), tuple(arguments.family), arguments.extras,
    )  # fmt: skip
    started = time.monotonic()
    results = asyncio.run(evaluate(plan, arguments.threads))
    summary = {
        "command": shlex.join(["python", "-m", "training.understanding.evaluation", *sys.argv[1:]]),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - started),
        "n": plan.n, "split": plan.split, "seed": plan.seed, "think": plan.mode.think,
        "grammar": plan.mode.constrained, "think - instruct": reasoning_gain(results), **results.summary(),
    }  # fmt: skip
    print(printed(summary))
    if arguments.out:
        arguments.out.with_suffix(".json").write_text(compact(summary))
        arguments.out.with_suffix(".items.json").write_text(json.dumps(results.items) + "\n")
    if arguments.wrong:
        wrong = sorted(results.wrong, key=lambda each: str(each["case"]))
        arguments.wrong.write_text(json.dumps(wrong, indent=1, ensure_ascii=False) + "\n")


def reasoning_gain(results: Results) -> dict[str, float] | None:
    """Percent points that forced reasoning gains on the numeric and logical items; None when not measured."""
    ways = [
        {name: {"right": marks[way]} for name, marks in results.items.items() if way in marks}
        for way in ("reasoned_off", "reasoned_on")
    ]
    found = difference(*ways, ["right"])
    return dict(zip(("gain", "low", "high", "n"), found, strict=True)) if found else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.understanding.evaluation", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", type=Path, required=True, help="folder of the exported planner")
    parser.add_argument("--n", type=int, default=40, help="samples of each family")
    parser.add_argument("--split", default="heldout", choices=("train", "val", "heldout", "heldout_concepts"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--think", default="auto", choices=("auto", "on", "off"))
    parser.add_argument("--grammar", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--extras", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--family", action="append", default=[], choices=FAMILIES, help="only these")
    parser.add_argument("--threads", type=int, default=1, help="cores of the model; another one samples")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--wrong", type=Path)
    return parser


if __name__ == "__main__":
    main()
