"""`python -m training.refiner --out runs/nano/refiner --export weights/nano [--resume] [--stage NAME]`.

Needs the family's understanding/, vae.* and mot.* in the family folder: they read the prompts, encode the
pictures and spoil some of them. A size is a list of stages (`config.py`); each has its folder under `--out`
and starts from what the one before it reached, the first from `--start` where it is given.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training import command, manifest
from training.export import export
from training.loop import LoopState, LossFn, plot_losses, rehearsal, settled_precision, train
from training.refiner.config import SIZES, RefinerTraining
from training.refiner.data import Batches
from training.refiner.loss import distillation_loss, flow_loss
from training.refiner.pairs import Kept, Studio
from training.refiner.reward import JUDGED, RewardBatches, reward_loss
from training.visualizer.loss import channel_weights
from wanimage.models.refiner import Refiner

log = logging.getLogger("training.refiner")
Lineage = dict[str, Any]
"""One stage: its config, step and loss, and the lineage of what came before."""


def main() -> None:
    """Parse, train, export."""
    parser = command.staged("refiner", __doc__, SIZES, threads=2)
    parser.add_argument(
        "--family", type=Path, default=Path("weights/nano"), help="folder of the frozen parts"
    )
    parser.add_argument("--lr", type=float, help="peak learning rate")
    parser.add_argument("--pool", type=int, help="pictures to learn from")
    parser.add_argument("--seed", type=int, help="of weights, data and noise")
    parser.add_argument("--kept", type=Path, help="folder of what was drawn; default: pairs in --out")
    parser.add_argument("--compile", action="store_true", help="fuse operations; needs a C++ compiler")
    arguments, stages = command.begun(parser, SIZES)
    run(
        [changed(stage, arguments) for stage in stages],
        Ground(arguments.family, arguments.export, arguments.kept or arguments.out / "pairs"),
        arguments.out,
        arguments.precision,
        resume=arguments.resume,
        start=arguments.start,
        fused=arguments.compile,
    )


def changed(stage: RefinerTraining, arguments: argparse.Namespace) -> RefinerTraining:
    """A stage with what the command line says otherwise."""
    loop, data = stage.loop, stage.data
    if arguments.lr:
        loop = replace(loop, lr=arguments.lr)
    if arguments.pool:
        data = replace(data, pool=arguments.pool)
    if arguments.seed is not None:
        loop, data = replace(loop, seed=arguments.seed), replace(data, seed=arguments.seed)
    return replace(stage, loop=loop, data=data)


@dataclass(frozen=True)
class Ground:
    """Where a run stands."""

    family: Path
    """Folder of the frozen parts."""
    weights: Path | None
    """Folder that gets the averaged weights."""
    kept: Path
    """Folder of pairs."""


def run(
    stages: Sequence[RefinerTraining],
    ground: Ground,
    out: Path,
    precision: str = "auto",
    *,
    resume: bool,
    start: Path | None = None,
    fused: bool = False,
) -> Refiner:
    """Train stages in turn, each under `out/<name>`; returns the last one's averaged model."""
    refiner: Refiner | None = None
    before: Lineage | None = None
    if start:
        refiner, before = Refiner.load(start), json.loads((start / "refiner.json").read_text())["training"]
    for stage in stages:
        torch.manual_seed(stage.loop.seed)
        trained = Refiner(stage.model).requires_grad_(True)
        if refiner:
            trained.load_state_dict(refiner.state_dict())
        if fused:
            for block in (*trained.blocks, *(refiner.blocks if refiner else ())):
                block.compile(dynamic=False)
        state = _stage(stage, trained, refiner, ground, out / stage.name, before, precision, resume=resume)
        refiner = _averaged(stage, state.ema)
        before = lineage_of(stage, state) | {"before": before}
    assert refiner is not None, "a run has at least one stage"
    return refiner


def _stage(
    config: RefinerTraining,
    refiner: Refiner,
    teacher: Refiner | None,
    ground: Ground,
    out: Path,
    before: Lineage | None,
    precision: str,
    *,
    resume: bool,
) -> LoopState:
    """Train one stage; writes checkpoints under `out` and exports to the weights' folder, if any."""
    studio = Studio(ground.family, config.data)
    batches = Batches(Kept.within(ground.kept, studio), config.pictures, config.crops, seed=config.loop.seed)
    parents = manifest.digests(ground.family, manifest.PARENTS["refiner"])
    loss, batch_at = _objective(config, studio, batches, teacher)
    precision = settled_precision(
        precision, out, partial(rehearsal, refiner, loss, batch_at), resume=resume, tries=2
    )
    refiner.zero_grad(set_to_none=True)
    config = replace(config, loop=replace(config.loop, precision=precision))

    def publish(state: LoopState) -> None:
        plot_losses(state.history, out / "loss.png", f"refiner {config.name}: error of the clean latent")
        if ground.weights is not None:
            lineage = lineage_of(config, state) | {"before": before, "parents": parents}
            export("refiner", state.ema, config.model.to_json(), ground.weights, lineage)

    return train(refiner, loss, batch_at, config.loop, out, resume=resume, on_save=publish)


def _objective(
    config: RefinerTraining, studio: Studio, batches: Batches, teacher: Refiner | None
) -> tuple[LossFn, Callable[[int], Any]]:
    """The loss of a stage and its batches by step."""
    frozen = {
        "understanding": studio.understanding,
        "weights": channel_weights(studio.vae, batches.batch_at(0).clean),
    }
    if config.name == "flow":
        return partial(flow_loss, **frozen), batches.batch_at
    if teacher is None:
        raise ValueError(f"stage {config.name} follows another; name its weights with --start")
    if config.name == "distil":
        return partial(distillation_loss, **frozen, teacher=teacher), batches.batch_at
    judged = tuple(name for name in JUDGED if name in config.data.sources)
    return partial(reward_loss, **frozen, studio=studio), RewardBatches(studio, batches, judged).batch_at


def _averaged(config: RefinerTraining, ema: dict[str, Tensor]) -> Refiner:
    refiner = Refiner(config.model).eval().requires_grad_(False)
    refiner.load_state_dict(ema)
    return refiner


def lineage_of(config: RefinerTraining, state: LoopState) -> Lineage:
    """What the manifest says of these weights."""
    return {
        "stage": f"refiner/{config.name}",
        "step": state.step,
        "config": {
            "model": config.model.to_json(),
            "loop": asdict(config.loop),
            "data": asdict(config.data),
            "pictures": config.pictures,
            "crops": config.crops,
        },
        "loss": state.history[-1]["loss"],
    }


if __name__ == "__main__":
    main()
