"""Scenes of the whole catalogue put together cheaply, and how users list all that shall be in one.

They differ from `rich.sample_rich_scene` in that nobody checks whether an object stands out from its ground:
a proxy is text, and what matters is that every count, colour, noun and place of the request is in the plan.
"""

from training.understanding.data.exercise import nouns
from training.world.assets.concepts import STYLES, colorable
from training.world.dialogues.talk import Grid, Talk, capital
from training.world.scenes.caption import join, noun_phrase, shared_style
from training.world.scenes.rich import in_rich_split, rich_background
from training.world.scenes.sample import allowed_places, place_object
from training.world.scenes.scene import GROUP_SIZES, Background, Scene, SceneObject
from wanimage.conditions import COLORS, place_phrase

COUNTS = {1: 0.12, 2: 0.3, 3: 0.32, 4: 0.18, 5: 0.08}
"""Things in one picture, by weight."""
GROUPS = 0.3
"""Share of things that are several."""
_TRIES = 400


def listing(talk: Talk, grid: Grid = (8, 8), most: int = 5) -> Scene:
    """A scene of up to so many things (or groups) at different places, of the talk's split."""
    places = allowed_places(grid)
    for _ in range(_TRIES):
        style = talk.weighted({"flat": 0.7, **dict.fromkeys(STYLES[1:], 0.1)})
        count = min(talk.weighted(COUNTS), most, len(places))
        order = [places[int(i)] for i in talk.rng.permutation(len(places))[:count]]
        scene = Scene(tuple(_item(talk, place, style, count, grid) for place in order), ground(talk))
        names = [item.concept for item in scene.objects]
        if len(set(names)) == len(names) and in_rich_split(scene, talk.split):
            return scene
    raise ValueError(f"no listing of split {talk.split!r} on {grid} in {_TRIES} tries")


def ground(talk: Talk) -> Background:
    """Any background, with weather now and then."""
    return rich_background(talk.rng)


def _item(talk: Talk, place: str, style: str, count: int, grid: Grid) -> SceneObject:
    name = talk.pick(nouns(talk.split))
    color = talk.pick(list(COLORS)) if colorable(name, style) else None
    size = talk.pick(("small", "medium")) if count > 2 else talk.pick(("small", "medium", "large"))
    item = place_object(talk.rng, name, color, place, size, grid)
    number = int(talk.rng.integers(2, 10)) if talk.chance(GROUPS) else 1
    size_of = GROUP_SIZES[number] if number > 1 else item.size
    return SceneObject(name, color, item.cx, item.cy, size_of, style, number)


def prompt_of(scene: Scene) -> str:
    """The caption in the plain wording and the order of the scene's objects."""
    style = shared_style(scene.spec)
    said = [f"{noun_phrase(_bare(item, style))} {place_phrase(item.place)}" for item in scene.objects]
    drawn = f", drawn in {style} style" if style != "flat" else ""
    return f"{join(said)}, {scene.background.phrase}{drawn}"


def all_of(talk: Talk, scene: Scene, full: bool = True) -> str:
    """Everything that `prompt_of` says, as a user puts it; without places where not `full`."""
    style = shared_style(scene.spec)
    parts = [_said(talk, _bare(item, style), full) for item in scene.objects]
    behind = scene.background.phrase
    if scene.background.kind != "setting":
        behind = talk.ground_words(scene.background)
    drawn = f", {style} style" if style != "flat" else ""
    form = talk.pick(("sentence", "sentence", "behind first", "bullets", "numbered", "and then", "terse"))
    if form == "behind first":
        return f"{capital(behind)}: {join(parts)}{drawn}"
    if form == "bullets":
        return "".join(f"\n- {part}" for part in [*parts, behind]) + (f"\n- {style} style" if drawn else "")
    if form == "numbered":
        numbered = "; ".join(f"{i}) {part}" for i, part in enumerate(parts, 1))
        return f"{numbered}. All of it {behind}{drawn}"
    if form == "and then":
        return f"{' and '.join(parts)}, {behind}{drawn}"
    if form == "terse":
        return ", ".join([*(part.removeprefix("a ").removeprefix("an ") for part in parts), behind]) + drawn
    return f"{join(parts)} {behind}{drawn}"


def _said(talk: Talk, item: SceneObject, full: bool) -> str:
    words = noun_phrase(item)
    if item.count > 1 and talk.chance(0.3):
        words = f"{item.count} {words.split(' ', 1)[1]}"
    if not full:
        return words
    place = place_phrase(item.place)
    if item.place in ("left", "right") and talk.chance(0.4):
        place = f"on the {item.place}"
    if item.place == "center" and talk.chance(0.5):
        place = "in the middle"
    if item.place in ("top", "bottom") and talk.chance(0.3):
        place = f"at the very {item.place}"
    return f"{words} {place}" if talk.chance(0.85) else f"{item.place}: {words}"


def _bare(item: SceneObject, style: str) -> SceneObject:
    """Without the style that all objects share, which is said once."""
    if item.style != style:
        return item
    return SceneObject(item.concept, item.color, item.cx, item.cy, item.size, "flat", item.count)
