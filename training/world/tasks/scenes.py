"""Scenes as a kind of picture, and scenes for tasks to work on."""

from collections import Counter
from dataclasses import replace

import numpy as np

from training.world.caption import caption, join, noun_phrase, shared_style
from training.world.concepts import colorable, concept
from training.world.kinds import Kind
from training.world.relations import Relation
from training.world.render import render
from training.world.rich import sample_rich_scene, stands_out
from training.world.sample import sample_scene, visible
from training.world.scene import WEATHERS, Background, Scene, SceneObject
from training.world.talk import NUMBERS, Grid, Talk
from training.world.verify import verify
from wanimage.conditions import COLORS, SETTINGS, place_phrase


def phrase(scene: Scene) -> str:
    """The scene's plainest caption."""
    return caption(scene, np.random.default_rng(_PLAIN_SEED))


def attributes(scene: Scene) -> dict[str, str]:
    """What the scene says under each attribute."""
    ground, items = scene.background, scene.objects
    counts: Counter[str] = Counter()
    for item in items:
        counts[item.concept] += item.count
    said = {
        "global_semantics": f"{join([noun_phrase(replace(o, size=0.33)) for o in items])} {ground.phrase}.",
        "objects": f"{join([_there(o) for o in items])}.",
        "object_counts": " ".join(_count(name, n) for name, n in counts.items()),
        "object_attributes": " ".join(_features(o) for o in items),
        "relations": " ".join(_related(scene, r) for r in scene.relations),
        "spatial_layout": " ".join(f"{_subject(o)} {place_phrase(o.place)}." for o in items),
        "background": f"Everything stands {ground.phrase}." if items else f"An empty scene {ground.phrase}.",
        "setting": f"It is set {SETTINGS[ground.setting]}." if ground.setting else "",
        "time_of_day": f"It is {ground.time}." if ground.time else "",
        "weather": f"All is {WEATHERS[ground.weather]}." if ground.weather else "",
        "palette": f"The bands are {join([f'{c} {round(100 * p)}%' for c, p in ground.bands])}."
        if ground.bands
        else "",
        "transparency": "The background is transparent." if ground.kind == "transparent" else "",
        "style": f"It is drawn in {shared_style(scene.spec)} style." if items else "",
    }
    return {name: sentence for name, sentence in said.items() if sentence.strip(". ")}


_PLAIN_SEED = 4
"""With it, captions keep the order of objects, the plain wording of places, and end in the background."""


def _subject(item: SceneObject) -> str:
    """`The fox is`, `The foxes are`."""
    if item.count > 1:
        return f"The {concept(item.concept).plural} are"
    return f"The {item.concept} is"


def _there(item: SceneObject) -> str:
    return f"{noun_phrase(item)} {place_phrase(item.place)}"


def _features(item: SceneObject) -> str:
    """Its colour and size, as sentences; empty where there is nothing to say."""
    words = [item.color] if item.color else []
    words += [item.size_word] if item.count == 1 and item.size_word != "medium" else []
    return f"{_subject(item)} {join(words)}." if words else ""


def _related(scene: Scene, relation: Relation) -> str:
    target = scene.objects[relation.target].concept
    return f"{_subject(scene.objects[relation.subject])} {relation.kind} the {target}."


def _count(name: str, n: int) -> str:
    if n == 1:
        return f"There is one {name}."
    return f"There are {NUMBERS[n] if n < len(NUMBERS) else n} {concept(name).plural}."


RICH = 0.5
"""Share of the scenes that may have styles, groups, weather and the whole catalogue."""
_TRIES = 60


def draw_scene(talk: Talk, grid: Grid, least: int = 2) -> Scene:
    """A random scene of at least so many objects where they fit, without relations: what tasks change."""
    novel = talk.split == "heldout_concepts"
    if novel or talk.chance(RICH):
        for _ in range(_TRIES):
            scene = sample_rich_scene(talk.rng, talk.split, grid)
            if not scene.relations and len(scene.objects) >= least:
                return scene
    if novel:
        raise ValueError(f"no scene of {least} objects of split {talk.split!r} on {grid}")
    most = 3 if max(grid) < 2.2 * min(grid) else 2
    return talk.scene(grid, n_objects=int(talk.rng.integers(least, most + 1)))


def seen(item: SceneObject, ground: Background) -> bool:
    """Whether an object stands out from a ground, by the table of colours and by its pixels."""
    return visible(item.concept, item.color, ground) and stands_out(item, ground)


def all_seen(scene: Scene) -> bool:
    """Whether every object of a scene stands out."""
    return all(seen(item, scene.background) for item in scene.objects)


def painted(talk: Talk, name: str, ground: Background, style: str) -> str | None:
    """A colour word for a noun in a style, where it takes one."""
    if style == "flat":
        return talk.color(name, ground)
    return talk.pick([c for c in COLORS if visible(name, c, ground)]) if colorable(name, style) else None


def _sample(rng: np.random.Generator, split: str, aspect: tuple[int, int]) -> Scene:
    """Half of the scenes are rich; those with a concept that is held out always are."""
    if split == "heldout_concepts" or rng.random() < RICH:
        return sample_rich_scene(rng, split, aspect)
    return sample_scene(rng, split, aspect=aspect)


SCENES = Kind(
    "scenes",
    "non-photorealistic",
    _sample,
    render,
    verify,
    phrase,
    attributes,
)
