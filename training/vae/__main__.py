"""`python -m training.vae --out runs/nano/vae --export weights/nano [--resume] [--steps N] [--threads 1]`."""

import argparse
import json
import logging
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from training.loop import LoopState, autocast, plot_losses, train
from training.vae.config import VaeTraining
from training.vae.data import Pool, held_out
from training.vae.evaluate import contact_sheet, evaluate, reconstruct, write_report
from training.vae.export import export, load, shipped
from training.vae.linear import fit_linear_path
from training.vae.loss import vae_loss
from wanimage.models.vae import Vae

log = logging.getLogger("training.vae")
FIT_PICTURES = 500  # 32,000 cells, for least squares with 433 unknowns


def main() -> None:
    """Parse, train, export, measure."""
    parser = argparse.ArgumentParser(prog="python -m training.vae", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, metrics and pictures")
    parser.add_argument("--size", choices=["nano", "nano_decoder", "tiny", "paper"], default="nano")
    parser.add_argument("--steps", type=int, help="optimiser steps; the decay of the rate follows")
    parser.add_argument("--export", type=Path, help="folder that gets the shipped files at every save")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    config: VaeTraining = getattr(VaeTraining, arguments.size)()
    if arguments.steps:
        config = replace(config, loop=replace(config.loop, steps=arguments.steps))
    run(config, arguments.out, arguments.export, resume=arguments.resume, precision=arguments.precision)


def run(
    config: VaeTraining, out: Path, weights: Path | None, *, resume: bool, precision: str = "auto"
) -> None:
    """Train one stage. Writes everything under `out` and, if given, `weights`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.loop.seed)
    pool = Pool(config.data, config.loop.seed)
    height, width, _ = config.data.shapes[0]
    model = start(config, pool, weights)
    test = held_out(config.held_out, height, width)
    log.info("start %s", evaluate(model, test))
    if precision == "auto":
        precision = faster_precision(config, pool)
    config = replace(config, loop=replace(config.loop, precision=precision))
    on_save = partial(publish, config=config, pool=pool, test=test, out=out, weights=weights)
    loss = partial(vae_loss, config=config.loss)
    state = train(model, loss, pool.batch_at, config.loop, out, resume=resume, on_save=on_save)
    plot_losses(state.history, out / "loss.png", f"VAE, {config.loop.steps} steps of {config.data.batch}")


def start(config: VaeTraining, pool: Pool, weights: Path | None) -> Vae:
    """The model a stage begins with; raises ValueError when a decoder stage finds no exported one."""
    if config.stage == "decoder":
        if weights is None or not (weights / "vae.json").exists():
            raise ValueError("the decoder stage continues an exported VAE; name its folder with --export")
        model = load(weights)
        model.encoder.requires_grad_(False)
        model.decoder.linear.requires_grad_(False)
        return model
    model = Vae(config.model).to(memory_format=torch.channels_last)
    fit_linear_path(model, pool.sample(FIT_PICTURES), config.loss.noise)
    return model


def publish(
    state: LoopState, *, config: VaeTraining, pool: Pool, test: Tensor, out: Path, weights: Path | None
) -> None:
    """Measure the averaged weights of `state`, draw the sheet, and export them."""
    assert isinstance(state.module, Vae), type(state.module)
    fit = pool.sample(FIT_PICTURES)
    model = shipped(state.module, state.ema, fit)
    numbers = evaluate(model, test)
    log.info("step %d %s", state.step, numbers)
    write_report({"step": state.step, **numbers}, out / "evaluation.json")
    contact_sheet(test[:32], reconstruct(model, test[:32]), out / "sheet.png")
    if weights is not None:
        lineage = json.loads(json.dumps(asdict(config))) | {"step": state.step, "evaluation": numbers}
        export(model, fit, weights, lineage)


def faster_precision(config: VaeTraining, pool: Pool, steps: int = 4) -> str:
    """`bf16` or `fp32`, whichever takes less time on this processor for a few steps of a throw-away model."""
    seconds = {}
    for precision in ("bf16", "fp32"):
        model = Vae(config.model).to(memory_format=torch.channels_last)
        batch = pool.batch_at(0)
        for step in range(steps + 1):
            if step == 1:  # the first step builds kernels
                started = time.perf_counter()
            with autocast(precision):
                loss, _ = vae_loss(model, batch, torch.Generator().manual_seed(step), config.loss)
            loss.backward()  # type: ignore[no-untyped-call]
        seconds[precision] = (time.perf_counter() - started) / steps
    log.info("seconds a step: %s", seconds)
    return min(seconds, key=lambda name: seconds[name])


if __name__ == "__main__":
    main()
