"""How many words of 16-pixel capitals a real OCR library reads, before and after a picture is compressed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.world import pixels
from training.world.pictures import lettering, vocabulary
from training.world.pictures.ocr import read_crops
from wanimage.images import Rgba
from wanimage.models.vae import premultiplied, straight

CAP_PX = 16
SIDE = 256
LINES = 5
MARGIN = 6
"""Pixels around a word that OCR is shown, too."""


@dataclass(frozen=True)
class Word:
    """One word of a plate, and the rows and columns it takes."""

    text: str
    rows: slice
    columns: slice


def plate(rng: np.random.Generator) -> tuple[Rgba, list[Word]]:
    """Latin words in 16-pixel capitals, dark on light or light on dark, `[256, 256, 4]`, and the words."""
    face = lettering.sample_face(rng, "latin")
    em = CAP_PX / lettering.cap_height(face)
    ground = lettering.sample_hex(rng)
    ink = lettering.sample_ink(rng, (ground,), least=120)
    canvas = lettering.gradient(SIDE, SIDE, ground, ground)
    words = []
    for number in range(LINES):
        baseline, x = (number + 0.7) * SIDE / LINES, 0.05 * SIDE
        for text in vocabulary.sample_text(rng, 2, "latin").split():
            line = lettering.Line(text, face, em, x, baseline)
            if x + line.width > 0.95 * SIDE:
                break
            lettering.paint(canvas, lettering.ink(line), lettering.rgb(ink))
            rows = slice(int(baseline - CAP_PX - MARGIN), int(baseline + 0.3 * em + MARGIN))
            words.append(Word(text, rows, slice(max(0, int(x) - MARGIN), int(x + line.width) + MARGIN)))
            x += line.width + 0.6 * em
    return pixels.straight(canvas), words


def legible(through: Callable[[Tensor], Tensor], count: int, seed: int = 0) -> dict[str, float]:
    """Share of words read right before and after `through` (planes `[N, 4, H, W]` to the same)."""
    rng = np.random.default_rng([seed, 4])
    plates = [plate(rng) for _ in range(count)]
    words = [words for _, words in plates]
    before = np.stack([picture for picture, _ in plates])
    after = straight(through(premultiplied(torch.from_numpy(before)))).numpy()
    return {"words_read_of_truth": _read(before, words), "words_read": _read(after, words)}


def _read(pictures: Sequence[Rgba], words: list[list[Word]]) -> float:
    """Share of the words that OCR reads right, whatever their case."""
    wanted = [word.text.casefold() for found in words for word in found]
    crops = [p[word.rows, word.columns] for p, found in zip(pictures, words, strict=True) for word in found]
    read = [text.replace(" ", "").casefold() for text in read_crops(crops)]
    return float(np.mean([a == b for a, b in zip(wanted, read, strict=True)]))
