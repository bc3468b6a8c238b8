"""The shared frame of positions and its rotation."""

import pytest
import torch

from wanimage.models.rope import Frame, RopeConfig, frequencies, grid_positions, rope_table, rotate

CONFIG = RopeConfig(axes=(4, 6, 6))


def scores(q: torch.Tensor, k: torch.Tensor, at: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return rotate(q, rope_table(at, CONFIG)) @ rotate(k, rope_table(to, CONFIG)).transpose(-1, -2)


def test_scores_depend_on_distance_only():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 2, 5, 16, generator=generator).unbind(0)
    at, to = torch.randn(2, 1, 5, 3, generator=generator).mul(9).unbind(0)
    move = torch.tensor([30.0, -4.5, 7.0])
    torch.testing.assert_close(scores(q, k, at, to), scores(q, k, at + move, to + move), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(scores(q, k, at, to), scores(q, k, at + move, to), atol=1e-2)


def test_rotation_keeps_lengths():
    x = torch.randn(1, 2, 7, 16, generator=torch.Generator().manual_seed(1))
    table = rope_table(torch.arange(21.0).reshape(1, 7, 3), CONFIG)
    torch.testing.assert_close(rotate(x, table).norm(dim=-1), x.norm(dim=-1))


def test_each_axis_turns_only_its_own_pairs():
    assert ((frequencies(CONFIG) > 0).sum(dim=0) == 1).all()
    assert (frequencies(CONFIG) > 0).sum(dim=1).tolist() == [2, 3, 3]


def test_grids_are_centred_whatever_their_shape():
    for rows, columns in ((8, 8), (4, 16), (3, 24), (1, 1)):
        grid = grid_positions(rows, columns, t=5.0)
        assert grid.shape == (rows * columns, 3)
        assert grid[:, 1:].mean(dim=0).abs().max() < 1e-6
        assert (grid[:, 0] == 5.0).all()


def test_coarse_tokens_sit_in_the_middle_of_the_cells_they_cover():
    cells = grid_positions(8, 8, t=0.0).reshape(8, 8, 3)
    coarse = grid_positions(4, 4, t=0.0, cells=(8, 8)).reshape(4, 4, 3)
    covered = cells.reshape(4, 2, 4, 2, 3).mean(dim=(1, 3))
    torch.testing.assert_close(coarse, covered)


def test_frame_leaves_the_offset_between_text_and_picture():
    frame = Frame(offset=8.0)
    text, first, second, more = frame.text(3), frame.image(2, 2), frame.image(1, 2), frame.text(2)
    assert text[:, 0].tolist() == [0, 1, 2]
    assert (text[:, 1:] == 0).all()
    assert first[:, 0].tolist() == [10] * 4, "2 + offset"
    assert second[:, 0].tolist() == [11] * 2, "each picture has its own t"
    assert more[:, 0].tolist() == [19, 20]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_keeps_the_dtype(dtype):
    x = torch.ones(1, 1, 1, 16, dtype=dtype)
    assert rotate(x, rope_table(torch.ones(1, 1, 3), CONFIG)).dtype == dtype
