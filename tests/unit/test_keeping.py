"""What an edit leaves alone is held: which cells those are, and where the velocity leads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wanimage.keeping import DRIFT, FAR, NEAR, Original, keep, unchanged

GRID = (6, 8)
CELLS = GRID[0] * GRID[1]


def at(row: int, column: int) -> int:
    return row * GRID[1] + column


def distances(**cells: float) -> torch.Tensor:
    """Small everywhere but at `r<row>c<column>`."""
    found = torch.full((CELLS,), 0.02)
    for name, value in cells.items():
        row, column = name[1:].split("c")
        found[at(int(row), int(column))] = value
    return found


def leading_to(target: torch.Tensor, x: torch.Tensor, t: float) -> torch.Tensor:
    """The velocity at which `x` is on its way to `target`."""
    return (x - target) / t


def test_a_far_cell_and_the_nearer_ones_that_touch_it_are_changed():
    kept = unchanged(distances(r2c2=2.0, r2c3=0.5, r3c4=0.4), GRID)
    assert sorted((~kept).nonzero().flatten().tolist()) == [at(2, 2), at(2, 3), at(3, 4)]


def test_drift_that_touches_no_far_cell_is_kept():
    kept = unchanged(distances(r2c2=2.0, r5c7=0.6), GRID)
    assert kept[at(5, 7)]
    assert not kept[at(2, 2)]


def test_of_a_faint_edit_the_largest_distance_counts_as_changed():
    kept = unchanged(distances(r1c1=0.2), GRID)
    assert (~kept).nonzero().flatten().tolist() == [at(1, 1)]


def test_drift_alone_is_no_edit():
    assert unchanged(torch.full((CELLS,), 0.04), GRID).all()


@given(st.lists(st.floats(0, 4), min_size=CELLS, max_size=CELLS))
def test_far_cells_are_always_changed_and_those_below_both_bounds_never(values):
    distance = torch.tensor(values)
    kept = unchanged(distance, GRID)
    assert not kept[distance > FAR].any()
    assert kept[distance <= max(DRIFT, min(NEAR, float(distance.max()) / 4))].all()


@pytest.mark.parametrize("t", [1.0, 0.5, 0.08])
def test_a_step_to_the_end_gives_kept_cells_of_the_reference_and_painted_ones_of_the_prediction(t):
    reference, x = torch.randn(CELLS, 48), torch.randn(CELLS, 48)
    painted = reference + 0.1 * torch.randn(CELLS, 48)
    painted[at(2, 2)] += 3
    held = keep(leading_to(painted, x, t), x, t, GRID, [Original(reference)])
    end = x - t * held
    changed = torch.zeros(CELLS, dtype=torch.bool)
    changed[at(2, 2)] = True
    torch.testing.assert_close(end[~changed], reference[~changed], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(end[changed], painted[changed], atol=1e-5, rtol=1e-5)


def test_another_picture_is_not_held_at_all():
    reference, x = torch.zeros(CELLS, 48), torch.randn(CELLS, 48)
    painted = reference.clone()
    painted[: CELLS // 2 + 1] += 2
    velocity = leading_to(painted, x, 0.5)
    assert torch.equal(keep(velocity, x, 0.5, GRID, [Original(reference)]), velocity)


def test_of_several_references_the_one_that_keeps_most_is_held():
    near, nearer, x = torch.zeros(CELLS, 48), torch.zeros(CELLS, 48), torch.randn(CELLS, 48)
    painted = torch.full((CELLS, 48), 0.1)
    near[: CELLS // 4] += 3
    held = keep(leading_to(painted, x, 0.5), x, 0.5, GRID, [Original(near), Original(nearer)])
    torch.testing.assert_close(x - 0.5 * held, nearer, atol=1e-5, rtol=1e-5)


def test_without_references_nothing_changes():
    velocity, x = torch.randn(CELLS, 48), torch.randn(CELLS, 48)
    assert keep(velocity, x, 0.5, GRID, []) is velocity


def test_a_mask_alone_says_which_cells_may_change():
    reference, x = torch.zeros(CELLS, 48), torch.randn(CELLS, 48)
    painted = torch.full((CELLS, 48), 2.0)  # far everywhere: without a mask another picture
    painted[at(1, 1)] = 0.1  # and one near, which the mask lets change
    changeable = torch.zeros(CELLS, dtype=torch.bool)
    changeable[[at(1, 1), at(2, 2)]] = True
    masked = [Original(torch.ones(CELLS, 48)), Original(reference, changeable)]
    end = x - 0.5 * keep(leading_to(painted, x, 0.5), x, 0.5, GRID, masked)
    torch.testing.assert_close(end[changeable], painted[changeable], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(end[~changeable], reference[~changeable], atol=1e-5, rtol=1e-5)
