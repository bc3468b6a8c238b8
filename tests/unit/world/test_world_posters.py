"""Letters, ground and object of a poster are read back; a planted fault fails its own property."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.measuring.verifiers import blur
from training.world.pictures import posters
from training.world.pictures.lettering import Lettering
from training.world.pictures.posters import Ground, Poster, draw, phrase, sample, verify
from training.world.pictures.vocabulary import MONTHS, SCRIPTS, upper, words
from training.world.scenes.sample import split_of_key
from training.world.scenes.scene import Background

pytestmark = pytest.mark.usefixtures("icons")

TITLE = Lettering(("Fresh Bread",), "slab", "black", 0.12, cy=0.17)
NOTE = Lettering(("Open 9:30",), "sans", "black", 0.08, cy=0.89)
PLAIN = Poster(Ground("plain", "#e8d080"), (TITLE, NOTE), "bread", cy=0.55)
SCENERY = replace(
    PLAIN, ground=Ground("scenery", scenery=Background.scenery("beach", "sunset"), panel="white")
)


@pytest.mark.parametrize("poster", [PLAIN, SCENERY], ids=["plain", "scenery"])
@pytest.mark.parametrize("radius", [0, 1])
def test_what_is_drawn_is_read_back_sharp_and_soft(poster: Poster, radius: int) -> None:
    report = verify(poster, blur(draw(poster, 256, 256), radius))
    assert report.failures() == []


FAULTS = {
    "text": replace(PLAIN, blocks=(replace(TITLE, lines=("Fresh Broad",)), NOTE)),
    "font": replace(PLAIN, blocks=(replace(TITLE, font="serif"), NOTE)),
    "color": replace(PLAIN, blocks=(replace(TITLE, color="blue"), NOTE)),
    "object": replace(PLAIN, object="cake"),
    "background": replace(PLAIN, ground=Ground("plain", "#a0d080")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_planted_fault_fails_its_property_alone(name: str) -> None:
    report = verify(PLAIN, draw(FAULTS[name], 256, 256))
    assert {f.property for f in report.findings if not f.passed} == {name}, report.failures()


def test_another_scenery_is_another_background() -> None:
    other = replace(SCENERY.ground, scenery=Background.scenery("city", "sunset"))
    report = verify(SCENERY, draw(replace(SCENERY, ground=other), 256, 256))
    assert {f.property for f in report.findings if not f.passed} == {"background"}


def test_a_phrase_says_what_is_checked() -> None:
    said = phrase(PLAIN)
    for word in ('"Fresh Bread"', '"Open 9:30"', "slab", "sans", "black", "bread", "#e8d080", "small"):
        assert word in said


@pytest.mark.parametrize("split", ["train", "val", "heldout"])
def test_a_sample_keeps_to_its_split_and_repeats_for_its_seed(split: str) -> None:
    first, again = (sample(np.random.default_rng(5), split, (2, 3)) for _ in range(2))
    assert first == again
    assert split_of_key(posters.key(first)) == split


def test_held_out_posters_say_held_out_words() -> None:
    held = {upper(word) for script in SCRIPTS for word in words(script, True)}
    for seed in range(12):
        poster = sample(np.random.default_rng(seed), "heldout_concepts")
        said = {upper(w) for block in poster.blocks for w in block.text.split() if w.isalpha()}
        # Months of dates are in every split.
        assert said - {upper(month) for month in MONTHS} <= held


@pytest.mark.parametrize("size", [(64, 512), (512, 64)])
def test_banners_are_drawn_whole(size: tuple[int, int]) -> None:
    image = draw(SCENERY, *size)
    assert image.shape == (*size, 4)
    assert (image[..., 3] == 255).all()


def test_a_poster_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="one or two blocks"):
        Poster(Ground("plain"), ())
