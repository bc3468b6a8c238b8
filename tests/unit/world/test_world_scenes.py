"""Rich scenes: splits, captions, and relations, counts, styles and weather read back from pixels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.world.assets.concepts import CONCEPTS, is_held_out
from training.world.measuring.verifiers import blur
from training.world.scenes.caption import caption, parse
from training.world.scenes.kind import KIND
from training.world.scenes.relations import KINDS, Relation, Spot, holds, offset
from training.world.scenes.render import render
from training.world.scenes.rich import RICH_SPLITS, in_rich_split, sample_arranged_scene, sample_rich_scene
from training.world.scenes.sample import SPLITS
from training.world.scenes.scene import Background, Scene, SceneObject, members
from training.world.scenes.verify import verify

MEADOW = Background.scenery("meadow")
RING, SQUARE = SceneObject("ring", "blue", 0.24, 0.5, 0.34), SceneObject("square", "red", 0.5, 0.5, 0.34)
FIVE = Scene((SceneObject("cross", "purple", 0.5, 0.5, 0.2, count=5),), MEADOW)


def failed(scene: Scene, drawn: Scene, size: int = 128) -> set[str]:
    """The properties that a picture of one scene lacks of another."""
    report = verify(scene, render(drawn, size, size), strict=True)
    return {finding.property for finding in report.findings if not finding.passed}


@pytest.mark.usefixtures("icons")
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(RICH_SPLITS), st.sampled_from([(1, 1), (3, 4), (1, 3), (8, 3)]))
def test_rich_captions_are_read_back_and_belong_to_one_split(
    seed: int, split: str, aspect: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_rich_scene(rng, split, aspect)
    assert parse(caption(scene, rng)) == scene.spec
    assert [other for other in RICH_SPLITS if in_rich_split(scene, other)] == [split]


@pytest.mark.usefixtures("icons")
def test_a_crowded_scene_holds_three_things_or_more_and_none_of_them_twice() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        scene = sample_rich_scene(rng, crowded=True)
        nouns = {item.concept for item in scene.objects}
        assert 3 <= len(nouns) == len(scene.objects) == sum(item.count for item in scene.objects)
        assert parse(caption(scene, rng)) == scene.spec
        assert in_rich_split(scene, "train")


@pytest.mark.usefixtures("icons")
def test_an_arranged_scene_is_a_small_group_or_a_relation_of_core_nouns() -> None:
    rng = np.random.default_rng(0)
    kinds = set()
    for split in SPLITS * 10:
        scene = sample_arranged_scene(rng, split)
        most = max(item.count for item in scene.objects)
        kinds.add(scene.relations[0].kind if scene.relations else most)
        assert bool(scene.relations) != (2 <= most <= 5)
        assert all(item.concept in CONCEPTS and item.style == "flat" for item in scene.objects)
        assert parse(caption(scene, rng)) == scene.spec
        assert in_rich_split(scene, split)
    assert len(kinds) > 8, "of nine relations and four counts"


@pytest.mark.usefixtures("icons")
def test_new_nouns_are_seen_in_their_split_only() -> None:
    rng = np.random.default_rng(0)
    for split in RICH_SPLITS:
        for _ in range(10):
            new = [is_held_out(item.concept) for item in sample_rich_scene(rng, split).objects]
            assert any(new) == (split == "heldout_concepts")


def test_mixed_styles_are_said_of_each_object() -> None:
    scene = Scene((replace(SQUARE, style="outline"), RING), MEADOW)
    said = caption(scene, np.random.default_rng(1))
    assert said == (
        "a red outline-style square in the center and a blue ring at the left, in a meadow by day"
    )
    assert parse(said) == scene.spec


def test_groups_and_weather_read_naturally() -> None:
    scene = replace(FIVE, background=Background.scenery("city", "night", weather="fog"))
    said = caption(scene, np.random.default_rng(1))
    assert said == "five purple crosses in the center, in a city at night in the fog"


def test_a_wrong_number_of_a_noun_is_refused() -> None:
    with pytest.raises(ValueError, match="wrong number"):
        parse("five purple cross in the center, in a meadow by day")
    with pytest.raises(ValueError, match="no place"):
        parse("a red square left of a blue ring, in a meadow by day")


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_members_of_a_group_are_as_many_and_apart(count: int, shape: tuple[int, int]) -> None:
    found = members(SceneObject("cross", size=0.18, count=count), *shape)
    assert len(found) == count
    assert len({(item.cx, item.cy) for item in found}) == count
    assert all(item.count == 1 for item in found)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([kind for kind in KINDS if kind != "bigger than"]))
def test_a_relation_holds_where_it_puts_things_and_not_the_other_way_round(seed: int, kind: str) -> None:
    subject, target = {"inside": (0.22, 0.5), "holding": (0.5, 0.22)}.get(kind, (0.33, 0.35))
    dx, dy = offset(np.random.default_rng(seed), kind, subject, target)
    there, here = Spot(0.5 + dx, 0.5 + dy, subject), Spot(0.5, 0.5, target)
    assert holds(kind, there, here)
    if kind not in ("behind", "in front of"):  # the same boxes, in the other order
        assert not holds(kind, here, there)


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not in 1\.\.9"):
        SceneObject("ring", count=10)
    with pytest.raises(ValueError, match="no relation 'under'"):
        Relation("under", 0, 1)
    with pytest.raises(ValueError, match="not a background"):
        Background("plain", color="red", weather="rain")


@pytest.mark.parametrize("size", [128, 256])
def test_a_group_is_counted(size: int) -> None:
    assert failed(FIVE, FIVE, size) == set()
    for count in (4, 6):
        six = replace(FIVE, objects=(replace(FIVE.objects[0], count=count),))
        assert "count" in failed(FIVE, six, size)


def test_weather_is_seen() -> None:
    rainy = replace(FIVE, background=replace(MEADOW, weather="rain"))
    assert failed(rainy, rainy) == set()
    assert failed(rainy, FIVE) == {"weather"}
    assert failed(FIVE, rainy) == {"weather"}


def test_sides_and_order_are_seen() -> None:
    left = Scene((replace(RING, cx=0.24), replace(SQUARE, cx=0.76)), MEADOW, (Relation("left of", 0, 1),))
    swapped = replace(left, objects=(replace(RING, cx=0.76), replace(SQUARE, cx=0.24)))
    assert failed(left, left) == set()
    assert "relation" in failed(left, swapped)
    cross = SceneObject("cross", "blue", 0.28, 0.5, 0.34)
    behind = Scene((cross, SQUARE), MEADOW, (Relation("behind", 0, 1),))
    in_front = replace(behind, objects=(SQUARE, cross), relations=(Relation("in front of", 1, 0),))
    assert failed(behind, behind) == set()
    assert failed(behind, in_front) == {"relation"}
    assert failed(in_front, behind) == {"relation"}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("radius", [0, 2])
def test_a_strip_tells_which_of_two_is_in_front_sharp_and_soft(seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (str(name) for name in rng.choice(["circle", "square", "triangle", "cross"], 2, False))
    dx, dy = offset(rng, "behind", 0.33, 0.35)
    behind = SceneObject(first, "yellow", 0.5 + dx, 0.5 + dy, 0.33)
    before = SceneObject(second, "orange", 0.5, 0.5, 0.35)
    scene = Scene((behind, before), MEADOW, (Relation("behind", 0, 1),))
    for shown, right in ((scene, 1.0), (replace(scene, objects=(before, behind), relations=()), 0.0)):
        picture = blur(render(shown, 128, 128), radius)
        assert verify(scene, picture).score("relation") == right


@pytest.mark.usefixtures("icons")
def test_a_style_is_seen() -> None:
    fox = Scene((SceneObject("fox", None, 0.5, 0.5, 0.34, "noto"),), MEADOW)
    flat = replace(fox, objects=(replace(fox.objects[0], style="flat"),))
    assert verify(fox, render(fox, 128, 128)).passed
    assert verify(fox, render(flat, 128, 128)).score("style") == 0


@pytest.mark.usefixtures("icons")
def test_a_noun_that_fits_a_part_of_another_is_not_taken_for_it() -> None:
    """A pufferfish explains more than half of what stands around a newspaper smaller than itself."""
    ground = Background("plain", color="red")
    right = Scene((SceneObject("pufferfish", None, 0.239, 0.783, 0.314, "noto"),), ground)
    wrong = Scene((replace(right.objects[0], concept="newspaper"),), ground)
    verdicts = [verify(right, render(each, 128, 128)).score("object") for each in (right, wrong)]
    assert verdicts == [1.0, 0.0]


@pytest.mark.usefixtures("icons")
def test_a_phrase_is_always_the_same_and_says_the_scene() -> None:
    scene = KIND.sample(np.random.default_rng(5), "train", (1, 1))
    assert KIND.phrase(scene) == KIND.phrase(scene)
    assert parse(KIND.phrase(scene)) == scene.spec
