"""Enlargement: parts are those of the whole, sizes keep their aspect, flat colours stay."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from wanimage.enlarging import Enlargement, cells_of
from wanimage.errors import InvalidInput
from wanimage.limits import target_size

SIDES = st.integers(1, 24)
SEEDS = st.integers(0, 2**16)


def enlargement(height: int, width: int, size: tuple[int, int], seed: int = 0) -> Enlargement:
    generator = torch.Generator().manual_seed(seed)
    return Enlargement(torch.rand(4, height, width, generator=generator) * 2 - 1, size)


def whole(enlarged: Enlargement) -> torch.Tensor:
    return enlarged.part((0, enlarged.size[0]), (0, enlarged.size[1]))


@given(st.data())
def test_a_part_is_that_of_the_whole(data: st.DataObject) -> None:
    height, width = data.draw(SIDES), data.draw(SIDES)
    size = (data.draw(st.integers(height, 80)), data.draw(st.integers(width, 80)))
    enlarged = enlargement(height, width, size, data.draw(SEEDS))
    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    bottom, right = data.draw(st.integers(top + 1, size[0])), data.draw(st.integers(left + 1, size[1]))

    part = enlarged.part((top, bottom), (left, right))
    torch.testing.assert_close(part, whole(enlarged)[:, top:bottom, left:right], rtol=0, atol=1e-5)


@given(SIDES, SIDES, SEEDS)
def test_a_picture_of_its_own_size_stays_as_it_is(height: int, width: int, seed: int) -> None:
    enlarged = enlargement(height, width, (height, width), seed)
    torch.testing.assert_close(whole(enlarged), enlarged.planes, rtol=0, atol=1e-6)
    assert enlarged.scale == 1


@given(st.floats(-1, 1, width=32), st.integers(9, 60), st.integers(9, 60))
def test_a_flat_picture_stays_flat(value: float, height: int, width: int) -> None:
    enlarged = Enlargement(torch.full((4, 5, 7), value), (height, width))
    torch.testing.assert_close(whole(enlarged), torch.full((4, height, width), value), rtol=0, atol=1e-5)


def test_beyond_its_edges_a_picture_goes_on_as_its_last_pixels_do() -> None:
    enlarged = enlargement(6, 5, (33, 30))
    padded = enlarged.part((0, 48), (0, 32))
    torch.testing.assert_close(padded[:, :33, :30], whole(enlarged), rtol=0, atol=1e-5)
    torch.testing.assert_close(padded[:, 33:], padded[:, 32:33].expand(-1, 15, -1), rtol=0, atol=1e-5)
    torch.testing.assert_close(padded[:, :, 30:], padded[:, :, 29:30].expand(-1, -1, 2), rtol=0, atol=1e-5)


def test_the_cubic_is_that_of_pillow() -> None:
    plane = np.random.default_rng(0).random((9, 12), dtype=np.float32) * 0.5  # far from where it is clamped
    enlarged = Enlargement(torch.from_numpy(plane).expand(4, -1, -1), (36, 48))
    theirs = np.asarray(Pillow.fromarray(plane).resize((48, 36), Pillow.Resampling.BICUBIC))
    # At its edges Pillow leaves out what lies beyond.
    np.testing.assert_allclose(whole(enlarged)[0].numpy()[8:-8, 8:-8], theirs[8:-8, 8:-8], atol=1e-5)


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(2048, 4096))
def test_a_target_has_the_long_edge_and_the_aspect(height: int, width: int, long_edge: int) -> None:
    if long_edge < max(height, width):
        with pytest.raises(InvalidInput, match=rf"^edge: {long_edge} pixels"):
            target_size((height, width), long_edge, "edge")
        return
    size = target_size((height, width), long_edge, "edge")
    assert max(size) == long_edge
    exact = min(height, width) * long_edge / max(height, width)
    assert abs(min(size) - max(1, exact)) <= 0.5
    assert (size[0] >= size[1]) == (height >= width) or size[0] == size[1]


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_cells_cover_a_picture_and_no_more(height: int, width: int) -> None:
    rows, columns = cells_of((height, width))
    assert 0 <= rows * 16 - height < 16
    assert 0 <= columns * 16 - width < 16
