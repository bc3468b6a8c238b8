"""Held-out turns to write: samples of the world of all sorts, cut into the turns that are judged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.understanding.data import queries
from training.understanding.data.record import category_of
from training.world.dialogues.dialogue import KINDS, sample_dialogue
from training.world.dialogues.talk import Dialogue, Picture, Talk, Turn
from training.world.tasks import TASKS, Sample, sample_task

CHATS = tuple(f"chat/{kind}" for kind in KINDS)
TASK_FAMILIES = tuple(f"task/{name}" for name in TASKS)
_QUERIES = {
    "harmless": queries.harmless,
    "blunt_edit": queries.blunt_edit,
    "answered": queries.answered,
    "in_passing": queries.in_passing,
}
FAMILIES = (*CHATS, *TASK_FAMILIES, *(f"query/{name}" for name in _QUERIES), "session/stories")
"""`chat/KIND` of `sample_dialogue`, `task/NAME` of `sample_task`, `query/NAME` that only sound refusable, and
`session/stories`, the last of several stories that are told one after the other."""
STORIES = 4
TURNS = 2
"""Most turns of one dialogue that are judged, its last ones."""


@dataclass(frozen=True)
class Case:
    """One assistant turn of a dialogue. `sample` is the task it comes from, where it comes from one."""

    name: str
    family: str
    dialogue: Dialogue
    index: int
    sample: Sample | None = None
    before: tuple[Turn, ...] = ()
    """What the session held before the dialogue, which has nothing to do with it."""

    @property
    def gold(self) -> Turn:
        """The turn as the world writes it."""
        return self.dialogue.turns[self.index]

    @property
    def request(self) -> str:
        """What the user asked for."""
        return self.dialogue.turns[self.index - 1].text

    @property
    def category(self) -> str:
        """T2T, I2T, T2I, I2I or interleaved, by the turns up to this one."""
        return category_of(Dialogue(self.dialogue.kind, self.dialogue.turns[: self.index + 1]))

    @property
    def brought(self) -> tuple[Picture, ...]:
        """Pictures that came with the request."""
        return self.dialogue.turns[self.index - 1].pictures

    @property
    def shown(self) -> tuple[Picture, ...]:
        """All pictures of the dialogue before this turn, in order."""
        return tuple(picture for turn in self.dialogue.turns[: self.index] for picture in turn.pictures)


def cases_of(family: str, number: int, split: str, seed: int) -> Iterator[Case]:
    """The judged turns of sample `number` of a family. Equal arguments give equal cases.

    Raises ValueError for a family or split that there is none of.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}; one of {', '.join(FAMILIES)}")
    sort, _, name = family.partition("/")
    rng = np.random.default_rng([seed, number, *family.encode()])
    sample = sample_task(rng, split, name) if sort == "task" else None
    before: tuple[Turn, ...] = ()
    if sort == "query":
        dialogue = _QUERIES[name](Talk(rng, split)).dialogue
    elif sort == "session":
        *told, dialogue = (sample_dialogue(rng, split, "story") for _ in range(STORIES))
        before = tuple(turn for story in told for turn in story.turns)
    else:
        dialogue = sample.dialogue if sample else sample_dialogue(rng, split, name)
    for index in _judged(dialogue, family):
        yield Case(f"{family}/{number}/{index}", family, dialogue, index, sample, before)


def families_of(split: str) -> tuple[str, ...]:
    """The families that have samples of a split."""
    if split != "heldout_concepts":
        return FAMILIES
    return tuple(f"task/{task.name}" for task in TASKS.values() if task.novel)


def _judged(dialogue: Dialogue, family: str) -> list[int]:
    answers = [i for i, turn in enumerate(dialogue.turns) if turn.role == "assistant"]
    if family in ("chat/edit", "chat/story_edit"):
        answers = answers[1:]
    if family == "chat/question":
        answers = [i for i in answers if not dialogue.turns[i].pictures]
    return answers[-TURNS:]
