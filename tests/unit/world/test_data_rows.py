"""Rows of section 2.1: reasoning is kept only where it leads to the answer; filters refuse their faults."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.understanding.data import __main__ as cli
from training.understanding.data.balance import cap, choose, table
from training.understanding.data.build import build
from training.understanding.data.exercise import Exercise, exercise
from training.understanding.data.filters import Filter, tally
from training.understanding.data.proxies import mended
from training.understanding.data.reasoning import describes, fault
from training.understanding.data.record import ROWS, Record, annotate
from training.understanding.data.teacher import Brief, Plan, WorldTeacher
from training.world.dialogues.talk import Dialogue, Picture, Turn, markup
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.shards import Loader
from training.world.tasks.answers import Answer

pytestmark = pytest.mark.usefixtures("icons")
SCENE = Scene(
    (SceneObject("fox", None, 0.2, 0.2), SceneObject("balloon", "red", 0.8, 0.5)), Background.plain("blue")
)
SUM = exercise("total", "2 foxes and 3 owls. How many is that together?", "5.", (), "5")
COLOR = Exercise(
    "color", "What colour is the balloon?", Answer("red", "It is red.", ("blue", "green")), (Picture(SCENE),)
)
THERE = Exercise("there", "Is there an owl?", Answer("no", "No.", ("yes",)), (Picture(SCENE),))
LIST = exercise("count", "How many are these? a fox, an owl", "2.", (), "2")


@pytest.mark.parametrize(
    ("asked", "thought", "reply", "wanted"),
    [
        (SUM, "2 + 3 = 5.", "5.", ""),
        (SUM, "2 + 3 = 6. No, 2 + 3 = 5.", "5.", "wrong sum"),
        (SUM, "2 + 3 = 5.", "6.", "wrong answer"),
        (SUM, "I just know that it is many.", "5.", "leads elsewhere"),
        (SUM, "", "5.", "empty"),
        (SUM, "so " * 200 + "5.", "5.", "too long"),
        (COLOR, "The red balloon is at the right. It is red.", "It is red.", ""),
        (COLOR, "The balloon is at the left. It is red.", "It is red.", "wrong claim"),
        (COLOR, "I see a green fox. The balloon is red.", "It is red.", "wrong claim"),
        (THERE, "I see a fox and a balloon. An owl is not among them.", "No.", ""),
        (THERE, "I see a fox and a balloon. There they are.", "No.", "leads elsewhere"),
        (LIST, "1 fox, 2 owl.", "2.", ""),
        (LIST, "1 fox, 2 bear.", "2.", "wrong list"),
    ],
)
def test_reasoning_is_kept_only_where_it_leads_to_the_right_answer(
    asked: Exercise, thought: str, reply: str, wanted: str
) -> None:
    assert fault(asked, thought, reply) == wanted


def test_a_free_text_describes_a_picture_if_it_names_all_and_claims_nothing_else() -> None:
    picture = Picture(SCENE)
    assert describes(picture, "There is a fox, and a red balloon at the right.")
    assert not describes(picture, "There is a fox.")
    assert not describes(picture, "There is a fox, and a red balloon at the left.")


def spoken(ask: str, reply: str, drawn: tuple[Picture, ...] = (), shown: tuple[Picture, ...] = ()) -> Record:
    return annotate(Dialogue("x", (Turn("user", ask, shown), Turn("assistant", reply, drawn))), "queries")


FINE = Picture(
    SCENE, (8, 8), "a fox at the top left and a red balloon at the right, on a plain blue background"
)
WRONG = replace(FINE, prompt="an owl at the top left, on a plain blue background")


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        (spoken("Draw it.", markup(FINE), (FINE,)), ""),
        (spoken("Draw it.", "<imagine>a fox", (FINE,)), "markup"),
        (spoken("Draw it.", "No picture.", (FINE,)), "markup"),
        (spoken("Say <BOI>", "No."), "markup"),
        (spoken("Hi", " "), "length"),
        (spoken("Hi", "word " * 800), "length"),
        (spoken("Hi", "a\x00b"), "readable"),
        (spoken("Hi", "so it is and " * 6), "repetition"),
        (spoken("Draw it.", markup(WRONG), (WRONG,)), "agreement"),
    ],
)
def test_each_filter_refuses_its_fault(record: Record, wanted: str) -> None:
    assert Filter(render=False).refuses(record) == wanted


def test_what_the_verifier_does_not_find_is_not_asked_about() -> None:
    hidden = Scene((SceneObject("fox", None, size=0.2), SceneObject("house", "red", size=0.5)))
    record = spoken("Is there a fox?", "Yes.", shown=(Picture(hidden),))
    assert Filter().refuses(record) == "rendered"
    assert Filter(render=False).refuses(record) == ""


def test_an_exchange_is_kept_once_whatever_its_case() -> None:
    quality = Filter()
    assert [quality.refuses(spoken(ask, "Hello!")) for ask in ("Hi you", "hi  you")] == ["", "duplicate"]
    assert tally(["", "duplicate", "size"])["duplicate"] == 1


def test_the_query_set_is_as_balanced_as_its_pool_allows() -> None:
    base = spoken("Hi", "Hello!")
    pool = [replace(base, category="T2T", difficulty="easy")] * 90
    pool += [replace(base, category=c, difficulty=d) for c in ("I2I", "T2I") for d in ("easy", "hard")] * 10
    random.Random(0).shuffle(pool)
    found = table(choose(pool, 60))["category"]
    assert max(found.values()) - min(found.values()) <= 1, found
    with pytest.raises(ValueError, match="build more"):
        choose(pool, 200)


def test_no_task_is_more_than_its_share_of_a_row() -> None:
    base = spoken("Hi", "Hello!")
    records = [replace(base, task=task) for task in ("a", "a", "a", "a", "a", "a", "b", "c", "d", "e")]
    assert [record.task for record in cap(records, 0.2)] == ["a", "a", "b", "c", "d", "e"]


def test_sentences_about_one_figure_are_mended_into_a_text() -> None:
    lines = mended(["the fox is at home", "the fox is at sea", "the fox is back"], "fox")
    assert lines == ["First, the fox is at home.", "After that, it is at sea.", "Finally, the fox is back."]


@pytest.mark.parametrize("row", ROWS)
def test_the_world_teaches_every_row_without_a_fault(row: str) -> None:
    built = build(row, 8, WorldTeacher(), render=False)
    faults = [fault for fault in built.refused if fault not in ("", "duplicate", "repetition")]
    assert not faults
    assert {record.row for record in built.records} == {row}
    if row == "think":
        halves = [built.records[i : i + 2] for i in range(0, len(built.records), 2)]
        for with_thought, without in halves:
            assert with_thought.dialogue.turns[0] == without.dialogue.turns[0]
            assert "<think>" in with_thought.dialogue.turns[1].text
            assert "<think>" not in without.dialogue.turns[1].text
    if row.startswith("proxy/"):
        assert not any(turn.pictures for record in built.records for turn in record.dialogue.turns[::2])


class Careless(WorldTeacher):
    """Answers something, always the same."""

    name = "careless"

    def answer(self, exercise: Exercise) -> str:
        return "A fox."

    def reason(self, exercise: Exercise) -> tuple[str, str]:
        return "2 + 2 = 5.", exercise.answer.reply

    def plan(self, brief: Brief) -> Plan:
        return Plan("Draw", "<imagine>a fox</imagine><size>8*8</size><BOI>")


@pytest.mark.parametrize(
    ("row", "wanted"),
    [("general/text", "agreement"), ("think", "wrong sum"), ("proxy/images", "number of pictures")],
)
def test_a_careless_teacher_is_refused_and_counted(row: str, wanted: str) -> None:
    built = build(row, 10, Careless(), render=False)
    assert not built.records
    assert set(built.refused) == {wanted}


def test_the_command_writes_shards_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--row", "general/image", "--n", "6", "--out", str(tmp_path), "--no-render"])
    report = json.loads((tmp_path / cli.REPORT).read_text())
    assert report["filters"]["kept"] == 6
    assert str(tmp_path / "index.json") in capsys.readouterr().out
    rows = next(iter(Loader(tmp_path, batch=report["written"])))
    assert {row.document["category"] for row in rows} == {"I2T"}
    assert all(image.dtype == np.uint8 for row in rows for image in row.inputs)


def test_the_command_names_a_teacher_that_does_not_answer(tmp_path: Path) -> None:
    words = ["--row", "think", "--n", "1", "--out", str(tmp_path), "--teacher", "http://127.0.0.1:9/v1"]
    with pytest.raises(SystemExit, match="--model"):
        cli.main(words)
