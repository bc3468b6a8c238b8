"""What the visualizer is asked: a single picture, a joint series, a picture after references (report 4.2).

All of it comes from the design world's own tasks; here it is brought into the shape of a render: prompts, and
the references that all pictures of the render see. Captions never say which drawing of a setting is meant,
nor where exactly in its place an object stands. A single picture may choose; a series must choose once for
all its pictures, and a picture after a reference must choose as the reference did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial

import numpy as np

from training.world.assets.concepts import CONCEPTS
from training.world.dialogues.talk import Talk
from training.world.scenes.caption import caption
from training.world.scenes.rich import sample_arranged_scene, sample_rich_scene
from training.world.scenes.sample import allowed_places, pick, sample_background, sample_scene, visible
from training.world.scenes.scene import Background, Scene
from training.world.tasks import sample_task
from training.world.tasks.captions import natural
from training.world.tasks.pictures import DETAIL, kind_of
from training.world.tasks.sample import Frame, Sample
from wanimage.coloring import Palette
from wanimage.conditions import COLORS
from wanimage.models.layout import Grid

BASE: Grid = (8, 8)
OTHERS: tuple[Grid, ...] = ((6, 10), (10, 6), (5, 12), (12, 5), (4, 16), (16, 4), (3, 24), (24, 3))
"""Of which evaluations have a row each."""
USUAL: tuple[Grid, ...] = ((7, 9), (9, 7), (6, 9), (9, 6), (6, 11), (11, 6))
"""What 3:4, 2:3 and 9:16 are on as many cells."""
TRIES = 30
LONGEST_PROMPT = 400
"""Characters; where a caption of the finer grain is longer, the plain one is asked."""
BRIEF_FACES = 0.3
"""Faces in training whose skin, clothes and ground are left unsaid, to differ from seed to seed."""
LONGEST_SERIES = 6
"""Pictures of a series in training; a series shares its budget of tokens (report 2.2)."""
MOST_REFERENCES = 5


def _plain_kinds() -> dict[str, float]:
    return {"core": 0.45, "scene": 0.33, "sticker": 0.1, "portrait": 0.06, "palette": 0.06}


def _fine_kinds() -> dict[str, float]:
    return {"poster": 0.6, "screen": 0.1, "chart": 0.1, "collage": 0.2}


def _edits() -> dict[str, float]:
    return {
        "edit_add": 0.1, "edit_remove": 0.1, "edit_replace": 0.1, "edit_recolor": 0.08, "edit_move": 0.1,
        "edit_background": 0.1, "edit_restyle": 0.06, "edit_portrait": 0.08, "extract": 0.06, "compose": 0.12,
        "next": 0.1,
    }  # fmt: skip


def _fine_edits() -> dict[str, float]:
    return {"edit_text": 0.7, "edit_chart": 0.3}


def _series() -> dict[str, float]:
    return {"text_to_series": 0.5, "picture_to_series": 0.3, "moods": 0.2}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How often each kind of picture and each task is asked for, by name; letters more than their share."""

    kinds: dict[str, float] = field(default_factory=_plain_kinds)
    """Kinds that the base grid shows; `core` are scenes of the 99 nouns in flat style, `rich` those of all
    that scenes can be, `packed` and `crowd` the same two with more things in them, `arranged` core nouns in
    groups and relations, `scene` half core and half rich."""
    fine_kinds: dict[str, float] = field(default_factory=_fine_kinds)
    """Kinds that need `DETAIL` times more cells a side."""
    edits: dict[str, float] = field(default_factory=_edits)
    """Pictures after references on the base grid; `next` is a later picture of a story."""
    fine_edits: dict[str, float] = field(default_factory=_fine_edits)
    series: dict[str, float] = field(default_factory=_series)

    def balanced(self, passed: Mapping[str, float]) -> Shares:
        """What fails more is asked for more: a share times 1.5 where nothing passes, times .5 where all does
        (report 2.2.3). Names without a rate keep theirs."""
        weigh = lambda some: {k: v * (1.5 - passed.get(k, 0.5)) for k, v in some.items()}  # noqa: E731
        return Shares(**{each.name: weigh(getattr(self, each.name)) for each in fields(self)})


def _packed(rng: np.random.Generator, split: str, aspect: Grid) -> Scene:
    """Three to five core objects, as far as there are places."""
    count = min(int(rng.integers(3, 6)), len(allowed_places(aspect)))
    return sample_scene(rng, split, count, aspect=aspect)


