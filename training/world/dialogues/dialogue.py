"""Realistic chats of every kind: what the planner is trained on.

Each dialogue is a list of turns; an assistant's turn is markup (see wanimage/markup.py), and each of its
pictures carries the scene it shows, so that the picture can be rendered into the context after its <BOI>. A
user's text never holds control tokens. Equal generators give equal dialogues.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training.world.dialogues.chat import chat, refusal
from training.world.dialogues.edits import follow_up, story_follow_up, user_picture
from training.world.dialogues.questions import picture_question
from training.world.dialogues.requests import series_request, single
from training.world.dialogues.story import story
from training.world.dialogues.talk import Dialogue, Picture, Talk, Turn, markup, series
from training.world.scenes.sample import SPLITS

__all__ = ["KINDS", "Dialogue", "Picture", "Turn", "markup", "sample_dialogue", "series"]

KINDS: dict[str, tuple[Callable[[Talk], Dialogue], float]] = {  # generator and share
    "single": (single, 0.26),
    "story": (story, 0.27),
    "story_edit": (story_follow_up, 0.04),
    "series": (series_request, 0.09),
    "edit": (follow_up, 0.11),
    "image_edit": (user_picture, 0.08),
    "question": (picture_question, 0.08),
    "chat": (chat, 0.04),
    "refusal": (refusal, 0.03),
}


def sample_dialogue(rng: np.random.Generator, split: str = "train", kind: str | None = None) -> Dialogue:
    """A random dialogue of a split; `kind` (one of `KINDS`) fixes what it is about."""
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; one of {SPLITS}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"no kind of dialogue {kind!r}; one of {tuple(KINDS)}")
    talk = Talk(rng, split)
    chosen = kind or talk.weighted({name: share for name, (_, share) in KINDS.items()})
    dialogue = KINDS[chosen][0](talk)
    return replace(dialogue, turns=tuple(_hasten(talk, turn) for turn in dialogue.turns))


def _hasten(talk: Talk, turn: Turn) -> Turn:
    """Some users write without capitals or final stops."""
    text = turn.text
    if turn.role == "user" and talk.chance(0.12):
        text = text.lower()
    if turn.role == "user" and talk.chance(0.12) and text[-1] in ".?!":
        text = text[:-1]
    return turn if text == turn.text else replace(turn, text=text)
