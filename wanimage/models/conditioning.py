"""From prompts and references to what the generation branch attends to: one place for training and serving.

Each picture of a render is a chapter with an understanding pass of its own (`Understanding.condition_ids`),
so a prompt of a long series reads exactly as it would alone. The chapters' keys and values are then laid side
by side in one row (`layout.py` says who sees which).

Letters: B renders, L tokens of a row, H heads, D head dimension, J pictures of all renders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wanimage.models.layout import Chapter, Grid, Layout, Sample, Text, TextScope, Vision, lay_out
from wanimage.models.qwen3vl import KeysValues
from wanimage.models.rope import RopeConfig
from wanimage.models.understanding import Understanding, VisionInput, pad_batch


@dataclass(frozen=True)
class Condition:
    """One render: a prompt and a grid for each picture, and the references all of them see."""

    prompts: tuple[str, ...]
    grids: tuple[Grid, ...]
    references: tuple[VisionInput, ...] = ()
    reference_grids: tuple[Grid, ...] = ()
    """Latent cells of the references, which may be finer than what the vision tower sees."""
    gap: float = 0.0
    """See `Sample.gap`; 0 outside training."""

    def without_text(self) -> Condition:
        """The same render with empty prompts: the unconditional input of text guidance."""
        return replace(self, prompts=("",) * len(self.prompts))

    def without_references(self) -> Condition:
        """The same render without references."""
        return replace(self, references=(), reference_grids=())


@torch.no_grad()
def read(
    understanding: Understanding, conditions: Sequence[Condition], rope: RopeConfig, scope: TextScope
) -> tuple[KeysValues, Layout]:
    """Run the frozen branch; per layer un-rotated keys and values `[B, H, L, D]`, and the layout of the
    rows."""
    merge = int(understanding.preprocessor["merge_size"])
    ids: list[list[int]] = []
    seen: list[VisionInput] = []
    rows: list[list[Sample]] = []
    for condition in conditions:
        chapters = []
        for prompt, grid in zip(condition.prompts, condition.grids, strict=True):
            ids.append(understanding.condition_ids(prompt, grid, condition.references))
            seen += condition.references
            chapters.append(Chapter(_pieces(len(ids[-1]), condition, merge), grid))
        rows.append([Sample(tuple(chapters), condition.reference_grids, gap=condition.gap)])
    input_ids, attention_mask = pad_batch(ids)
    patches = torch.cat([vision.patches for vision in seen]) if seen else None
    sizes = torch.tensor([[1, vision.height, vision.width] for vision in seen]) if seen else None
    pairs = understanding.keys_values(input_ids, attention_mask, patches, sizes)
    if any(len(condition.prompts) > 1 for condition in conditions):
        order = _side_by_side(
            [len(c.prompts) for c in conditions], [len(row) for row in ids], input_ids.shape[1]
        )
        pairs = [(_gather(k, order), _gather(v, order)) for k, v in pairs]
    return pairs, lay_out(rows, rope, scope)


def _pieces(length: int, condition: Condition, merge: int) -> tuple[Text | Vision, ...]:
    """How the ids of one chapter divide: start, picture, end for each reference, then text."""
    pieces: list[Text | Vision] = []
    for vision, cells in zip(condition.references, condition.reference_grids, strict=True):
        pieces += [Text(1), Vision(vision.height // merge, vision.width // merge, cells), Text(1)]
        length -= vision.tokens(merge) + 2
    return (*pieces, Text(length))


def _side_by_side(chapters: list[int], lengths: list[int], width: int) -> Tensor:
    """Indices `[B, L]` into flattened (picture, token) that put the chapters of a render behind one
    another."""
    rows, first = [], 0
    for count in chapters:
        pieces = [torch.arange(lengths[j]) + j * width for j in range(first, first + count)]
        rows.append(torch.cat(pieces))
        first += count
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # padding repeats token 0; masks hide it


def _gather(x: Tensor, order: Tensor) -> Tensor:
    """`[J, H, W, D]` -> `[B, H, L, D]` by indices `[B, L]`."""
    return x.transpose(1, 2).flatten(0, 1)[order].transpose(1, 2)
