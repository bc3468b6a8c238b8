"""Annotation of conversations: row, category, difficulty, numeric or logical need, pure VQA."""

import numpy as np
import pytest

from training.understanding.data.record import annotate, category_of, load, row_of
from training.world.dialogues.dialogue import sample_dialogue
from training.world.dialogues.talk import Dialogue, Picture, Turn, markup, series
from training.world.scenes.scene import Background, Scene, SceneObject

SCENE = Scene((SceneObject("circle", "red"),), Background.plain("blue"))
DRAWN = Picture(SCENE, (8, 8), "a red circle in the center, on a plain blue background")
BROUGHT = Picture(SCENE)


def said(*texts: str, shown: tuple[int, ...] = (), drawn: tuple[int, ...] = ()) -> Dialogue:
    """A dialogue of these texts; `shown` and `drawn` count the pictures of each exchange."""
    turns = []
    for index, text in enumerate(texts):
        counts = (shown, drawn)[index % 2]
        count = counts[index // 2] if index // 2 < len(counts) else 0
        picture = (BROUGHT, DRAWN)[index % 2]
        body = (series([DRAWN] * count) if count > 1 else markup(DRAWN) * count) if index % 2 else ""
        turns.append(Turn(("user", "assistant")[index % 2], text + body, (picture,) * count))
    return Dialogue("test", tuple(turns))


TEXT = said("Hi", "Hello!")
QUESTION = said("How many circles are there?", "One.", shown=(1,))
DRAWING = said("Draw a red circle.", "Here it is.", drawn=(1,))
EDIT = said("Make it blue.", "Done.", shown=(1,), drawn=(1,))
FOLLOW_UP = said("Draw a red circle.", "", "Now make it blue.", "", drawn=(1, 1))
SERIES = said("Draw three circles, one in each picture.", "", drawn=(3,))


@pytest.mark.parametrize(
    ("dialogue", "category", "row"),
    [
        (TEXT, "T2T", "general/text"),
        (QUESTION, "I2T", "general/image"),
        (DRAWING, "T2I", "proxy/text"),
        (EDIT, "I2I", "queries"),
        (FOLLOW_UP, "I2I", "queries"),
        (SERIES, "interleaved", "proxy/images"),
    ],
)
def test_category_and_row_follow_from_the_pictures(dialogue: Dialogue, category: str, row: str) -> None:
    assert (category_of(dialogue), row_of(dialogue)) == (category, row)


def test_an_answer_that_reasons_belongs_to_the_think_row() -> None:
    reasoned = said("How many circles are there?", "<think>I see one.</think>One.", shown=(1,))
    assert row_of(reasoned) == "think"


def test_only_questions_without_drawing_are_pure_vqa() -> None:
    assert [annotate(d, "queries").pure_vqa for d in (TEXT, QUESTION, EDIT, SERIES)] == [
        False, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "numeric"),
    [
        ("How many foxes are there?", True),
        ("Sort these by size: a, b", True),
        ("What is 3 + 4?", True),
        ("A story in five pictures", True),
        ("Draw a fox in a 16:9 picture.", False),
        ("What colour is the fox?", False),
    ],
)
def test_numeric_need_is_read_from_the_words_of_the_ask(ask: str, numeric: bool) -> None:
    assert annotate(said(ask, "Answer."), "queries").numeric is numeric


def test_more_pictures_and_constraints_are_more_difficult() -> None:
    long = said('Draw a small red circle at the top left and the words "a b" at the right.', "", drawn=(1,))
    many = said("Draw twelve pictures, the same circle in each.", "", drawn=(12,))
    assert load(TEXT) < load(DRAWING) < load(long) < load(many)
    assert [annotate(d, "queries").difficulty for d in (TEXT, DRAWING, many)] == ["easy", "easy", "hard"]


def test_a_row_that_the_report_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="no row 'proxies'"):
        annotate(TEXT, "proxies")


def test_all_dialogues_of_the_world_are_annotated() -> None:
    for seed in range(60):
        dialogue = sample_dialogue(np.random.default_rng(seed), "train")
        record = annotate(dialogue, row_of(dialogue))
        assert record.task == dialogue.kind
        assert record.pure_vqa <= (record.category == "I2T")
