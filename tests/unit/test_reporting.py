"""The report on a finished picture: its transparency, and what became of a palette."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from wanimage import reporting
from wanimage.v1 import types_pb2 as pb

RED, BLUE, LIME = "#FF0000", "#0000FF", "#00FF00"


def picture(*parts: tuple[float, tuple[int, int, int, int]]) -> np.ndarray:
    """100 rows, of which each part is a share in one colour."""
    rows = [np.full((round(100 * share), 40, 4), color, np.uint8) for share, color in parts]
    return np.concatenate(rows)


def palette(*colors: str) -> pb.Palette:
    return pb.Palette(colors=[pb.PaletteColor(hex=color) for color in colors])


def test_clear_and_half_clear_areas_are_told_apart():
    found = reporting.report(
        picture((0.5, (9, 9, 9, 0)), (0.2, (9, 9, 9, 120)), (0.3, (9, 9, 9, 255))), pb.Palette()
    )
    assert (found.transparent, found.translucent) == pytest.approx((0.5, 0.2))
    assert not found.palette


def test_each_colour_of_a_palette_is_found_with_its_share_and_its_deviation():
    made = picture((0.6, (250, 10, 10, 255)), (0.4, (10, 10, 250, 255)))
    red, blue, lime = reporting.report(made, palette(RED, BLUE, LIME)).palette
    assert (red.hex, red.found, red.proportion) == (RED, "#FA0A0A", pytest.approx(0.6))
    assert (blue.found, blue.proportion) == ("#0A0AFA", pytest.approx(0.4))
    assert 0 < red.delta_e < 8
    assert (lime.found, lime.proportion) == ("", 0)


def test_shares_leave_out_what_is_transparent_and_what_is_near_no_colour():
    made = picture((0.5, (255, 0, 0, 0)), (0.25, (255, 0, 0, 255)), (0.25, (128, 128, 128, 255)))
    (red,) = reporting.report(made, palette(RED)).palette
    assert red.proportion == pytest.approx(0.5)


def test_a_picture_without_solid_pixels_has_no_colours():
    (red,) = reporting.report(picture((1.0, (255, 0, 0, 0))), palette(RED)).palette
    assert red.found == ""


def test_differences_are_those_of_lab():
    colors = np.array([[255, 0, 0], [240, 20, 30], [12, 200, 90], [20, 190, 80]], np.uint8)
    ours, theirs = reporting._lab(colors), rgb2lab(colors[None] / 255)[0]
    for first, second in ((0, 1), (2, 3)):
        near = np.linalg.norm(ours[first] - ours[second])
        assert near == pytest.approx(np.linalg.norm(theirs[first] - theirs[second]), rel=0.2)


def test_a_large_picture_is_read_at_a_smaller_size():
    made = np.repeat(picture((0.25, (255, 0, 0, 255)), (0.75, (0, 0, 255, 255))), 20, axis=0)
    red, blue = reporting.report(made, palette(RED, BLUE)).palette
    assert (red.proportion, blue.proportion) == pytest.approx((0.25, 0.75), abs=0.02)
