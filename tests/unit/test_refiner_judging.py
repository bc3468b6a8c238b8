"""What refined pictures are held to: each measure knows what it is there to know."""

import numpy as np
from scipy import ndimage

from training.refiner import judging
from training.world.kinds import Pixels
from training.world.report import Finding, Report
from wanimage.enlarging import cells_of
from wanimage.images import CELL
from wanimage.tiling import tiles_of

SIDE = 512


def halves() -> Pixels:
    """Black beside white; the edge covers less than a hundredth."""
    picture = np.full((SIDE, SIDE, 4), 255, np.uint8)
    picture[:, : SIDE // 2, :3] = 0
    return picture


def softened(picture: Pixels, sigma: float) -> Pixels:
    return ndimage.gaussian_filter(picture, (0, sigma, 0), mode="nearest")


def test_a_crisp_edge_has_more_gradient_than_a_soft_one_however_few_pixels_it_covers() -> None:
    crisp, soft, softer = (judging.tenengrad(softened(halves(), sigma)) for sigma in (0, 4, 12))
    assert crisp > 2 * soft > 4 * softer


def test_the_steepest_hundredth_is_steeper_where_edges_are_many() -> None:
    stripes = np.tile(halves()[:, SIDE // 2 - 16 : SIDE // 2 + 16], (1, SIDE // 32, 1))
    assert judging.sharpness(stripes) > 2 * judging.sharpness(softened(stripes, 2))


def test_a_step_at_the_borders_of_tiles_is_told_from_steps_elsewhere() -> None:
    side = 1024
    rng = np.random.default_rng(0)
    bicubic = np.full((side, side, 4), 128, np.uint8)
    bicubic[..., 3] = 255
    refined = bicubic.copy()
    refined[..., :3] += rng.integers(0, 8, (side, side, 3), dtype=np.uint8)
    assert 0.9 < judging.seam(refined, bicubic) < 1.1
    for tile in tiles_of(cells_of((side, side)))[::2]:
        refined[*tile.own(CELL), :3] += 20
    assert judging.seam(refined, bicubic) > 2


def test_a_shift_of_colour_is_told_in_the_size_of_the_source() -> None:
    source, refined = halves()[:64, :64], np.zeros((256, 256, 4), np.uint8)
    refined[..., 3] = 255
    assert judging.colour_shift(source, np.kron(source, np.ones((4, 4, 1), np.uint8))) < 0.01
    refined[..., 0] = 40
    assert judging.colour_shift(source, refined) > 5


def test_verdicts_that_stay_are_counted_by_what_they_are_about() -> None:
    before = Report((Finding("object", "fox", True, ""), Finding("object", "owl", False, "")))
    after = Report((Finding("object", "owl", False, "x"), Finding("object", "fox", False, "")))
    assert judging.same_verdicts(before, after) == 0.5
