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

from training.world.talk import Grid, Talk
from training.world.tasks.ambiguity import ambiguous
from training.world.tasks.changes import CHANGES
from training.world.tasks.composing import compose
from training.world.tasks.drawing import draw
from training.world.tasks.editing import edit, extract
from training.world.tasks.faces import edit_portrait, moods, question_portrait
from training.world.tasks.howtos import comparison, howto
from training.world.tasks.questions import question
from training.world.tasks.sample import Frame, NearMiss, Sample
from training.world.tasks.series import from_picture, from_words
from training.world.tasks.stories import story

__all__ = ["TASKS", "Frame", "NearMiss", "Sample", "Task", "sample_task"]

SPLITS = ("train", "val", "heldout")


@dataclass(frozen=True)
class Task:
    """One family of samples: how one is made, and its share of all.

    `most_aspect` is the longest shape (long side by short side) it can be asked for.
    """

    name: str
    make: Callable[[Talk, Grid | None], Sample]
    share: float
    most_aspect: float = 2.2


_EDIT_SHARES = {
    "add": 0.05,
    "remove": 0.05,
    "replace": 0.05,
    "recolor": 0.04,
    "move": 0.05,
    "background": 0.04,
    "restyle": 0.04,
}
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("text_to_image", draw, 0.13, 8.0),
        *(Task(f"edit_{name}", partial(edit, name=name), _EDIT_SHARES[name], 4.0) for name in CHANGES),
        Task("edit_portrait", edit_portrait, 0.03, 2.2),
        Task("extract", extract, 0.03, 4.0),
        Task("compose", compose, 0.09, 4.0),
        Task("text_to_series", from_words, 0.08),
        Task("picture_to_series", from_picture, 0.06),
        Task("moods", moods, 0.02, 2.2),
        Task("story", story, 0.08),
        Task("howto", howto, 0.04),
        Task("comparison", comparison, 0.03),
        Task("question", question, 0.1, 4.0),
        Task("question_portrait", question_portrait, 0.02, 2.2),
        Task("ambiguous", ambiguous, 0.04),
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
    long = max(aspect) / min(aspect) if aspect else 1.0
    fair = {task.name: task.share for task in TASKS.values() if task.most_aspect >= long}
    if not fair or (name is not None and name not in fair):
        most = TASKS[name].most_aspect if name else max(task.most_aspect for task in TASKS.values())
        raise ValueError(f"aspect {aspect} of {name or 'a task'}: its sides are at most 1:{most:g} apart")
    talk = Talk(rng, split)
    return TASKS[name or talk.weighted(fair)].make(talk, aspect)
