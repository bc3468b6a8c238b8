"""Questions about a picture, with exact answers and reasoning that is worked out from its graph."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from training.world.assets.concepts import concept
from training.world.dialogues.talk import NUMBERS, Grid, Talk, capital
from training.world.kinds import Graph
from training.world.scenes.caption import join, noun_phrase, with_article
from training.world.scenes.scene import Scene, SceneObject
from training.world.tasks.answers import Answer
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, some_grid, write
from training.world.tasks.sample import Sample
from training.world.tasks.scenes import draw_scene
from wanimage.conditions import COLORS, PLACES, TIMES, place_phrase

THINKING = 0.5
"""Share of the answers that reason first."""
_COUNTS = tuple(str(n) for n in range(len(NUMBERS)))


@dataclass(frozen=True)
class Question:
    """What is asked: as a question and as an order ("count the foxes"), in a few words, and the answer."""

    ask: str
    order: str
    terse: str
    answer: Answer


Asker = Callable[[Talk, Graph], Question | None]
"""A question that the graph answers, or None where it has nothing to ask about."""


def question(talk: Talk, aspect: Grid | None = None) -> Sample:
    """One question about a scene."""
    grid = some_grid(talk, aspect)
    return ask(talk, "question", draw_scene(talk, grid), "scene", grid, SCENE_QUESTIONS)


def ask(talk: Talk, task: str, graph: Graph, kind: str, grid: Grid, askers: tuple[Asker, ...]) -> Sample:
    """A sample of one of the questions that a picture answers. Raises ValueError when it answers none."""
    for index in talk.rng.permutation(len(askers)):
        found = askers[index](talk, graph)
        if found is not None:
            break
    else:
        raise ValueError(f"a picture of kind {kind} that answers none of its questions: {graph}")
    answer = found.answer
    wish = Wish(
        found.terse,
        found.order,
        f"look at this picture and {found.order}",
        ("I only need the answer.",),
        found.ask,
    )
    return write(
        talk,
        task,
        wish,
        (),
        (replace(frame(talk, graph, grid, kind), prompt=""),),
        reply=answer.reply,
        thought=" ".join(answer.steps) if answer.steps and talk.chance(THINKING) else "",
        answer=answer,
    )


def count_all(talk: Talk, scene: Scene) -> Question:
    """How many objects."""
    total = sum(o.count for o in scene.objects)
    listed = [f"I see {noun_phrase(o)} {place_phrase(o.place)}." for o in scene.objects]
    sums = " + ".join(str(o.count) for o in scene.objects)
    verb = "is one object" if total == 1 else f"are {_number(total)} objects"
    steps = (*listed, f"{sums} = {total}." if len(scene.objects) > 1 else f"That is all: {total}.")
    reply = Answer(str(total), f"There {verb}.", _but(_COUNTS, str(total)), steps)
    return Question("How many objects are in the picture?", "count the objects", "number of objects", reply)


def count_kind(talk: Talk, scene: Scene) -> Question:
    """How many of a noun; sometimes none."""
    present = talk.chance(0.8)
    names = [o.concept for o in scene.objects]
    name = talk.pick(names) if present else talk.concept(*names)
    plural = concept(name).plural
    found = [o for o in scene.objects if o.concept == name]
    total = sum(o.count for o in found)
    steps = [f"I look for {plural}.", *(f"There is {_one(o)} {place_phrase(o.place)}." for o in found)]
    steps.append(f"That makes {total}.")
    reply = "There are no " + plural if not total else f"There is one {name}" if total == 1 else ""
    reply = f"{reply or f'There are {_number(total)} {plural}'}."
    key = str(total)
    also = () if total else ("no", "none")
    answer = Answer(key, reply, _but(_COUNTS, key), tuple(steps), also)
    return Question(f"How many {plural} are there?", f"count the {plural}", f"number of {plural}", answer)


def color(talk: Talk, scene: Scene) -> Question | None:
    """The colour of the only object of its noun."""
    items = [o for o in scene.objects if o.color and _unique(scene, o)]
    if not items:
        return None
    item = talk.pick(items)
    name, verb = _named(item)
    steps = (f"{capital(name)} {verb} {place_phrase(item.place)}.", f"What I see there is {item.color}.")
    answer = Answer(
        str(item.color), f"{capital(name)} {verb} {item.color}.", _but(tuple(COLORS), item.color), steps
    )
    return Question(
        f"What colour {verb} {name}?", f"tell me the colour of {name}", f"colour of {name}", answer
    )


def place(talk: Talk, scene: Scene) -> Question | None:
    """Where the only object of its noun is."""
    items = [o for o in scene.objects if _unique(scene, o)]
    if not items:
        return None
    item = talk.pick(items)
    name, verb = _named(item)
    column = "left" if item.cx < 1 / 3 else "right" if item.cx > 2 / 3 else "middle"
    row = "upper" if item.cy < 1 / 3 else "lower" if item.cy > 2 / 3 else "middle"
    steps = (
        f"From side to side, {name} {verb} in the {column} third.",
        f"From top to bottom, in the {row} third.",
        f"That is {place_phrase(item.place)}.",
    )
    said = f"{capital(name)} {verb} {place_phrase(item.place)}."
    answer = Answer(item.place, said, _but(PLACES, item.place), steps)
    return Question(f"Where {verb} {name}?", f"tell me where {name} {verb}", f"place of {name}", answer)


def further(talk: Talk, scene: Scene) -> Question | None:
    """Which of two is further to one side."""
    pair = _pair(talk, scene)
    if pair is None:
        return None
    a, b = pair
    side = talk.pick(("left", "right", "up", "down"))
    axis = 0 if side in ("left", "right") else 1
    one, two = ((a.cx, b.cx), (a.cy, b.cy))[axis]
    if abs(one - two) < 0.15:
        return None
    first = a if (one < two) == (side in ("left", "up")) else b
    other = b if first is a else a
    steps = tuple(f"{capital(_named(o)[0])} {_named(o)[1]} {place_phrase(o.place)}." for o in (a, b))
    asked = f"which is further {side}, {_named(a)[0]} or {_named(b)[0]}"
    name, verb = _named(first)
    answer = Answer(name, f"{capital(name)} {verb} further {side}.", (_named(other)[0],), steps)
    return Question(f"{capital(asked)}?", f"say {asked}", f"further {side}: {a.concept}/{b.concept}", answer)


def bigger(talk: Talk, scene: Scene) -> Question | None:
    """Which of two is drawn larger."""
    pair = _pair(talk, scene)
    if pair is None or pair[0].count + pair[1].count > 2 or pair[0].size_word == pair[1].size_word:
        return None
    a, b = pair
    first, other = (a, b) if a.size > b.size else (b, a)
    steps = tuple(
        f"The {o.concept} is {'of middle size' if o.size_word == 'medium' else o.size_word}." for o in pair
    )
    asked = f"which is bigger, the {a.concept} or the {b.concept}"
    answer = Answer(
        f"the {first.concept}", f"The {first.concept} is bigger.", (f"the {other.concept}",), steps
    )
    return Question(f"{capital(asked)}?", f"say {asked}", f"bigger: {a.concept}/{b.concept}", answer)


def presence(talk: Talk, scene: Scene) -> Question:
    """Whether a noun is there."""
    names = [o.concept for o in scene.objects]
    name = talk.pick(names) if talk.chance(0.5) else talk.concept(*names)
    words = with_article(name)
    seen = f"I see {join([noun_phrase(o) for o in scene.objects])}."
    there = name in names
    reply = f"Yes, there is {words}." if there else f"No, there is no {name}."
    steps = (seen, f"{capital(words)} is {'among' if there else 'not among'} them.")
    answer = Answer("yes" if there else "no", reply, ("no",) if there else ("yes",), steps)
    return Question(
        f"Is there {words} in the picture?", f"check whether there is {words}", f"{name}?", answer
    )


def statement(talk: Talk, scene: Scene) -> Question | None:
    """Whether a statement on a place or a colour is true."""
    items = [o for o in scene.objects if _unique(scene, o)]
    if not items:
        return None
    item = talk.pick(items)
    name, verb = _named(item)
    about_color = item.color is not None and talk.chance(0.5)
    true = str(item.color) if about_color else item.place
    said = true if talk.chance(0.5) else talk.other(list(COLORS) if about_color else list(PLACES), true)
    claim, fact = (f"{name} {verb} {w if about_color else place_phrase(w)}" for w in (said, true))
    steps = (f"{capital(fact)}.", f"So the statement {'holds' if said == true else 'does not hold'}.")
    key = "true" if said == true else "false"
    answer = Answer(key, f"That is {key}.", ("false",) if key == "true" else ("true",), steps)
    return Question(
        f"True or false: {claim}.", f"say whether this is true or false: {claim}", f"{claim}: true?", answer
    )


def time_of_day(talk: Talk, scene: Scene) -> Question | None:
    """Day, sunset or night."""
    time = scene.background.time
    if time is None:
        return None
    sky = {"day": "bright", "sunset": "orange, and the sun is low", "night": "dark, with stars"}[time]
    steps = (f"The sky is {sky}.", f"So it is {time}.")
    answer = Answer(time, f"It is {time}.", _but(tuple(TIMES), time), steps)
    return Question("Is it day, sunset or night?", "tell me the time of day", "time of day", answer)


SCENE_QUESTIONS: tuple[Asker, ...] = (
    count_all, count_kind, color, place, further, bigger, presence, statement, time_of_day,
)  # fmt: skip


def _number(value: int) -> str:
    return NUMBERS[value] if value < len(NUMBERS) else str(value)


def _but(options: tuple[str, ...], key: str | None) -> tuple[str, ...]:
    return tuple(option for option in options if option != key)


def _unique(scene: Scene, item: SceneObject) -> bool:
    return sum(o.concept == item.concept for o in scene.objects) == 1


def _named(item: SceneObject) -> tuple[str, str]:
    """`the fox`, `is`; `the foxes`, `are`."""
    return (
        (f"the {item.concept}", "is") if item.count == 1 else (f"the {concept(item.concept).plural}", "are")
    )


def _one(item: SceneObject) -> str:
    return "one" if item.count == 1 else f"a group of {_number(item.count)}"


def _pair(talk: Talk, scene: Scene) -> tuple[SceneObject, SceneObject] | None:
    """Two objects that their nouns tell apart."""
    items = [o for o in scene.objects if _unique(scene, o)]
    if len(items) < 2:
        return None
    i, j = (int(k) for k in talk.rng.permutation(len(items))[:2])
    return items[i], items[j]
