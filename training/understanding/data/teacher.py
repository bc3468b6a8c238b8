"""Who writes the answers, the reasoning, the captions and the plans: the world itself, or a user's own model.

The builders ask a `Teacher` and trust none: what it writes is checked against the graph (`reasoning.py`,
`filters.py`) before it is kept. `WorldTeacher` knows the graph and is exact; `endpoint.EndpointTeacher` asks
any OpenAI-compatible model and sees only words and pixels.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.understanding.data.exercise import ORDER, Exercise
from training.understanding.data.record import Record
from training.world.dialogues.talk import Picture
from training.world.tasks.captions import natural
from training.world.tasks.pictures import kind_of


@dataclass(frozen=True)
class Brief:
    """What a plan is wanted for.

    `request` is what the user says, empty where the teacher shall invent it from the pictures. `pictures` are
    those the plan has to give back, in order. `record` is the world's own plan.
    """

    request: str
    pictures: tuple[Picture, ...]
    record: Record


@dataclass(frozen=True)
class Plan:
    """A request and the assistant's turn that answers it, in markup."""

    request: str
    turn: str


class Teacher(Protocol):
    """All that the builders need. Every method may raise a `WanError`, which ends the build."""

    name: str
    """Goes into the index of the shards."""

    def answer(self, exercise: Exercise) -> str:
        """A reply to what is asked about the exercise's pictures, without reasoning."""

    def reason(self, exercise: Exercise) -> tuple[str, str]:
        """Reasoning, and the reply it leads to."""

    def caption(self, picture: Picture, grain: str) -> str:
        """A caption of one of `captions.GRAINS`."""

    def plan(self, brief: Brief) -> Plan:
        """A text proxy: every picture a dense prompt with its size."""

    def close(self) -> None:
        """Let go of what it holds; nothing is asked of it any more."""


class WorldTeacher:
    """The graph's own words."""

    name = "world"

    def answer(self, exercise: Exercise) -> str:
        """The exact reply."""
        return exercise.answer.reply

    def reason(self, exercise: Exercise) -> tuple[str, str]:
        """The steps that were worked out with the question."""
        return " ".join(exercise.answer.steps), exercise.answer.reply

    def caption(self, picture: Picture, grain: str) -> str:
        """What the kind of picture says of its graph."""
        kind = kind_of(getattr(picture, "kind", "scene"))
        return natural(kind, picture.scene, np.random.default_rng(ORDER), grain)

    def plan(self, brief: Brief) -> Plan:
        """The plan that came with the request."""
        ask, answer = brief.record.dialogue.turns[0], brief.record.dialogue.turns[-1]
        return Plan(brief.request or ask.text, answer.text)

    def close(self) -> None:
        """It holds nothing."""
