"""Where every token of a render stands and what it may see: segments, the structured mask, positions (report
3.1).

A *sample* is one render: clean references, then one chapter a picture. A *chapter* is the sequence the frozen
understanding branch read for that picture (ViT tokens of the references, prompt, size, `<BOI>`) and the noisy
picture that follows it. Order along the causal stream: clean references, chapter 0 text, chapter 0 picture,
chapter 1 text, ...

The rules, stated once here and once more, token pair by token pair, in `may_see`:
- text and ViT tokens are seen by the pictures after them (`TextScope` says of which chapters); they are
  queries of the understanding branch only, which is frozen and causal by itself;
- clean reference tokens see themselves and earlier references, never text (it comes later), never noisy
  tokens;
- noisy tokens see the clean references, their text, and the noisy tokens of their own series in both
  directions;
- nothing crosses samples, so several samples may be packed into one row; padding sees only padding.

Letters: B batch, L context tokens of the understanding branch, C clean tokens, N noisy tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import torch
from torch import Tensor

from wanimage.models.rope import Frame, RopeConfig, grid_positions

Grid = tuple[int, int]
"""Rows and columns of 16-pixel latent cells."""


class Kind(IntEnum):
    """What a token is."""

    PAD = 0
    CONTEXT = 1
    """Text or ViT token of the frozen understanding branch."""
    CLEAN = 2
    NOISY = 3


class TextScope(Enum):
    """Which chapters' text a picture of a series sees."""

    CAUSAL = "causal"
    """Its own and all earlier ones, as in the report."""
    OWN = "own"
    """Only its own: prompts of a series are self-contained, and a small model binds text to picture more
    surely."""


@dataclass(frozen=True)
class Text:
    """A run of text tokens in a context."""

    length: int


@dataclass(frozen=True)
class Vision:
    """The ViT tokens of one reference in a context: `rows * columns` tokens over a picture of `cells`."""

    rows: int
    columns: int
    cells: Grid


@dataclass(frozen=True)
class Chapter:
    """One picture of a sample: the context read for it, and its grid."""

    context: tuple[Text | Vision, ...]
    grid: Grid


@dataclass(frozen=True)
class Sample:
    """One render. `references` are the grids of the clean pictures, in the order of their `Vision`
    entries."""

    chapters: tuple[Chapter, ...]
    references: tuple[Grid, ...] = ()
    is_series: bool = True
    """Whether the pictures are denoised jointly; otherwise each ignores the other noisy ones."""
    gap: float = 0.0
    """Extra distance along t before every chapter but the first (varied in training only)."""


@dataclass
class Tokens:
    """Description of a padded set of tokens, integers `[B, N]` and positions `[B, N, 3]`."""

    kind: Tensor
    sample: Tensor
    """Which packed sample of the row."""
    order: Tensor
    """Place of the segment along the causal stream of its sample."""
    chapter: Tensor
    """-1 for references."""
    series: Tensor
    """Noisy tokens of equal series see each other."""
    positions: Tensor

    @property
    def mask(self) -> Tensor:
        """True where a token is real, `[B, N]`."""
        return self.kind != Kind.PAD


@dataclass
class Layout:
    """A batch of rows: three sets of tokens that the model keeps apart."""

    context: Tokens
    clean: Tokens
    noisy: Tokens
    scope: TextScope


@dataclass
class _Row:
    """Unpadded columns of one row while it is being laid out."""

    columns: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)

    def add(self, positions: Tensor, kind: Kind, sample: int, order: int, chapter: int, series: int) -> None:
        self.columns += [(kind, sample, order, chapter, series)] * len(positions)
        self.positions.append(positions)


def lay_out(rows: Sequence[Sequence[Sample]], rope: RopeConfig, scope: TextScope) -> Layout:
    """Place packed rows of samples (the usual row holds one) and pad them to a common width.

    Raises:
        ValueError: a sample without pictures, or a context whose `Vision` entries do not match the
        references.
    """
    parts: tuple[list[_Row], list[_Row], list[_Row]] = ([], [], [])
    for row in rows:
        context, clean, noisy = _Row(), _Row(), _Row()
        for index, sample in enumerate(row):
            _check(sample)
            _place(sample, index, rope, context, clean, noisy)
        for part, filled in zip(parts, (context, clean, noisy), strict=True):
            part.append(filled)
    context_tokens, clean_tokens, noisy_tokens = (_pad(part) for part in parts)
    return Layout(context_tokens, clean_tokens, noisy_tokens, scope)


