"""What each term of the loss is worth: short runs of equal budget, each without one, measured alike.

    python -m training.vae.ablate --out runs/nano/ablate --family weights/nano [--steps 250]

Every run starts from the same closed-form fit, seed and pictures. A last one is the twin: the same model on
opaque pictures only, to which opacity is one more grey picture; `benchmarks/vae_quality.py --twin` takes it.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.loop import LoopConfig
from training.vae import rivals
from training.vae.__main__ import run
from training.vae.config import MIXED, LossConfig, VaeTraining
from training.vae.data import SOURCES, Draw, held_out
from training.vae.distillation import feature_distance
from training.vae.evaluate import markdown, psnr_over, psnr_rgba, reconstruct
from training.vae.loss import boundary_band
from training.vae.objective import over
from training.vae.teacher import Teacher
from wanimage.images import Rgba
from wanimage.models.vae import Vae, VaeConfig

SIDE = 128
FULL = LossConfig(perceptual=0.1, distillation=0.1, adversarial=0.05, critic_first=50)
VARIANTS: dict[str, LossConfig] = {
    "all terms": FULL,
    "without the boundary band": replace(FULL, band=0.0),
    "without the composite term": replace(FULL, composite=0.0),
    "without distillation": replace(FULL, distillation=0.0),
    "without the critic": replace(FULL, adversarial=0.0),
}
COLUMNS = ("rgb_psnr", "rgba_psnr", "alpha_mae", "edge_error", "features", "semantics")
TWIN = "twin without alpha, two latents"


def stage(name: str, loss: LossConfig, steps: int) -> VaeTraining:
    """A short run from the closed-form start, all pictures 128 px."""
    loop = LoopConfig(
        steps=steps, lr=1.5e-3, warmup=30, decay=0.6, weight_decay=0.0, betas=(0.9, 0.95), ema=0.98,
        save_every=steps,
    )  # fmt: skip
    data = replace(MIXED, pool=2000, shapes=((SIDE, SIDE, 1.0),))
    return VaeTraining(name=name.replace(" ", "-"), model=VaeConfig.nano(), loop=loop, data=data, loss=loss)


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
def score(result: Tensor, truth: Tensor, teacher: Teacher) -> dict[str, float]:
    """PSNR of opaque and of transparent pictures, errors of alpha, of its edge, and of the teacher's view."""
    clear = truth[:, 3].amin((1, 2)) < 0.999
    band = boundary_band((truth[clear, 3:] + 1) / 2, 2) > 0
    edge = ((result - truth)[clear] / 2).abs().mean(1, keepdim=True)[band]
    ground = torch.full((1, 3, 1, 1), 0.5)
    seen = (teacher.features(over(x, ground)) for x in (result, truth))
    return {
        "rgb_psnr": psnr_over(result[~clear], truth[~clear])["white"],
        "rgba_psnr": psnr_rgba(psnr_over(result[clear], truth[clear])),
        "alpha_mae": float((result - truth)[clear, 3].abs().mean() / 2),
        "edge_error": float(edge.mean()),
        "features": float(feature_distance(*seen)),
    }


@torch.no_grad()
def semantics(model: Vae, truth: Tensor, teacher: Teacher) -> float:
    """How much of the teacher's last features a linear map of latents explains on other pictures (R^2)."""
    z, target = model.encode(truth), teacher.features(over(truth, torch.full((1, 3, 1, 1), 0.5)))[-1]
    x, y = (part.movedim(1, -1).flatten(0, -2) for part in (z, target))
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    half = len(x) // 2
    solved = torch.linalg.lstsq(x[:half], y[:half]).solution
    left = (x[half:] @ solved - y[half:]).square().sum()
    return float(1 - left / (y[half:] - y[:half].mean(0)).square().sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every variant, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m training.vae.ablate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--family", type=Path, required=True, help="folder of the teacher's family")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(options.threads)
    teacher = Teacher.load(options.family)
    truth = torch.cat([held_out(40, SIDE, SIDE, source) for source, _ in MIXED.sources])
    rows = {}
    for name, loss in VARIANTS.items():
        config = stage(name, loss, options.steps)
        model = run([config], options.out, None, family=options.family, resume=True)
        rows[name] = score(reconstruct(model, truth), truth, teacher)
        rows[name]["semantics"] = semantics(model, truth, teacher)
        print(json.dumps({name: rows[name]}), flush=True)
    opaque = {name: as_opaque(draw) for name, draw in SOURCES.items()}
    config = stage(TWIN, FULL, options.steps)
    twin_weights = options.out / "twin"
    twin = run([config], options.out, twin_weights, family=options.family, resume=True, sources=opaque)
    rows[TWIN] = score(rivals.without_alpha(twin, truth), truth, teacher)
    (options.out / "ablation.json").write_text(json.dumps({"steps": options.steps, **rows}, indent=1) + "\n")
    print(markdown(rows, COLUMNS))


if __name__ == "__main__":
    main()
