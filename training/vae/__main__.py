"""`python -m training.vae --out runs/nano/vae --export weights/nano [--resume] [--threads 1]`.

A size is a list of stages (report 3.2). Each has its folder under `--out` and starts from what the one before
it reached; `--start` names an exported VAE for the first stage that is run.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training import command
from training.loop import LoopState, plot_losses, settled_precision, train
from training.vae.config import SIZES, LossConfig, VaeTraining
from training.vae.data import Pool, held_out
from training.vae.evaluate import contact_sheet, evaluate, reconstruct, write_report
from training.vae.export import averaged, export, load, shipped
from training.vae.linear import fit_linear_path
from training.vae.objective import Objective, Trainee
from training.vae.teacher import Teacher
from wanimage.models.vae import Vae

log = logging.getLogger("training.vae")
Lineage = dict[str, Any]
"""One stage: its config, step and evaluation, and the lineage of what came before."""
FIT_PICTURES = 500  # 32,000 cells, for least squares with 433 unknowns


def main() -> None:
    """Parse, train, export, measure."""
    parser = command.staged("vae", __doc__, SIZES, threads=1)
    parser.add_argument("--family", type=Path, help="folder of the teacher's family; default: --export")
    arguments, stages = command.begun(parser, SIZES)
    run(
        stages,
        arguments.out,
        arguments.export,
        family=arguments.family or arguments.export,
        start=load(arguments.start) if arguments.start else None,
        before=lineage_of(arguments.start) if arguments.start else None,
        resume=arguments.resume,
        precision=arguments.precision,
    )


def run(
    stages: Sequence[VaeTraining],
    out: Path,
    weights: Path | None,
    *,
    family: Path | None = None,
    start: Vae | None = None,
    before: Lineage | None = None,
    resume: bool,
    precision: str = "auto",
    pool: Pool | None = None,
) -> Vae:
    """Train stages in turn, each under `out/<name>`, and return the last one's averaged model.

    Exports to `weights` if given. `family` holds the teacher where a stage needs one; `start` is what the
    first stage continues and `before` its lineage; `pool` replaces the pictures that each would render.
    Raises ValueError when a teacher is needed and missing.
    """
    for stage in stages:
        start = run_stage(
            stage,
            out / stage.name,
            weights,
            family,
            start,
            before,
            pool,
            resume=resume,
            precision=precision,
        )
        before = {"stage": plain(stage), "before": before}
    assert start is not None, "there is at least one stage"
    return start


def run_stage(
    config: VaeTraining,
    out: Path,
    weights: Path | None,
    family: Path | None,
    start: Vae | None,
    before: Lineage | None,
    pool: Pool | None,
    *,
    resume: bool,
    precision: str,
) -> Vae:
    """Train one stage and return its averaged model. Writes everything under `out` and, if given,
    `weights`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.loop.seed)
    pool = pool or Pool(config.data, config.loop.seed)
    height, width, _ = config.data.shapes[0]
    model = begin(config, pool, start)
    test = held_out(config.held_out, height, width)
    log.info("%s: start %s", config.name, evaluate(model, test))
    precision = settled_precision(precision, out, partial(rehearsal, config, pool), resume=resume)
    config = replace(config, loop=replace(config.loop, precision=precision))
    teacher = None
    if config.loss.perceptual or config.loss.distillation:
        if family is None:
            raise ValueError(f"stage {config.name} learns from a vision tower; name its family with --family")
        teacher = Teacher.load(family)
    objective = Objective(config.loss, teacher, start)
    trainee = Trainee(model, config.loss, teacher.width if teacher else 0)
    on_save = partial(publish, config=config, before=before, pool=pool, test=test, out=out, weights=weights)
    state = train(trainee, objective, pool.batch_at, config.loop, out, resume=resume, on_save=on_save)
    plot_losses(state.history, out / "loss.png", f"VAE {config.name}, {config.loop.steps} steps")
    return averaged(model, state.ema)


def begin(config: VaeTraining, pool: Pool, start: Vae | None) -> Vae:
    """The model a stage begins with: `start`'s weights where they fit, else the closed-form start.

    Raises ValueError when a decoder stage has nothing to start from.
    """
    if config.part == "decoder" and start is None:
        raise ValueError("the decoder stage continues a VAE; name its folder with --start")
    model = Vae(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is None:
        fit_linear_path(model, pool.sample(FIT_PICTURES), config.loss.noise)
        return model
    # What another number of blocks adds answers zero at first; what it drops is left out.
    own = model.state_dict()
    kept = {k: v for k, v in start.state_dict().items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(kept, strict=False)
    model.encoder.linear.requires_grad_(False)
    model.decoder.linear.requires_grad_(False)
    if config.part == "decoder":
        model.encoder.requires_grad_(False)
    return model


def publish(
    state: LoopState,
    *,
    config: VaeTraining,
    before: Lineage | None,
    pool: Pool,
    test: Tensor,
    out: Path,
    weights: Path | None,
) -> None:
    """Measure the averaged weights of `state`, draw the sheet, and export them."""
    assert isinstance(state.module, Trainee), type(state.module)
    fit = pool.sample(FIT_PICTURES)
    same = config.part == "decoder" or config.loss.anchor > 0
    model = shipped(state.module.vae, state.ema, fit, same_statistics=same)
    numbers = evaluate(model, test)
    log.info("step %d %s", state.step, numbers)
    write_report({"step": state.step, **numbers}, out / "evaluation.json")
    contact_sheet(test[:32], reconstruct(model, test[:32]), out / "sheet.png")
    if weights is not None:
        lineage = {"stage": plain(config), "step": state.step, "evaluation": numbers, "before": before}
        export(model, fit, weights, lineage)


def plain(config: VaeTraining) -> Lineage:
    """A stage as JSON values."""
    values: Lineage = json.loads(json.dumps(asdict(config)))
    return values


def lineage_of(folder: Path) -> Lineage:
    """What an exported VAE says of its training."""
    found: Lineage = json.loads((folder / "vae.json").read_text())["training"]
    return found


def rehearsal(config: VaeTraining, pool: Pool) -> Callable[[], None]:
    """One step of a throw-away model, to time a precision by."""
    model = Vae(config.model).to(memory_format=torch.channels_last)
    objective, trainee, batch = Objective(LossConfig()), Trainee(model, LossConfig()), pool.batch_at(0)
    return lambda: objective(trainee, batch, torch.Generator())[0].backward()


if __name__ == "__main__":
    main()
