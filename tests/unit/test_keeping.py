"""What an edit leaves alone is held: which cells are asked about, and where the velocity leads."""

import pytest
import torch

from training.export import export
from wanimage.keeping import Original, keep
from wanimage.models.keeper import SIGHTS, Keeper, KeeperConfig, sights

GRID = (6, 8)
CELLS = GRID[0] * GRID[1]


def near_it(seen: torch.Tensor) -> torch.Tensor:
    """A keeper of fixed mind: a cell stays if it is predicted within a distance of .13 of the reference's."""
    return seen[0].flatten() < 0


def at(row: int, column: int) -> int:
    return row * GRID[1] + column


def leading_to(target: torch.Tensor, x: torch.Tensor, t: float) -> torch.Tensor:
    """The velocity at which `x` is on its way to `target`."""
    return (x - target) / t


@pytest.mark.parametrize("t", [1.0, 0.5, 0.08])
def test_a_step_to_the_end_gives_kept_cells_of_the_reference_and_painted_ones_of_the_prediction(t):
    reference, x = torch.randn(CELLS, 48), torch.randn(CELLS, 48)
    painted = reference + 0.1 * torch.randn(CELLS, 48)
    painted[at(2, 2)] += 3
    velocity = leading_to(painted, x, t)
    held = keep(velocity, [velocity], x, t, GRID, [Original(reference)], near_it)
    end = x - t * held
    changed = torch.zeros(CELLS, dtype=torch.bool)
    changed[at(2, 2)] = True
    torch.testing.assert_close(end[~changed], reference[~changed], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(end[changed], painted[changed], atol=1e-5, rtol=1e-5)


def test_what_is_kept_is_read_off_the_branches_and_not_off_the_guided_velocity():
    reference, x = torch.zeros(CELLS, 48), torch.randn(CELLS, 48)
    near, far = (leading_to(reference + off, x, 0.5) for off in (0.1, 2.0))
    kept = keep(far, [near, far], x, 0.5, GRID, [Original(reference)], near_it)
    torch.testing.assert_close(x - 0.5 * kept, reference, atol=1e-5, rtol=1e-5)
    assert torch.equal(keep(near, [far, near], x, 0.5, GRID, [Original(reference)], near_it), near)


def test_of_several_references_the_one_that_keeps_most_is_held():
    near, nearer, x = torch.zeros(CELLS, 48), torch.zeros(CELLS, 48), torch.randn(CELLS, 48)
    near[: CELLS // 4] += 3
    velocity = leading_to(torch.full((CELLS, 48), 0.1), x, 0.5)
    held = keep(velocity, [velocity], x, 0.5, GRID, [Original(near), Original(nearer)], near_it)
    torch.testing.assert_close(x - 0.5 * held, nearer, atol=1e-5, rtol=1e-5)


def test_without_references_or_a_keeper_nothing_changes():
    velocity, x = torch.randn(CELLS, 48), torch.randn(CELLS, 48)
    assert keep(velocity, [velocity], x, 0.5, GRID, [], near_it) is velocity
    assert keep(velocity, [velocity], x, 0.5, GRID, [Original(x - 0.5 * velocity)], None) is velocity


@pytest.mark.parametrize("keeper", [near_it, None])
def test_a_mask_alone_says_which_cells_may_change(keeper):
    reference, x = torch.zeros(CELLS, 48), torch.randn(CELLS, 48)
    painted = torch.full((CELLS, 48), 2.0)  # far everywhere: without a mask another picture
    painted[at(1, 1)] = 0.1  # and one near, which the mask lets change
    changeable = torch.zeros(CELLS, dtype=torch.bool)
    changeable[[at(1, 1), at(2, 2)]] = True
    masked = [Original(torch.ones(CELLS, 48)), Original(reference, changeable)]
    velocity = leading_to(painted, x, 0.5)
    end = x - 0.5 * keep(velocity, [velocity], x, 0.5, GRID, masked, keeper)
    torch.testing.assert_close(end[changeable], painted[changeable], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(end[~changeable], reference[~changeable], atol=1e-5, rtol=1e-5)


def test_sights_say_how_far_predictions_lie_from_the_reference_and_each_other():
    reference, prompted = torch.zeros(CELLS, 48), torch.zeros(CELLS, 48)
    prompted[at(2, 3)] = 1.0
    seen = sights(prompted, reference.clone(), reference, 0.7, GRID)
    assert seen.shape == (SIGHTS, *GRID)
    near, unprompted, apart, mean, t, known, inside = seen
    assert near[2, 3] > near[0, 0]
    assert near[2, 3] == 1.0  # (log 1 + 2) / 2
    assert torch.equal(apart, near)
    assert (unprompted == near[0, 0]).all()
    torch.testing.assert_close(mean, torch.full(GRID, float(near.mean())))
    torch.testing.assert_close(t, torch.full(GRID, 0.7))
    assert (known == 1).all()
    assert (inside == 1).all()


def test_without_guidance_there_is_no_unprompted_prediction_to_see():
    seen = sights(torch.ones(CELLS, 48), None, torch.zeros(CELLS, 48), 0.7, GRID)
    assert not seen[[1, 2, 5]].any()
    assert seen[0].all()


def test_a_keeper_takes_pictures_of_any_grid_and_comes_back_from_disk(tmp_path):
    torch.manual_seed(0)
    keeper = Keeper(KeeperConfig(width=8, depth=2))
    export("keeper", keeper.state_dict(), keeper.to_json(), tmp_path, {})
    again = Keeper.load(tmp_path)
    for grid in ((8, 8), (3, 24)):
        seen = torch.randn(SIGHTS, *grid)
        assert again.unchanged(seen).shape == (grid[0] * grid[1],)
        torch.testing.assert_close(again(seen[None]), keeper(seen[None]), atol=5e-3, rtol=5e-3)
    exact = again.unchanged(seen)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(again.unchanged(seen), exact)
