"""What the shipped visualizer and VAE draw, judged by the design world's verifier."""

import numpy as np
import pytest

from services.vae.engine import VaeEngine
from services.visualizer.engine import PictureSpec, RenderSpec, VisualizerEngine
from tests.conftest import SHIPPED
from training.world.scenes.caption import caption
from training.world.scenes.sample import sample_scene
from training.world.scenes.scene import Scene
from training.world.scenes.verify import verify
from wanimage.weights import Family

SCENES = 12
GROUNDS = 11
"""Of 12 backgrounds that must be right; by chance about one is."""
WHOLE = 8
"""Of 12 scenes that must be right in every property; by chance none is."""
MARGIN = 0.35
"""How much more of its own scene than of another's a picture must show, as the mean share of verdicts."""


class Painter:
    """Prompt and seed to a picture, `[H, W, 4]`."""

    def __init__(self) -> None:
        family = Family.load(SHIPPED)
        self.visualizer, self.vae = VisualizerEngine(family), VaeEngine.load(family)

    def paint(self, prompt: str, seed: int, grid: tuple[int, int] = (8, 8)) -> np.ndarray:
        picture = PictureSpec(prompt=prompt, grid=grid, seed=seed)
        (latent,) = self.visualizer.render(RenderSpec(pictures=(picture,)))
        return self.vae.decode([latent.numpy()])[0]


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Held-out compositions of one or two objects."""
    rng = np.random.default_rng(3)
    return [sample_scene(rng, "heldout", n_objects=1 + index % 2) for index in range(SCENES)]


@pytest.fixture(scope="module")
def pictures(painter, scenes) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [painter.paint(caption(scene, rng), seed) for seed, scene in enumerate(scenes)]


def test_pictures_have_the_background_their_prompt_names(scenes, pictures):
    right = [
        verify(scene, picture).score("background", "alpha") == 1
        for scene, picture in zip(scenes, pictures, strict=True)
    ]
    assert sum(right) >= GROUNDS, right


def test_most_pictures_show_their_whole_prompt(scenes, pictures):
    reports = [verify(scene, picture) for scene, picture in zip(scenes, pictures, strict=True)]
    assert sum(report.passed for report in reports) >= WHOLE, [report.failures() for report in reports]


def test_pictures_show_more_of_their_own_prompt_than_of_another(scenes, pictures):
    others = [*pictures[1:], pictures[0]]
    own = [verify(scene, picture).score() for scene, picture in zip(scenes, pictures, strict=True)]
    other = [verify(scene, picture).score() for scene, picture in zip(scenes, others, strict=True)]
    assert np.mean(own) - np.mean(other) >= MARGIN, (own, other)
    assert not any(verify(scene, picture).passed for scene, picture in zip(scenes, others, strict=True))


def test_another_seed_draws_another_picture_of_the_same_scene(painter, scenes):
    prompt = caption(scenes[0], np.random.default_rng(5))
    first, again, other = (painter.paint(prompt, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other.astype(int)).mean() > 1


def test_aspects_are_drawn_at_their_size(painter):
    wide = painter.paint("a large fox at the left, in a meadow by day", 1, grid=(4, 16))
    assert wide.shape == (64, 256, 4)
    assert (wide[..., 3] > 250).mean() > 0.98


def test_a_transparent_background_is_transparent(painter):
    sticker = painter.paint("a large owl in the center, on a transparent background", 2)
    edge = np.concatenate([sticker[0, :, 3], sticker[-1, :, 3], sticker[:, 0, 3], sticker[:, -1, 3]])
    assert edge.mean() < 16
    assert sticker[48:80, 48:80, 3].mean() > 200
