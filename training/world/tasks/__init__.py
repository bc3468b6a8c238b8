"""The tasks of the world: samples with pictures, captions, requests, a dialogue in markup and a verifier.

    sample = sample_task(rng, "train")
    images = [frame.draw() for frame in sample.outputs]
    assert sample.verify(images).passed

Equal generators give equal samples. Every sample belongs to the split it was asked for: by its graphs for
single pictures, by its composition (cast, plan, number of pictures) for several.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.world.dialogues.talk import Grid, Talk
from training.world.tasks.ambiguity import ambiguous
from training.world.tasks.changes import CHANGES
from training.world.tasks.composing import compose
from training.world.tasks.drawing import draw
from training.world.tasks.editing import edit, extract
from training.world.tasks.faces import edit_portrait, moods, question_portrait
from training.world.tasks.howtos import comparison, howto
from training.world.tasks.lettered import edit_chart, edit_text, question_chart, question_text
from training.world.tasks.questions import question
from training.world.tasks.sample import Frame, NearMiss, Sample
from training.world.tasks.series import from_picture, from_words
from training.world.tasks.stories import story

__all__ = ["TASKS", "Frame", "NearMiss", "Sample", "Task", "sample_task"]

SPLITS = ("train", "val", "heldout", "heldout_concepts")


@dataclass(frozen=True)
class Task:
    """One family of samples: how one is made, and its share of all.

    `most_aspect` is the longest shape (long side by short side) it can be asked for; `novel` says whether it
    has samples with held-out concepts.
    """

    name: str
    make: Callable[[Talk, Grid | None], Sample]
    share: float
    most_aspect: float = 2.2
    novel: bool = False


_EDIT_SHARES = {
    "add": 0.04,
    "remove": 0.04,
    "replace": 0.04,
    "recolor": 0.03,
    "move": 0.04,
    "background": 0.03,
    "restyle": 0.03,
}
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("text_to_image", draw, 0.14, 8.0, True),
        *(Task(f"edit_{name}", partial(edit, name=name), _EDIT_SHARES[name], 4.0, True) for name in CHANGES),
        Task("edit_portrait", edit_portrait, 0.03, 2.2, True),
        Task("edit_text", edit_text, 0.04, 1.0, True),
        Task("edit_chart", edit_chart, 0.02, 1.0, True),
        Task("extract", extract, 0.03, 4.0, True),
        Task("compose", compose, 0.07, 4.0),
        Task("text_to_series", from_words, 0.07),
        Task("picture_to_series", from_picture, 0.05),
        Task("moods", moods, 0.02, 2.2),
        Task("story", story, 0.06),
        Task("howto", howto, 0.03),
        Task("comparison", comparison, 0.02),
        Task("question", question, 0.08, 4.0, True),
        Task("question_portrait", question_portrait, 0.02, 2.2, True),
        Task("question_chart", question_chart, 0.02, 1.0, True),
        Task("question_text", question_text, 0.02, 1.0, True),
        Task("ambiguous", ambiguous, 0.03),
    )
}


def sample_task(
    rng: np.random.Generator, split: str, name: str | None = None, aspect: Grid | None = None
) -> Sample:
    """A random sample of a split.

    `name` fixes the task (one of TASKS), `aspect` the grid of its results, (height, width) in cells. Raises
    ValueError for a name, split or aspect that there is none of.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r} of tasks; one of {SPLITS}")
    if name is not None and name not in TASKS:
        raise ValueError(f"no task {name!r}; one of {tuple(TASKS)}")
    fair = {task.name: task for task in TASKS.values() if task.novel or split != "heldout_concepts"}
    if name is not None and name not in fair:
        raise ValueError(f"{name} has no samples of the split {split!r}; {', '.join(fair)} have")
    long = max(aspect) / min(aspect) if aspect else 1.0
    chosen = TASKS[name] if name else None
    fits = {task.name: task.share for task in fair.values() if task.most_aspect >= long}
    if not fits or (chosen and chosen.name not in fits):
        most = chosen.most_aspect if chosen else max(task.most_aspect for task in fair.values())
        raise ValueError(f"aspect {aspect} of {name or 'a task'}: its sides are at most 1:{most:g} apart")
    talk = Talk(rng, split)
    return TASKS[name or talk.weighted(fits)].make(talk, aspect)
