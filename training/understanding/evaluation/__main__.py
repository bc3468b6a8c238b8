"""`python -m training.understanding.evaluation --model DIR`: every bar of the planner, on held-out requests.

    --n 40        samples of each of the 33 families (9 kinds of core chats, 24 tasks); --n 8 is a quick look
    --think       auto (the model chooses, no grammar), on or off (the grammar starts in <think>, or bans it)
    --grammar     constrain every turn; without it the main pass measures the model alone
    --out         the tables as JSON; --items what each turn got, for compare; --wrong its wrong answers

Further passes, unless --no-extras: a quarter of the samples under the grammar, and the numeric and logical
questions with reasoning forced on and off.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path

from training.understanding.evaluation.cases import FAMILIES
from training.understanding.evaluation.intervals import paired
from training.understanding.evaluation.report import Results, printed
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
        "model": str(arguments.model), "n": plan.n, "split": plan.split, "seed": plan.seed,
        "think": plan.mode.think, "grammar": plan.mode.constrained,
        "seconds": round(time.monotonic() - started), **results.summary(),
        "think - instruct": reasoning_gain(results),
    }  # fmt: skip
    print(printed(summary))
    for path, content in (
        (arguments.out, summary),
        (arguments.items, results.items),
        (arguments.wrong, sorted(results.wrong, key=lambda each: str(each["case"]))),
    ):
        if path:
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def reasoning_gain(results: Results) -> dict[str, float] | None:
    """Percent points that forced reasoning gains on the numeric and logical items; None when not measured."""
    names = [name.removesuffix(" reasoned_on") for name in results.items if name.endswith(" reasoned_on")]
    pairs = [
        [results.items[f"{name} reasoned_{think}"][f"reasoned_{think}"][0] for name in names]
        for think in ("off", "on")
    ]
    if not names:
        return None
    gain, low, high = paired(*pairs)
    return {"gain": gain, "low": low, "high": high, "n": len(names), "goal": 5}


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
    parser.add_argument("--items", type=Path)
    parser.add_argument("--wrong", type=Path)
    return parser


if __name__ == "__main__":
    main()
