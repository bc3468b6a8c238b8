"""Batches: a pure function of the step, so that a resumed run sees what an uninterrupted one would."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from training.feed import Pieces
from training.understanding.items import Item
from training.understanding.pictures import pixels_of
from training.understanding.vision import targets as probe_targets
from wanimage.models.understanding import pad_batch


@dataclass(frozen=True)
class Batch:
    """Right-padded rows of similar length. Letters as in `wanimage.models.understanding`."""

    ids: Tensor
    """`[B, L]` int64."""
    mask: Tensor
    """`[B, L]` int64, ones then zeros."""
    targets: Tensor
    """`[T]` int64: the tokens to predict."""
    places: Tensor
    """`[T]` int64: flat places in `[B*L]` that predict them."""
    weights: Tensor
    """`[T]` fp32; they sum to 1 over all batches of a step."""
    patches: Tensor | None
    """`[P, 1536]` fp32."""
    grids: Tensor | None
    """`[I, 3]` int64."""
    probes: Tensor | None
    """`[P/4, groups]` int64 (`vision.targets`)."""
    share: float
    """1 / pieces of its step: weight of its probe loss, a mean of its own."""


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How steps are filled."""

    tokens: int = 4096
    """Unpadded tokens in a step."""
    pieces: int = 4
    """Batches a step is cut into, by length: little padding, and working sets that fit the cache."""
    item_level: bool = False
    """Average the loss over the tokens of each assistant turn first, then over turns (report 4.1, SFT)."""


def batches_at(
    step: int,
    make: Callable[[np.random.Generator], Item],
    config: BatchConfig,
    seed: int,
    preprocessor: dict,
) -> Pieces:
    """The batches of one optimiser step."""
    rng = np.random.default_rng([seed, step])
    items: list[Item] = []
    while sum(len(item.ids) for item in items) < config.tokens:
        items.append(make(rng))
    items.sort(key=lambda item: len(item.ids))
    weights = [item_weights(item, config.item_level) for item in items]
    total = sum(float(w.sum()) for w in weights)
    goal = config.tokens / config.pieces
    ends, count = [], 0
    for index, item in enumerate(items):
        count += len(item.ids)
        if count >= goal or index == len(items) - 1:
            ends.append(index + 1)
            count = 0
    parts = [slice(start, end) for start, end in pairwise([0, *ends])]
    return Pieces(
        collate(items[part], [w / total for w in weights[part]], rng, preprocessor, 1 / len(parts))
        for part in parts
    )


def item_weights(item: Item, item_level: bool) -> np.ndarray:
    """Loss weight of every token: 1 where it counts, or 1/(tokens of its assistant turn)."""
    group = np.asarray(item.group)
    weights = (group >= 0).astype(np.float32)
    weights[0] = 0  # nothing precedes the first token
    if item_level:
        for turn in np.unique(group[group >= 0]):
            weights[group == turn] /= max(1.0, float(weights[group == turn].sum()))
    return weights


def collate(
    items: list[Item],
    weights: list[np.ndarray],
    rng: np.random.Generator,
    preprocessor: dict,
    share: float,
) -> Batch:
    """Pad rows and render their pictures."""
    ids, mask = pad_batch([item.ids for item in items])
    padded = np.zeros(ids.shape, np.float32)
    for row, weight in enumerate(weights):
        padded[row, : len(weight)] = weight
    rows, columns = np.nonzero(padded)
    shown = [(picture, pixels_of(picture, preprocessor, rng)) for item in items for picture in item.pictures]
    vision = [v for _, v in shown]
    probes = [probe_targets(p, v.height // 2, v.width // 2) for p, v in shown]
    return Batch(
        ids=ids,
        mask=mask,
        targets=ids[rows, columns],
        places=torch.from_numpy(rows * ids.shape[1] + columns - 1),
        weights=torch.from_numpy(padded[rows, columns]),
        patches=torch.cat([v.patches for v in vision]) if vision else None,
        grids=torch.tensor([[1, v.height, v.width] for v in vision]) if vision else None,
        probes=torch.from_numpy(np.concatenate(probes)) if vision else None,
        share=share,
    )
