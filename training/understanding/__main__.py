"""`python -m training.understanding --out runs/nano/understanding [--resume] [--export weights/nano]`."""

import argparse
import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from training.loop import LoopConfig, LoopState, plot_losses, train
from training.understanding.architecture import NANO, TINY, UnderstandingConfig, build
from training.understanding.batches import BatchConfig, batches_at
from training.understanding.export import export
from training.understanding.items import Item, dialogue_item, prefix_item
from training.understanding.objective import Trainee, step_loss
from training.understanding.tokenizer import PREPROCESSOR, train_tokenizer, write_tokenizer
from training.world.dialogues.dialogue import sample_dialogue
from wanimage.tokens import Vocabulary

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Everything the run depends on; written to `config.json` and kept in the manifest's lineage."""

    model: UnderstandingConfig = NANO
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=1000,
            lr=1.5e-3,
            warmup=80,
            decay=0.5,
            weight_decay=0.05,
            clip=1.0,
            ema=0.995,
            save_every=150,
        )
    )
    batch: BatchConfig = field(default_factory=BatchConfig)
    prefix_share: float = 0.15
    """Fraction of items that are the visualizer's prefixes rather than dialogues."""
    seen_share: float = 0.8
    """Fraction of dialogues in which the planner sees its pictures (else it runs ahead on text)."""
    tokenizer_dialogues: int = 6000


SIZES = {"nano": StageConfig()}
SIZES["tiny"] = replace(
    SIZES["nano"], model=TINY, tokenizer_dialogues=50, batch=BatchConfig(tokens=512, pieces=2),
    loop=LoopConfig(steps=2, lr=1e-3, warmup=1, save_every=2, log_every=1, precision="fp32"),
)  # fmt: skip


def main() -> None:
    """Train, plot, export."""
    parser = argparse.ArgumentParser(prog="python -m training.understanding", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and metrics")
    parser.add_argument("--size", choices=sorted(SIZES), default="nano")
    parser.add_argument("--steps", type=int, help="optimiser steps instead of the size's own")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--export", type=Path, help="family folder to write understanding/ into")
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    config = SIZES[arguments.size]
    if arguments.steps:
        config = replace(config, loop=replace(config.loop, steps=arguments.steps))
    run(config, arguments.out, resume=arguments.resume, family=arguments.export)


def run(config: StageConfig, out: Path, *, resume: bool, family: Path | None) -> LoopState:
    """One training run; with `family` its EMA weights are written to `family/understanding` at every save."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = out / "tokenizer"
    if not (resume and (tokenizer / "tokenizer.json").exists()):
        write_tokenizer(train_tokenizer(corpus(config)), tokenizer)
    vocabulary = Vocabulary.load(tokenizer)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=1))
    module = Trainee(build(config.model, len(vocabulary), vocabulary.control, config.loop.seed))
    log.info(
        "%d tokens, %.2f M parameters",
        len(vocabulary),
        sum(p.numel() for p in module.model.parameters()) / 1e6,
    )

    def make(rng: np.random.Generator) -> Item:
        if rng.random() < config.prefix_share:
            return prefix_item(rng, "train", vocabulary, PREPROCESSOR)
        dialogue = sample_dialogue(rng, "train")
        return dialogue_item(dialogue, vocabulary, PREPROCESSOR, see=rng.random() < config.seen_share)

    def batch_at(step: int) -> object:
        return batches_at(step, make, config.batch, config.loop.steps, config.loop.seed, PREPROCESSOR)

    def on_save(state: LoopState) -> None:
        plot_losses(state.history, out / "loss.png", "understanding branch")
        if family is not None:
            write(state, tokenizer, family / "understanding")
            document = {"stage": "understanding/sft", "step": state.step, "config": asdict(config)}
            document["results"] = state.history[-1]
            (family / "understanding" / "training.json").write_text(json.dumps(document, indent=1) + "\n")

    started = time.time()
    state = train(module, step_loss, batch_at, config.loop, out, resume=resume, on_save=on_save)
    log.info("trained in %.0f s", time.time() - started)
    return state


def write(state: LoopState, tokenizer: Path, folder: Path) -> None:
    """Export the averaged weights."""
    ema = {
        name.removeprefix("model."): value for name, value in state.ema.items() if name.startswith("model.")
    }
    export(state.module.model, ema, tokenizer, folder)  # type: ignore[arg-type]


def corpus(config: StageConfig) -> list[str]:
    """What the tokenizer is trained on: every turn of some training dialogues."""
    rng = np.random.default_rng([config.loop.seed, 1])
    return [
        turn.text for _ in range(config.tokenizer_dialogues) for turn in sample_dialogue(rng, "train").turns
    ]


if __name__ == "__main__":
    main()
