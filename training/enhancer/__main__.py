"""Trains the prompt enhancer: `python -m training.enhancer --stage sft --out runs/nano/enhancer`.

    sft     a fresh adapter on the family's planner
    again   the family's adapter, on a planner that is another by now
    grpo    what SFT made, on its own samples

`--export FAMILY` writes `FAMILY/enhancer` at every save.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.enhancer import adapter, grpo
from training.enhancer.data import sample_row
from training.enhancer.items import row_item
from training.enhancer.stages import RECIPES, GrpoStage, Recipe, SftStage, Stage
from training.loop import LoopState, LossFn, plot_losses, train
from training.manifest import data_digest
from training.understanding.batches import Batch, batches_at
from training.understanding.items import Item
from training.understanding.objective import Trainee, batch_loss
from wanimage.models.understanding import Understanding
from wanimage.tokens import Vocabulary
from wanimage.weights import part_digest

log = logging.getLogger(__name__)
PART, TRAINING = "enhancer", "training.json"


def main() -> None:
    """Train one stage; plot, export."""
    parser = argparse.ArgumentParser(
        prog="python -m training.enhancer", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and metrics")
    parser.add_argument(
        "--family", type=Path, default=Path("weights/nano"), help="holds the planner to adapt"
    )
    parser.add_argument("--size", choices=("tiny", "nano"), default="nano")
    parser.add_argument("--stage", required=True, choices=sorted(RECIPES["nano"].stages))
    parser.add_argument("--start", type=Path, help="family whose adapter it goes on from; not for sft")
    parser.add_argument("--steps", type=int, help="optimiser steps, where not the recipe's")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--export", type=Path, help="family folder to write enhancer/ into")
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    recipe = RECIPES[arguments.size]
    if arguments.stage not in recipe.stages:
        parser.error(f"--stage {arguments.stage}: {arguments.size} has {', '.join(recipe.stages)}")
    if (arguments.stage == "sft") == bool(arguments.start):
        parser.error("--start names the family to go on from: `again` and `grpo` need it, `sft` begins anew")
    if arguments.steps:
        stage = recipe.stages[arguments.stage]
        shorter = replace(stage, loop=replace(stage.loop, steps=arguments.steps))
        recipe = replace(recipe, stages={**recipe.stages, arguments.stage: shorter})
    run(
        recipe, arguments.stage, arguments.out, arguments.family, start=arguments.start,
        resume=arguments.resume, export=arguments.export,
    )  # fmt: skip


def run(
    recipe: Recipe,
    name: str,
    out: Path,
    family: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
    export: Path | None = None,
) -> LoopState:
    """One stage on the planner of `family`, from the adapter of the family `start` or a fresh one.

    With `export` the averaged adapter is written to `export/enhancer` at every save.
    """
    stage = recipe.stages[name]
    folder = adapter.base_of(family)
    base, planner = part_digest(family, folder.name), Understanding.load(folder)
    parent = None
    if start is None:
        adapter.adapt(planner.model, recipe.adapter, stage.loop.seed)
    else:
        parent = json.loads((start / PART / TRAINING).read_text())
        adapter.load(planner.model, start / PART, None if name == "again" else base)
    module = Trainee(planner.model)
    module.probe.requires_grad_(False)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    log.info("%s: %.3f M parameters on planner %s", name, trained / 1e6, base[:12])

    def on_save(state: LoopState) -> None:
        plot_losses(state.history, folder / "loss.png", name)
        if export is not None:
            ema = {key.removeprefix("model."): value for key, value in state.ema.items()}
            adapter.save(state.module.model, ema, recipe.adapter, base, export / PART)  # type: ignore[arg-type]
            document = {
                "stage": f"enhancer/{name}", "step": state.step, "base": base, "seed": stage.loop.seed,
                "data": data_digest(), "config": {"adapter": asdict(recipe.adapter), name: asdict(stage)},
                "results": state.history[-1], "after": parent,
            }  # fmt: skip
            (export / PART / TRAINING).write_text(json.dumps(document, indent=1) + "\n")

    started = time.time()
    loss, batch_at = _task(stage, planner)
    state = train(module, loss, batch_at, stage.loop, folder, resume=resume, on_save=on_save)
    log.info("%s trained in %.0f s", name, time.time() - started)
    return state


def _task(stage: Stage, planner: Understanding) -> tuple[LossFn, Callable[[int], Any]]:
    """A stage's loss, and its batches as a function of the step."""
    if isinstance(stage, GrpoStage):
        return grpo.task(stage, planner)
    make = _maker(stage, planner.vocabulary, planner.preprocessor)
    seed = stage.loop.seed
    return _answer_loss, lambda step: batches_at(step, make, stage.batch, seed, planner.preprocessor)


def _answer_loss(
    module: torch.nn.Module, batch: Batch, generator: torch.Generator
) -> tuple[torch.Tensor, dict[str, float]]:
    """Next-token loss of the answers alone: the tower is frozen, and its probe with it."""
    text, _, right = batch_loss(module, batch)
    return text, {"accuracy": right}


def _maker(
    stage: SftStage, vocabulary: Vocabulary, preprocessor: dict
) -> Callable[[np.random.Generator], Item]:
    def make(rng: np.random.Generator) -> Item:
        row = sample_row(rng, "train", "sft")
        variant = "quality" if rng.random() < stage.quality_share else "fast"
        return row_item(row, variant, vocabulary, preprocessor)

    return make


if __name__ == "__main__":
    main()