def _place(sample: Sample, index: int, rope: RopeConfig, context: _Row, clean: _Row, noisy: _Row) -> None:
    """Walk one sample along the frame. A reference has one t, shared with its ViT tokens of the first
    chapter."""
    frame = Frame(rope.offset)
    order = len(sample.references)
    for number, chapter in enumerate(sample.chapters):
        if number:
            frame.skip(sample.gap)
        seen = 0
        for piece in chapter.context:
            if isinstance(piece, Text):
                placed = frame.text(piece.length)
            else:
                placed = frame.image(piece.rows, piece.columns, piece.cells)
                if number == 0:
                    cells = grid_positions(*piece.cells, t=float(placed[0, 0]))
                    clean.add(cells, Kind.CLEAN, index, seen, -1, -1)
                seen += 1
            context.add(placed, Kind.CONTEXT, index, order, number, -1)
        series = 0 if sample.is_series else number
        noisy.add(frame.image(*chapter.grid), Kind.NOISY, index, order + 1, number, series)
        order += 2


def _check(sample: Sample) -> None:
    if not sample.chapters:
        raise ValueError("a sample has no chapters; give it one a picture")
    for chapter in sample.chapters:
        seen = tuple(piece.cells for piece in chapter.context if isinstance(piece, Vision))
        if seen != sample.references:
            raise ValueError(
                f"context shows references {seen}, the sample has {sample.references}; give both alike"
            )


def _pad(rows: list[_Row]) -> Tokens:
    width = max(len(row.columns) for row in rows)
    columns = torch.zeros(len(rows), width, 5, dtype=torch.long)
    positions = torch.zeros(len(rows), width, 3)
    for i, row in enumerate(rows):
        if row.columns:
            columns[i, : len(row.columns)] = torch.tensor(row.columns)
            positions[i, : len(row.columns)] = torch.cat(row.positions)
    kind, sample, order, chapter, series = columns.unbind(-1)
    return Tokens(kind, sample, order, chapter, series, positions)


def mask(queries: Tokens, keys: Tokens, scope: TextScope) -> Tensor:
    """The structured mask `[B, 1, Q, K]`, True where query may see key; equal to `may_see` pair by pair."""
    q = {
        name: getattr(queries, name).unsqueeze(2) for name in ("kind", "sample", "order", "chapter", "series")
    }
    k = {name: getattr(keys, name).unsqueeze(1) for name in q}
    same = q["sample"] == k["sample"]
    before = k["order"] < q["order"]
    in_scope = (q["chapter"] == k["chapter"]) | (scope is TextScope.CAUSAL)
    context = (k["kind"] == Kind.CONTEXT) & (q["kind"] == Kind.NOISY) & before & in_scope
    clean = (k["kind"] == Kind.CLEAN) & (before | (q["order"] == k["order"]))
    noisy = (k["kind"] == Kind.NOISY) & (q["kind"] == Kind.NOISY) & (q["series"] == k["series"])
    real = same & (q["kind"] != Kind.PAD) & (context | clean | noisy)
    padding = (q["kind"] == Kind.PAD) & (k["kind"] == Kind.PAD)
    return (real | padding).unsqueeze(1)


def may_see(queries: Tokens, i: int, keys: Tokens, j: int, row: int, scope: TextScope) -> bool:
    """The rules for one pair of tokens of one row, slow and obvious; `mask` is tested against it."""
    q_kind, k_kind = int(queries.kind[row, i]), int(keys.kind[row, j])
    if q_kind == Kind.PAD or k_kind == Kind.PAD:
        return q_kind == k_kind
    if queries.sample[row, i] != keys.sample[row, j]:
        return False
    q_order, k_order = int(queries.order[row, i]), int(keys.order[row, j])
    if k_kind == Kind.CLEAN:
        return k_order <= q_order
    if q_kind != Kind.NOISY:
        return False
    if k_kind == Kind.CONTEXT:
        own = bool(queries.chapter[row, i] == keys.chapter[row, j])
        return k_order < q_order and (own or scope is TextScope.CAUSAL)
    return bool(queries.series[row, i] == keys.series[row, j])
