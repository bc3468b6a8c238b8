"""Pictures with text: captions of every grain, structured captions, what is where, and what differs.

All kinds of picture of the world take part. Scenes are mostly the cheap ones of `sample_scene`: what is said
of them is exact, and a training step needs dozens.
"""

import json
from dataclasses import dataclass, replace

import numpy as np

from training.understanding.data.exercise import ORDER, Exercise, Maker
from training.world.assets.concepts import concept
from training.world.dialogues.talk import BASE_GRID, NUMBERS, ORDINALS, Grid, Picture, Talk, capital
from training.world.kinds import Graph
from training.world.scenes.caption import join, noun_phrase, with_article
from training.world.scenes.scene import Scene, SceneObject
from training.world.tasks.answers import Answer
from training.world.tasks.captions import natural, structured
from training.world.tasks.lettered import GRID as LETTERED_GRID
from training.world.tasks.pictures import kind_of, share_of_kinds
from training.world.tasks.questions import SCENE_QUESTIONS
from training.world.tasks.sample import Frame
from training.world.tasks.scenes import draw_scene
from wanimage.conditions import COLORS, PLACES, place_phrase

RICH = 0.12
"""Share of scenes of the whole catalogue, which take ten times as long to make."""
_LETTERED = ("poster", "screen", "chart", "collage")


@dataclass(frozen=True)
class _Seen:
    """A picture to ask about."""

    graph: Graph
    kind: str = "scene"
    grid: Grid = BASE_GRID

    @property
    def picture(self) -> Picture:
        return Frame(self.graph, self.grid, "", self.kind)


def brief(talk: Talk) -> Exercise:
    """What is in a picture, in a few words."""
    asks = (
        "What is this, in a few words?",
        "A short caption, please.",
        "Caption this briefly.",
        "Give this a title.",
    )
    return _caption(talk, "brief", asks)


def normal(talk: Talk) -> Exercise:
    """All of a picture in one sentence."""
    asks = (
        "Describe this picture in one sentence.",
        "Write the prompt for this picture.",
        "Which prompt would give this picture?",
        "Caption this.",
        "What do you see? One sentence.",
    )
    return _caption(talk, "normal", asks)


def detailed(talk: Talk) -> Exercise:
    """All of a picture in a paragraph."""
    return _caption(
        talk, "detailed", ("Describe this picture in detail.", "Tell me everything about this picture.")
    )


def attribute(talk: Talk) -> Exercise:
    """One attribute of the structured caption, or a few of them, as JSON."""
    seen = _any(talk)
    said = structured(kind_of(seen.kind), seen.graph)["attributes"]
    short = [name for name, text in said.items() if len(text) < 140]
    names = [short[int(i)] for i in talk.rng.permutation(len(short))[: talk.pick((1, 1, 2))]]
    reply = json.dumps({name: said[name] for name in names}, ensure_ascii=False)
    ask = talk.pick(
        ("As JSON: {x}", "Structured caption with {x}, as JSON.", "JSON with {x} of this picture")
    )
    return _exercise("structured", ask.format(x=" and ".join(names)), Answer(reply, reply), seen)


def at_place(talk: Talk) -> Exercise | None:
    """What is at a place of the picture."""
    scene, seen = _scene(talk)
    if talk.chance(0.15):
        empty = [p for p in PLACES if all(o.place != p for o in scene.objects)]
        if not empty or any(o.count > 1 or o.size_word == "large" for o in scene.objects):
            return None
        place = talk.pick(empty)
        answer = Answer("nothing", "Nothing is there.", tuple(o.concept for o in scene.objects))
        return _exercise("grounding", f"What is {place_phrase(place)} of the picture?", answer, seen)
    item = talk.pick(scene.objects)
    if sum(o.place == item.place for o in scene.objects) > 1:
        return None
    rivals = tuple(o.concept for o in scene.objects if o.concept != item.concept)
    name = item.concept if item.count == 1 else concept(item.concept).plural
    answer = Answer(name, f"{capital(noun_phrase(item))}.", rivals)
    ask = talk.pick(("What is {x}?", "What do you see {x} of the picture?", "Which object is {x}?"))
    return _exercise("grounding", ask.format(x=place_phrase(item.place)), answer, seen)


