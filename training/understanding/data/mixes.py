"""What a stage is trained on: shares of categories, of the sources in each, and of reasoning.

    record = sample_record(rng, "train", SFT)

is a pure function of the generator. A category is chosen by the mix, then one of its sources (`sources.py`).
"""

from dataclasses import dataclass, field, replace

import numpy as np

from training.understanding.data.record import CATEGORIES, Record, annotate, row_of
from training.understanding.data.sources import SOURCES, Source
from training.understanding.data.wording import MANNERS, Manners
from training.world.dialogues.talk import Dialogue, Talk, Turn

SPLITS = ("train", "val", "heldout", "heldout_concepts")
COUNTING = ("story_edit",)
"""Conversations that say "the second one"."""
SESSION_TOKENS = 2500
"""A session begins no further conversation that would make it longer, about."""
_TRIES = 200


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A distribution over records."""

    name: str
    categories: dict[str, float]
    """Weight of each of CATEGORIES; those not named have none."""
    sources: dict[str, float] = field(default_factory=dict)
    """Factor on the share of single sources, by name; 1 where not named."""
    think: float = 0.3
    """Share of the exercises and questions that reason before they answer."""
    sessions: float = 0.0
    """Share of the records that are long sessions: several conversations of the mix, one after the other."""
    manners: Manners = MANNERS
    """How users write."""

    def __post_init__(self) -> None:
        strange = [c for c in self.categories if c not in CATEGORIES]
        strange += [name for name in self.sources if name not in SOURCES]
        if strange or not any(weight > 0 for weight in self.categories.values()):
            raise ValueError(
                f"mix {self.name!r}: no category or source {strange}; see CATEGORIES and SOURCES"
            )

    def of(self, category: str) -> dict[str, float]:
        """The sources of a category by weight."""
        return {
            name: source.share * self.sources.get(name, 1.0)
            for name, source in SOURCES.items()
            if source.category == category
        }


PAPER_UCT = Mix(name="paper-uct", categories={"T2T": 2, "I2T": 7})
"""The report's: pure text and pictures with text, instruct and reasoning mixed (tables 3 and 4.1.1)."""
UCT = Mix(
    name="uct",
    categories={"T2T": 2, "I2T": 6, "T2I": 2, "I2I": 5, "interleaved": 3},
    sources={"refusals": 3.0, "copying": 1.5, "seeing": 1.5},
    think=0.3,
    sessions=0.1,
)
"""The nano model's, which begins from nothing: it also has to learn the markup and the language here, to copy
exactly, and to read pictures before it can edit them."""
SFT = Mix(
    name="sft",
    categories={"T2T": 1, "I2T": 1, "T2I": 2, "I2I": 2, "interleaved": 4},
    sources={"refusals": 3.0, "small talk": 2.0, "ambiguous words": 2.0, "ambiguous edits": 2.0},
    think=0.3,
    sessions=0.2,
)
"""T2T : I2T : T2I : I2I : interleaved = 1:1:2:2:4, the report's."""
NO_PROXY = replace(SFT, name="no-proxy", categories={"T2T": 1, "I2T": 1})
"""SFT's without the text-proxy rows, which are all that draw; for the ablation."""
MIXES: dict[str, Mix] = {mix.name: mix for mix in (PAPER_UCT, UCT, SFT, NO_PROXY)}


def sample_record(rng: np.random.Generator, split: str = "train", mix: Mix = SFT) -> Record:
    """A random record of a split of `training.world`; equal generators give equal records.

    Raises ValueError for a split that there is none of.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; one of {SPLITS}")
    talk = Talk(rng, split)
    if mix.sessions and talk.chance(mix.sessions):
        return _session(talk, mix)
    return _single(talk, mix)


def _session(talk: Talk, mix: Mix) -> Record:
    """Several records as one. Only the first may count pictures, which it does from the session's start."""
    turns: tuple[Turn, ...] = ()
    for _ in range(talk.pick((2, 2, 3, 3, 4, 5))):
        record = _single(talk, mix)
        while turns and record.task in COUNTING:
            record = _single(talk, mix)
        if turns and _tokens((*turns, *record.dialogue.turns)) > SESSION_TOKENS:
            break
        turns += record.dialogue.turns
    whole = Dialogue("session", turns)
    return annotate(whole, row_of(whole))


def _tokens(turns: tuple[Turn, ...]) -> int:
    """About how many tokens they take."""
    return sum(len(turn.text) // 3 + 20 * len(turn.pictures) for turn in turns)


def _single(talk: Talk, mix: Mix) -> Record:
    split = talk.split
    category = talk.weighted(_fair(mix.categories, split))
    names = {name: share for name, share in mix.of(category).items() if SOURCES[name].has(split)}
    for _ in range(_TRIES):
        record = SOURCES[talk.weighted(names)].sample(talk, mix.think, mix.manners)
        if record is not None and record.category == category:
            return record
    raise ValueError(f"no {category} record of split {split!r} in {_TRIES} tries")


def _fair(categories: dict[str, float], split: str) -> dict[str, float]:
    """The categories that have a source of the split."""

    def has(category: str, source: Source) -> bool:
        return source.category == category and source.has(split)

    return {c: w for c, w in categories.items() if any(has(c, source) for source in SOURCES.values())}
