"""How users ask: the same wish from terse to verbose, and wishes that may be read in more than one way."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.world.kinds import Graph

LEVELS = ("terse", "short", "plain", "polite", "verbose")
"""Grains of a request, each at least as long as the one before."""


@dataclass(frozen=True)
class Wish:
    """What a user wants, in the pieces that requests are made of.

    `terse` are keywords; `order` is a short imperative without a full stop ("draw a fox"); `full` is one that
    says all there is to say; `details` are whole sentences that add to it. `question` is the wish as a
    question, where it is one.
    """

    terse: str
    order: str
    full: str
    details: tuple[str, ...] = ()
    question: str = ""


@dataclass(frozen=True)
class Reading:
    """One way to understand a request: its words, and which graphs of which kind of picture fulfil it."""

    words: str
    kind: str
    fits: Callable[[Graph], bool]

    def accepts(self, kind: str, graph: Graph) -> bool:
        """Whether a picture of this graph answers the request, read so."""
        return kind == self.kind and self.fits(graph)


def requests(wish: Wish, rng: np.random.Generator) -> tuple[str, ...]:
    """The wish at every level of LEVELS."""
    polite = _pick(rng, _POLITE).format(x=wish.full, X=capital(wish.full))
    opening, closing = _pick(rng, _OPENINGS), _pick(rng, _CLOSINGS)
    verbose = " ".join([opening, f"{capital(wish.full)}.", *wish.details, closing])
    plain = wish.question or f"{capital(wish.full)}."
    return wish.terse, f"{capital(wish.order)}.", plain, polite, verbose


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


_POLITE = (
    "Could you {x}, please?",
    "Please {x} for me.",
    "Would you {x} for me, please?",
    "I would like you to {x}.",
    "Can you {x} for me, please?",
)
_OPENINGS = (
    "Hello! I have been thinking about this for a while, and I would like your help.",
    "I am putting a small booklet together and one thing is still missing.",
    "This is for a friend of mine who is picky, so please read carefully.",
    "Good morning. I need this today if you can, it is for a small project.",
    "I am not good at drawing, so I come to you.",
)
_CLOSINGS = (
    "Take care that nothing of this is left out, thank you very much!",
    "That is all I wish for. Many thanks in advance.",
    "Please keep to what I wrote. Thank you!",
    "Everything else is up to you, I trust your eye.",
)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
