"""How real people write: other words for the same wish, chat before it, slips of the keyboard.

Only what a user says is touched, and never what has to be copied: quoted text, numbers, colour values, and
nouns stay as they are (but for a rare slip, which the answer spells right). Where pictures hold lettering,
capitals matter, and stay.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from training.world.dialogues.talk import Dialogue, Talk, Turn


@dataclass(frozen=True, kw_only=True)
class Manners:
    """Shares of messages that are changed in each way."""

    synonym: float = 0.5
    """Other verbs and nouns for drawing and pictures."""
    greeting: float = 0.06
    """A few words before the wish."""
    closing: float = 0.06
    """A few words after it."""
    lower: float = 0.15
    """All in lower case."""
    upper: float = 0.01
    """All in capitals."""
    no_stop: float = 0.2
    """Without the final stop."""
    american: float = 0.3
    """Color, gray, center, favorite."""
    typo: float = 0.04
    """One slip in one word."""


MANNERS = Manners()
_SYNONYMS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(rf"\b{words}\b"), others)
    for words, others in (
        ("draw", ("draw", "paint", "sketch", "make", "create", "generate", "render", "do")),
        ("Draw", ("Draw", "Paint", "Sketch", "Make", "Create", "Generate", "Render", "Design")),
        ("[Mm]ake a picture of", ("make a picture of", "give me an image of", "i want to see", "can i have")),
        ("picture", ("picture", "image", "pic", "drawing", "illustration", "photo")),
        ("pictures", ("pictures", "images", "pics", "drawings", "illustrations")),
        ("I would like", ("I would like", "I'd like", "I want", "I need", "i'd love")),
        ("Please", ("Please", "Pls", "Kindly", "Please")),
        ("please", ("please", "pls", "thanks", "if you can")),
        ("Can you", ("Can you", "Could you", "Would you", "Will you", "can u")),
        ("in this picture", ("in this picture", "in the picture I sent", "here", "in my image", "in it")),
    )
)
_GREETINGS = (
    "Hi! ", "Hello, ", "hey, ", "Hi there. ", "Good morning! ", "OK, ", "So, ", "Quick one: ",
    "I have an idea. ", "For my daughter: ", "It is for school. ", "For a blog post: ", "Let's try this: ",
)  # fmt: skip
_CLOSINGS = (
    " Thanks!", " Thank you.", " Thanks in advance", " :)", "!", " Can't wait to see it.",
    " It is for my kids.", " Take your time.", " Be creative.", " That's all.", " ok?",
)  # fmt: skip
_SPELLINGS = (
    ("colour", "color"), ("Colour", "Color"), ("grey", "gray"), ("favourite", "favorite"),
    ("doughnut", "donut"), ("airplane", "plane"), ("bicycle", "bike"), ("centre", "center"),
    ("in the middle", "in the center"), ("at the bottom left", "bottom left"),
    ("at the top right", "top right"), ("at the left", "on the left"),
    ("at the right", "on the right"),
)  # fmt: skip
_KEPT = re.compile(r'"[^"]*"|#\w+|\S*\d\S*')
_WORD = re.compile(r"[a-z]{5,}")


_LETTERED = ("poster", "screen", "chart")


def vary(talk: Talk, dialogue: Dialogue, manners: Manners = MANNERS) -> Dialogue:
    """The dialogue with its user's turns in the words of somebody else."""
    pictures = (picture for turn in dialogue.turns for picture in turn.pictures)
    if any(getattr(picture, "kind", "scene") in _LETTERED for picture in pictures):
        manners = replace(manners, lower=0.0, upper=0.0, typo=0.0)
    return replace(dialogue, turns=tuple(_said(talk, turn, manners) for turn in dialogue.turns))


def _said(talk: Talk, turn: Turn, manners: Manners) -> Turn:
    if turn.role != "user":
        return turn
    text = _outside(turn.text, lambda part: _other_words(talk, part, manners))
    return replace(turn, text=_dressed(talk, text, manners))


def _outside(text: str, change: Callable[[str], str]) -> str:
    """The text with all changed but what has to be copied."""
    parts, end = [], 0
    for kept in _KEPT.finditer(text):
        parts += [change(text[end : kept.start()]), kept[0]]
        end = kept.end()
    return "".join([*parts, change(text[end:])])


def _other_words(talk: Talk, text: str, manners: Manners) -> str:
    if talk.chance(manners.synonym):
        for pattern, others in _SYNONYMS:
            text = pattern.sub(talk.pick(others), text)
    if talk.chance(manners.american):
        for british, american in _SPELLINGS:
            text = text.replace(british, american)
    return text


def _dressed(talk: Talk, text: str, manners: Manners) -> str:
    """With a greeting, a closing, a slip; without a stop; in one case."""
    if talk.chance(manners.typo):
        text = _slip(talk, text)
    if talk.chance(manners.no_stop) and text[-1:] == ".":
        text = text[:-1]
    elif talk.chance(manners.closing):
        text += talk.pick(_CLOSINGS)
    if talk.chance(manners.greeting):
        text = talk.pick(_GREETINGS) + text
    if talk.chance(manners.lower):
        return _outside(text, str.lower)
    return _outside(text, str.upper) if talk.chance(manners.upper) else text


def _slip(talk: Talk, text: str) -> str:
    """Two letters swapped, one doubled or one left out, inside one word of five letters or more."""
    quoted = [(m.start(), m.end()) for m in _KEPT.finditer(text)]
    words = [m for m in _WORD.finditer(text) if not any(a <= m.start() < b for a, b in quoted)]
    if not words:
        return text
    word = talk.pick(words)
    at = word.start() + int(talk.rng.integers(1, len(word[0]) - 2))
    kind = talk.pick(("swap", "double", "drop"))
    if kind == "swap":
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + (text[at] if kind == "double" else "") + text[at + (kind == "drop") :]