def places(talk: Talk) -> Exercise:
    """Every object with its place."""
    scene, seen = _scene(talk)
    said = ", ".join(f"{noun_phrase(o)}: {o.place}" for o in scene.objects)
    ask = talk.pick(
        ("List every object with its place.", "Where is everything?", "Objects and places, as a list")
    )
    return _exercise("list with places", ask, Answer(said, said), seen)


def beside(talk: Talk) -> Exercise | None:
    """What stands nearest to one side of something."""
    scene, seen = _scene(talk)
    if len(scene.objects) < 2 or len({o.concept for o in scene.objects}) < len(scene.objects):
        return None
    anchor = talk.pick(scene.objects)
    side = talk.pick(("left", "right", "above", "below"))
    found = [o for o in scene.objects if o is not anchor and _lies(o, anchor, side)]
    if len(found) != 1:
        return None
    item = found[0]
    where = {"left": "left of", "right": "right of"}.get(side, side)
    rivals = tuple(o.concept for o in scene.objects if o not in (item, anchor))
    steps = tuple(f"The {o.concept} is {place_phrase(o.place)}." for o in scene.objects)
    answer = Answer(item.concept, f"{capital(noun_phrase(item))}.", rivals, steps)
    return _exercise("relation", f"What is {where} the {anchor.concept}?", answer, seen)


def asked(talk: Talk) -> Exercise | None:
    """The questions of the world about one scene."""
    scene, seen = _scene(talk)
    found = SCENE_QUESTIONS[int(talk.rng.integers(len(SCENE_QUESTIONS)))](talk, scene)
    if found is None:
        return None
    ask = talk.pick((found.ask, found.ask, f"{capital(found.order)}.", found.terse))
    return _exercise("questions", ask, found.answer, seen)


def sum_of_kinds(talk: Talk) -> Exercise | None:
    """How many of two nouns together, or how many more of the one."""
    scene, seen = _scene(talk)
    names = list(dict.fromkeys(o.concept for o in scene.objects))
    if len(names) < 2:
        return None
    a, b = (names[int(i)] for i in talk.rng.permutation(len(names))[:2])
    counts = {n: sum(o.count for o in scene.objects if o.concept == n) for n in (a, b)}
    plurals = {n: concept(n).plural for n in (a, b)}
    total = counts[a] + counts[b]
    steps = (
        f"{capital(plurals[a])}: {counts[a]}. {capital(plurals[b])}: {counts[b]}.",
        f"{counts[a]} + {counts[b]} = {total}.",
    )
    answer = Answer(str(total), f"{capital(NUMBERS[total]) if total < 13 else total}.", (), steps)
    return _exercise(
        "sum of kinds", f"How many {plurals[a]} and {plurals[b]} are there together?", answer, seen
    )


def which_picture(talk: Talk) -> Exercise | None:
    """Which of two or three pictures shows something."""
    scenes = [talk.scene() for _ in range(talk.pick((2, 2, 3)))]
    index = int(talk.rng.integers(len(scenes)))
    item = talk.pick(scenes[index].objects)
    if any(o.concept == item.concept for i, s in enumerate(scenes) if i != index for o in s.objects):
        return None
    steps = tuple(
        f"Picture {i}: {join([noun_phrase(o) for o in s.objects])}." for i, s in enumerate(scenes, 1)
    )
    nth = ORDINALS[index]
    steps = (*steps, f"The {item.concept} is in the {nth}.")
    answer = Answer(nth, f"The {nth}.", tuple(ORDINALS[i] for i in range(len(scenes)) if i != index), steps)
    ask = talk.pick(("In which picture is {x}?", "Which picture shows {x}?")).format(
        x=with_article(item.concept)
    )
    return Exercise("which picture", ask, answer, tuple(_Seen(scene).picture for scene in scenes))


