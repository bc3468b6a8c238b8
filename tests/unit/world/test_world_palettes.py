"""Palettes: shares to the pixel, and read back wherever a colour stands."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.measuring.faults import palette_color, palette_share
from training.world.measuring.verifiers import blur
from training.world.pictures.palettes import KIND, LAYOUTS, Palette, draw, verify

COLORS = (("#F01818", 40), ("#2040E0", 35), ("#20A040", 25))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(128, 128), (256, 96)])
def test_a_palette_has_its_shares_and_is_read_back(layout: str, shape: tuple[int, int]) -> None:
    palette = Palette(COLORS, layout, 3)
    image = draw(palette, *shape)
    reds = (image[..., :3] == (0xF0, 0x18, 0x18)).all(-1).mean()
    assert abs(reds - 0.4) < 0.02
    assert verify(palette, image).failures() == []
    assert verify(palette, blur(image, 1.5)).failures() == []


def test_where_a_colour_stands_does_not_matter() -> None:
    palette = Palette(COLORS)
    assert verify(palette, draw(palette, 128, 128)[::-1, ::-1].copy()).passed


@pytest.mark.parametrize(("fault", "wrong"), [(palette_color, "color"), (palette_share, "proportion")])
def test_one_fault_is_found(fault: object, wrong: str) -> None:
    assert callable(fault)
    rng = np.random.default_rng(4)
    for _ in range(20):
        palette = KIND.sample(rng, "train", (1, 1))
        faulty = fault(palette, rng)
        if faulty is not None:
            assert verify(palette, draw(faulty, 128, 128)).score(wrong) < 1


def test_a_foreign_colour_is_unexplained() -> None:
    image = draw(Palette(COLORS), 128, 128)
    image[:32] = (250, 240, 60, 255)
    assert verify(Palette(COLORS), image).unexplained == pytest.approx(0.25, abs=0.02)


def test_impossible_palettes_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 100"):
        Palette((("#000000", 50), ("#FFFFFF", 40)))
    with pytest.raises(ValueError, match="no layout"):
        replace(Palette(COLORS), layout="spiral")
    with pytest.raises(ValueError, match="no split 'heldout_concepts'"):
        KIND.sample(np.random.default_rng(0), "heldout_concepts", (1, 1))
