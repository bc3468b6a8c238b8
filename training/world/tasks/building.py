"""From a wish and its pictures to a sample: captions, requests of every level, and the dialogue in markup."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.world.dialogues.talk import BASE_GRID, Dialogue, Grid, Talk, Turn, markup, series
from training.world.kinds import Graph
from training.world.scenes.caption import caption
from training.world.scenes.scene import Scene
from training.world.tasks import asking
from training.world.tasks.asking import Wish
from training.world.tasks.captions import captions
from training.world.tasks.pictures import kind_of
from training.world.tasks.sample import Frame, Sample

WIDE: dict[Grid, float] = {
    (8, 8): 0.7, (6, 10): 0.1, (10, 6): 0.1, (5, 12): 0.05, (12, 5): 0.05,
}  # fmt: skip
"""Shapes of pictures, by weight, where a task is not asked for one."""


def frame(talk: Talk, graph: Graph, grid: Grid = BASE_GRID, kind: str = "scene") -> Frame:
    """A picture with a prompt that says all of it."""
    words = caption(graph, talk.rng) if isinstance(graph, Scene) else kind_of(kind).phrase(graph)
    return Frame(graph, grid, words, kind)


def write(
    talk: Talk,
    task: str,
    wish: Wish,
    outputs: Sequence[Frame],
    inputs: Sequence[Frame] = (),
    *,
    lead: str = "",
    texts: Sequence[str] = (),
    tail: str = "",
    thought: str = "",
    as_series: bool = False,
    reply: str = "",
    **more: Any,
) -> Sample:
    """A sample of one exchange.

    `lead` and `tail` stand around the pictures and `texts` before each; `as_series` opens a series. `reply`
    is the answer of a turn without pictures. `more` are further fields of `Sample`.
    """
    levels, request = requests_of(talk, wish)
    if texts:
        body = "".join(text + markup(each) for text, each in zip(texts, outputs, strict=True))
    else:
        body = series(outputs) if as_series else "".join(map(markup, outputs))
    thinking = f"<think>{thought}</think>" if thought else ""
    answer = Turn("assistant", f"{thinking}{lead}{reply}{body}{tail}", tuple(outputs))
    said = [captions(kind_of(each.kind), each.scene, talk.rng) for each in (outputs if outputs else inputs)]
    dialogue = Dialogue(task, (Turn("user", request, tuple(inputs)), answer))
    return Sample(
        task, talk.split, tuple(inputs), tuple(outputs), tuple(said), levels, request, dialogue, **more
    )


def requests_of(talk: Talk, wish: Wish) -> tuple[tuple[str, ...], str]:
    """The requests of every level, and the one that is made."""
    levels = asking.requests(wish, talk.rng)
    return levels, talk.pick(levels)


def some_grid(talk: Talk, aspect: Grid | None = None) -> Grid:
    """The grid that was asked for, or a common one."""
    return aspect or talk.weighted(WIDE)


def child(rng: np.random.Generator, split: str) -> Talk:
    """Seeded choices of one sample."""
    return Talk(rng, split)
