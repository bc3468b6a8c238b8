"""Scenes as a kind of picture, and scenes for tasks to work on."""

from dataclasses import replace

import numpy as np

from training.world.assets.concepts import colorable
from training.world.dialogues.talk import Grid, Talk
from training.world.scenes import kind as scenes
from training.world.scenes.rich import sample_rich_scene, stands_out
from training.world.scenes.sample import sample_scene, visible
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.scenes.verify import verify
from wanimage.conditions import COLORS

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


SCENES = replace(scenes.KIND, sample=_sample, verify=verify)
"""Verified for what they say; tasks check what must be gone themselves."""
