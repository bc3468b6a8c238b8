"""Where records come from: each source makes those of one category, from the world's own makers.

A source is (category, share within it, how one is made). The mixes of `mixes.py` choose among them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from training.understanding.data import proxies, queries
from training.understanding.data.copying import COPYING
from training.understanding.data.exercise import Exercise, Maker
from training.understanding.data.language import LANGUAGE
from training.understanding.data.reckoning import RECKONING
from training.understanding.data.record import Record, annotate, of_sample, row_of
from training.understanding.data.seeing import SEEING
from training.understanding.data.shapes import SHAPES
from training.understanding.data.wording import Manners, vary
from training.world.dialogues.dialogue import sample_dialogue
from training.world.dialogues.talk import Talk
from training.world.scenes.sample import split_of_key
from training.world.tasks import TASKS, sample_task

_TRIES = 200


@dataclass(frozen=True)
class Source:
    """One way to make records of a category; `sample` gives None where a try failed."""

    category: str
    share: float
    sample: Callable[[Talk, float, Manners], Record | None]
    """`(talk, share that reasons, how users write)` -> a record, perhaps of another category."""
    splits: tuple[str, ...] = ("train", "val", "heldout")

    def has(self, split: str) -> bool:
        """Whether it makes records of a split."""
        return split in self.splits


def exercises(makers: dict[str, tuple[Maker, float]]) -> Callable[[Talk, float, Manners], Record | None]:
    """A source of exercises; those that have steps reason in that share of the records."""
    shares = {name: share for name, (_, share) in makers.items()}

    def sample(talk: Talk, think: float, manners: Manners) -> Record | None:
        del manners  # what is asked has to be copied as it stands
        found = exercise_of(talk, makers[talk.weighted(shares)][0])
        if found is None:
            return None
        if found.answer.steps and talk.chance(think):
            return annotate(found.dialogue(" ".join(found.answer.steps)), "think", found.task)
        return found.record("general/image" if found.pictures else "general/text")

    return sample


def exercise_of(talk: Talk, maker: Maker) -> Exercise | None:
    """An exercise of the talk's split: by its picture's composition, or by the hash of what it asks.

    None where the maker gave none.
    """
    for _ in range(_TRIES):
        found = maker(talk)
        settled = found is not None and (bool(found.pictures) or talk.split == "heldout_concepts")
        if found and (settled or split_of_key(found.ask) == talk.split):
            return found
    return None


def dialogue(kind: str) -> Callable[[Talk, float, Manners], Record | None]:
    """A source of the core chats of one kind."""

    def sample(talk: Talk, think: float, manners: Manners) -> Record:
        del think  # these chats reason as they please
        said = vary(talk, sample_dialogue(talk.rng, talk.split, kind), manners)
        return annotate(said, row_of(said), kind)

    return sample


def task(*names: str) -> Callable[[Talk, float, Manners], Record | None]:
    """A source of the world's tasks of these names, by their shares."""

    def sample(talk: Talk, think: float, manners: Manners) -> Record:
        del think
        fair = {n: TASKS[n].share for n in names if talk.split != "heldout_concepts" or TASKS[n].novel}
        found = sample_task(talk.rng, talk.split, talk.weighted(fair))
        return of_sample(replace(found, dialogue=vary(talk, found.dialogue, manners)))

    return sample


def query(make: Callable[[Talk], Record]) -> Callable[[Talk, float, Manners], Record | None]:
    """A source of text proxies or of queries."""

    def sample(talk: Talk, think: float, manners: Manners) -> Record:
        del think
        record = make(talk)
        return replace(record, dialogue=vary(talk, record.dialogue, manners))

    return sample


_ALL = ("train", "val", "heldout", "heldout_concepts")
_EDITS = (*(name for name in TASKS if name.startswith("edit_")), "extract")
SOURCES: dict[str, Source] = {
    "copying": Source("T2T", 0.4, exercises(COPYING)),
    "reckoning": Source("T2T", 0.2, exercises(RECKONING)),
    "language": Source("T2T", 0.2, exercises(LANGUAGE)),
    "shapes": Source("T2T", 0.08, exercises(SHAPES)),
    "chat": Source("T2T", 0.12, dialogue("chat")),
    "refusals": Source("T2T", 0.03, dialogue("refusal")),
    "small talk": Source("T2T", 0.03, query(queries.answered)),
    "seeing": Source("I2T", 0.5, exercises(SEEING)),
    "dialogue questions": Source("I2T", 0.2, dialogue("question")),
    "task questions": Source(
        "I2T", 0.3, task("question", "question_portrait", "question_chart", "question_text"), _ALL
    ),
    "dialogue single": Source("T2I", 0.2, dialogue("single")),
    "text to image": Source("T2I", 0.35, task("text_to_image"), _ALL),
    "wishes": Source("T2I", 0.2, query(proxies.wish), _ALL),
    "keywords": Source("T2I", 0.05, query(proxies.keywords), _ALL),
    "from a picture": Source("T2I", 0.15, query(proxies.from_picture), _ALL),
    "harmless": Source("T2I", 0.04, query(queries.harmless)),
    "in passing": Source("T2I", 0.04, query(queries.in_passing)),
    "ambiguous words": Source("T2I", 0.05, task("ambiguous")),
    "dialogue edits": Source("I2I", 0.3, dialogue("edit")),
    "dialogue image edits": Source("I2I", 0.2, dialogue("image_edit")),
    "task edits": Source("I2I", 0.3, task(*_EDITS), _ALL),
    "compose": Source("I2I", 0.15, task("compose")),
    "blunt edits": Source("I2I", 0.03, query(queries.blunt_edit)),
    "ambiguous edits": Source("I2I", 0.05, task("ambiguous")),
    "dialogue stories": Source("interleaved", 0.2, dialogue("story")),
    "dialogue story edits": Source("interleaved", 0.05, dialogue("story_edit")),
    "dialogue series": Source("interleaved", 0.12, dialogue("series")),
    "task series": Source("interleaved", 0.18, task("text_to_series", "picture_to_series", "moods")),
    "one each": Source("interleaved", 0.12, query(proxies.one_each), _ALL),
    "same hero": Source("interleaved", 0.1, query(proxies.same_hero), _ALL),
    "from pictures": Source("interleaved", 0.08, query(proxies.from_pictures), _ALL),
    "task plans": Source("interleaved", 0.2, task("story", "howto", "comparison")),
}
