"""`python -m training.understanding.ablate --out RUNS [--evaluate 8]`: what each choice of training is worth.

RUNS is a run of `training.understanding` whose U-CT is finished. Each arm is a short stage from there,
written to RUNS/ablate-<arm>, its model to RUNS/ablate-<arm>/understanding:

| arm | from | is |
|---|---|---|
| `item` | U-CT | SFT, the loss averaged over the tokens of an item first |
| `token` | U-CT | SFT, the loss averaged over tokens |
| `no-proxy` | U-CT | SFT without text-proxy rows |
| `opd` | `item` | on-policy distillation by specialists made from `item` |
| `longer` | `item` | SFT going on for as many steps of as many tokens as `opd` |

A pair differs in one thing: `token` and `item`, `no-proxy` and `item`, `longer` and `opd`. SFT arms have
equal steps of equal tokens. With --evaluate N each arm is judged on N held-out samples of every family, and
the command that compares them is printed.
"""

import argparse
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from training.understanding.__main__ import run
from training.understanding.opd import DistillStage
from training.understanding.stages import RECIPES, Recipe, Stage, TextStage

PAIRS = (("token", "item"), ("no-proxy", "item"), ("longer", "opd"))
"""Arms that differ in one thing, the report's choice last."""
STEPS, TEACHING_STEPS, OPD_STEPS = 120, 40, 24
"""Of SFT, of each specialist and of OPD: an arm takes 2-4 minutes of one core."""


def arms(recipe: Recipe) -> dict[str, Stage]:
    """The arms in the order they are run."""
    sft = recipe.stages["sft"]
    opd = recipe.stages["opd"]
    assert isinstance(sft, TextStage)
    assert isinstance(opd, DistillStage)
    assert opd.teaching is not None
    if recipe is RECIPES["nano"]:
        sft = replace(sft, loop=replace(sft.loop, steps=STEPS, warmup=10, save_every=STEPS))
        teaching = replace(opd.teaching, steps=TEACHING_STEPS, save_every=TEACHING_STEPS)
        opd = replace(opd, teaching=teaching, loop=replace(opd.loop, steps=OPD_STEPS, save_every=OPD_STEPS))
    return {
        "item": replace(sft, batch=replace(sft.batch, item_level=True)),
        "token": replace(sft, batch=replace(sft.batch, item_level=False)),
        "no-proxy": replace(sft, mix="no-proxy"),
        "opd": opd,
        # With the specialists' optimiser, which has been chosen for going on from a finished SFT.
        "longer": replace(sft, loop=replace(opd.teaching, steps=opd.loop.steps)),
    }


def run_arm(recipe: Recipe, name: str, out: Path) -> None:
    """Train one arm, or finish it; `longer` needs `opd` in `out`, for its tokens."""
    stage = arms(recipe)[name]
    if name == "longer":
        assert isinstance(stage, TextStage)
        stage = replace(stage, batch=replace(stage.batch, tokens=tokens_a_step(out / "ablate-opd")))
    before = "ablate-item" if name in ("opd", "longer") else "uct"
    start = recipe.stages["uct"]  # only its folder's name matters
    stages: dict[str, Stage] = {before: start, f"ablate-{name}": stage}
    arm = replace(recipe, stages=stages)
    run(arm, f"ablate-{name}", out, resume=True, family=out / f"ablate-{name}")


def tokens_a_step(folder: Path) -> int:
    """Mean tokens of queries and answers in the logged steps of a distillation."""
    rows = json.loads((folder / "metrics.json").read_text())
    return round(sum(row["tokens"] for row in rows) / len(rows))


def main() -> None:
    """Train the arms that are asked for; evaluate them where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m training.understanding.ablate", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = list(arms(RECIPES["nano"]))
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--size", choices=("nano", "tiny"), default="nano")
    parser.add_argument("--arm", action="append", choices=names, help="only these; all by default")
    parser.add_argument("--evaluate", type=int, metavar="N", help="judge each on N samples of every family")
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    chosen = [name for name in names if not arguments.arm or name in arguments.arm]
    for name in chosen:
        run_arm(RECIPES[arguments.size], name, arguments.out)
    module = [sys.executable, "-m", "training.understanding.evaluation"]
    for name in chosen if arguments.evaluate else ():
        folder = arguments.out / f"ablate-{name}"
        judge = ["--model", str(folder / "understanding"), "--n", str(arguments.evaluate), "--no-extras"]
        subprocess.run([*module, *judge, "--out", str(folder / "evaluation")], check=True)
    results = [f"{name}={arguments.out}/ablate-{name}/evaluation" for name in chosen]
    pairs = [f"--pair {a}:{b}" for a, b in PAIRS if a in chosen and b in chosen]
    print("python -m training.understanding.evaluation.compare", *results, *pairs)


if __name__ == "__main__":
    main()
