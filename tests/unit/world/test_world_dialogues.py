"""Dialogues are well-formed, obey their requests, and keep their split."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.world.dialogues.dialogue import KINDS, Dialogue, sample_dialogue
from training.world.dialogues.story import _choose, story_split
from training.world.dialogues.talk import NUMBERS, SIZE_WORDINGS, Talk
from training.world.scenes.caption import parse
from training.world.scenes.sample import SPLITS
from wanimage import markup

SEEDS = st.integers(0, 2**32)


def dialogue(seed: int, split: str = "train", kind: str | None = None) -> Dialogue:
    return sample_dialogue(np.random.default_rng(seed), split, kind)


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.sampled_from(SPLITS), st.sampled_from(list(KINDS)))
def test_markup_holds_the_pictures_of_its_turn(seed: int, split: str, kind: str) -> None:
    for index, turn in enumerate(dialogue(seed, split, kind).turns):
        assert turn.role == ("user", "assistant")[index % 2]
        if turn.role == "user":
            assert not re.search(r"[<>{}|]", turn.text), turn.text
            continue
        items = list(markup.parse(markup.split_tags(turn.text)))
        drawn = [item for item in items if isinstance(item, markup.ImageSpec)]
        assert [(d.prompt, d.grid) for d in drawn] == [(p.prompt, p.grid) for p in turn.pictures]
        assert [parse(d.prompt) for d in drawn] == [p.scene.spec for p in turn.pictures]


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_equal_generators_give_equal_dialogues(seed: int) -> None:
    assert dialogue(seed) == dialogue(seed)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_story_has_as_many_pictures_as_asked(seed: int) -> None:
    told = dialogue(seed, kind="story")
    count = len(told.turns[1].pictures)
    ask = told.turns[0].text.lower()
    said = re.search(rf"\b({'|'.join(NUMBERS[2:])}|\d+)(?= |-picture|-image|-panel|-illustration)", ask)
    assert count == (3 if said is None else int(said[1]) if said[1].isdigit() else NUMBERS.index(said[1]))


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_series_has_one_block_of_its_length(seed: int) -> None:
    turn = dialogue(seed, kind="series").turns[1]
    assert re.findall(r"<series>(\d+)</series>", turn.text) == [str(len(turn.pictures))]


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_the_grid_follows_the_wording(seed: int) -> None:
    told = dialogue(seed, kind="single")
    ask, grid = told.turns[0].text.lower(), told.turns[1].pictures[0].grid
    worded = {words: size for size, wordings in SIZE_WORDINGS.items() for words in wordings}
    found = [
        words
        for words in sorted(worded, key=len, reverse=True)
        if re.search(rf"(?<![\w:]){words}(?![\w:])", ask)
    ]
    assert grid == (worded[found[0]] if found else (8, 8)), ask


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(SPLITS))
def test_a_story_is_of_a_composition_of_its_split(seed: int, split: str) -> None:
    tale = _choose(Talk(np.random.default_rng(seed), split))
    assert story_split(tale.hero, tale.quest, tale.color, tale.count) == split


def test_the_fox_and_the_red_balloon_in_three_pictures_is_held_out() -> None:
    assert story_split("fox", "balloon", "red", 3) == "heldout"


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_the_hero_is_in_every_picture_of_its_story(seed: int) -> None:
    pictures = dialogue(seed, kind="story").turns[1].pictures
    shared = set.intersection(*({(o.concept, o.size_word) for o in p.scene.objects} for p in pictures))
    names = set.intersection(*({o.concept for o in p.scene.objects} for p in pictures))
    assert names, pictures
    assert len(pictures) > 4 or shared or len({len(p.scene.objects) for p in pictures}) > 1


def test_about_an_eighth_of_dialogues_thinks_first() -> None:
    thinking = sum(any("<think>" in t.text for t in dialogue(seed).turns) for seed in range(600))
    assert 0.08 < thinking / 600 < 0.18


def test_unknown_splits_and_kinds_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'test'"):
        dialogue(0, "test")
    with pytest.raises(ValueError, match="'opera'"):
        dialogue(0, kind="opera")
