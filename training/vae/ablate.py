"""What each term of the loss is worth: short runs of equal budget, each without one, measured alike.

    python -m training.vae.ablate --out runs/nano/ablate --family weights/nano [--steps 120]

Every run continues the family's VAE, whole, and all but one see the same pictures in the same order. That one
differs from the first in its seed alone: what those two differ by, a term must exceed to be worth something.
The last is the twin: the same model on opaque pictures only, to which opacity is one more grey picture;
`benchmarks/vae_quality.py --twin` takes it. Started again, it goes on where it was stopped.

From the closed-form fit instead, runs this short hardly leave it, and their terms cannot be told apart.
"""

import argparse
import copy
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.loop import LoopConfig
from training.vae import rivals
from training.vae.__main__ import run
from training.vae.config import MIXED, LossConfig, VaeTraining
from training.vae.data import SOURCES, Draw, Pool, held_out
from training.vae.distillation import feature_distance
from training.vae.evaluate import NINE, backgrounds, composite, psnr, reconstruct
from training.vae.export import load
from training.vae.loss import boundary_band
from training.vae.objective import over
from training.vae.teacher import Teacher
from wanimage.images import Rgba
from wanimage.models.vae import Vae, VaeConfig

SIDE = 128
HELD_OUT = 40
"""Pictures of each source that all runs are measured by."""
FULL = LossConfig(perceptual=0.1, distillation=0.1, adversarial=0.05, critic_first=30)
VARIANTS: dict[str, LossConfig] = {
    "all terms": FULL,
    "without the boundary band": replace(FULL, band=0.0),
    "without the composite term": replace(FULL, composite=0.0),
    "without distillation": replace(FULL, distillation=0.0),
    "without the critic": replace(FULL, adversarial=0.0),
}
AGAIN = "all terms, another seed"
TWIN = "twin without alpha, two latents"
START = "before these runs"
DECIMALS = {
    "rgb_psnr": 2, "rgba_psnr": 2, "alpha_mae": 4, "edge_alpha": 4, "sharpness": 3, "features": 4,
    "semantics": 3,
}  # fmt: skip
"""The columns, and how many decimals each is written with."""

Values = NDArray[np.float64]
Scores = dict[str, Values]
"""By column, one value a picture."""


def stage(name: str, loss: LossConfig, steps: int, seed: int = 0) -> VaeTraining:
    """A short run from the closed-form start, all pictures 128 px."""
    loop = LoopConfig(
        steps=steps, lr=7e-4, warmup=10, decay=0.5, weight_decay=0.0, betas=(0.9, 0.95), ema=0.95,
        save_every=steps, seed=seed,
    )  # fmt: skip
    data = replace(MIXED, pool=1200, batch=8, shapes=((SIDE, SIDE, 1.0),))
    folder = name.replace(" ", "-").replace(",", "")
    return VaeTraining(name=folder, model=VaeConfig.nano(), loop=loop, data=data, loss=loss, held_out=8)


def as_opaque(draw: Draw) -> Draw:
    """The same pictures for a model without alpha: as seen on black, or one in two their opacity as grey."""

    def drawn(rng: np.random.Generator, height: int, width: int, split: str) -> Rgba:
        picture = draw(rng, height, width, split)
        alpha = picture[..., 3:]
        if alpha.min() < 255 and rng.random() < 0.5:
            colour = alpha.repeat(3, -1)
        else:
            colour = np.round(picture[..., :3] * (alpha / 255)).astype(np.uint8)
        return np.concatenate([colour, np.full_like(alpha, 255)], -1)

    return drawn


@torch.no_grad()
def score(result: Tensor, truth: Tensor, teacher: Teacher) -> Scores:
    """PSNR of opaque pictures (on white) and of transparent ones (nine grounds), mean error of alpha, in all
    and in the boundary band, how steep edges are beside the truth's, distance in the teacher's eyes."""
    clear = truth[:, 3].amin((1, 2)) < 0.999
    grounds = backgrounds(*truth.shape[2:])
    shown = {name: [composite(x, grounds[name]) for x in (result, truth)] for name in NINE}
    nine = torch.stack([psnr(*pair) for pair in shown.values()]).mean(0)
    alpha = (result - truth)[:, 3:].abs() / 2
    band = boundary_band((truth[:, 3:] + 1) / 2, 2)
    steep = [
        x.diff(dim=2).abs().mean((1, 2, 3)) + x.diff(dim=3).abs().mean((1, 2, 3)) for x in (result, truth)
    ]
    found = {
        "rgb_psnr": psnr(*shown["white"])[~clear],
        "rgba_psnr": nine[clear],
        "alpha_mae": alpha.mean((1, 2, 3))[clear],
        "edge_alpha": ((alpha * band).sum((1, 2, 3)) / band.sum((1, 2, 3)).clamp_min(1))[clear],
        "sharpness": steep[0] / steep[1],
        "features": torch.tensor(_seen_distances(result, truth, teacher)),
    }
    return {name: values.double().numpy() for name, values in found.items()}


