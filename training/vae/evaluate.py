"""What a VAE is worth: composited PSNR and alpha error on held-out scenes, and a sheet to look at."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.vae.loss import tint_steps
from wanimage.models.vae import Vae

CHECKER = 8  # pixels a side of the grey checker behind transparent pictures
TRANSPARENT = 0.5  # mean alpha under which a scene counts as transparent


NINE: dict[str, tuple[float, float, float]] = {
    "black": (0, 0, 0), "grey": (0.5, 0.5, 0.5), "white": (1, 1, 1), "red": (1, 0, 0), "green": (0, 1, 0),
    "blue": (0, 0, 1), "cyan": (0, 1, 1), "magenta": (1, 0, 1), "yellow": (1, 1, 0),
}  # fmt: skip
"""The backgrounds over which pictures with transparency are compared (report, table 2)."""
NOISE = 0.15
"""Deviation of the noise on latents that stands for those of a visualizer."""


def backgrounds(height: int, width: int) -> dict[str, Tensor]:
    """The nine plain ones and a checker, `[3, height, width]` on the 0 to 1 scale."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    checker = torch.where((y // CHECKER + x // CHECKER) % 2 == 0, 0.8, 0.55)
    plain = {n: torch.tensor(rgb)[:, None, None].expand(3, height, width).float() for n, rgb in NINE.items()}
    return plain | {"checker": checker.expand(3, -1, -1)}


def composite(planes: Tensor, background: Tensor) -> Tensor:
    """Visible colour `[B, 3, H, W]` in 0 to 1 of premultiplied planes `[B, 4, H, W]` over `[3, H, W]`."""
    unit = (planes.float().clamp(-1, 1) + 1) / 2
    return (unit[:, :3] + (1 - unit[:, 3:]) * background).clamp(0, 1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Decibels per picture `[B]`, of values in 0 to 1."""
    return -10 * ((a - b) ** 2).mean((1, 2, 3)).clamp_min(1e-10).log10()


@torch.no_grad()
def reconstruct(model: Vae, pictures: Tensor, noise: float = 0.0, batch: int = 32) -> Tensor:
    """What comes back of `pictures` `[N, 4, H, W]`, through latents with added noise of that deviation."""
    generator = torch.Generator().manual_seed(0)
    model.eval()
    parts = []
    for chunk in pictures.split(batch):
        z = model.encode(chunk.contiguous(memory_format=torch.channels_last))
        parts.append(model.decode(z + noise * torch.randn(z.shape, generator=generator)))
    return torch.cat(parts)


def evaluate(model: Vae, pictures: Tensor) -> dict[str, float]:
    """Mean PSNR over backgrounds, alpha error by kind of picture, the 16-pixel grid, robustness to noise.

    `pictures` are premultiplied planes `[N, 4, H, W]` the model has not seen.
    """
    result = reconstruct(model, pictures)
    noisy = reconstruct(model, pictures, noise=NOISE)
    over = psnr_over(result, pictures)
    numbers = {f"psnr_{name}": value for name, value in over.items()}
    white = torch.ones(3, 1, 1)
    numbers["psnr_rgba"] = psnr_rgba(over)
    numbers[f"psnr_white_noise_{NOISE}"] = float(
        psnr(composite(noisy, white), composite(pictures, white)).mean()
    )
    alpha_error = ((result - pictures)[:, 3].abs() / 2).mean((1, 2))
    transparent = pictures[:, 3].mean((1, 2)) < 2 * TRANSPARENT - 1
    for name, chosen in (("opaque", ~transparent), ("transparent", transparent)):
        if chosen.any():
            numbers[f"alpha_mae_{name}"] = float(alpha_error[chosen].mean())
    numbers["alpha_mae"] = float(alpha_error.mean())
    numbers["seam_ratio"] = seam_ratio(result - pictures, model.config.stride)
    numbers["flat_step"] = flat_step(result, pictures, model.config.stride)
    numbers[f"flat_step_noise_{NOISE}"] = flat_step(noisy, pictures, model.config.stride)
    return {name: round(value, 5) for name, value in numbers.items()}


def psnr_over(result: Tensor, pictures: Tensor) -> dict[str, float]:
    """Mean PSNR of the visible colour over each background of `backgrounds`."""
    grounds = backgrounds(*pictures.shape[2:])
    return {
        name: float(psnr(composite(result, ground), composite(pictures, ground)).mean())
        for name, ground in grounds.items()
    }


def psnr_rgba(over: dict[str, float]) -> float:
    """The mean over the nine backgrounds of what `psnr_over` found."""
    return float(np.mean([over[name] for name in NINE]))


def seam_ratio(error: Tensor, stride: int) -> float:
    """Mean jump of the error across cell borders over that inside cells; 1 means no visible 16-pixel grid."""
    jumps = error.diff(dim=3).abs().mean((0, 1, 2))
    border = torch.arange(1, len(jumps) + 1) % stride == 0
    return float(jumps[border].mean() / jumps[~border].mean().clamp_min(1e-9))


def flat_step(result: Tensor, pictures: Tensor, stride: int) -> float:
    """Mean tint step across cell borders in flat regions, in 1/255 of full scale; NaN if nothing is flat."""
    steps = tint_steps(result, pictures, stride)
    return 255 * float(steps.mean()) if len(steps) else math.nan


def contact_sheet(pictures: Tensor, results: Tensor, path: Path, columns: int = 8, scale: int = 2) -> None:
    """Truth above reconstruction, over the checker, `columns` pairs a row, enlarged `scale` times."""
    checker = backgrounds(*pictures.shape[2:])["checker"]
    columns = min(columns, len(pictures))
    rows = []
    for start in range(0, len(pictures) // columns * columns, columns):
        for planes in (pictures, results):
            shown = composite(planes[start : start + columns], checker)
            rows.append(torch.cat(list(shown), 2))
    sheet = (torch.cat(rows, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    image = Image.fromarray(sheet)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)


def markdown(rows: dict[str, dict[str, float]], columns: Sequence[str]) -> str:
    """Rows of numbers as a Markdown table; what a row lacks stays empty."""
    lines = [f"| | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(_cell(column, row.get(column)) for column in columns)} |")
    return "\n".join(lines)


def _cell(column: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.2f}" if "psnr" in column or "flat" in column else f"{value:.4f}"


def write_report(numbers: dict[str, float], path: Path) -> None:
    """The numbers as JSON, one a line."""
    path.write_text(json.dumps(numbers, indent=1) + "\n")
