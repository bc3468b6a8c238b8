"""Pictures in tiles: what is too large to be computed at once is cut evenly, each part with what it shares
with its neighbours. Sides are counted in cells of 16 pixels; `scale` is what a cell has of rows and columns.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

TILE_CELLS = 48
"""Most cells a side of a tile, without its overlap."""
OVERLAP = 4
"""Cells on each side of a tile that its neighbour computes, too."""

Part = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Span:
    """One side of a tile: `first..last` is its own, `begin..end` includes what it overlaps."""

    first: int
    last: int
    begin: int
    end: int

    @classmethod
    def alone(cls, first: int, last: int) -> Span:
        """One that overlaps nothing."""
        return cls(first, last, first, last)

    def widened(self, by: int, side: int) -> Span:
        """The same span of a side, overlapping so many cells beyond its own."""
        return Span(self.first, self.last, max(0, self.first - by), min(side, self.last + by))


@dataclass(frozen=True)
class Tile:
    """A part of a picture of `grid` (rows, columns) cells."""

    rows: Span
    columns: Span
    grid: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Cells (rows, columns) with the overlap: tiles of one size may share a batch."""
        return self.rows.end - self.rows.begin, self.columns.end - self.columns.begin

    @property
    def outer(self) -> Tile:
        """It with its overlap as its own."""
        rows, columns = (Span.alone(s.begin, s.end) for s in (self.rows, self.columns))
        return Tile(rows, columns, self.grid)

    def widened(self, by: int) -> Tile:
        """The same tile, overlapping its neighbours by so many cells."""
        return Tile(self.rows.widened(by, self.grid[0]), self.columns.widened(by, self.grid[1]), self.grid)

    def cut(self, scale: int = 1) -> Part:
        """It with its overlap, in the whole picture."""
        return _part(scale, *((s.begin, s.end) for s in (self.rows, self.columns)))

    def own(self, scale: int = 1) -> Part:
        """It alone, in the whole picture."""
        return _part(scale, *((s.first, s.last) for s in (self.rows, self.columns)))

    def inside(self, scale: int = 1) -> Part:
        """It alone, in what was computed of its cut."""
        return _part(scale, *((s.first - s.begin, s.last - s.begin) for s in (self.rows, self.columns)))


def tiles_of(grid: tuple[int, int], most: int = TILE_CELLS, overlap: int = OVERLAP) -> list[Tile]:
    """The tiles of a picture of `grid` cells, row by row."""
    rows, columns = (_spans(side, most, overlap) for side in grid)
    return [Tile(row, column, grid) for row, column in itertools.product(rows, columns)]


def _spans(cells: int, most: int, overlap: int) -> list[Span]:
    count = -(-cells // most)
    edges = [round(i * cells / count) for i in range(count + 1)]
    return [Span.alone(a, b).widened(overlap, cells) for a, b in itertools.pairwise(edges)]


def _part(scale: int, rows: tuple[int, int], columns: tuple[int, int]) -> Part:
    (top, bottom), (left, right) = rows, columns
    return slice(top * scale, bottom * scale), slice(left * scale, right * scale)
