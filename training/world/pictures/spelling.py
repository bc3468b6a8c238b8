"""Spelling: the chain of glyphs that explains most of a line's ink, by a Viterbi search over its columns.

A glyph T at x explains 2 T.D - |T|^2 of the energy of the ink D, and the next one stands an advance further.
The search knows the alphabet and the font, and nothing of what should stand there.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.world.pictures import vocabulary
from training.world.pictures.lettering import Floats, Ink, Line, advance, ink

RISE, DROP = 1.0, 0.32  # the band of a line around its baseline, in ems
LETTER_COST = 0.003  # square ems a letter must explain at least
SLACKS = (0, -1, 1)  # half pixels by which an advance may be off (kerning)
SLACK_COST = 0.0008


def put(canvas: Floats, mark: Ink, top: int = 0, left: int = 0) -> None:
    """Add ink to a coverage map whose corner is at (top, left)."""
    y, x = mark.top - top, mark.left - left
    y0, x0 = max(0, y), max(0, x)
    y1 = min(canvas.shape[0], y + mark.coverage.shape[0])
    x1 = min(canvas.shape[1], x + mark.coverage.shape[1])
    if y0 < y1 and x0 < x1:
        canvas[y0:y1, x0:x1] += mark.coverage[y0 - y : y1 - y, x0 - x : x1 - x]


def script_of(text: str) -> str:
    """The script of a string by its letters; digits and signs are Latin."""
    for letter in text:
        if "\u0370" <= letter < "\u0400":
            return "greek"
        if "\u0400" <= letter < "\u0530":
            return "cyrillic"
        if letter > "\u2e80":
            return "han"
    return "latin"


@lru_cache(maxsize=8)
def alphabet(script: str) -> tuple[str, ...]:
    """The characters that a line of a script is spelled with."""
    signs = "0123456789$%:.,!?&'-+/"
    latin = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    own = vocabulary.characters(script) if script != "latin" else ""
    return tuple(sorted({*signs, *own, *(latin if script in ("latin", "han") else "")}))


@dataclass(frozen=True)
class _Glyphs:
    """The glyphs of an alphabet at both half-pixel phases; column `pad` of an image is the origin."""

    letters: tuple[str, ...]
    images: Floats  # [2, K, h, w]
    energy: Floats  # [2, K]
    advances: NDArray[np.int64]  # in half pixels, [K]
    pad: int


@lru_cache(maxsize=64)
def _glyphs(script: str, word: str, em: float, phase: float, rise: int, softness: float) -> _Glyphs:
    """The glyphs at an em, their baseline `rise + phase` below the first row."""
    letters = alphabet(script)
    height = rise + math.ceil(DROP * em) + 1
    widest = max(advance(c, word, em) for c in letters)
    pad = math.ceil(0.2 * em)
    images = np.zeros((2, len(letters), height, math.ceil(widest) + 2 * pad), np.float32)
    for half in range(2):
        for k, letter in enumerate(letters):
            put(images[half, k], ink(Line(letter, word, em, pad + half / 2, rise + phase)))
    if softness:
        images = gaussian_filter(images, (0, 0, softness, softness))
    advances = np.array([max(1, round(2 * advance(c, word, em))) for c in letters])
    return _Glyphs(letters, images, np.square(images).sum((2, 3)), advances, pad)


@dataclass(frozen=True)
class Spelling:
    """A string, the x of its first origin, and what each letter of the alphabet explains at its places."""

    text: str
    x: float
    letters: tuple[str, ...]
    gains: list[Floats]


def spell(cover: Floats, top: int, left: int, line: Line, softness: float) -> Spelling:
    """Spell the ink `cover` (its corner at (top, left)) on the baseline and in the font of `line`.

    `line.text` gives the script alone.
    """
    em = round(line.em, 2)
    rise, floor = math.ceil(RISE * em), math.floor(line.y)
    phase = round(4 * (line.y - floor)) / 4
    glyphs = _glyphs(script_of(line.text), line.font, em, phase, rise, round(softness, 2))
    height, width = glyphs.images.shape[2:]
    padded = np.zeros((height, cover.shape[1] + 2 * width), np.float32)
    first = floor - rise - top
    rows = range(max(0, first), min(cover.shape[0], first + height))
    padded[rows.start - first : rows.stop - first, width:-width] = cover[rows.start : rows.stop]
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)
    columns = np.ascontiguousarray(windows.transpose(1, 0, 2)).reshape(windows.shape[1], -1)
    fits = columns @ glyphs.images.reshape(-1, height * width).T  # [x, 2 K]
    gains = 2 * fits.reshape(len(fits), 2, -1) - glyphs.energy - LETTER_COST * em * em
    gains = gains.reshape(2 * len(fits), -1)  # by half pixels, [u, K]
    start, text, cells = _viterbi(gains, glyphs, em, advance(" ", line.font, em))
    x = start / 2 - width + glyphs.pad + left
    return Spelling(text, x, glyphs.letters, [gains[u] for u in cells])


def _viterbi(gains: Floats, glyphs: _Glyphs, em: float, space: float) -> tuple[int, str, list[int]]:
    """(first half pixel, text, half pixel of every letter) of the chain of glyphs that explains most ink."""
    length, count = gains.shape
    reach = int(glyphs.advances.max()) + 2
    chain = np.full(length + reach, -np.inf)  # best score of a chain that ends at u
    chained = np.zeros((length + reach, 2), np.int64)  # its last (letter, start)
    gap = np.zeros(length + reach)  # ... of one that ended a space or more before u, or has not begun
    gap_end = np.full(length + reach, -1)
    total = np.full((length + reach, count), -np.inf)
    least = max(1, round(1.2 * space))
    letters = np.arange(count)
    ends = np.stack([glyphs.advances + s for s in SLACKS])  # [S, K]
    costs = np.array([[0.0 if s == 0 else SLACK_COST * em * em] for s in SLACKS])
    from_gap = np.zeros(length + reach, bool)
    for u in range(length + reach):
        begin = u - ends
        scores = np.where(begin >= 0, total[np.maximum(begin, 0), letters], -np.inf) - costs
        best = int(np.argmax(scores))
        chain[u] = scores.flat[best]
        chained[u] = best % count, u - ends.flat[best]
        if u:
            gap[u], gap_end[u] = gap[u - 1], gap_end[u - 1]
        if u >= least and chain[u - least] > gap[u]:
            gap[u], gap_end[u] = chain[u - least], u - least
        from_gap[u] = gap[u] >= chain[u]
        if u < length:
            total[u] = max(gap[u], chain[u]) + gains[u]
    return _traced(chain, chained, gap_end, from_gap, glyphs.letters)


def _traced(
    chain: NDArray[np.float64],
    chained: NDArray[np.int64],
    gap_end: NDArray[np.int64],
    from_gap: NDArray[np.bool_],
    letters: tuple[str, ...],
) -> tuple[int, str, list[int]]:
    u = int(np.argmax(chain))
    if chain[u] <= 0:
        return 0, "", []
    text, cells = "", list[int]()
    while True:
        letter, start = (int(v) for v in chained[u])
        text, cells = letters[letter] + text, [start, *cells]
        if not from_gap[start]:
            u = start
            continue
        if gap_end[start] < 0:
            return start, text, cells
        text, u = " " + text, int(gap_end[start])


def oddity(text: str) -> int:
    """Letters of a kind that its word's other letters make unlikely: digits in words, capitals within."""
    odd = 0
    for word in text.split():
        inner = word[1:]
        capitals = sum(c.isupper() for c in inner)
        odd += min(capitals, sum(c.islower() for c in word))
        odd += min(sum(c.isalpha() for c in word), sum(not c.isalpha() for c in word))
    return odd
