"""Builds rows of section 2.1: candidates from the world, words from a teacher, less what fails a check.

A candidate is a pure function of (seed, its number) and of what the teacher says, so a build can be repeated;
with a teacher's cache it costs nothing the second time.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from training.understanding.data import proxies
from training.understanding.data.balance import Rules, cap, choose
from training.understanding.data.copying import COPYING
from training.understanding.data.exercise import Exercise, Maker
from training.understanding.data.filters import Filter, carries
from training.understanding.data.language import LANGUAGE
from training.understanding.data.mixes import Mix, sample_record
from training.understanding.data.reasoning import describes, fault
from training.understanding.data.reckoning import RECKONING
from training.understanding.data.record import ROWS, Record, annotate
from training.understanding.data.seeing import SEEING
from training.understanding.data.shapes import SHAPES
from training.understanding.data.sources import exercise_of
from training.understanding.data.teacher import Brief, Teacher
from training.world.dialogues.talk import Dialogue, Talk, Turn
from training.world.tasks.answers import Answer
from wanimage import markup

GROUPS = ((COPYING, 0.4), (RECKONING, 0.25), (LANGUAGE, 0.25), (SHAPES, 0.1))
"""Exercises in words, and the share of each group."""
TEXT: dict[str, tuple[Maker, float]] = {
    name: (make, share * of_group) for group, of_group in GROUPS for name, (make, share) in group.items()
}
QUERIES = Mix(name="queries", categories={"T2T": 1, "I2T": 1, "T2I": 1, "I2I": 1, "interleaved": 1})
"""The pool that the query set is chosen from."""
POOL = 3
"""Candidates of the query set for each record that is kept."""
MOST_SHARE = 0.15
"""Of one task among the records of a general row."""


@dataclass(frozen=True)
class Candidate:
    """Records of one query (with reasoning, and without), the check of its answer, and what is wrong."""

    records: tuple[Record, ...] = ()
    answer: Answer | None = None
    fault: str = ""


@dataclass
class Built:
    """What was kept, and why the others were not: one entry a candidate, empty for a kept one."""

    row: str
    teacher: str
    records: list[Record] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


Make = Callable[[Talk, Teacher], Candidate]


def build(
    row: str, count: int, teacher: Teacher, *, seed: int = 0, split: str = "train", threads: int = 1,
    render: bool = True, rules: Rules | None = None,
) -> Built:  # fmt: skip
    """Records of a row from `count` candidates; of the query set so many, out of POOL times as many.

    Raises ValueError for a row that the report does not have, and what the teacher raises.
    """
    if row not in MAKERS:
        raise ValueError(f"no row {row!r}; one of {ROWS}")
    built, quality = Built(row, teacher.name), Filter(render=render)
    wanted = range(count * POOL if row == "queries" else count)
    for candidate in _candidates(MAKERS[row], wanted, teacher, seed, split, threads):
        fault_of = candidate.fault
        for record in candidate.records if not fault_of else ():
            fault_of = quality.refuses(record, candidate.answer)
            if fault_of:
                break
            built.records.append(record)
        built.refused.append(fault_of)
    if row == "queries":
        built.records = choose(built.records, min(count, len(built.records)), rules or Rules())
    elif row.startswith("general/"):
        built.records = cap(built.records, MOST_SHARE)
    return built


def _candidates(
    make: Make, numbers: Iterable[int], teacher: Teacher, seed: int, split: str, threads: int
) -> Iterable[Candidate]:
    """The candidates of these numbers in order; several at a time where the teacher is far away."""

    def one(number: int) -> Candidate:
        return make(Talk(np.random.default_rng([seed, number]), split), teacher)

    if threads == 1:
        return map(one, numbers)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, numbers))


def general_text(talk: Talk, teacher: Teacher) -> Candidate:
    """A question in words; the teacher answers, the exercise checks."""
    exercise = _exercise(talk, TEXT)
    return _answered(exercise, "general/text", teacher.answer(exercise))


def general_image(talk: Talk, teacher: Teacher) -> Candidate:
    """A caption or a question about pictures."""
    exercise = _exercise(talk, SEEING)
    if not exercise.task.startswith("caption, "):
        return _answered(exercise, "general/image", teacher.answer(exercise))
    picture = exercise.pictures[0]
    said = teacher.caption(picture, exercise.task.removeprefix("caption, "))
    exact = exercise.answer.check(said)
    record = annotate(exercise.dialogue(reply=said), "general/image", exercise.task)
    return Candidate((record,), None, "" if exact or describes(picture, said) else "agreement")


def think(talk: Talk, teacher: Teacher) -> Candidate:
    """A question with reasoning, kept where it leads to the right answer; and the same without it."""
    exercise = _exercise(talk, TEXT | SEEING)
    while not exercise.answer.steps:
        exercise = _exercise(talk, TEXT | SEEING)
    thought, reply = teacher.reason(exercise)
    wrong = fault(exercise, thought, reply)
    if wrong:
        return Candidate(fault=wrong)
    both = (exercise.dialogue(thought, reply), exercise.dialogue(reply=reply))
    return Candidate(tuple(annotate(d, "think", exercise.task) for d in both), exercise.answer)


def proxy_text(talk: Talk, teacher: Teacher) -> Candidate:
    """A plan for what the user typed."""
    make = talk.weighted(
        {proxies.wish: 0.4, proxies.keywords: 0.1, proxies.one_each: 0.3, proxies.same_hero: 0.2}
    )
    return _planned(make(talk), teacher, invent=False)


def proxy_image(talk: Talk, teacher: Teacher) -> Candidate:
    """A request and its plan from one picture."""
    return _planned(proxies.from_picture(talk), teacher, invent=True)


def proxy_images(talk: Talk, teacher: Teacher) -> Candidate:
    """A request and its plan from pictures that belong together."""
    return _planned(proxies.from_pictures(talk), teacher, invent=True)


def queries(talk: Talk, teacher: Teacher) -> Candidate:
    """A query of any category, annotated; the rules choose among them."""
    del teacher
    record = sample_record(talk.rng, talk.split, QUERIES)
    return Candidate((replace(record, row="queries"),))


MAKERS: dict[str, Make] = {
    "general/text": general_text,
    "general/image": general_image,
    "think": think,
    "proxy/text": proxy_text,
    "proxy/image": proxy_image,
    "proxy/images": proxy_images,
    "queries": queries,
}


def _exercise(talk: Talk, makers: dict[str, tuple[Maker, float]]) -> Exercise:
    shares = {name: share for name, (_, share) in makers.items()}
    while True:
        found = exercise_of(talk, makers[talk.weighted(shares)][0])
        if found is not None:
            return found


def _answered(exercise: Exercise, row: str, reply: str) -> Candidate:
    return Candidate((annotate(exercise.dialogue(reply=reply or " "), row, exercise.task),), exercise.answer)


def _planned(record: Record, teacher: Teacher, invent: bool) -> Candidate:
    """The teacher's plan as a record; its prompts take the place of the world's where they say as much."""
    ask, answer = record.dialogue.turns[0], record.dialogue.turns[-1]
    plan = teacher.plan(Brief("" if invent else ask.text, answer.pictures, record))
    try:
        items = list(markup.parse(markup.split_tags(plan.turn)))
    except markup.MarkupError:
        return Candidate(fault="markup")
    drawn = [item for item in items if isinstance(item, markup.ImageSpec)]
    if len(drawn) != len(answer.pictures):
        return Candidate(fault="number of pictures")
    if any(spec.grid != picture.grid for spec, picture in zip(drawn, answer.pictures, strict=True)):
        return Candidate(fault="size")
    pictures = tuple(
        replace(picture, prompt=spec.prompt) for spec, picture in zip(drawn, answer.pictures, strict=True)
    )
    if not all(carries(picture) for picture in pictures):
        return Candidate(fault="agreement")
    turns = (Turn("user", plan.request), Turn("assistant", plan.turn, pictures))
    return Candidate((annotate(Dialogue(record.task, turns), record.row, record.task),))
