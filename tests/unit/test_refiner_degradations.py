"""What may have happened to a picture: seeded, of one size, worse than before, clean where nothing is."""

import numpy as np
import pytest

from training.refiner.degradations import CLASSICAL, TEXT, Pipeline
from training.world.kinds import Pixels

ALL = CLASSICAL | TEXT


def disc(side: int = 64) -> Pixels:
    """A red disc with a white bar on nothing."""
    rows, columns = np.indices((side, side))
    picture = np.zeros((side, side, 4), np.uint8)
    picture[(rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 3) ** 2] = (200, 30, 40, 255)
    picture[side // 2 - 2 : side // 2 + 2, side // 3 : -side // 3] = (255, 255, 255, 255)
    return picture


def seen(picture: Pixels) -> np.ndarray:
    planes = picture.astype(np.float32)
    planes[..., :3] *= planes[..., 3:] / 255
    return planes


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_does_the_same(name: str) -> None:
    once, again = (ALL[name](np.random.default_rng(7), disc(), 0.8) for _ in range(2))
    assert np.array_equal(once, again)


@pytest.mark.parametrize("name", ALL)
def test_a_picture_keeps_its_size_and_loses_something(name: str) -> None:
    worse = ALL[name](np.random.default_rng(1), disc(), 0.8)
    assert worse.shape == disc().shape
    assert worse.dtype == np.uint8
    assert np.abs(seen(worse) - seen(disc())).mean() > 0.05


@pytest.mark.parametrize("name", ALL)
def test_no_colour_comes_out_of_what_is_transparent(name: str) -> None:
    """Far from the disc there was nothing, and whoever hid green there must not see it again."""
    picture = disc()
    picture[picture[..., 3] == 0] = (0, 255, 0, 0)
    worse = seen(ALL[name](np.random.default_rng(3), picture, 0.5))
    assert worse[:8, :8].max() <= 1
    assert (worse[..., 1] - worse[..., 0]).max() < 40, "green bled into the picture"


@pytest.mark.parametrize("name", [*CLASSICAL, *TEXT])
def test_more_strength_does_more_harm(name: str) -> None:
    def harm(strength: float) -> float:
        found = [ALL[name](np.random.default_rng(seed), disc(), strength) for seed in range(12)]
        return float(np.mean([np.abs(seen(each) - seen(disc())).mean() for each in found]))

    assert harm(1.0) >= harm(0.1)


def test_both_rounds_come_in_orders_of_their_own() -> None:
    pipeline = Pipeline(strength=0.5, likely=1.0)
    drawn = [pipeline.drawn(np.random.default_rng(seed)) for seed in range(20)]
    assert all(sorted(names) == sorted([*CLASSICAL, *CLASSICAL]) for names in drawn)
    assert any(names[:4] != names[4:] for names in drawn)
    assert len({tuple(names) for names in drawn}) > 10


def test_letters_suffer_only_where_the_pipeline_says_so() -> None:
    assert not any(set(Pipeline(strength=1).drawn(np.random.default_rng(s))) & set(TEXT) for s in range(30))
    assert any(
        set(Pipeline(strength=1, text=0.5).drawn(np.random.default_rng(s))) & set(TEXT) for s in range(30)
    )
