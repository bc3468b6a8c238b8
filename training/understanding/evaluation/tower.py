"""`python -m training.understanding.evaluation.tower runs/nano/understanding/sft`: what the tower names.

The probe of a finished stage names what lies under each vision token of held-out pictures, of the kinds that
the tower's own stage is made of; a share counts the tokens that show something of the group.
"""

import argparse
from collections import Counter
from pathlib import Path

import torch

from training.understanding.__main__ import AVERAGED, begin_from
from training.understanding.architecture import NANO, build
from training.understanding.objective import Trainee
from training.understanding.tokenizer import PREPROCESSOR
from training.understanding.vision import NAMES, picture_batch
from wanimage.models.qwen3vl import see
from wanimage.tokens import Vocabulary

PICTURES = 48
"""In a batch."""


@torch.no_grad()
def named(trainee: Trainee, batches: int, split: str, seed: int = 99) -> dict[str, tuple[int, int]]:
    """(right, all) tokens by group."""
    right, shown = Counter[str](), Counter[str]()
    for step in range(batches):
        batch = picture_batch(step, PICTURES, seed, PREPROCESSOR, split)
        seen, _ = see(trainee.model.model.visual, batch.patches, batch.grids)
        for number, group in enumerate(NAMES):
            wanted = batch.truth[:, number]
            there = wanted > 0
            found = trainee.probe.heads[group](seen).argmax(-1)
            right[group] += int((found == wanted)[there].sum())
            shown[group] += int(there.sum())
    return {group: (right[group], shown[group]) for group in NAMES}


def main() -> None:
    """Print a line a group."""
    parser = argparse.ArgumentParser(prog="python -m training.understanding.evaluation.tower")
    parser.add_argument("stage", type=Path, help="folder of a finished stage, its tokenizer/ beside it")
    parser.add_argument("--batches", type=int, default=8, help=f"of {PICTURES} pictures")
    parser.add_argument("--split", default="heldout", choices=("train", "val", "heldout"))
    arguments = parser.parse_args()
    vocabulary = Vocabulary.load(arguments.stage.parent / "tokenizer")
    trainee = Trainee(build(NANO, len(vocabulary), vocabulary.control))
    begin_from(trainee, arguments.stage / AVERAGED)
    for group, (right, shown) in named(trainee, arguments.batches, arguments.split).items():
        print(f"{group:20} {100 * right / max(1, shown):5.1f} % of {shown}")


if __name__ == "__main__":
    main()
