"""`python -m training.visualizer --out runs/nano/visualizer --export weights/nano [--resume] [--stage NAME]`.

Needs the frozen parts in the family folder: understanding/ and vae.*, made by the two stages of the recipe
before it. A size is a list of stages (`config.py`). Each has its folder under `--out` and starts from what
the one before it reached; `--start` names a folder with the mot.safetensors that the first one continues.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from training import command, manifest
from training.export import export
from training.keeping import folder_for
from training.loop import LoopState, plot_losses, rehearsal, settled_precision, train
from training.vae.export import load as load_vae
from training.visualizer.config import SIZES, VisualizerTraining
from training.visualizer.data import Batches
from training.visualizer.kept import Kept
from training.visualizer.loss import channel_weights, visualizer_loss
from training.visualizer.naming import Learner
from wanimage.models.attention import Backend
from wanimage.models.mot import Mot, init_from_understanding
from wanimage.models.understanding import Understanding

log = logging.getLogger("training.visualizer")
Lineage = dict[str, Any]
"""One stage: its config, step and loss, and the lineage of what came before."""


def main() -> None:
    """Parse, train, export."""
    parser = command.staged("visualizer", __doc__, SIZES, threads=2)
    parser.add_argument(
        "--family", type=Path, default=Path("weights/nano"), help="folder of the frozen parts"
    )
    parser.add_argument("--seed", type=int, help="of weights, data and noise")
    parser.add_argument("--balance", type=Path, help="rows.json of an evaluation: what fails is asked more")
    parser.add_argument("--kept", type=Path, help="folder of what was drawn; default: drawn in --out")
    parser.add_argument("--compile", action="store_true", help="fuse operations; needs a C++ compiler")
    arguments, stages = command.begun(parser, SIZES)
    run(
        [changed(stage, arguments) for stage in stages],
        arguments.family,
        arguments.out,
        arguments.export,
        arguments.precision,
        resume=arguments.resume,
        start=arguments.start,
        fused=arguments.compile,
        kept=arguments.kept or arguments.out / "drawn",
    )


def changed(stage: VisualizerTraining, arguments: argparse.Namespace) -> VisualizerTraining:
    """A stage with what the command line says otherwise."""
    loop, data = stage.loop, stage.data
    if arguments.seed is not None:
        loop, data = replace(loop, seed=arguments.seed), replace(data, seed=arguments.seed)
    if arguments.start:
        data = replace(data, easy_steps=0)
    if arguments.balance:
        data = replace(data, shares=data.shares.balanced(passed_in(arguments.balance)))
    return replace(stage, loop=loop, data=data)


def passed_in(rows: Path) -> dict[str, float]:
    """Pass rates by task or kind, from an evaluation; rows of several names give their mean."""
    found: dict[str, list[float]] = {}
    for row in json.loads(rows.read_text()):
        if row["task"] and "right" in row["measures"]:
            found.setdefault(row["task"], []).append(row["measures"]["right"][0])
    return {name: sum(rates) / len(rates) for name, rates in found.items()}


def run(
    stages: Sequence[VisualizerTraining],
    family: Path,
    out: Path,
    weights: Path | None,
    precision: str,
    *,
    resume: bool,
    start: Path | None = None,
    fused: bool = False,
    kept: Path | None = None,
) -> Mot:
    """Train stages in turn, each under `out/<name>`, beside the frozen parts in `family`; returns the last
    one's averaged model.

    Attention starts from the understanding branch, or all of the model from the weights in `start`.
    """
    tensors = {k: v.float() for k, v in load_file(start / "mot.safetensors").items()} if start else None
    before = json.loads((start / "mot.json").read_text())["training"] if start else None
    understanding, vae = Understanding.load(family / "understanding"), load_vae(family)
    named: dict[str, Tensor] = {}
    for stage in stages:
        torch.manual_seed(stage.loop.seed)
        mot = begun(stage, understanding, tensors)
        if fused:  # a block at a time: shapes change with every batch, blocks do not
            for block in [*mot.blocks, *(mot.connector.blocks if mot.connector else ())]:
                block.compile(dynamic=True)
        batches = Batches(understanding, vae, stage.model, stage.data, "fp32", drawn_in(kept, family, stage))
        parents = manifest.digests(family, manifest.PARENTS["mot"])
        lineage = {"before": before, "parents": parents}
        learner = Learner(mot, stage.naming)
        learner.load_state_dict(named, strict=False)  # a new head would pull at what is learned
        folder = out / stage.name
        state = run_stage(stage, learner, batches, folder, weights, lineage, precision, resume=resume)
        tensors, before = averaged(state), lineage_of(stage, state) | {"before": before}
        named = {name: value for name, value in state.ema.items() if name.startswith("head.")}
        mot = Mot(stage.model, Backend.MATMUL)  # on several processes the trained one is in shards
        mot.load_state_dict(tensors)
    return mot.eval()


def run_stage(
    config: VisualizerTraining,
    learner: Learner,
    batches: Batches,
    out: Path,
    weights: Path | None,
    lineage: Lineage,
    precision: str,
    *,
    resume: bool,
) -> LoopState:
    """Train one stage; writes checkpoints under `out` and exports to `weights`, if given."""
    out.mkdir(parents=True, exist_ok=True)
    weights_of = channel_weights(batches.vae, batches.base_latents(32))
    loss = partial(visualizer_loss, weights=weights_of)
    precision = settled_precision(
        precision, out, partial(rehearsal, learner, loss, batches.batch_at), resume=resume
    )
    learner.zero_grad(set_to_none=True)
    batches.precision = precision
    config = replace(config, loop=replace(config.loop, precision=precision))

    def publish(state: LoopState) -> None:
        plot_losses(state.history, out / "loss.png", f"visualizer {config.name}: flow matching")
        if weights is not None:
            tensors = averaged(state)
            export("mot", tensors, config.model.to_json(), weights, lineage_of(config, state) | lineage)

    return train(learner, loss, batches.batch_at, config.loop, out, resume=resume, on_save=publish)


def averaged(state: LoopState) -> dict[str, Tensor]:
    """The averaged weights of the generation branch alone."""
    own = "mot."
    return {name.removeprefix(own): value for name, value in state.ema.items() if name.startswith(own)}


def begun(stage: VisualizerTraining, understanding: Understanding, tensors: dict[str, Tensor] | None) -> Mot:
    """The model that a stage starts from. A connector that earlier weights did not have starts fresh; all
    else must match."""
    mot = Mot(stage.model, Backend.MATMUL)
    if tensors is None:
        init_from_understanding(mot, understanding.model)
        return mot
    missing, unexpected = mot.load_state_dict(tensors, strict=False)
    new = [name for name in missing if not name.startswith("connector.")]
    if new or unexpected:
        raise ValueError(
            f"--start holds another model: it lacks {new[:3]} and has {unexpected[:3]} beyond ours"
        )
    log.info("%s goes on from %d tensors, %d are new", stage.name, len(tensors), len(missing))
    return mot


def drawn_in(folder: Path | None, family: Path, config: VisualizerTraining) -> Kept | None:
    """A folder of its own for every VAE and mixture: what was encoded with another is another thing."""
    if folder is None:
        return None
    mixture = asdict(config.data) | manifest.digests(family, ("vae",))
    for name in ("drop_text", "drop_references", "easy_steps", "distinct_steps"):  # decide nothing drawn
        mixture.pop(name)
    return Kept(folder_for(folder, mixture))


def lineage_of(config: VisualizerTraining, state: LoopState) -> Lineage:
    """What the manifest says of these weights."""
    plain = {
        "model": config.model.to_json(),
        "loop": asdict(config.loop),
        "data": asdict(config.data),
        "naming": config.naming,
    }
    return {
        "stage": f"visualizer/{config.name}",
        "step": state.step,
        "config": plain,
        "loss": state.history[-1]["loss"],
    }


if __name__ == "__main__":
    main()
