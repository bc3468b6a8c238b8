"""A caption says its scene, and is read back exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.world.scenes.caption import caption, describe, parse
from training.world.scenes.sample import SPLITS, in_split, place_object, sample_scene, split_of
from training.world.scenes.scene import SIZE_RANGES, Background, Scene, SceneObject, spec
from wanimage import conditions

ASPECTS = ((1, 1), (8, 8), (6, 10), (12, 5), (4, 16), (24, 3))
FOX = SceneObject("fox", None, 0.24, 0.5, 0.5)
BALLOON = SceneObject("balloon", "red", 0.76, 0.24, 0.22)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SPLITS), st.sampled_from(ASPECTS))
def test_parse_inverts_caption(seed: int, split: str, aspect: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, split, aspect=aspect)
    assert parse(caption(scene, rng)) == spec(scene)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SPLITS))
def test_a_scene_belongs_to_its_split_only(seed: int, split: str) -> None:
    scene = sample_scene(np.random.default_rng(seed), split)
    assert [other for other in SPLITS if in_split(scene, other)] == [split]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(conditions.PLACES),
    st.sampled_from(list(SIZE_RANGES)),
    st.sampled_from(ASPECTS[:3]),
)
def test_geometry_keeps_its_words_with_a_margin(
    seed: int, place: str, size: str, aspect: tuple[int, int]
) -> None:
    item = place_object(np.random.default_rng(seed), "fox", None, place, size, aspect)
    assert (item.place, item.size_word) == (place, size)
    assert all(abs(value - border) > 0.03 for value in (item.cx, item.cy) for border in (1 / 3, 2 / 3))


def test_a_split_is_a_function_of_concept_and_place() -> None:
    counts = {split: 0 for split in SPLITS}
    for name in ("fox", "cat", "owl", "car", "house", "tree", "star", "kite"):
        for place in conditions.PLACES:
            counts[split_of(name, place)] += 1
    assert counts["train"] > 50
    assert counts["val"] > 0 < counts["heldout"]


def test_caption_reads_as_the_services_write() -> None:
    scene = Scene((FOX, BALLOON), Background.scenery("meadow", "day"))
    assert describe(scene, places=True) == (
        "a large fox at the left and a small red balloon at the top right in a meadow by day"
    )
    palette = Background.palette(("red", 0.6), ("blue", 0.4))
    assert palette.phrase == conditions.palette_phrase([("red", 0.6), ("blue", 0.4)])
    assert palette.phrase == "on a background of red 60%, blue 40%"


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a owl at the left, in a meadow by day", "article"),
        ("a red fox at the left, in a meadow by day", "fox"),
        ("a fox at the left, in a kitchen by day", "kitchen"),
        ("a gryphon at the left and a fox at the right, in a meadow by day", "gryphon"),
        ("a fox at the left with a cat at the right, in a meadow by day", "with"),
        ("", "background"),
    ],
)
def test_parse_refuses_other_words_and_names_them(prompt: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse(prompt)


def test_an_impossible_background_is_refused() -> None:
    with pytest.raises(ValueError, match="not a background"):
        Background.palette(("red", 0.6), ("blue", 0.6))
    with pytest.raises(ValueError, match="not a background"):
        Background.scenery("kitchen")


def test_colour_words_are_their_own_nearest() -> None:
    assert all(conditions.color_word(rgb) == word for word, rgb in conditions.COLORS.items())
    assert conditions.hex_word("#F01818") == "red"
    with pytest.raises(ValueError, match="#RRGGBB"):
        conditions.hex_word("red")


def test_a_region_reads_like_a_caption() -> None:
    assert conditions.region_phrase("a red balloon", 0.7, 0.0, 1.0, 0.2) == "a red balloon at the top right"
