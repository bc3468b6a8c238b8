"""Changes to a scene: what is done to which object, and what must be so afterwards.

A change knows its two graphs and says itself with slots, {old} for the object that is meant and {to} for a
place, so that words ("the red balloon") and drawn cues ("what is in the magenta box") may fill them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from training.world.assets.concepts import STYLES, colorable, concept
from training.world.dialogues.talk import ALL_TIMES, Grid, Talk
from training.world.scenes.caption import noun_phrase, with_article
from training.world.scenes.rich import in_rich_split
from training.world.scenes.sample import allowed_places, apart, place_object, places_of, visible
from training.world.scenes.scene import Background, Scene, SceneObject, members
from training.world.tasks.scenes import all_seen, painted, seen
from wanimage.conditions import COLORS, SETTINGS, place_phrase


@dataclass(frozen=True)
class Change:
    """One change of a scene.

    `old` is the object that is meant and `new` what it becomes (or what is added). `orders` are imperatives
    with slots. `elsewhere` are scenes in which the same was done to another object.
    """

    name: str
    before: Scene
    after: Scene
    orders: tuple[str, ...]
    terse: str
    old: SceneObject | None = None
    new: SceneObject | None = None
    elsewhere: tuple[Scene, ...] = ()


Maker = Callable[[Talk, Scene, Grid], Change | None]


def referent(scene: Scene, item: SceneObject) -> str:
    """The shortest name that means this object alone: its noun, then its colour, then its place."""
    alike = [o for o in scene.objects if o.concept == item.concept]
    several = item.count > 1
    noun = concept(item.concept).plural if several else item.concept
    if len(alike) == 1:
        return f"the {noun}"
    if item.color and sum(o.color == item.color for o in alike) == 1:
        return f"the {item.color} {noun}"
    return f"the {noun} {place_phrase(item.place)}"


def add(talk: Talk, scene: Scene, grid: Grid) -> Change | None:
    """A new object at a free place."""
    new = newcomer(talk, scene, grid)
    if new is None:
        return None
    after = replace(scene, objects=(*scene.objects, new))
    words = noun_phrase(new)
    orders = (f"add {words} {{to}}", f"put {words} {{to}}", f"draw {words} {{to}}")
    other = newcomer(talk, after, grid)
    elsewhere = (replace(scene, objects=(*scene.objects, other)),) if other else ()
    return Change("add", scene, after, orders, f"+ {words}", None, new, elsewhere)


def remove(talk: Talk, scene: Scene, grid: Grid) -> Change | None:
    """One object less."""
    if len(scene.objects) < 2:
        return None
    old = talk.pick(scene.objects)
    orders = ("remove {old}", "take {old} away", "erase {old}", "delete {old}")
    elsewhere = tuple(_without(scene, o) for o in scene.objects if o is not old)
    return Change("remove", scene, _without(scene, old), orders, "remove {old}", old, None, elsewhere)


def replace_object(talk: Talk, scene: Scene, grid: Grid) -> Change | None:
    """Another noun in an object's place."""
    old = talk.pick(scene.objects)
    if old.count > 1:
        return None

    def swapped(item: SceneObject) -> SceneObject:
        return replace(item, concept=name, color=color, style=old.style)

    names = [n for n in _nouns(talk, scene, old.place) if visible(n, None, scene.background)]
    if not names:
        return None
    name = talk.pick(names)
    color = painted(talk, name, scene.background, old.style)
    words = with_article(" ".join(w for w in (color, name) if w))
    orders = (f"replace {{old}} with {words}", f"swap {{old}} for {words}", f"turn {{old}} into {words}")
    new = swapped(old)
    if not seen(new, scene.background):
        return None
    elsewhere = tuple(_swap(scene, o, swapped(o)) for o in scene.objects if o is not old and o.count == 1)
    after = _swap(scene, old, new)
    return Change("replace", scene, after, orders, f"{{old}} -> {name}", old, new, elsewhere)


def recolor(talk: Talk, scene: Scene, grid: Grid) -> Change | None:
    """Another colour for a colourable object."""
    items = [o for o in scene.objects if o.color]
    if not items:
        return None
    old = talk.pick(items)
    color = talk.other_color(old, scene.background)
    if color is None:
        return None
    orders = (f"make {{old}} {color}", f"paint {{old}} {color}", f"change {{old}} to {color}")
    others = [o for o in items if o is not old and o.color != color]
    elsewhere = tuple(_swap(scene, o, replace(o, color=color)) for o in others)
    new = replace(old, color=color)
    if not seen(new, scene.background):
        return None
    return Change("recolor", scene, _swap(scene, old, new), orders, f"{{old}} {color}", old, new, elsewhere)


def move(talk: Talk, scene: Scene, grid: Grid) -> Change | None:
    """An object at another place."""
    old = talk.pick(scene.objects)
    moved = _moved(talk, scene, old, grid) if old.count == 1 else None
    if moved is None:
        return None
    others = [o for o in scene.objects if o is not old and o.count == 1]
    wrong = [(o, _moved(talk, scene, o, grid)) for o in others]
    elsewhere = tuple(_swap(scene, o, new) for o, new in wrong if new)
    copied = replace(scene, objects=(*scene.objects, moved))
    orders = ("move {old} {to}", "put {old} {to}", "shift {old} {to}")
    after = _swap(scene, old, moved)
    return Change("move", scene, after, orders, "move {old} {to}", old, moved, (copied, *elsewhere))


