"""Trains the planner: `python -m training.understanding --out runs/nano/understanding [--stage sft]`."""

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from training import sharding
from training.loop import LoopState, LossFn, plot_losses, train
from training.understanding.architecture import build
from training.understanding.batches import batches_at
from training.understanding.data.mixes import MIXES, sample_record
from training.understanding.distil import distilling
from training.understanding.export import export
from training.understanding.items import Item, dialogue_item, prefix_item
from training.understanding.objective import Trainee, step_loss
from training.understanding.opd import DistillStage
from training.understanding.stages import RECIPES, Recipe, Stage, TextStage, VisionStage
from training.understanding.tokenizer import PREPROCESSOR, train_tokenizer, write_tokenizer
from training.understanding.vision import picture_batch, vision_loss
from wanimage.errors import InvalidInput
from wanimage.tokens import Vocabulary

log = logging.getLogger(__name__)
TIED = ("model.lm_head.weight",)
"""The embedding's second name."""
PREFIX_SHARE = 0.08
"""Fraction of items that are the visualizer's prefixes rather than conversations."""
AVERAGED = "averaged.safetensors"
"""What a finished stage leaves for the next: the averaged weights of the branch and its probe."""


def main() -> None:
    """Train the stages that are asked for; plot, export."""
    parser = argparse.ArgumentParser(prog="python -m training.understanding", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and metrics")
    parser.add_argument("--size", choices=sorted(RECIPES), default="nano")
    parser.add_argument("--stage", help="only this stage, from the one before it in --out")
    parser.add_argument("--start", type=Path, help=f"folder of the {AVERAGED} to begin from instead")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--export", type=Path, help="family folder to write understanding/ into")
    parser.add_argument("--seed", type=int, help="of weights and data; another one when a stage goes on")
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    recipe = RECIPES[arguments.size]
    if arguments.seed is not None:
        recipe = recipe.seeded(arguments.seed)
    if arguments.stage and arguments.stage not in recipe.stages:
        parser.error(f"--stage {arguments.stage}: {arguments.size} has {', '.join(recipe.stages)}")
    for index, name in enumerate([arguments.stage] if arguments.stage else recipe.stages):
        run(
            recipe, name, arguments.out, resume=arguments.resume, family=arguments.export,
            start=None if index else arguments.start,
        )  # fmt: skip


def run(
    recipe: Recipe, name: str, out: Path, *, resume: bool, family: Path | None, start: Path | None = None
) -> LoopState:
    """One stage, from `start` or the stage before it.

    With `family` its averaged weights are written to `family/understanding` at every save.
    """
    stage = recipe.stages[name]
    with sharding.first_before_others():
        vocabulary = vocabulary_of(recipe, out / "tokenizer")
    module = Trainee(build(recipe.model, len(vocabulary), vocabulary.control, stage.loop.seed))
    names = list(recipe.stages)
    if before := [start] if start else [out / each for each in names[: names.index(name)]]:
        begin_from(module, before[-1] / AVERAGED)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(stage), indent=1))
    log.info("%s: %d tokens, %.2f M parameters", name, len(vocabulary), _millions(module.model))

    def on_save(state: LoopState) -> None:
        plot_losses(state.history, folder / "loss.png", name)
        averaged = {**state.module.state_dict(), **state.ema}
        save_file({k: v.detach().clone() for k, v in averaged.items() if k not in TIED}, folder / AVERAGED)
        if family is not None and not isinstance(stage, VisionStage):
            write(state, out / "tokenizer", family / "understanding")
            document = {"stage": f"understanding/{name}", "step": state.step, "config": asdict(recipe)}
            document["results"] = state.history[-1]
            (family / "understanding" / "training.json").write_text(json.dumps(document, indent=1) + "\n")

    started = time.time()
    loss, batch_at = _task(stage, module, vocabulary, folder)
    state = train(module, loss, batch_at, stage.loop, folder, resume=resume, on_save=on_save)
    log.info("%s trained in %.0f s", name, time.time() - started)
    return state


def begin_from(module: Trainee, averaged: Path) -> None:
    """Take the weights of an earlier stage; heads of the probe that it had not, or otherwise, stay new."""
    found, mine = load_file(averaged), module.state_dict()
    fitting = {
        name: value for name, value in found.items() if name in mine and value.shape == mine[name].shape
    }
    missing = [name for name in mine if name not in fitting and name not in TIED]
    if strange := [name for name in missing if not name.startswith("probe.")]:
        raise InvalidInput("--start", f"{averaged} lacks {', '.join(strange[:3])}", "pass a run of this size")
    module.load_state_dict(fitting, strict=False)
    if missing:
        log.info("new: %s", ", ".join(missing))


def _task(
    stage: Stage, module: Trainee, vocabulary: Vocabulary, folder: Path
) -> tuple[LossFn, Callable[[int], Any]]:
    """A stage's loss, and its batches as a function of the step."""
    seed = stage.loop.seed
    if isinstance(stage, VisionStage):
        module.model.requires_grad_(False)
        module.model.model.visual.requires_grad_(True)
        return vision_loss, lambda step: picture_batch(step, stage.pictures, seed, PREPROCESSOR)
    if isinstance(stage, DistillStage):
        return distilling(module, stage, vocabulary, folder)
    make = _maker(stage, vocabulary)
    return step_loss, lambda step: batches_at(step, make, stage.batch, seed, PREPROCESSOR)


def vocabulary_of(recipe: Recipe, folder: Path) -> Vocabulary:
    """The run's tokenizer, trained on first use."""
    if not (folder / "tokenizer.json").exists():
        write_tokenizer(train_tokenizer(corpus(recipe)), folder)
    return Vocabulary.load(folder)


def corpus(recipe: Recipe) -> Iterator[str]:
    """What the tokenizer is trained on: every turn of some training conversations."""
    rng = np.random.default_rng(1)
    for _ in range(recipe.tokenizer_records):
        yield from (turn.text for turn in sample_record(rng, "train", MIXES["uct"]).dialogue.turns)


def _maker(stage: TextStage, vocabulary: Vocabulary) -> Callable[[np.random.Generator], Item]:
    def make(rng: np.random.Generator) -> Item:
        if rng.random() < PREFIX_SHARE:
            return prefix_item(rng, "train", vocabulary, PREPROCESSOR)
        record = sample_record(rng, "train", MIXES[stage.mix])
        return dialogue_item(record.dialogue, vocabulary, PREPROCESSOR, see=rng.random() < stage.seen_share)

    return make


def write(state: LoopState, tokenizer: Path, folder: Path) -> None:
    """Export the averaged weights."""
    ema = {
        name.removeprefix("model."): value for name, value in state.ema.items() if name.startswith("model.")
    }
    export(state.module.model, ema, tokenizer, folder)  # type: ignore[arg-type]


def _millions(model: torch.nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


if __name__ == "__main__":
    main()
