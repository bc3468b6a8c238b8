"""Exact answers to questions, and whether a reply gives them."""

import re
from dataclasses import dataclass

from training.world.dialogues.talk import NUMBERS

_DIGITS = {word: str(value) for value, word in enumerate(NUMBERS)}
_WORD = re.compile(r"[\w.%#-]+")


@dataclass(frozen=True)
class Answer:
    """`key` is the answer itself ("3", "top left", "yes"); `rivals` are the other things one might say.

    `also` are other words for the key. `reply` is a whole sentence that gives it, and `steps` the reasoning
    that leads there, from the graph.
    """

    key: str
    reply: str
    rivals: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def check(self, said: str) -> bool:
        """Whether a reply says the key and none of the rivals; numbers may be words or digits."""
        words = normal(said.rpartition("</think>")[2])
        keys = [normal(key) for key in (self.key, *self.also)]
        rivals = sorted((normal(rival) for rival in self.rivals), key=len, reverse=True)
        longest = max(map(len, keys))
        for rival in (r for r in rivals if len(r) > longest):  # "top left" is not "left"
            words, hits = _take(words, rival)
            if hits:
                return False
        hits = 0
        for key in keys:
            words, found = _take(words, key)
            hits += found
        return hits > 0 and not any(_take(words, rival)[1] for rival in rivals)


def normal(text: str) -> str:
    """Lower case, single spaces, digits for number words, no punctuation at words' ends."""
    words = [w.strip(".-") for w in _WORD.findall(text.lower())]
    return " ".join(_DIGITS.get(w, w) for w in words if w)


def _take(words: str, phrase: str) -> tuple[str, int]:
    """The words without a phrase, and how often it stood there."""
    return re.subn(rf"(?<!\S){re.escape(phrase)}(?!\S)", "|", words)