SHARES = Shares()
_SCENES: dict[str, Callable[..., Scene]] = {
    "core": sample_scene,
    "packed": _packed,
    "rich": sample_rich_scene,
    "crowd": partial(sample_rich_scene, crowded=True),
    "arranged": sample_arranged_scene,
}


@dataclass(frozen=True)
class Task:
    """One render: the pictures to paint, jointly if several, and the references they are painted after."""

    shots: tuple[Frame, ...]
    references: tuple[Frame, ...] = ()
    name: str = ""
    sample: Sample | None = None
    """The world's sample that it comes from, which can judge the outcome."""
    palette: Palette | None = None
    """Colours that are asked for by hex beside the prompts, where an evaluation asks for some."""


def text_to_image(
    rng: np.random.Generator,
    split: str = "train",
    kinds: Mapping[str, float] = SHARES.kinds,
    grid: Grid = BASE,
) -> Task:
    """A single picture of one of the kinds, by share; the grid is `DETAIL` times finer where it must be."""
    name = Talk(rng, split).weighted(dict(kinds))
    fine, special = DETAIL.get(name, 1), _SCENES.get(name)
    kind = kind_of("scene" if special else name)
    graph = special(rng, split, aspect=grid) if special else kind.sample(rng, split, grid)
    frame = Frame(graph, (grid[0] * fine, grid[1] * fine), "", kind.name)
    briefly = split == "train" and frame.kind == "portrait" and rng.random() < BRIEF_FACES
    prompt = natural(kind, graph, rng, "brief") if briefly else _prompt(frame, rng)
    return Task((replace(frame, prompt=prompt),), name=name)


def first_words(rng: np.random.Generator, split: str = "train") -> Task:
    """One object, or two, mostly before an empty ground: where nouns and places are learned soonest."""
    ground = sample_background(rng)
    if ground.kind == "setting" and rng.random() < 0.7:
        ground = Background.transparent() if rng.random() < 0.5 else Background.plain(pick(rng, list(COLORS)))
    count = 1 if rng.random() < 0.7 else 2
    for _ in range(TRIES):
        names = [str(name) for name in rng.choice(list(CONCEPTS), size=count, replace=False)]
        if all(visible(name, None, ground) for name in names):
            scene = sample_scene(rng, split, concepts=names, background=ground)
            return Task((Frame(scene, BASE, caption(scene, rng)),), name="easy")
    return text_to_image(rng, split)


def series(
    rng: np.random.Generator,
    split: str = "train",
    names: Mapping[str, float] = SHARES.series,
    most: int = LONGEST_SERIES,
) -> Task:
    """Two to `most` pictures painted jointly, from words alone or going on from a picture."""
    talk = Talk(rng, split)
    for _ in range(TRIES):
        sample = sample_task(rng, split, talk.weighted(dict(names)))
        if 2 <= len(sample.outputs) <= most:
            return Task(sample.outputs, sample.inputs, sample.task, sample)
    raise ValueError(f"no series of 2 to {most} pictures in {TRIES} tries")


def after_references(
    rng: np.random.Generator,
    split: str = "train",
    names: Mapping[str, float] = SHARES.edits,
    most: int = MOST_REFERENCES,
) -> Task:
    """One picture after references, at most so many: an edit in words or by cues, a composition, a next
    scene."""
    name = Talk(rng, split).weighted(dict(names))
    if name == "next":
        return next_picture(rng, split)
    for _ in range(TRIES):
        sample = sample_task(rng, split, name)
        if len(sample.inputs) <= most:
            return Task(sample.outputs, sample.inputs, name, sample)
    raise ValueError(f"no {name} of at most {most} references in {TRIES} tries")


def next_picture(rng: np.random.Generator, split: str = "train") -> Task:
    """A later picture of a story after an earlier one, whose character it shares."""
    told = sample_task(rng, split, "story")
    after = int(rng.integers(1, len(told.outputs)))
    before = int(rng.integers(after))
    return Task((told.outputs[after],), (replace(told.outputs[before], prompt=""),), "next")


def sample_grid(rng: np.random.Generator) -> Grid:
    """A grid other than the base."""
    grids = OTHERS + USUAL
    return grids[int(rng.integers(len(grids)))]


def _prompt(frame: Frame, rng: np.random.Generator) -> str:
    """What the planner would write, mostly; else a caption of another grain (report 2.2.2)."""
    scene = frame.scene
    plain = caption(scene, rng) if isinstance(scene, Scene) else kind_of(frame.kind).phrase(scene)
    choice = rng.random()
    if choice < 0.75:
        return plain
    other = natural(kind_of(frame.kind), scene, rng, "normal" if choice < 0.85 else "detailed")
    return other if len(other) <= LONGEST_PROMPT else plain
