"""What the VAE keeps of a picture, beside codecs, a thumbnail and a twin without opacity in as much space.

    python benchmarks/vae_quality.py [--weights weights/nano] [--twin FOLDER] [--n 40] [--out benchmarks/vae]

Held-out pictures at 256 px, the same for every row; prints tables, writes them and pictures into --out, then
prints one JSON line.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage.metrics import structural_similarity
from torch import Tensor

from training.vae import rivals
from training.vae.data import held_out
from training.vae.distillation import feature_distance
from training.vae.evaluate import NINE, NOISE, backgrounds, composite, flat_step, markdown, psnr, reconstruct
from training.vae.export import load
from training.vae.legibility import legible
from training.vae.teacher import Teacher
from wanimage.models.vae import Vae

SIDE = 256
SOURCES = ("core", "scene", "concepts", "sticker", "clipart", "portrait", "text")
COLUMNS = (
    "rgb_psnr", "rgb_ssim", "rgb_features", "rgba_psnr", "rgba_ssim", "alpha_mae", "flat_step",
    "flat_step_noisy", "words_read",
)  # fmt: skip
BARS = {"rgb_psnr": 32.0, "rgba_psnr": 32.0, "alpha_mae": 0.006, "flat_step": 1.0, "words_read": 0.8}

Through = Callable[[Tensor], Tensor]


def pictures_of(count: int) -> dict[str, Tensor]:
    """Held-out pictures of every source."""
    return {source: held_out(count, SIDE, SIDE, source) for source in SOURCES}


def is_opaque(planes: Tensor) -> Tensor:
    """Which pictures have no transparency, `[N]`."""
    return planes[:, 3].amin((1, 2)) > 0.999


def compare(result: Tensor, truth: Tensor, teacher: Teacher) -> dict[str, float]:
    """RGB numbers of the opaque pictures, RGBA numbers (over nine backgrounds) of the others."""
    opaque, found = is_opaque(truth), {}
    grounds = backgrounds(SIDE, SIDE)
    for name, chosen, over_these in (("rgb", opaque, ("white",)), ("rgba", ~opaque, tuple(NINE))):
        if not chosen.any():
            continue
        shown = [
            (composite(result[chosen], grounds[g]), composite(truth[chosen], grounds[g])) for g in over_these
        ]
        found[f"{name}_psnr"] = float(np.mean([psnr(a, b).mean() for a, b in shown]))
        found[f"{name}_ssim"] = float(np.mean([ssim(a, b) for a, b in shown]))
        found[f"{name}_features"] = float(np.mean([distance(a, b, teacher) for a, b in shown]))
    if (~opaque).any():
        found["alpha_mae"] = float((result - truth)[~opaque, 3].abs().mean() / 2)
    return found


def ssim(a: Tensor, b: Tensor) -> float:
    """Mean structural similarity of `[N, 3, H, W]` in 0 to 1."""
    pairs = zip(a.numpy(), b.numpy(), strict=True)
    return float(np.mean([structural_similarity(x, y, channel_axis=0, data_range=1.0) for x, y in pairs]))


@torch.no_grad()
def distance(a: Tensor, b: Tensor, teacher: Teacher) -> float:
    """Distance of the teacher's features of `[N, 3, H, W]` in 0 to 1; the family's own measure, in place of
    LPIPS."""
    parts = zip(a.split(8), b.split(8), strict=True)
    return float(np.mean([feature_distance(*(teacher.features(2 * x - 1) for x in pair)) for pair in parts]))


def flatness(model: Vae, clean: Tensor, truth: Tensor) -> dict[str, float]:
    """Tint steps at the 16-pixel grid in flat regions, in 1/255, of a reconstruction and of a noisy one."""
    noisy, stride = reconstruct(model, truth, NOISE), model.config.stride
    return {"flat_step": flat_step(clean, truth, stride), "flat_step_noisy": flat_step(noisy, truth, stride)}


def measure(
    model: Vae, twin: Vae | None, pictures: dict[str, Tensor], teacher: Teacher
) -> dict[str, dict[str, dict[str, float]]]:
    """Every number of every row, by row and source, of `pictures` by source."""
    size = rivals.latent_bytes(model, SIDE, SIDE)
    rows: dict[str, Through] = {
        "this VAE": lambda x: reconstruct(model, x),
        f"WebP, {size} bytes": lambda x: rivals.webp(x, size),
        f"JPEG, {size} bytes": lambda x: rivals.jpeg(x, size),
        "bicubic thumbnail, 64 px": rivals.thumbnail,
    }
    if twin is not None:
        rows["twin without alpha, two latents"] = lambda x: rivals.without_alpha(twin, x)
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in rows}
    for source, truth in pictures.items():
        results = {name: through(truth) for name, through in rows.items()}
        for name, result in results.items():
            found[name][source] = compare(result, truth, teacher)
        found["this VAE"][source] |= flatness(model, results["this VAE"], truth)
    for name, through in rows.items():
        found[name]["16-px capitals"] = legible(through, len(next(iter(pictures.values()))))
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: one row a rival and source."""
    flat = {f"{name}: {source}": numbers for name, rows in found.items() for source, numbers in rows.items()}
    return markdown(flat, COLUMNS)


def sheet(model: Vae, pictures: dict[str, Tensor], path: Path, each: int = 4) -> None:
    """Input, reconstruction, difference (8 times) and opacity, one picture a row, every source."""
    rows = []
    each = min(each, len(next(iter(pictures.values()))))
    for source, found in pictures.items():
        truth = found[:each]
        result = reconstruct(model, truth)
        checker = backgrounds(SIDE, SIDE)["checker"]
        shown = [composite(x, checker) for x in (truth, result)]
        difference = (8 * (shown[1] - shown[0]).abs()).clamp(0, 1)
        alpha = ((result[:, 3:] + 1) / 2).clamp(0, 1).expand(-1, 3, -1, -1)
        rows += [
            (source, torch.cat([shown[0][i], shown[1][i], difference[i], alpha[i]], 2)) for i in range(each)
        ]
    half = len(rows) // 2
    columns = [torch.cat([row for _, row in part], 1) for part in (rows[:half], rows[half:])]
    pixels = (torch.cat(columns, 2).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for index, (source, _) in enumerate(rows):
        column, row = divmod(index, half)
        draw.text(
            (column * 4 * SIDE + 3, row * SIDE + 3), source, fill="black", stroke_width=1, stroke_fill="white"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=80)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", type=Path, default=Path("weights/nano"), help="folder of the VAE")
    parser.add_argument("--family", type=Path, default=Path("weights/nano"), help="family of the teacher")
    parser.add_argument("--twin", type=Path, help="folder of an exported VAE that was trained without alpha")
    parser.add_argument("--n", type=int, default=40, help="pictures a source")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/vae"))
    options = parser.parse_args()
    model = load(options.weights)
    twin = load(options.twin) if options.twin else None
    pictures = pictures_of(options.n)
    found = measure(model, twin, pictures, Teacher.load(options.family))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(table(found) + "\n")
    sheet(model, pictures, options.out / "sheet.jpg")
    print(table(found))
    print(json.dumps({"benchmark": "vae_quality", "bars": BARS, **found}))


if __name__ == "__main__":
    main()
