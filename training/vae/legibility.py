"""How many words of 16-pixel capitals a real OCR library reads, before and after a picture is compressed."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from training.world import lettering, vocabulary
from training.world.ocr import read_words
from wanimage.images import Rgba
from wanimage.models.vae import premultiplied, straight

CAP_PX = 16
SIDE = 256
LINES = 5


def plate(rng: np.random.Generator) -> tuple[Rgba, list[str]]:
    """Latin words in 16-pixel capitals, dark on light or light on dark, `[256, 256, 4]`, and the words."""
    word = lettering.sample_face(rng, "latin")
    em = CAP_PX / lettering.cap_height(word)
    lines = []
    for _ in range(LINES):
        line = vocabulary.sample_text(rng, 2, "latin")
        if lettering.advance(line, word, em) > 0.9 * SIDE:
            line = line.split()[0]
        lines.append(line)
    ground = lettering.sample_hex(rng)
    ink = lettering.sample_ink(rng, (ground,), least=120)
    canvas = lettering.gradient(SIDE, SIDE, ground, ground)
    for number, text in enumerate(lines):
        baseline = (number + 0.8) * SIDE / LINES
        line = lettering.Line(text, word, em, 0.05 * SIDE, baseline)
        lettering.paint(canvas, lettering.ink(line), lettering.rgb(ink))
    return lettering.straight(canvas), [w for text in lines for w in text.split()]


def legible(through: Callable[[Tensor], Tensor], count: int, seed: int = 0) -> dict[str, float]:
    """Share of words read right before and after `through` (planes `[N, 4, H, W]` to the same)."""
    rng = np.random.default_rng([seed, 4])
    plates = [plate(rng) for _ in range(count)]
    before = [picture for picture, _ in plates]
    planes = premultiplied(torch.from_numpy(np.stack(before)))
    after = straight(through(planes)).numpy()
    words = [words for _, words in plates]
    return {"words_read_of_truth": _read(before, words), "words_read": _read(list(after), words)}


def _read(pictures: list[Rgba], words: list[list[str]]) -> float:
    """Share of the words that OCR finds, whatever their order and case."""
    found = total = 0
    for picture, wanted in zip(pictures, words, strict=True):
        seen = [word.casefold() for word in read_words(picture)]
        for word in wanted:
            total += 1
            if word.casefold() in seen:
                found += 1
                seen.remove(word.casefold())
    return found / total
