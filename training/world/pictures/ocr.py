"""A second opinion on text: RapidOCR, whose models come inside its wheel, checks the world's own reader.

    python -m training.world.pictures.ocr --n 100

prints how often the reader and RapidOCR find what was drawn, and how often they agree, by script. The reader
is asked for a string that differs in a letter from what is drawn. RapidOCR knows Latin and
Chinese letters alone.
"""

import argparse
import difflib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.world.pictures import lettering, vocabulary
from training.world.pictures.lettering import Floats, Lettering
from training.world.pictures.reading import read
from training.world.pixels import straight
from wanimage.errors import NotFound

SCRIPTS = ("latin", "han")  # what RapidOCR's models know
SIDE = 320  # pixels of the pictures that are compared
GREY = 128  # what transparent pictures are laid on


@lru_cache(maxsize=1)
def _engine() -> Any:
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        raise NotFound(
            "module", "rapidocr_onnxruntime", "install it: pip install -r requirements/dev.txt"
        ) from error
    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1, print_verbose=False)


def read_crops(crops: list[NDArray[np.uint8]]) -> list[str]:
    """The text of crops that hold one line each: one batch, in which no lines are looked for."""
    if not crops:
        return []
    found, _ = _engine().text_rec([_opaque(crop) for crop in crops])
    return [str(text) for text, _ in found]


def _opaque(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blue, green, red, as the engine takes it."""
    if image.shape[2] == 3:
        return np.ascontiguousarray(image[..., ::-1])
    alpha = image[..., 3:] / 255
    mixed = image[..., :3] * alpha + GREY * (1 - alpha)
    return np.ascontiguousarray((mixed + 0.5).astype(np.uint8)[..., ::-1])


@dataclass(frozen=True)
class Agreement:
    """Mean likeness of two readings, 0..1 by characters, and the share of lines that are equal."""

    script: str
    lines: int
    reader_right: float
    ocr_right: float
    equal: float
    likeness: float


def agreement(rng: np.random.Generator, script: str, count: int) -> Agreement:
    """Compare the reader with RapidOCR on `count` random lines of a script, without regard to spaces."""
    pairs: list[tuple[str, str, str]] = []
    while len(pairs) < count:
        said, reader, crop = _example(rng, script)
        pairs.append((said, reader, read_crops([crop])[0]))
    bare = [tuple(text.replace(" ", "") for text in pair) for pair in pairs]
    alike = [difflib.SequenceMatcher(None, reader, ocr).ratio() for _, reader, ocr in bare]
    return Agreement(
        script,
        count,
        float(np.mean([reader == said for said, reader, _ in bare])),
        float(np.mean([ocr == said for said, _, ocr in bare])),
        float(np.mean([reader == ocr for _, reader, ocr in bare])),
        float(np.mean(alike)),
    )


def _example(rng: np.random.Generator, script: str) -> tuple[str, str, NDArray[np.uint8]]:
    """(what is drawn, what the reader reads when asked for something else, the line's crop)."""
    text = vocabulary.sample_text(rng, int(rng.integers(1, 3)), script)
    ground = lettering.sample_hex(rng)
    block = Lettering(
        (text,),
        lettering.sample_face(rng, script),
        lettering.sample_ink(rng, (ground,)),
        rng.uniform(0.08, 0.13),
    )
    canvas: Floats = lettering.gradient(SIDE, SIDE, ground, ground)
    lettering.paint_block(canvas, block)
    (line,) = lettering.layout(block, SIDE, SIDE)
    top, bottom = int(line.y - 1.1 * line.em), int(line.y + 0.4 * line.em)
    left, right = int(line.x - 0.4 * line.em), int(line.x + line.width + 0.4 * line.em)
    crop = straight(canvas)[max(0, top) : bottom, max(0, left) : right]
    place = int(rng.integers(len(text)))
    other = str(rng.choice([c for c in vocabulary.characters(script) if c != text[place]]))
    asked = replace(line, text=(text[:place] + other + text[place + 1 :]).strip())
    return text, read(canvas, asked).text, crop


def main() -> None:
    """Print the agreement as JSON, a line a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="lines of each script")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for script in (s for s in SCRIPTS if s in lettering.written_scripts()):
        found = agreement(np.random.default_rng(options.seed), script, options.n)
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in vars(found).items()}))


if __name__ == "__main__":
    main()
