"""Edits: of a picture the user brings, of the one just drawn, or of one of a story's pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from training.world.assets.concepts import COLORABLE, CONCEPTS
from training.world.dialogues.questions import question
from training.world.dialogues.requests import answer, single_request
from training.world.dialogues.story import story
from training.world.dialogues.talk import (
    ALL_TIMES,
    BASE_GRID,
    ORDINALS,
    SIZE_WORDINGS,
    Dialogue,
    Grid,
    Picture,
    Talk,
    Turn,
    capital,
)
from training.world.scenes.caption import describe, join, noun_phrase
from training.world.scenes.sample import allowed_places, apart, place_object, places_of, visible
from training.world.scenes.scene import Background, Scene, SceneObject
from wanimage.conditions import COLORS, SETTINGS, place_phrase


@dataclass(frozen=True)
class Edit:
    """How a user asks for a change, what it leads to, and a short reply."""

    asks: tuple[str, ...]
    scene: Scene
    reply: str


Change = Callable[[Talk, Scene, Grid], Edit | None]


def follow_up(talk: Talk) -> Dialogue:
    """A picture, then one to three changes to it, sometimes a question or a refusal between."""
    picture, ask = single_request(talk, plain=True)
    turns = [Turn("user", ask), answer(talk, picture)]
    for _ in range(talk.pick([1, 1, 1, 2, 3])):
        refused = _impossible(talk, picture.scene) if talk.chance(0.05) else None
        if refused:
            turns += [Turn("user", refused[0]), Turn("assistant", refused[1])]
            continue
        change = edit(talk, picture.scene)
        picture = talk.picture(change.scene)
        turns += [Turn("user", _phrase(talk, change, "")), answer(talk, picture, _reply(talk, change))]
    if talk.chance(0.15):
        ask, reply = question(talk, picture.scene)
        turns += [Turn("user", ask), Turn("assistant", reply)]
    return Dialogue("edit", tuple(turns))


def user_picture(talk: Talk) -> Dialogue:
    """The user brings a picture, or two to join, and asks for a change."""
    if talk.chance(0.25):
        return _join_pictures(talk)
    grid = BASE_GRID if talk.chance(0.75) else talk.pick(list(SIZE_WORDINGS)[1:5])
    scene = talk.scene(grid)
    change = edit(talk, scene, grid)
    picture = talk.picture(change.scene, grid)  # an edit keeps the shape of its reference
    ask = Turn("user", _phrase(talk, change, "this"), (Picture(scene, grid),))
    return Dialogue("image_edit", (ask, answer(talk, picture, _reply(talk, change))))


def story_follow_up(talk: Talk) -> Dialogue:
    """A story, and then a change to one of its pictures by its number, or a question."""
    told = story(talk)
    pictures = told.turns[-1].pictures
    index = int(talk.rng.integers(len(pictures)))
    if index >= len(ORDINALS):
        index = 0
    change = edit(talk, pictures[index].scene, pictures[index].grid, (_recolor, _retime, _resetting, _add))
    which = talk.pick([f"in the {ORDINALS[index]} picture", f"in picture {index + 1}"])
    if index == len(pictures) - 1:
        which = talk.pick([which, "in the last picture"])
    ask = (
        capital(f"{which}, {talk.pick(change.asks)}.")
        if talk.chance(0.5)
        else capital(f"{talk.pick(change.asks)} {which}.")
    )
    grid = pictures[index].grid
    picture = talk.picture(change.scene, grid)
    return Dialogue(
        "story_edit", (*told.turns, Turn("user", ask), answer(talk, picture, _reply(talk, change)))
    )


def edit(talk: Talk, scene: Scene, grid: Grid = BASE_GRID, only: tuple[Change, ...] = ()) -> Edit:
    """A random change that the scene allows and that the result shows, for a picture of that grid."""
    kinds: tuple[Change, ...] = only or (
        _recolor,
        _recolor,
        _retime,
        _resetting,
        _plain,
        _transparent,
        _add,
        _remove,
        _move,
        _resize,
    )
    for _ in range(60):
        found = talk.pick(kinds)(talk, scene, grid)
        if found is not None and found.scene.spec != scene.spec:
            return found
    found = None
    while found is None:
        found = _resetting(talk, scene, grid) or _retime(talk, scene, grid)
    return found


def _phrase(talk: Talk, change: Edit, this: str) -> str:
    ask = talk.pick(change.asks)
    if this and talk.chance(0.4):
        ask += talk.pick([" in this picture", " here"])
    return talk.pick([f"{capital(ask)}.", f"{capital(ask)}, please.", ask, f"Now {ask}.", f"Can you {ask}?"])


def _reply(talk: Talk, change: Edit) -> str | None:
    return change.reply if talk.chance(0.6) else None


def _name(talk: Talk, scene: Scene, item: SceneObject) -> str:
    """`the balloon`; `it` where nothing else can be meant; with its place where there are several."""
    if len(scene.objects) == 1 and talk.chance(0.4):
        return "it"
    alike = [o for o in scene.objects if o.concept == item.concept]
    return f"the {item.concept}" if len(alike) == 1 else f"the {item.concept} {place_phrase(item.place)}"


def _swap(scene: Scene, old: SceneObject, new: SceneObject) -> Scene:
    return replace(scene, objects=tuple(new if o is old else o for o in scene.objects))


def _recolor(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    items = [o for o in scene.objects if o.concept in COLORABLE]
    if not items:
        return None
    item = talk.pick(items)
    color = talk.other_color(item, scene.background)
    if color is None:
        return None
    name = _name(talk, scene, item)
    asks = (
        f"make {name} {color}",
        f"paint {name} {color}",
        f"change the colour of {name} to {color}",
        f"turn {name} {color}",
    )
    return Edit(asks, _swap(scene, item, replace(item, color=color)), f"Now {name} is {color}.")


def _reground(talk: Talk, scene: Scene, ground: Background, asks: tuple[str, ...], reply: str) -> Edit | None:
    if not all(visible(o.concept, o.color, ground) for o in scene.objects):
        return None
    return Edit(asks, replace(scene, background=ground), reply)


def _retime(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    if scene.background.kind != "setting":
        return None
    time = talk.other(ALL_TIMES, scene.background.time)
    said = talk.time_words(time)
    asks = (
        f"show it {said}",
        f"draw it {said}",
        f"make it {'day' if time == 'day' else time}",
        f"the same {said}",
    )
    reply = {"day": "Now it is day.", "sunset": "Now the sun goes down.", "night": "Now it is night."}[time]
    return _reground(talk, scene, replace(scene.background, time=time), asks, reply)


def _resetting(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    now = scene.background
    ground = talk.scenery(talk.other(list(SETTINGS), now.setting), now.time or "day")
    said = talk.setting_words(str(ground.setting))
    names = join([f"the {o.concept}" for o in scene.objects])
    subject = (
        talk.pick(["it", names]) if len(scene.objects) == 1 else talk.pick(["everything", "them", names])
    )
    asks = (
        f"put {subject} {said}",
        f"move {subject} to another place: {said}",
        f"show {subject} {said}",
        f"change the background: {said}",
        f"put {names.replace('the ', 'this ', 1)} {said}",
    )
    return _reground(talk, scene, ground, asks, f"Now we are {ground.phrase}.")


def _plain(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    color = talk.pick(list(COLORS))
    asks = (
        f"make the background {color}",
        f"put it on a plain {color} background",
        f"use a {color} background",
    )
    return _reground(talk, scene, Background.plain(color), asks, f"Now the background is {color}.")


def _transparent(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    asks = ("remove the background", "make the background transparent", "cut it out", "make it a sticker")
    return _reground(talk, scene, Background.transparent(), asks, "The background is gone.")


def _add(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    if len(scene.objects) > 3:
        return None
    concept = talk.concept(*(o.concept for o in scene.objects))
    if not visible(concept, None, scene.background):
        return None
    color = talk.color(concept, scene.background)
    places = [p for p in places_of(concept, "train") if p in allowed_places(grid)]
    for _ in range(12 if places else 0):
        place, size = talk.pick(places), talk.pick(["small", "small", "medium"])
        item = place_object(talk.rng, concept, color, place, size, grid)
        if all(apart(item, o, grid) for o in scene.objects):
            new = replace(scene, objects=(*scene.objects, item))
            words = noun_phrase(SceneObject(concept, color)) if talk.chance(0.6) else noun_phrase(item)
            where = place_phrase(place)
            asks = (f"add {words}", f"add {words} {where}", f"put {words} {where}", f"draw {words} too")
            return Edit(asks, new, f"I added {noun_phrase(SceneObject(concept, color))}.")
    return None


def _remove(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    if len(scene.objects) < 2:
        return None
    item = talk.pick(scene.objects)
    name = _name(talk, scene, item)
    left = tuple(o for o in scene.objects if o is not item)
    asks = (f"remove {name}", f"take {name} away", f"delete {name}", f"the same without {name}")
    return Edit(asks, replace(scene, objects=left), f"{capital(name)} is gone.")


def _move(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    item = talk.pick(scene.objects)
    places = [p for p in places_of(item.concept, "train") if p != item.place and p in allowed_places(grid)]
    if not places:
        return None
    place = talk.pick(places)
    new = place_object(talk.rng, item.concept, item.color, place, item.size_word, grid)
    if not all(apart(new, o, grid) for o in scene.objects if o is not item):
        return None
    name, to = (
        _name(talk, scene, item),
        place_phrase(place).replace("at the", "to the").replace("in the", "to the"),
    )
    asks = (f"move {name} {to}", f"put {name} {place_phrase(place)}", f"move {name} {to} of the picture")
    return Edit(asks, _swap(scene, item, new), f"Now {name} is {place_phrase(place)}.")


def _resize(talk: Talk, scene: Scene, grid: Grid) -> Edit | None:
    item = talk.pick(scene.objects)
    order = ["small", "medium", "large"]
    index = order.index(item.size_word)
    target = talk.pick([i for i in (index - 1, index + 1) if 0 <= i < 3])
    new = place_object(talk.rng, item.concept, item.color, item.place, order[target], grid)
    if not all(apart(new, o, grid) for o in scene.objects if o is not item):
        return None
    name, bigger = _name(talk, scene, item), target > index
    asks = (
        f"make {name} {'bigger' if bigger else 'smaller'}",
        f"make {name} {'larger' if bigger else 'smaller'}",
        f"draw {name} {'bigger' if bigger else 'smaller'}",
    )
    return Edit(asks, _swap(scene, item, new), f"{capital(name)} is {'bigger' if bigger else 'smaller'} now.")


def _impossible(talk: Talk, scene: Scene) -> tuple[str, str] | None:
    items = [o for o in scene.objects if o.concept not in COLORABLE]
    if not items:
        return None
    item, color = talk.pick(items), talk.pick(list(COLORS))
    plural = CONCEPTS[item.concept].plural
    return f"Make the {item.concept} {color}.", (
        f"I am sorry, {plural} have their own colours here. I can paint things like balloons, cars and hats."
    )


def _join_pictures(talk: Talk) -> Dialogue:
    """Two pictures of one thing each, and both in one new scene."""
    ground = talk.scenery()
    scene = None
    while scene is None:
        first, second = talk.concept(), talk.concept()
        cast = [(c, talk.color(c, ground), talk.pick(["medium", "small", "medium"])) for c in (first, second)]
        scene = talk.stage(cast, ground) if first != second else None
    brought = tuple(Picture(_alone(talk, item)) for item in scene.objects)
    both = join([f"the {o.concept}" for o in scene.objects])
    said = talk.ground_words(ground)
    asks = (
        f"Put {both} together {said}.",
        f"Draw {both} from these pictures {said}.",
        f"put this {scene.objects[0].concept} and this {scene.objects[1].concept} {said}",
        f"Bring {both} together in one picture, {said}.",
    )
    reply = talk.pick(["Here they are together.", f"Here is {describe(scene)}."])
    picture = talk.picture(scene)
    return Dialogue("image_join", (Turn("user", talk.pick(asks), brought), answer(talk, picture, reply)))


def _alone(talk: Talk, item: SceneObject) -> Scene:
    ground = talk.pick([Background.transparent(), Background.transparent(), talk.scenery(time="day")])
    if not visible(item.concept, item.color, ground):
        ground = Background.transparent()
    return talk.alone(item.concept, item.color, ground)
