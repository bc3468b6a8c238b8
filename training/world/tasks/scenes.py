"""The classic scene as a kind of picture."""

from collections import Counter

from training.world.caption import describe, join, noun_phrase, with_article
from training.world.concepts import concept
from training.world.kinds import Kind
from training.world.render import render
from training.world.sample import sample_scene
from training.world.scene import Scene
from training.world.talk import NUMBERS, Grid, Talk
from training.world.verify import verify
from wanimage.conditions import place_phrase


def attributes(scene: Scene) -> dict[str, str]:
    """What the scene says under each attribute."""
    ground, items = scene.background, scene.objects
    counts = Counter(o.concept for o in items)
    colored = [f"The {o.concept} {place_phrase(o.place)} is {o.color}." for o in items if o.color]
    sized = [
        f"The {o.concept} {place_phrase(o.place)} is {o.size_word}." for o in items if o.size_word != "medium"
    ]
    said = {
        "global_semantics": f"{join([with_article(o.concept) for o in items])} {ground.phrase}.",
        "objects": f"There is {join([with_article(name) for name in counts])}.",
        "object_counts": " ".join(_count(name, n) for name, n in counts.items()),
        "object_attributes": " ".join(colored + sized),
        "spatial_layout": " ".join(
            f"{noun_phrase(o)} is {place_phrase(o.place)}.".capitalize() for o in items
        ),
        "background": f"The objects stand {ground.phrase}.",
    }
    if ground.kind == "setting":
        said["setting"] = f"The setting is {with_article(str(ground.setting))}."
        said["time_of_day"] = f"It is {ground.time}."
    if ground.kind == "palette":
        said["palette"] = f"The bands are {join([f'{c} {round(100 * p)}%' for c, p in ground.bands])}."
    if ground.kind == "transparent":
        said["transparency"] = "The background is transparent."
    return {name: sentence for name, sentence in said.items() if sentence}


def _count(name: str, n: int) -> str:
    return f"There is one {name}." if n == 1 else f"There are {NUMBERS[n]} {concept(name).plural}."


SCENES = Kind(
    "scenes",
    "non-photorealistic",
    lambda rng, split, aspect: sample_scene(rng, split, aspect=aspect),
    render,
    verify,
    lambda scene: describe(scene, places=True),
    attributes,
)


def draw_scene(talk: Talk, grid: Grid) -> Scene:
    """A random scene of two to four objects where they fit, as edits need them."""
    count = talk.pick((2, 2, 3)) if max(grid) < 2.2 * min(grid) else 2
    return talk.scene(grid, n_objects=count)
