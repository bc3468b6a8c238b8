"""What a stage is trained on: shares of categories, of the sources in each, and of reasoning.

    record = sample_record(rng, "train", SFT)

is a pure function of the generator. A category is chosen by the mix, then one of its sources (`sources.py`).
"""

from dataclasses import dataclass, field

import numpy as np

from training.understanding.data.record import CATEGORIES, Record
from training.understanding.data.sources import SOURCES, Source
from training.understanding.data.wording import MANNERS, Manners
from training.world.dialogues.talk import Talk

SPLITS = ("train", "val", "heldout", "heldout_concepts")
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
    categories={"T2T": 3, "I2T": 3, "T2I": 2, "I2I": 3, "interleaved": 2},
    sources={"refusals": 3.0, "copying": 1.5},
    think=0.3,
)
"""The nano model's, which begins from nothing: it also has to learn the markup and the language here, to copy
exactly, and to read pictures before it can edit them."""
SFT = Mix(name="sft", categories={"T2T": 1, "I2T": 1, "T2I": 2, "I2I": 2, "interleaved": 4}, think=0.3)
"""T2T : I2T : T2I : I2I : interleaved = 1:1:2:2:4, the report's."""
NO_PROXY = Mix(name="no-proxy", categories={"T2T": 1, "I2T": 1}, think=0.3)
"""SFT's without the text-proxy rows, which are all that draw; for the ablation."""
MIXES: dict[str, Mix] = {mix.name: mix for mix in (PAPER_UCT, UCT, SFT, NO_PROXY)}


def sample_record(rng: np.random.Generator, split: str = "train", mix: Mix = SFT) -> Record:
    """A random record of a split of `training.world`; equal generators give equal records.

    Raises ValueError for a split that there is none of.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; one of {SPLITS}")
    talk = Talk(rng, split)
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
