"""One question with its exact answer and the reasoning that leads there: what text and VQA rows hold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from training.understanding.data.record import Record, annotate
from training.world.assets.concepts import CATALOGUE, is_held_out
from training.world.dialogues.talk import Dialogue, Picture, Talk, Turn
from training.world.pictures import vocabulary
from training.world.tasks.answers import Answer
from wanimage.conditions import COLORS

ORDER = 7
"""Seed of the order of a detailed caption's sentences: one for equal attributes, so it can be learned."""


@dataclass(frozen=True)
class Exercise:
    """What is asked, about which pictures; the reasoning in steps, the reply, and the check of replies."""

    task: str
    ask: str
    answer: Answer
    pictures: tuple[Picture, ...] = ()

    def dialogue(self, thought: str = "", reply: str = "") -> Dialogue:
        """The exchange; `thought` opens the answer, and `reply` takes the place of the exact one."""
        said = f"<think>{thought}</think>" if thought else ""
        turns = (
            Turn("user", self.ask, self.pictures),
            Turn("assistant", said + (reply or self.answer.reply)),
        )
        return Dialogue(self.task, turns)

    def record(self, row: str) -> Record:
        """The exchange without reasoning, annotated."""
        return annotate(self.dialogue(), row, self.task)


Maker = Callable[[Talk], Exercise | None]
"""A random exercise, or None where the choices made gave none."""


def exercise(
    task: str, ask: str, reply: str, steps: Sequence[str] = (), key: str = "", among: Iterable[str] = ()
) -> Exercise:
    """An exercise in words alone.

    `key` is what a right reply says, all of it where no key is given; `among` are the possible keys.
    """
    key = key or reply
    return Exercise(task, ask, Answer(key, reply, tuple(k for k in among if k != key), tuple(steps)))


@lru_cache(maxsize=2)
def nouns(split: str) -> tuple[str, ...]:
    """The nouns that conversations of a split may name: those held out only in their own split."""
    novel = split == "heldout_concepts"
    return tuple(name for name in CATALOGUE if is_held_out(name) == novel)


def thing(talk: Talk) -> str:
    """A noun, often with a colour or a size before it: `small red balloon`."""
    size = talk.pick(("small", "large")) if talk.chance(0.2) else ""
    color = talk.pick(list(COLORS)) if talk.chance(0.45) else ""
    return " ".join(word for word in (size, color, talk.pick(nouns(talk.split))) if word)


def token(talk: Talk) -> str:
    """Something that has to be copied letter by letter: a made-up word, a number, a colour value, a sign."""
    kind = talk.pick(("word", "word", "number", "hex", "script", "case"))
    if kind == "number":
        return vocabulary.sample_number(talk.rng)
    if kind == "hex":
        value = f"#{int(talk.rng.integers(1 << 24)):06x}"
        return value.upper() if talk.chance(0.5) else value
    if kind == "script":
        return vocabulary.sample_word(talk.rng, talk.pick(vocabulary.SCRIPTS), talk.split)
    if kind == "case":
        word = vocabulary.sample_word(talk.rng, "latin", talk.split)
        return talk.pick((word.upper(), word.capitalize(), word))
    syllables = (
        "ba",
        "ko",
        "lim",
        "ter",
        "on",
        "si",
        "qua",
        "fen",
        "ru",
        "dal",
        "ix",
        "mo",
        "pe",
        "vy",
        "zu",
    )
    return "".join(talk.pick(syllables) for _ in range(talk.pick((2, 2, 3, 3, 4))))


def several(talk: Talk, count: int, one: Callable[[Talk], str]) -> list[str]:
    """So many different ones."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[one(talk)] = None
    return list(found)
