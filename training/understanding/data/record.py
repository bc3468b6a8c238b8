"""One training conversation and its annotation: what section 2.1 calls the attributes of a query.

    row          the line of section 2.1 it was made for (ROWS)
    category     what goes in and what comes out (CATEGORIES)
    difficulty   how much there is to keep in mind at once: things, pictures, constraints
    numeric      whether counting, calculating, comparing or ordering is needed
    pure_vqa     whether it only asks about pictures that the user brought

All of it follows from the dialogue, so that the same rules annotate what a teacher wrote.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from training.world.dialogues.talk import Dialogue, Picture, Turn
from training.world.tasks.captions import chunks
from training.world.tasks.sample import Sample
from wanimage.conditions import COLORS

ROWS = (
    "general/text", "general/image", "think", "proxy/text", "proxy/image", "proxy/images", "queries",
)  # fmt: skip
CATEGORIES = ("T2T", "I2T", "T2I", "I2I", "interleaved")
DIFFICULTIES = ("easy", "medium", "hard")
EASY, MEDIUM = 7, 11
"""Most things to keep in mind (`load`) of an easy and of a medium conversation."""


@dataclass(frozen=True)
class Record:
    """A dialogue in markup with its annotation; `task` names what it is about within its row."""

    dialogue: Dialogue
    row: str
    category: str
    task: str
    difficulty: str
    numeric: bool
    pure_vqa: bool


def annotate(dialogue: Dialogue, row: str, task: str = "") -> Record:
    """The record of a dialogue; `task` is the dialogue's kind where it is not said.

    Raises ValueError for a row that section 2.1 does not have.
    """
    if row not in ROWS:
        raise ValueError(f"no row {row!r} of training data; one of {ROWS}")
    category = category_of(dialogue)
    return Record(
        dialogue,
        row,
        category,
        task or dialogue.kind,
        _difficulty(load(dialogue)),
        any(_REASONING.search(turn.text) for turn in _asks(dialogue)),
        category == "I2T" and all(not turn.pictures for turn in _answers(dialogue)),
    )


def of_sample(sample: Sample) -> Record:
    """The record of one of the world's tasks."""
    return annotate(sample.dialogue, row_of(sample.dialogue), sample.task)


def row_of(dialogue: Dialogue) -> str:
    """The row that a dialogue of the world belongs to, by its pictures and by whether it reasons.

    A proxy is one answer to words alone; what works on pictures that came before is a user's query.
    """
    drawn = sum(len(turn.pictures) for turn in _answers(dialogue))
    brought = sum(len(turn.pictures) for turn in _asks(dialogue))
    if drawn == 0:
        if any("<think>" in turn.text for turn in _answers(dialogue)):
            return "think"
        return "general/image" if brought else "general/text"
    if brought or _turns_that_draw(dialogue) > 1:
        return "queries"
    return "proxy/text" if drawn == 1 else "proxy/images"


def category_of(dialogue: Dialogue) -> str:
    """One of CATEGORIES: that of its most demanding turn, or I2T for questions about a picture just drawn."""
    brought = any(turn.pictures for turn in _asks(dialogue))
    drawn = [len(turn.pictures) for turn in _answers(dialogue)]
    if not any(drawn):
        return "I2T" if brought else "T2T"
    if dialogue.kind == "question":
        return "I2T"
    if max(drawn) > 1:
        return "interleaved"
    return "I2I" if brought or _turns_that_draw(dialogue) > 1 else "T2I"


def load(dialogue: Dialogue) -> int:
    """Things to keep in mind: pieces of the fullest picture, pictures, turns, and constraints of the ask."""
    pictures = [picture for turn in dialogue.turns for picture in turn.pictures]
    pieces = max((_pieces(picture) for picture in pictures), default=0)
    constraints = max(len(_CONSTRAINT.findall(turn.text.lower())) for turn in _asks(dialogue))
    return pieces + len(pictures) + constraints + len(dialogue.turns) // 2 - 1


def _pieces(picture: Picture) -> int:
    """What a picture holds: its prompt's pieces, or its objects where it has no prompt."""
    if picture.prompt:
        return len(chunks(picture.prompt))
    return len(getattr(picture.scene, "objects", ())) or 3


def _difficulty(value: int) -> str:
    return "easy" if value <= EASY else "medium" if value <= MEDIUM else "hard"


def _turns_that_draw(dialogue: Dialogue) -> int:
    return sum(1 for turn in _answers(dialogue) if turn.pictures)


def _asks(dialogue: Dialogue) -> Iterator[Turn]:
    return (turn for turn in dialogue.turns if turn.role == "user")


def _answers(dialogue: Dialogue) -> Iterator[Turn]:
    return (turn for turn in dialogue.turns if turn.role == "assistant")


_CONSTRAINT = re.compile(
    rf"\b(?:{'|'.join(COLORS)}|small|large|top|bottom|left|right|center|middle|corner|each|same|without|not|"
    rf'only|exactly|\d+)\b|"[^"]*"'
)
_REASONING = re.compile(
    r"\b(?:how many|how much|count(?:ed)?|number of|sums?|total|altogether|together|plus|minus|times|half|"
    r"double|average|difference|more than|fewer|less than|bigger|smaller|larger|higher|highest|lowest|"
    r"largest|smallest|further|most|least|between|sort(?:ed)?|order(?:ed)?|odd|true or false|"
    r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?<!:)\d+)[ -]"
    r"(?:picture|image|panel|step|sticker|portrait|scene|photo|shot|illustration|drawing)s?)\b|"
    r"\d ?[-+*/=] ?\d|: true\?",
    re.IGNORECASE,
)
