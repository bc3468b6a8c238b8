"""A picture of every degradation: `python -m training.refiner.preview docs/images/degradations.png`.

One row each: the picture before, then the degradation at a little, half and full strength; then both
pipelines, the VAE, and what the visualizer makes of a picture that was noised to .2, .4 and .6.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from training.refiner.degradations import CLASSICAL, TEXT, Degradation, Pipeline
from training.refiner.pairs import DataConfig, Studio
from training.world.kinds import Pixels
from training.world.pictures import portraits
from training.world.tasks.pictures import KINDS
from wanimage.images import resize

TILE, MARGIN, SIDE = 160, 130, 128
STRENGTHS = (0.2, 0.6, 1.0)
LEVELS = (0.2, 0.4, 0.6)


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(prog="python -m training.refiner.preview")
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    with torch.inference_mode():
        sheet(rows(Studio(arguments.family, DataConfig()))).save(arguments.out)


def rows(studio: Studio) -> dict[str, list[Pixels]]:
    """Pictures of each row, by its name."""
    rng = np.random.default_rng(5)
    poster = KINDS["poster"].sample(rng, "train", (8, 8))
    face = portraits.sample(rng, "train")
    scene = KINDS["scene"].sample(rng, "train", (8, 8))
    prompt = KINDS["scene"].phrase(scene)
    graphs = {"poster": poster, "portrait": face, "scene": scene}
    small = {name: resize(KINDS[name].draw(graph, 1024, 1024), SIDE, SIDE) for name, graph in graphs.items()}

    def degraded(work: Degradation, shown: str, seed: int) -> list[Pixels]:
        return [small[shown], *(work(np.random.default_rng(seed), small[shown], s) for s in STRENGTHS)]

    def rounds(count: int) -> Degradation:
        return lambda rng, picture, strength: Pipeline(strength=strength, rounds=count)(rng, picture)

    found = {name: degraded(work, "portrait", 1) for name, work in CLASSICAL.items()}
    found |= {name: degraded(work, "poster", 1) for name, work in TEXT.items()}
    found |= {"1 round": degraded(rounds(1), "scene", 2), "2 rounds": degraded(rounds(2), "scene", 2)}
    found["vae"] = [small["scene"], studio.through_vae(small["scene"])]
    noised = [studio.denoised(np.random.default_rng(3), small["scene"], prompt, level) for level in LEVELS]
    return found | {"diffusion .2 .4 .6": [small["scene"], *noised]}


def sheet(found: dict[str, list[Pixels]]) -> Image.Image:
    """The rows with their names."""
    image = Image.new("RGB", (MARGIN + TILE * 4, TILE * len(found)), "white")
    draw = ImageDraw.Draw(image)
    for y, (name, pictures) in enumerate(found.items()):
        draw.text((8, y * TILE + TILE // 2), name, fill="black")
        for x, picture in enumerate(pictures):
            tile = Image.fromarray(picture, "RGBA").resize((TILE - 6, TILE - 6), Image.Resampling.NEAREST)
            image.paste(tile, (MARGIN + x * TILE, y * TILE + 3), tile)
    return image


if __name__ == "__main__":
    main()
