"""The reader finds out which string, font and colour stands in a picture."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.measuring.verifiers import blur
from training.world.pictures.lettering import Lettering, gradient, layout, paint_block, rgb
from training.world.pictures.reading import Reading, read
from training.world.pictures.spelling import oddity
from training.world.pixels import canvas_of, straight

BLOCK = Lettering(("Gentle Harbour",), "serif", "#ffd040", 0.1)
GROUNDS = ("#203050", "#502030")


def read_back(drawn: Lettering, wanted: Lettering, radius: float = 0.0, size: int = 256) -> list[Reading]:
    canvas = gradient(size, size, *GROUNDS)
    paint_block(canvas, drawn)
    canvas = canvas_of(blur(straight(canvas), radius) if radius else straight(canvas))
    return [read(canvas, line) for line in layout(wanted, size, size)]


@pytest.mark.parametrize("radius", [0.0, 1.0])
@pytest.mark.parametrize("word", ["serif", "sans", "slab", "handwritten", "script", "monospaced"])
def test_the_wanted_line_is_read_sharp_and_soft(word: str, radius: float) -> None:
    block = replace(BLOCK, font=word)
    (reading,) = read_back(block, block, radius)
    assert (reading.text, reading.font) == ("Gentle Harbour", word)
    assert np.abs(np.subtract(reading.color, rgb(BLOCK.color))).max() < 12


@pytest.mark.parametrize(
    "said", ["Genfle Harbour", "Gentl Harbour", "Genlte Harbour", "Harbour", "Silver Palace"]
)
def test_another_string_is_read_as_it_stands(said: str) -> None:
    (reading,) = read_back(replace(BLOCK, lines=(said,)), BLOCK)
    assert reading.text == said


@pytest.mark.parametrize(
    ("text", "word"), [("ήλιος νησί", "slab"), ("ВЕСНА хлеб", "serif"), ("春天 音乐", "chinese")]
)
def test_other_scripts_are_spelled_too(text: str, word: str) -> None:
    drawn = replace(BLOCK, lines=(text,), font=word)
    asked = replace(drawn, lines=(text[1:] + text[0],))
    assert read_back(drawn, drawn)[0].text == text
    assert read_back(drawn, asked)[0].text == text


def test_another_font_is_named_and_its_text_read() -> None:
    for word in ("sans", "slab", "monospaced"):
        (reading,) = read_back(replace(BLOCK, font=word), BLOCK)
        assert (reading.text, reading.font) == ("Gentle Harbour", word)


def test_a_line_that_moved_and_grew_is_still_read() -> None:
    moved = replace(BLOCK, cx=0.53, cy=0.51, em=0.108)
    (reading,) = read_back(moved, BLOCK)
    assert reading.text == "Gentle Harbour"
    assert reading.line.em == pytest.approx(0.108 * 256, rel=0.03)


def test_nothing_is_read_where_nothing_stands() -> None:
    canvas = gradient(256, 256, *GROUNDS)
    assert read(canvas, layout(BLOCK, 256, 256)[0]).text == ""


def test_noise_is_not_read_as_the_wanted_line() -> None:
    rng = np.random.default_rng(0)
    canvas = gradient(256, 256, *GROUNDS)
    canvas[..., :3] = rng.uniform(0, 255, (256, 256, 3))
    assert read(canvas, layout(BLOCK, 256, 256)[0]).text != "Gentle Harbour"


def test_letters_on_a_transparent_ground_are_read() -> None:
    canvas = np.zeros((256, 256, 4), np.float32)
    paint_block(canvas, BLOCK)
    reading = read(canvas, layout(BLOCK, 256, 256)[0])
    assert reading.text == "Gentle Harbour"
    assert np.abs(np.subtract(reading.color, rgb(BLOCK.color))).max() < 12


def test_digits_within_words_are_odd() -> None:
    assert oddity("Sale 50%") < oddity("5ale 50%")
    assert oddity("SOLD") == oddity("Sold") == 0 < oddity("SoLD")
