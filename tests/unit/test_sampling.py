"""Solvers, guidance and noise of the rectified flow."""

import itertools
from dataclasses import replace

import pytest
import torch

from wanimage.sampling import (
    SamplerConfig,
    Solver,
    Trajectory,
    add_noise,
    evaluations,
    guide,
    picture_noise,
    sample,
    schedule,
    shift_for,
    training_times,
)

CONFIG = SamplerConfig(steps=8)


def error(solver: Solver, steps: int) -> float:
    """Error on dx/dt = x * t, whose solution from t = 1 to 0 is x * exp(-1/2)."""
    noise = torch.tensor([1.0], dtype=torch.float64)
    end = sample(lambda x, t: x * t, noise, replace(CONFIG, solver=solver, steps=steps), tokens=64)
    return abs(float(end) - 0.6065306597126334)


@pytest.mark.parametrize(("solver", "order"), [(Solver.EULER, 1), (Solver.HEUN, 2), (Solver.AB2, 2)])
def test_error_falls_with_the_order_of_the_solver(solver, order):
    # velocities are float32, so steps are kept few enough for truncation to dominate
    ratio = error(solver, 8) / error(solver, 32)
    assert 0.6 * 4**order < ratio < 1.8 * 4**order


@pytest.mark.parametrize("solver", Solver)
def test_straight_flow_is_solved_exactly(solver):
    x0, noise = torch.randn(2, 6, generator=torch.Generator().manual_seed(0)).unbind(0)
    end = sample(lambda x, t: noise - x0, noise, replace(CONFIG, solver=solver, steps=3), tokens=100)
    torch.testing.assert_close(end, x0)


@pytest.mark.parametrize("solver", Solver)
def test_evaluations_are_counted_right(solver):
    calls = []
    config = replace(CONFIG, solver=solver)
    sample(lambda x, t: calls.append(t) or x, torch.ones(1), config, tokens=64)
    assert len(calls) == evaluations(config)
    assert calls[0] == 1.0


def test_clean_estimate_is_exact_on_a_straight_flow_from_the_first_step():
    x0, noise = torch.tensor([2.0]), torch.tensor([-1.0])
    path = Trajectory.begin(noise, CONFIG, tokens=64)
    assert path.clean is None
    path.advance(noise - x0)
    torch.testing.assert_close(path.clean, x0)


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_schedule_falls_from_one_to_zero(shift):
    times = schedule(10, shift)
    assert times[0] == 1.0
    assert times[-1] == 0.0
    assert all(a > b for a, b in itertools.pairwise(times))


def test_larger_pictures_spend_more_steps_near_noise():
    assert shift_for(256, 1.0) == 2.0
    assert schedule(10, shift_for(256, 1.0))[5] > schedule(10, shift_for(64, 1.0))[5]


def test_training_times_centre_on_one_half_and_move_with_the_shift():
    times = training_times(20_000, 1.0, torch.Generator().manual_seed(0))
    assert abs(float(times.median()) - 0.5) < 0.02
    assert times.min() > 0
    assert times.max() < 1
    moved = training_times(20_000, 3.0, torch.Generator().manual_seed(0))
    assert abs(float(moved.median()) - 0.75) < 0.02


def test_noise_and_velocity_lead_back_to_the_picture():
    x0, noise = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).unbind(0)
    t = torch.tensor([0.0, 0.3, 1.0])
    x, velocity = add_noise(x0, noise, t)
    torch.testing.assert_close(x[0], x0[0])
    torch.testing.assert_close(x[2], noise[2])
    torch.testing.assert_close(x - t.view(3, 1, 1) * velocity, x0)


def test_noise_depends_on_the_seed_alone():
    assert torch.equal(picture_noise(7, (4, 8)), picture_noise(7, (4, 8)))
    assert not torch.equal(picture_noise(7, (4, 8)), picture_noise(8, (4, 8)))
    assert picture_noise(2**53 - 1, (4, 8)).dtype == torch.float32


def test_neutral_guidance_is_the_plain_velocity():
    full, no_text, no_image = torch.randn(3, 10, generator=torch.Generator().manual_seed(0)).unbind(0)
    config = replace(CONFIG, guidance=1.0, image_guidance=1.0)
    torch.testing.assert_close(guide(full, no_text, no_image, 0.5, config), full)


def test_the_prompt_pulls_in_proportion_to_the_noise_and_on_average_as_much_as_was_asked():
    full, no_text = torch.randn(2, 10, generator=torch.Generator().manual_seed(0)).unbind(0)
    config = replace(CONFIG, guidance=3.0, renorm=0.0)
    pulls = [(guide(full, no_text, None, t, config) - no_text) / (full - no_text) for t in (0.0, 0.5, 1.0)]
    for pull, scale in zip(pulls, (1.0, 3.0, 5.0), strict=True):
        torch.testing.assert_close(pull, torch.full_like(pull, scale))


def test_renorm_shortens_a_guided_velocity_to_the_plain_length_and_never_lengthens_it():
    full, no_text = torch.randn(2, 10, generator=torch.Generator().manual_seed(0)).unbind(0)
    free, bound = (
        guide(full, no_text, None, 0.5, replace(CONFIG, guidance=4.0, renorm=r)) for r in (0.0, 1.0)
    )
    assert free.norm() > full.norm()
    torch.testing.assert_close(bound.norm(), full.norm())
    torch.testing.assert_close(bound / bound.norm(), free / free.norm())
    short = guide(full, 0.5 * full, None, 0.5, replace(CONFIG, guidance=0.5))
    torch.testing.assert_close(short, 0.75 * full)


def test_image_guidance_pulls_towards_the_references():
    full = no_text = torch.tensor([1.0, 0.0])
    no_image = torch.tensor([0.0, 0.0])
    got = guide(full, no_text, no_image, 0.5, replace(CONFIG, guidance=1.0, image_guidance=3.0, renorm=0.0))
    torch.testing.assert_close(got, torch.tensor([3.0, 0.0]))