def spot(talk: Talk) -> Exercise | None:
    """What differs between two pictures."""
    before = talk.scene()
    if len({o.concept for o in before.objects}) < len(before.objects):
        return None
    item = talk.pick(before.objects)
    form = talk.pick(("gone", "color", "time"))
    ground = before.background
    if form == "gone" and len(before.objects) > 1:
        after = replace(before, objects=tuple(o for o in before.objects if o is not item))
        reply = f"The {item.concept} is gone."
    elif form == "color" and item.color:
        color = talk.other_color(item, ground)
        if color is None:
            return None
        after = replace(
            before, objects=tuple(replace(o, color=color) if o is item else o for o in before.objects)
        )
        reply = f"The {item.concept} is {color} now, it was {item.color}."
    elif ground.kind == "setting":
        time = talk.other(("day", "sunset", "night"), ground.time)
        after = replace(before, background=replace(ground, time=time))
        reply = f"It is {time} now, it was {ground.time}."
    else:
        return None
    ask = talk.pick(("What is different in the second picture?", "Spot the difference.", "What changed?"))
    return Exercise(
        "spot the difference", ask, Answer(reply, reply), (_Seen(before).picture, _Seen(after).picture)
    )


def matches(talk: Talk) -> Exercise:
    """Whether a caption fits the picture; a wrong one has one word changed."""
    scene, seen = _scene(talk)
    item = talk.pick(scene.objects)
    said = list(scene.objects)
    fits = talk.chance(0.5)
    if not fits:
        said[said.index(item)] = _changed(talk, scene, item)
    words = join([f"{noun_phrase(o)} {place_phrase(o.place)}" for o in said])
    real = join([f"{noun_phrase(o)} {place_phrase(o.place)}" for o in scene.objects])
    key, rival = ("yes", "no") if fits else ("no", "yes")
    steps = (f"I see {real}.", f"The caption {'says that' if fits else 'does not say that'}.")
    answer = Answer(key, f"{capital(key)}.", (rival,), steps)
    return _exercise("matches", f"Does this caption fit? {capital(words)}.", answer, seen)


SEEING: dict[str, tuple[Maker, float]] = {  # maker and share
    "brief": (brief, 0.06),
    "normal": (normal, 0.26),
    "detailed": (detailed, 0.02),
    "structured": (attribute, 0.06),
    "grounding": (at_place, 0.2),
    "list with places": (places, 0.3),
    "relation": (beside, 0.1),
    "questions": (asked, 0.16),
    "sum of kinds": (sum_of_kinds, 0.04),
    "which picture": (which_picture, 0.04),
    "spot the difference": (spot, 0.04),
    "matches": (matches, 0.04),
}


def _caption(talk: Talk, grain: str, asks: tuple[str, ...]) -> Exercise:
    seen = _any(talk)
    said = natural(kind_of(seen.kind), seen.graph, np.random.default_rng(ORDER), grain)
    return _exercise(f"caption, {grain}", talk.pick(asks), Answer(said, said), seen)


def _exercise(task: str, ask: str, answer: Answer, seen: _Seen) -> Exercise:
    return Exercise(task, ask, answer, (seen.picture,))


def _any(talk: Talk) -> _Seen:
    """A picture of any kind, scenes more often than the others."""
    if talk.chance(0.5):
        return _scene(talk)[1]
    known = [name for name in share_of_kinds(talk.split) if name != "scene"]
    name = talk.pick(known)
    grid = LETTERED_GRID if name in _LETTERED else BASE_GRID
    return _Seen(kind_of(name).sample(talk.rng, talk.split, grid), name, grid)


def _scene(talk: Talk) -> tuple[Scene, _Seen]:
    rich = talk.split == "heldout_concepts" or talk.chance(RICH)
    scene = draw_scene(talk, BASE_GRID, 1) if rich else talk.scene()
    return scene, _Seen(scene)


def _lies(item: SceneObject, anchor: SceneObject, side: str) -> bool:
    """Whether an object is clearly on that side of another, more so than on any other side."""
    dx, dy = item.cx - anchor.cx, item.cy - anchor.cy
    along = {"left": -dx, "right": dx, "above": -dy, "below": dy}[side]
    return along > 0.15


def _changed(talk: Talk, scene: Scene, item: SceneObject) -> SceneObject:
    """The object in another colour, at another place, or another one."""
    form = talk.pick(("color", "place", "noun"))
    if form == "color" and item.color:
        return replace(item, color=talk.other(list(COLORS), item.color))
    if form == "place":
        return _moved(item, talk.other(PLACES, item.place))
    return replace(item, concept=talk.concept(*(o.concept for o in scene.objects)))


def _moved(item: SceneObject, place: str) -> SceneObject:
    row, column = divmod(PLACES.index(place), 3)
    return replace(item, cx=(column + 0.5) / 3, cy=(row + 0.5) / 3)