def _seen_distances(result: Tensor, truth: Tensor, teacher: Teacher) -> list[float]:
    ground = torch.full((1, 3, 1, 1), 0.5)
    pairs = zip(result.split(1), truth.split(1), strict=True)
    return [float(feature_distance(*(teacher.features(over(x, ground)) for x in pair))) for pair in pairs]


@torch.no_grad()
def semantics(model: Vae, truth: Tensor, teacher: Teacher) -> Values:
    """How much of the teacher's last features a linear map of latents explains (R^2), by picture.

    The map is fitted to every other picture and judged on the rest.
    """
    target = teacher.features(over(truth, torch.full((1, 3, 1, 1), 0.5)))[-1]
    x, y = (part.movedim(1, -1).flatten(1, 2) for part in (model.encode(truth), target))  # [N, cells, C]
    x = torch.cat([x, torch.ones(*x.shape[:2], 1)], 2)
    solved = torch.linalg.lstsq(x[::2].flatten(0, 1), y[::2].flatten(0, 1)).solution
    left = (x[1::2] @ solved - y[1::2]).square().sum((1, 2))
    spread = (y[1::2] - y[::2].mean((0, 1))).square().sum((1, 2))
    return (1 - left / spread).double().numpy()


def table(found: dict[str, Scores]) -> str:
    """Markdown: the first run's means, then what each other run differs by, with the half width of its 95 %
    interval over pictures."""
    names = list(DECIMALS)
    lines = [f"| | {' | '.join(names)} |", f"|---{'|---' * len(names)}|"]
    first, *others = found
    base = found[first]
    lines.append(f"| {first} | {' | '.join(f'{base[n].mean():.{DECIMALS[n]}f}' for n in names)} |")
    for other in others:
        cells = [_difference(found[other].get(n), base[n], DECIMALS[n]) for n in names]
        lines.append(f"| {other} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(values: Values | None, base: Values, decimals: int) -> str:
    if values is None:
        return ""
    gap = values - base
    return f"{gap.mean():+.{decimals}f} ± {1.96 * gap.std(ddof=1) / len(gap) ** 0.5:.{decimals}f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every variant, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m training.vae.ablate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--family", type=Path, required=True, help="folder of the teacher's family")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(options.threads)
    models = train(options.out, options.family, options.steps)
    teacher = Teacher.load(options.family)
    truth = torch.cat([held_out(HELD_OUT, SIDE, SIDE, source) for source, _ in MIXED.sources])
    found: dict[str, Scores] = {}
    for name, model in models.items():
        result = rivals.without_alpha(model, truth) if name == TWIN else reconstruct(model, truth)
        found[name] = score(result, truth, teacher)
        if name != TWIN:
            found[name]["semantics"] = semantics(model, truth, teacher)
    means = {name: {key: float(v.mean()) for key, v in scores.items()} for name, scores in found.items()}
    (options.out / "ablation.json").write_text(json.dumps({"steps": options.steps, **means}, indent=1) + "\n")
    print(table(found))


def train(out: Path, family: Path, steps: int) -> dict[str, Vae]:
    """All runs, by name, and what they started from; the twin is also exported to `out/twin`."""
    start = load(family)
    shared = Pool(stage("", FULL, steps).data, 0)
    again = copy.copy(shared)  # the same pictures in another order
    again.seed = 1
    opaque = Pool(shared.config, 0, {name: as_opaque(draw) for name, draw in SOURCES.items()})
    plans = [(stage(name, loss, steps), shared, None) for name, loss in VARIANTS.items()]
    plans += [
        (stage(AGAIN, FULL, steps, seed=1), again, None),
        (stage(TWIN, FULL, steps), opaque, out / "twin"),
    ]
    models = [
        run([config], out, weights, family=family, start=start, resume=True, precision="bf16", pool=pool)
        for config, pool, weights in plans
    ]
    return dict(zip([*VARIANTS, AGAIN, TWIN, START], [*models, start], strict=True))


if __name__ == "__main__":
    main()