def background(talk: Talk, scene: Scene, grid: Grid) -> Change | None:
    """Another setting, time of day, plain colour, or nothing behind the objects."""
    now = scene.background
    ground, orders = talk.pick((_setting, _time, _plain, _clear))(talk, now)
    after = replace(scene, background=ground)
    if ground.key == now.key or not all_seen(after):
        return None
    return Change("background", scene, after, orders, ground.phrase)


def restyle(talk: Talk, scene: Scene, grid: Grid) -> Change | None:
    """The same picture with all of its objects in another style."""
    del grid
    style = talk.other(STYLES, *(o.style for o in scene.objects))
    if any(bool(o.color) != colorable(o.concept, style) for o in scene.objects):
        return None  # a colour would be lost, or would have to be chosen
    after = replace(scene, objects=tuple(replace(o, style=style) for o in scene.objects))
    if not all_seen(after):
        return None
    orders = (f"redraw this in {style} style", f"change the style to {style}", f"make it {style} style")
    half = replace(scene, objects=(*after.objects[:1], *scene.objects[1:]))
    return Change("restyle", scene, after, orders, f"{style} style", elsewhere=(half,))


def _setting(talk: Talk, now: Background) -> tuple[Background, tuple[str, ...]]:
    ground = talk.scenery(talk.other(list(SETTINGS), now.setting), now.time or "day")
    said = talk.setting_words(str(ground.setting))
    if now.time is None:
        said = ground.phrase
    return ground, (f"put everything {said}", f"change the background: {said}", f"show all of it {said}")


def _time(talk: Talk, now: Background) -> tuple[Background, tuple[str, ...]]:
    if now.kind != "setting":
        return now, ("",)
    ground = replace(now, time=talk.other(ALL_TIMES, now.time))
    said = talk.time_words(str(ground.time))
    return ground, (f"show it {said}", f"draw the same {said}", f"change the time of day: {said}")


def _plain(talk: Talk, now: Background) -> tuple[Background, tuple[str, ...]]:
    color = talk.other(list(COLORS), now.color)
    orders = (f"make the background plain {color}", f"use a plain {color} background")
    return Background.plain(color), orders


def _clear(talk: Talk, now: Background) -> tuple[Background, tuple[str, ...]]:
    return Background.transparent(), ("remove the background", "make the background transparent")


CHANGES: dict[str, Maker] = {
    "add": add,
    "remove": remove,
    "replace": replace_object,
    "recolor": recolor,
    "move": move,
    "background": background,
    "restyle": restyle,
}


def admissible(scene: Scene, split: str) -> bool:
    """Whether a changed scene may be drawn in a split: no pair of another split is in it."""
    return in_rich_split(scene, split) or in_rich_split(scene, "train")


def newcomer(talk: Talk, scene: Scene, grid: Grid) -> SceneObject | None:
    """An object that the scene has room for, of a noun that it has not."""
    style = scene.objects[-1].style if scene.objects else "flat"
    for _ in range(20):
        name = talk.concept(*(o.concept for o in scene.objects))
        places = [p for p in places_of(name, "train") if p in allowed_places(grid)]
        if not places or not visible(name, None, scene.background):
            continue
        color = painted(talk, name, scene.background, style)
        size = talk.pick(["small", "medium"])
        new = replace(place_object(talk.rng, name, color, talk.pick(places), size, grid), style=style)
        if clear(new, scene.objects, grid) and seen(new, scene.background):
            return new
    return None


def clear(item: SceneObject, others: Iterable[SceneObject], grid: Grid) -> bool:
    """Whether an object hardly overlaps any other, or any member of a group."""
    each = (member for other in others for member in members(other, *grid))
    return all(apart(item, member, grid) for member in each)


def _nouns(talk: Talk, scene: Scene, place: str) -> list[str]:
    """A few nouns that the scene lacks and that may stand at a place."""
    drawn = [talk.concept(*(o.concept for o in scene.objects)) for _ in range(12)]
    return [name for name in drawn if place in places_of(name, "train")]


def _moved(talk: Talk, scene: Scene, item: SceneObject, grid: Grid) -> SceneObject | None:
    places = [p for p in places_of(item.concept, "train") if p != item.place and p in allowed_places(grid)]
    for _ in range(8 if places else 0):
        new = place_object(talk.rng, item.concept, item.color, talk.pick(places), item.size_word, grid)
        moved = replace(item, cx=new.cx, cy=new.cy)
        others = [o for o in scene.objects if o is not item]
        if clear(moved, others, grid) and seen(moved, scene.background):
            return moved
    return None


def _without(scene: Scene, item: SceneObject) -> Scene:
    return replace(scene, objects=tuple(o for o in scene.objects if o is not item))


def _swap(scene: Scene, old: SceneObject, new: SceneObject) -> Scene:
    return replace(scene, objects=tuple(new if o is old else o for o in scene.objects))
