"""Strangers look alike wherever they appear, and their words tell nothing of them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.visualizer.naming import NOTHING, UNSAID, nouns
from training.visualizer.strangers import estranged
from training.visualizer.tasks import SHARES, Task, after_references
from training.world.assets import sprites as assets
from training.world.assets.concepts import CATALOGUE, colorable, is_held_out
from training.world.kinds import Graph
from training.world.scenes.render import drawing
from training.world.scenes.scene import Guise, Scene, SceneObject

pytestmark = pytest.mark.skipif(not assets.icons_path().exists(), reason="the icons are not fetched")

seeds = st.integers(0, 10**6)
FOX = SceneObject("fox", size=0.5)


def asked(seed: int, *names: str) -> Task:
    some = dict.fromkeys(names, 1.0) or SHARES.edits
    return after_references(np.random.default_rng(seed), names=some)


def scenes_of(task: Task) -> list[Scene]:
    return [frame.scene for frame in (*task.shots, *task.references) if isinstance(frame.scene, Scene)]


def strangers_of(scene: Graph) -> list[SceneObject]:
    return [item for item in scene.objects if item.guise] if isinstance(scene, Scene) else []


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_stranger_wears_one_guise_in_all_pictures_and_is_in_a_reference(seed):
    strange = estranged(asked(seed), np.random.default_rng(seed))
    worn: dict[str, set[Guise | None]] = {}
    for scene in scenes_of(strange):
        for item in scene.objects:
            worn.setdefault(item.concept, set()).add(item.guise)
    assert all(len(guises) == 1 for guises in worn.values())
    shown = {item.concept for frame in strange.shots for item in strangers_of(frame.scene)}
    seen = {item.concept for frame in strange.references for item in strangers_of(frame.scene)}
    assert shown <= seen


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_no_stranger_wears_a_held_out_noun_or_a_colour_that_its_word_denies(seed):
    for scene in scenes_of(estranged(asked(seed), np.random.default_rng(seed))):
        for item in strangers_of(scene):
            assert item.guise is not None
            worn = (item.guise.upper, item.guise.lower)
            assert not any(map(is_held_out, worn))
            if item.color:
                assert all(colorable(name, item.style) for name in worn)
                assert item.guise.channels == (0, 1, 2)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_new_name_replaces_the_noun_everywhere_and_no_other_word(seed):
    task = asked(seed, "edit_move", "edit_background", "compose")
    strange = estranged(task, np.random.default_rng(seed))
    before, after = words_of(task), words_of(strange)
    names = {item.concept for item in strangers_of(strange.shots[0].scene)}
    gone = before - after
    assert gone <= {part for name in names for part in f"{name} {CATALOGUE[name].plural} an".split()}
    assert not any(name in after for name in names)
    assert len(names) == 1 or len(task.references) == 1
    assert "an" not in after or re.search(r"\ban [aeiouh]", strange.shots[0].prompt)


def words_of(task: Task) -> set[str]:
    return set(re.findall(r"[\w-]+", task.shots[0].prompt))


def test_what_a_reference_does_not_show_is_no_stranger():
    for seed in range(20):
        task = asked(seed, "edit_add", "edit_restyle", "edit_portrait")
        strange = estranged(task, np.random.default_rng(seed))
        if task.name != "edit_add":
            assert strange is task
            continue
        seen = {item.concept for item in task.references[0].scene.objects}
        assert {item.concept for item in strangers_of(strange.shots[0].scene)} <= seen


def test_most_pictures_after_references_can_have_strangers():
    strange = [estranged(asked(seed), np.random.default_rng(seed)) for seed in range(60)]
    assert sum(any(map(strangers_of, scenes_of(task))) for task in strange) >= 36


def test_a_guise_is_of_two_halves_mirrored_turned_and_in_other_colours():
    plain = drawing(FOX, 32)
    worn = lambda **how: drawing(replace(FOX, guise=Guise("fox", **{"lower": "fox"} | how)), 32)  # noqa: E731
    assert np.array_equal(worn(), plain)
    assert np.array_equal(worn(mirrored=True), plain[:, ::-1])
    assert np.array_equal(worn(turns=1), np.rot90(plain))
    assert np.array_equal(worn(channels=(2, 1, 0)), plain[..., [2, 1, 0, 3]])
    both = worn(lower="owl")
    assert np.array_equal(both[:16], plain[:16])
    assert np.array_equal(both[16:], drawing(SceneObject("owl"), 32)[16:])


def test_strangers_are_asked_no_noun():
    strange = estranged(asked(1, "extract"), np.random.default_rng(0))
    assert strangers_of(strange.shots[0].scene)
    assert set(nouns(strange.shots[0]).tolist()) == {UNSAID, NOTHING}
