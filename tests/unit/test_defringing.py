"""Half-clear edges of a decoded picture take half of the colour beside them, and nothing else changes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wanimage.images import OPAQUE, defringed

PICTURES = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4)))


def disc_with_a_rim(rim: tuple[int, int, int]) -> np.ndarray:
    """An opaque square, half-clear pixels of another colour around it, nothing beyond."""
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[2:6, 2:6] = (*rim, 100)
    picture[3:5, 3:5] = (200, 100, 0, 255)
    return picture


def test_a_rim_comes_halfway_to_what_it_surrounds():
    found = defringed(disc_with_a_rim((0, 0, 0)))
    assert found[2, 3].tolist() == [100, 50, 0, 100]
    assert found[2, 2].tolist() == [100, 50, 0, 100], "corners touch too"
    assert found[3, 3].tolist() == [200, 100, 0, 255]


def test_half_clear_pixels_among_their_like_stay():
    glass = np.full((5, 5, 4), (10, 200, 30, 128), np.uint8)
    assert np.array_equal(defringed(glass), glass)


def test_a_picture_without_half_clear_pixels_is_itself():
    cut = disc_with_a_rim((0, 0, 0))
    cut[cut[..., 3] == 100] = 0
    assert defringed(cut) is cut


@given(PICTURES)
def test_opacity_stays_and_so_does_what_is_clear_or_opaque(picture):
    found = defringed(picture)
    assert np.array_equal(found[..., 3], picture[..., 3])
    sure = (picture[..., 3] == 0) | (picture[..., 3] >= OPAQUE)
    assert np.array_equal(found[sure], picture[sure])
