"""`python -m training.visualizer --out runs/nano/visualizer --export weights/nano [--resume] [--steps N]`.

Needs the frozen parts in the family folder: understanding/ and vae.*, made by the two stages before.
Two and a half hours on two cores at the nano size; a checkpoint every few minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from training import manifest
from training.loop import LoopState, begun_precision, faster_precision, plot_losses, train
from training.vae.export import load as load_vae
from training.visualizer.config import VisualizerTraining
from training.visualizer.data import Batches
from training.visualizer.export import export
from training.visualizer.loss import channel_weights, visualizer_loss
from wanimage.models.attention import Backend
from wanimage.models.mot import Mot, init_from_understanding
from wanimage.models.understanding import Understanding

log = logging.getLogger("training.visualizer")
GOLDEN_STEPS = 3


def main() -> None:
    """Parse, train, export."""
    parser = argparse.ArgumentParser(prog="python -m training.visualizer", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, metrics and pictures")
    parser.add_argument(
        "--family", type=Path, default=Path("weights/nano"), help="folder of the frozen parts"
    )
    parser.add_argument("--export", type=Path, help="folder that gets the averaged weights at every save")
    parser.add_argument("--size", choices=["nano", "tiny", "paper"], default="nano")
    parser.add_argument("--steps", type=int, help="optimiser steps; the decay of the rate follows")
    parser.add_argument(
        "--start",
        type=Path,
        help="folder with an earlier stage's mot.safetensors to go on from, without easy scenes",
    )
    parser.add_argument("--seed", type=int, help="of weights, data and noise; another one for a later stage")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    parser.add_argument("--compile", action="store_true", help="fuse operations; needs a C++ compiler")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    config: VisualizerTraining = getattr(VisualizerTraining, arguments.size)()
    if arguments.steps:
        config = replace(config, loop=replace(config.loop, steps=arguments.steps))
    if arguments.seed is not None:
        loop, data = replace(config.loop, seed=arguments.seed), replace(config.data, seed=arguments.seed)
        config = replace(config, loop=loop, data=data)
    if arguments.start:
        config = replace(config, data=replace(config.data, easy_steps=0))
    run(
        config,
        arguments.family,
        arguments.out,
        arguments.export,
        arguments.precision,
        resume=arguments.resume,
        start=arguments.start,
        fused=arguments.compile,
    )


def run(
    config: VisualizerTraining,
    family: Path,
    out: Path,
    weights: Path | None,
    precision: str,
    *,
    resume: bool,
    start: Path | None = None,
    fused: bool = False,
) -> Mot:
    """Train one stage from the frozen parts in `family`; returns the model with the averaged weights.

    Attention starts from the understanding branch, or all of the model from an earlier stage in `start`.
    """
    out.mkdir(parents=True, exist_ok=True)
    understanding, vae = Understanding.load(family / "understanding"), load_vae(family)
    torch.manual_seed(config.loop.seed)
    mot = Mot(config.model, Backend.MATMUL)
    if start is None:
        init_from_understanding(mot, understanding.model)
    else:
        go_on_from(mot, start)
    if fused:  # a block at a time: shapes change with every batch, blocks do not
        for block in [*mot.blocks, *(mot.connector.blocks if mot.connector else ())]:
            block.compile(dynamic=True)
    batches = Batches(understanding, vae, config.model, config.data, "fp32")
    weights_of = channel_weights(vae, batches.base_latents(32))
    log.info("channel weights %.2f to %.2f", float(weights_of.min()), float(weights_of.max()))
    loss = partial(visualizer_loss, weights=weights_of)
    if precision == "auto":
        groups = batches.batch_at(0)
        begun = begun_precision(out) if resume else None
        precision = begun or faster_precision(
            lambda: loss(mot, groups, torch.Generator().manual_seed(0))[0].backward()
        )
        mot.zero_grad(set_to_none=True)
    batches.precision = precision
    config = replace(config, loop=replace(config.loop, precision=precision))

    parents = manifest.digests(family, manifest.PARENTS["mot"])

    def publish(state: LoopState) -> None:
        plot_losses(state.history, out / "loss.png", "visualizer: flow matching")
        if weights is not None:
            export(state.ema, config.model, weights, lineage(config, state) | {"parents": parents})

    state = train(mot, loss, batches.batch_at, config.loop, out, resume=resume, on_save=publish)
    log.info("golden %s", json.dumps([round(row["loss"], 6) for row in state.history[:GOLDEN_STEPS]]))
    mot.load_state_dict(state.ema)
    return mot.eval()


def go_on_from(mot: Mot, start: Path) -> None:
    """Take over an earlier stage's weights. A connector that stage did not have starts fresh; all else must
    match."""
    earlier = load_file(start / "mot.safetensors")
    missing, unexpected = mot.load_state_dict({k: v.float() for k, v in earlier.items()}, strict=False)
    new = [name for name in missing if not name.startswith("connector.")]
    if new or unexpected:
        raise ValueError(
            f"{start} holds another model: it lacks {new[:3]} and has {unexpected[:3]} beyond ours"
        )
    log.info("going on from %s (%d tensors, %d new)", start, len(earlier), len(missing))


def lineage(config: VisualizerTraining, state: LoopState) -> dict[str, object]:
    """What the manifest says of these weights."""
    plain: dict[str, object] = {
        "model": config.model.to_json(),
        "loop": asdict(config.loop),
        "data": asdict(config.data),
    }
    return {
        "stage": "visualizer/pretraining",
        "step": state.step,
        "config": plain,
        "loss": state.history[-1]["loss"],
    }


if __name__ == "__main__":
    main()
