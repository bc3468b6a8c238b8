"""Do faces told in few words differ from seed to seed? `python -m training.visualizer.variety --seeds 50`.

A prompt of three things leaves skin, clothes and ground to the seed. Many faces are painted for each of a few
prompts; how far two of them lie apart on average is held against faces of the world that the same words
describe, in the eyes of the understanding branch's vision tower and in words that differ.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from training.vae.distillation import feature_distance
from training.vae.objective import over
from training.vae.teacher import Teacher
from training.visualizer.evaluate import SHOWN, load
from training.visualizer.sample import Painter
from training.visualizer.sheet import contact_sheet
from training.visualizer.tasks import BASE, Task
from training.world.kinds import Pixels
from training.world.pictures import portraits
from training.world.pictures.portraits import WORDS, Portrait
from training.world.tasks.captions import natural
from training.world.tasks.pictures import kind_of
from training.world.tasks.sample import CELL, Frame
from wanimage.models.vae import premultiplied
from wanimage.sampling import SamplerConfig

TOLD_FIRST = ("expression", "hair", "hair_color")
"""What three words always tell."""
BATCH = 25


@dataclass(frozen=True)
class Variety:
    """Of one prompt."""

    prompt: str
    features: tuple[float, float]
    """Mean distance of two faces in the tower's features: painted, and of the world."""
    words: tuple[float, float]
    """Mean share of attributes in which two faces differ: painted, and of the world."""
    told: float
    """Share of the painted faces that show all three things that the prompt tells first."""


def main() -> None:
    """Parse, paint, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m training.visualizer.variety", description=__doc__)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--out", type=Path, default=Path("runs/nano/visualizer/variety"))
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=50, help="faces a prompt")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error(f"--seeds {arguments.seeds}: give two or more, which can be compared")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    painter, teacher = load(arguments.family), Teacher.load(arguments.family)
    found = []
    for number in range(arguments.prompts):
        rng = np.random.default_rng((7, number))
        found.append(measure(painter, teacher, rng, arguments.seeds, arguments.out / f"faces_{number}.png"))
        print(json.dumps(asdict(found[-1])), flush=True)
    (arguments.out / "variety.json").write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    for name in ("features", "words"):
        painted, world = np.mean([getattr(each, name) for each in found], axis=0)
        print(f"{name}: {painted:.3f} painted, {world:.3f} of the world: {painted / world:.0%}")


def measure(painter: Painter, teacher: Teacher, rng: np.random.Generator, seeds: int, sheet: Path) -> Variety:
    """Paint `seeds` faces of one held-out prompt; writes the first of them to `sheet`."""
    face = portraits.sample(rng, "heldout")
    task = Task((Frame(face, BASE, told(face), "portrait"),), name="portrait")
    painted: list[Pixels] = []
    while len(painted) < seeds:  # seeds of a call lie a hundred apart
        some = [task] * min(BATCH, seeds - len(painted))
        painted += [p[0] for p in painter.paint(some, SamplerConfig(), seed=100 * len(painted))]
    height, width = (CELL * cells for cells in BASE)
    others = [alike(face, rng) for _ in range(seeds)]
    read = [portraits.read(picture) for picture in painted]
    contact_sheet([(task, [each], [portraits.verify(face, each)]) for each in painted[:SHOWN]], sheet)
    return Variety(
        task.shots[0].prompt,
        (spread(painted, teacher), spread([portraits.draw(each, height, width) for each in others], teacher)),
        (unlike(read), unlike(others)),
        float(np.mean([all(getattr(face, n) == getattr(each, n) for n in TOLD_FIRST) for each in read])),
    )


def told(face: Portrait) -> str:
    """A face in three things."""
    return natural(kind_of("portrait"), face, np.random.default_rng(0), "brief")


def alike(face: Portrait, rng: np.random.Generator) -> Portrait:
    """Another face that the same words tell."""
    wanted, kept = told(face), {name: getattr(face, name) for name in TOLD_FIRST}
    while True:
        other = replace(portraits.sample_portrait(rng), **kept)
        if told(other) == wanted:
            return other


@torch.inference_mode()
def spread(pictures: Sequence[Pixels], teacher: Teacher) -> float:
    """Mean distance of two pictures `[H, W, 4]` in the features of the tower, over grey."""
    planes = premultiplied(torch.from_numpy(np.stack(pictures)))
    layers = teacher.features(over(planes, torch.full((1, 3, 1, 1), 0.5)))
    row = lambda i: [layer[i : i + 1] for layer in layers]  # noqa: E731
    pairs = combinations(range(len(pictures)), 2)
    return float(np.mean([float(feature_distance(row(i), row(j))) for i, j in pairs]))


def unlike(faces: Sequence[Portrait]) -> float:
    """Mean share of attributes in which two faces differ."""
    differ = lambda a, b: np.mean([getattr(a, name) != getattr(b, name) for name in WORDS])  # noqa: E731
    return float(np.mean([differ(a, b) for a, b in combinations(faces, 2)]))


if __name__ == "__main__":
    main()
