"""Batches of crops: a pure function of the step, from pictures kept on disk (`pairs.py`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.refiner.pairs import Kept, Pair
from wanimage.models.refiner import Place, Prompt, Refiner
from wanimage.models.understanding import Understanding
from wanimage.refining import read_prompts

GENTLE, ROUGH = (0.1, 0.3), (0.4, 0.6)
"""Noise levels at which high fidelity and repair begin."""
MULTIPLE = 64
"""Prompts are padded to a multiple of tokens: compiled code is made anew for every length."""


@dataclass
class Batch:
    """B crops."""

    clean: Tensor
    """`[B, Z, c, c]`."""
    low: Tensor
    """`[B, Z, c, c]`."""
    place: Place
    prompts: list[str]
    """Of the pictures that crops come from."""
    picture: Tensor
    """Which of `prompts` is a crop's, `[B]`."""
    start: Tensor
    """Noise level at which a crop's path begins, `[B]`."""


@dataclass(frozen=True)
class Batches:
    """Draws batches of `pictures` pictures with `crops` crops of each."""

    kept: Kept
    pictures: int = 16
    crops: int = 1
    drop_prompt: float = 0.15
    """Share of pictures that nothing is said of."""
    rough: float = 0.1
    """Share of gently treated pictures that are repaired nevertheless."""
    seed: int = 0

    def batch_at(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, 2, step])
        chosen = rng.choice(self.kept.studio.config.pool, self.pictures, replace=False)
        return self.batch([self.kept.get(int(index)) for index in chosen], rng)

    def batch(self, pairs: list[Pair], rng: np.random.Generator) -> Batch:
        """Random crops of these pictures."""
        rows, prompts, starts = [], [], []
        for number, pair in enumerate(pairs):
            prompts.append("" if rng.random() < self.drop_prompt else pair.prompt)
            low, high = ROUGH if pair.repair or rng.random() < self.rough else GENTLE
            for crop in rng.choice(len(pair.clean), self.crops, replace=False):
                rows.append((number, int(crop)))
                starts.append(float(rng.uniform(low, high)))
        numbers = [
            [*pairs[n].corners[i], *pairs[n].grid, pairs[n].scale] for n, i in rows
        ]  # top, left, rows, columns, scale
        return Batch(
            torch.stack([pairs[n].clean[i] for n, i in rows]),
            torch.stack([pairs[n].low[i] for n, i in rows]),
            Place(*torch.tensor(numbers, dtype=torch.float32).unbind(1)),
            prompts,
            torch.tensor([n for n, _ in rows]),
            torch.tensor(starts),
        )


def prompt_of(batch: Batch, understanding: Understanding, refiner: Refiner) -> Prompt:
    """What the frozen branch makes of each crop's prompt."""
    return read_prompts(understanding, refiner, batch.prompts, MULTIPLE).rows(batch.picture)
