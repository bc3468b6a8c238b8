"""Records of the mixes: well-formed, of the category asked for, exact, and equal for equal generators."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from training.understanding.data.copying import COPYING
from training.understanding.data.exercise import Exercise
from training.understanding.data.language import LANGUAGE
from training.understanding.data.mixes import MIXES, SFT, Mix, sample_record
from training.understanding.data.reckoning import RECKONING
from training.understanding.data.record import Record
from training.understanding.data.seeing import SEEING
from training.understanding.data.shapes import GRIDS, SHAPES, USES, grid_of, wording
from training.understanding.data.sources import SOURCES, exercise_of
from training.understanding.data.wording import Manners, vary
from training.world.dialogues.dialogue import sample_dialogue
from training.world.dialogues.talk import SIZE_WORDINGS, Dialogue, Talk, Turn
from training.world.scenes.sample import split_of_key
from wanimage import markup

pytestmark = pytest.mark.usefixtures("icons")
COUNTS = re.compile(r"in the \w+ picture|in picture \d", re.IGNORECASE)
EXERCISES = {**COPYING, **RECKONING, **LANGUAGE, **SHAPES, **SEEING}


def record(seed: int, mix: Mix = SFT, split: str = "train") -> Record:
    return sample_record(np.random.default_rng([17, seed]), split, mix)


def exercises(name: str, count: int = 12, split: str = "train") -> list[Exercise]:
    talks = [Talk(np.random.default_rng([name.__len__(), seed]), split) for seed in range(count)]
    return [found for talk in talks if (found := exercise_of(talk, EXERCISES[name][0]))]


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_gives_well_formed_records_of_its_category(source: str) -> None:
    mix = Mix(
        name="one", categories={SOURCES[source].category: 1}, sources={s: float(s == source) for s in SOURCES}
    )
    for seed in range(4):
        found = record(seed, mix)
        assert found.category == SOURCES[source].category
        for index, turn in enumerate(found.dialogue.turns):
            assert turn.role == ("user", "assistant")[index % 2]
            if turn.role == "user":
                assert turn.text
                assert not re.search(r"</?(think|imagine|size|series|BOI)>|<\|", turn.text)
                continue
            items = list(markup.parse(markup.split_tags(turn.text)))
            drawn = [item for item in items if isinstance(item, markup.ImageSpec)]
            assert [(d.prompt, d.grid) for d in drawn] == [(p.prompt, p.grid) for p in turn.pictures]


def test_equal_generators_give_equal_records() -> None:
    assert [record(seed).dialogue.turns[0] for seed in range(20)] == [
        record(s).dialogue.turns[0] for s in range(20)
    ]


def test_the_sft_mix_keeps_the_ratio_of_the_report() -> None:
    single = replace(SFT, sessions=0.0)
    found = Counter(record(seed, single).category for seed in range(400))
    shares = {name: weight / 10 for name, weight in SFT.categories.items()}
    assert SFT.categories == {"T2T": 1, "I2T": 1, "T2I": 2, "I2I": 2, "interleaved": 4}
    assert all(abs(found[name] / 400 - share) < 0.07 for name, share in shares.items()), found


def test_a_session_is_several_conversations_and_only_the_first_counts_its_pictures() -> None:
    mix = Mix(name="x", categories={"interleaved": 1}, sources={"dialogue story edits": 20.0}, sessions=1.0)
    sessions = [record(seed, mix) for seed in range(12)]
    assert all(found.task == "session" and found.category == "interleaved" for found in sessions)
    assert all(len(found.dialogue.turns) >= 4 for found in sessions)
    counted = [
        [index for index, turn in enumerate(found.dialogue.turns) if COUNTS.search(turn.text)]
        for found in sessions
    ]
    assert any(counted)
    assert all(index <= 2 for indices in counted for index in indices)


@pytest.mark.parametrize("mix", MIXES.values(), ids=list(MIXES))
@pytest.mark.parametrize("split", ["val", "heldout", "heldout_concepts"])
def test_every_mix_has_records_of_every_split(mix: Mix, split: str) -> None:
    assert record(0, mix, split).dialogue.turns


def test_a_mix_of_unknown_categories_or_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="T2V"):
        Mix(name="x", categories={"T2V": 1})
    with pytest.raises(ValueError, match="no category or source"):
        Mix(name="x", categories={"T2T": 1}, sources={"poems": 1})


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_accepts_its_own_reply_and_no_other(name: str) -> None:
    found = exercises(name)
    assert len(found) > 6
    for one in found:
        assert one.answer.check(one.answer.reply), one
    wrong = [(a, b) for a in found for b in found if a.answer.key != b.answer.key]
    accepted = [(a, b) for a, b in wrong if a.answer.check(b.answer.reply)]
    assert len(accepted) <= len(wrong) // 20, accepted[:2]  # a shorter list may stand in a longer one


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_what_is_asked_in_one_split_is_asked_in_no_other(split: str) -> None:
    asked = [one.ask for name in EXERCISES if name not in SEEING for one in exercises(name, 3, split)]
    assert {split_of_key(ask) for ask in asked} == {split}


def test_sums_in_reasoning_are_right() -> None:
    steps = [s for name in RECKONING for one in exercises(name) for s in one.answer.steps]
    sums = [found for step in steps for found in re.findall(r"([\d +*-]*\d) = (\d+)", step)]
    assert len(sums) > 20
    assert all(_value(left) == int(right) for left, right in sums)


def _value(sum_: str) -> int:
    total = 0
    for sign, factors in re.findall(r"([+-]?) ?(\d+(?: \* \d+)*)", sum_):
        product = int(np.prod([int(f) for f in factors.split(" * ")]))
        total += -product if sign == "-" else product
    return total


@pytest.mark.parametrize("grid", GRIDS)
def test_pixels_and_words_of_a_shape_mean_its_grid(grid: tuple[int, int]) -> None:
    for seed in range(30):
        words = wording(Talk(np.random.default_rng(seed), "train"), grid)
        pixels = re.fullmatch(r"(\d+) ?[x×] ?(\d+)", words)
        if pixels:
            assert grid_of(int(pixels[2]), int(pixels[1])) == grid
        else:
            assert words in USES[grid]
    assert set(SIZE_WORDINGS.get(grid, ())) <= set(USES[grid])


def test_a_picture_without_a_side_has_no_shape() -> None:
    with pytest.raises(ValueError, match="both sides are above 0"):
        grid_of(0, 10)


def test_varied_words_keep_what_has_to_be_copied() -> None:
    all_of_it = Manners(synonym=1, greeting=1, closing=1, lower=1, american=1, typo=1)
    said = 'Draw a grey poster that says "Grey COLOUR" in #AABB0C, 12 Cats.'
    for seed in range(40):
        dialogue = Dialogue("x", (Turn("user", said), Turn("assistant", "Draw grey.")))
        ask, answer = vary(Talk(np.random.default_rng(seed), "train"), dialogue, all_of_it).turns
        assert '"Grey COLOUR"' in ask.text
        assert "#AABB0C" in ask.text
        assert " 12 " in ask.text
        assert answer.text == "Draw grey."
        assert ask.text != said


def test_words_are_left_alone_where_no_manners_are_asked_for() -> None:
    none = Manners(synonym=0, greeting=0, closing=0, lower=0, upper=0, no_stop=0, american=0, typo=0)
    dialogue = sample_dialogue(np.random.default_rng(3), "train")
    assert vary(Talk(np.random.default_rng(0), "train"), dialogue, none) == dialogue
