"""What parts of the recipe are worth: `python -m training.visualizer.ablations --steps 240`.

Trains from nothing, on first words alone, with all parts and with each left out: attention that starts from
the understanding branch (report 3.1), and cells named halfway up (`naming.py`). All see the same tasks, none
twice, and the same noise, so that the flow error of a step is one of pictures not seen before. Writes
`ablations.json` with every step's and a plot a recipe, and prints how many steps a part saves or costs.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from training.loop import plot_losses, train
from training.vae.export import load as load_vae
from training.visualizer.config import SIZES, VisualizerTraining
from training.visualizer.data import Batches
from training.visualizer.loss import channel_weights, visualizer_loss
from training.visualizer.naming import Learner
from wanimage.models.attention import Backend
from wanimage.models.mot import Mot, init_from_understanding
from wanimage.models.understanding import Understanding
from wanimage.models.vae import Vae

WINDOW = 20
"""Steps whose mean is a point of a curve."""


@dataclass(frozen=True)
class Recipe:
    """A run with all parts, or with one left out."""

    name: str
    inherits: bool = True
    """Attention starts from the understanding branch's."""
    names: bool = True
    """Cells are named halfway up."""


RECIPES = (
    Recipe("all parts"),
    Recipe("attention from chance", inherits=False),
    Recipe("nothing named", names=False),
)


def main() -> None:
    """Parse, train, compare."""
    parser = argparse.ArgumentParser(prog="python -m training.visualizer.ablations", description=__doc__)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--out", type=Path, default=Path("runs/nano/visualizer/ablations"))
    parser.add_argument("--size", choices=SIZES, default="nano")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--pictures", type=int, default=16, help="a step")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.steps < WINDOW:
        parser.error(f"--steps {arguments.steps}: give {WINDOW} or more, of which a mean can be taken")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    found = run(
        beginning(SIZES[arguments.size]()[0], arguments.steps, arguments.pictures),
        Understanding.load(arguments.family / "understanding"),
        load_vae(arguments.family),
        arguments.out,
    )
    print(compared(found))


def beginning(stage: VisualizerTraining, steps: int, pictures: int) -> VisualizerTraining:
    """The beginning of a stage, at one rate once it is warm."""
    loop = replace(stage.loop, steps=steps, decay=0.0, warmup=WINDOW, log_every=1, precision="fp32")
    return replace(stage, loop=loop, data=replace(stage.data, singles=pictures, easy_steps=steps))


def run(
    stage: VisualizerTraining, understanding: Understanding, vae: Vae, out: Path
) -> dict[str, list[float]]:
    """The flow error of each step by recipe; anew, whatever lies in `out`."""
    batches = Batches(understanding, vae, stage.model, stage.data, "fp32")
    loss = partial(visualizer_loss, weights=channel_weights(vae, batches.base_latents(32)))
    found = {}
    for recipe in RECIPES:
        torch.manual_seed(stage.loop.seed)
        mot = Mot(stage.model, Backend.MATMUL)
        if recipe.inherits:
            init_from_understanding(mot, understanding.model)
        learner = Learner(mot, stage.naming * recipe.names)
        folder = out / recipe.name.replace(" ", "_")
        state = train(learner, loss, batches.batch_at, stage.loop, folder, resume=False)
        plot_losses(state.history, folder / "loss.png", recipe.name)
        found[recipe.name] = [row["single"] for row in state.history]
        (out / "ablations.json").write_text(json.dumps(found) + "\n")
    return found


def compared(found: dict[str, list[float]]) -> str:
    """The table in Markdown: where each recipe ends, when it has come to where the first one ends, and when
    that one has come to its own end; "never" within these steps."""
    whole = found[RECIPES[0].name]
    lines = [
        "| recipe | flow error at the end | steps to where all parts end | steps of all parts to its end |",
        "|---|---|---|---|",
    ]
    for name, errors in found.items():
        theirs, ours = steps_to(errors, smoothed(whole)[-1]), steps_to(whole, smoothed(errors)[-1])
        lines.append(f"| {name} | {smoothed(errors)[-1]:.3f} | {theirs or 'never'} | {ours or 'never'} |")
    return "\n".join(lines) + "\n"


def steps_to(errors: list[float], level: float) -> int | None:
    """Steps after which the mean of the last `WINDOW` is at or below a level; None if it never is."""
    below = np.flatnonzero(smoothed(errors) <= level)
    return int(below[0]) + WINDOW if len(below) else None


def smoothed(errors: list[float]) -> np.ndarray:
    """Means of every `WINDOW` steps in a row, `[steps - WINDOW + 1]`."""
    return np.convolve(errors, np.full(WINDOW, 1 / WINDOW), "valid")


if __name__ == "__main__":
    main()
