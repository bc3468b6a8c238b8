"""A picture of every degradation: `python -m training.refiner.preview docs/images/degradations.png`.

One row each: the picture before, then the degradation at a little, half and full strength; then both
pipelines, the VAE, and what the visualizer makes of a picture that was noised to .2, .4 and .6.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from training.refiner.degradations import CLASSICAL, TEXT, Pipeline
from training.refiner.pairs import DataConfig, Studio
from training.world.kinds import Pixels
from training.world.pictures import portraits
from training.world.tasks.pictures import KINDS
from wanimage.images import resize

TILE, MARGIN, SIDE = 160, 130, 128
STRENGTHS = (0.2, 0.6, 1.0)


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
    before = {name: resize(KINDS[name].draw(graph, 1024, 1024), SIDE, SIDE)
              for name, graph in (("poster", poster), ("portrait", face), ("scene", scene))}  # fmt: skip
    found: dict[str, list[Pixels]] = {}

    def add(name: str, picture: Pixels, worse: Callable[[float], Pixels], over: tuple[float, ...]) -> None:
        found[name] = [picture, *(worse(each) for each in over)]

    def seeded(name: str) -> Callable[[float], Pixels]:
        return lambda s: (CLASSICAL | TEXT)[name](np.random.default_rng(1), before[shown], s)

    for name in CLASSICAL | TEXT:
        shown = "portrait" if name in CLASSICAL else "poster"
        add(name, before[shown], seeded(name), STRENGTHS)
    for rounds in (1, 2):
        add(
            f"{rounds} round{'s' * (rounds - 1)}",
            before["scene"],
            lambda s, r=rounds: Pipeline(strength=s, rounds=r)(np.random.default_rng(2), before["scene"]),  # type: ignore[misc]
            STRENGTHS,
        )
    found["vae"] = [before["scene"], studio.through_vae(before["scene"])]
    add(
        "diffusion .2 .4 .6",
        before["scene"],
        lambda level: studio.denoised(np.random.default_rng(3), before["scene"], prompt, level),
        (0.2, 0.4, 0.6),
    )
    return found


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
