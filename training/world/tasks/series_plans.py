"""Plans of series: what stays the same in all pictures, and what goes on from one to the next."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from training.world.assets.concepts import COLORABLE, concept, of_kind
from training.world.dialogues.talk import ALL_TIMES, NUMBERS, Talk
from training.world.scenes.caption import join, noun_phrase, with_article
from training.world.scenes.sample import apart, place_object, places_of, visible
from training.world.scenes.scene import GROUP_SIZES, MOST, WEATHERS, Background, Scene, SceneObject
from wanimage.conditions import COLORS, SETTINGS, place_phrase


@dataclass(frozen=True)
class Plan:
    """A series: its pictures in order, its hero, and its words.

    `order` completes "draw"; `steps` say what each picture adds, in a few words. `key` names its composition.
    """

    name: str
    key: str
    order: str
    scenes: tuple[Scene, ...]
    steps: tuple[str, ...]
    hero: SceneObject


Planner = Callable[[Talk, int], Plan | None]
"""`(talk, wished number of pictures)` -> a plan of at most as many, or None where choices did not fit."""


def counting(talk: Talk, count: int) -> Plan | None:
    """One, two, three ... or back down."""
    count, name = min(count, MOST), talk.concept()
    ground = talk.scenery()
    color = talk.color(name, ground)
    if not visible(name, color, ground):
        return None
    size = GROUP_SIZES[min(9, max(2, count))]
    numbers = list(range(1, count + 1))
    down = talk.chance(0.25)
    numbers = numbers[::-1] if down else numbers
    hero = SceneObject(name, color, 0.5, 0.5, size)
    scenes = tuple(Scene((replace(hero, count=n),), ground) for n in numbers)
    plural = " ".join(w for w in (color, concept(name).plural) if w)
    order = (
        f"{plural} counted {'down' if down else 'up'} from {NUMBERS[numbers[0]]} to {NUMBERS[numbers[-1]]}"
    )
    steps = tuple(NUMBERS[n] for n in numbers)
    return Plan("counting", f"{name}|{color}", f"{order}, {ground.phrase}", scenes, steps, hero)


def day_to_night(talk: Talk, count: int) -> Plan | None:
    """The same place by day, at sunset and at night."""
    ground = talk.scenery(time="day")
    grounds = [replace(ground, time=time) for time in ALL_TIMES[: min(count, 3)]]
    cast = _cast(talk, grounds)
    if cast is None:
        return None
    scenes = tuple(Scene(cast, ground) for ground in grounds)
    said = join([talk.time_words(str(g.time)) for g in grounds])
    order = f"{_said(cast)} {talk.setting_words(str(ground.setting))} {said}"
    return _plan("day to night", order, scenes, [str(g.time) for g in grounds])


def weathers(talk: Talk, count: int) -> Plan | None:
    """The same place in every weather."""
    ground = talk.scenery(time="day")
    kinds: list[str | None] = [None, *WEATHERS][: min(count, 1 + len(WEATHERS))]
    grounds = [replace(ground, weather=kind) for kind in kinds]
    cast = _cast(talk, grounds)
    if cast is None:
        return None
    steps = [WEATHERS[kind] if kind else "in clear weather" for kind in kinds]
    order = f"{_said(cast)} {ground.phrase} {join(steps)}"
    return _plan("weathers", order, tuple(Scene(cast, ground) for ground in grounds), steps)


def growing(talk: Talk, count: int) -> Plan | None:
    """Small, then larger, then large; or shrinking."""
    sizes = ["small", "medium", "large"] if count > 2 else ["small", "large"]
    down = talk.chance(0.25)
    name = talk.concept()
    ground = talk.scenery()
    color = talk.color(name, ground)
    if "center" not in places_of(name, "train") or not visible(name, color, ground):
        return None
    items = [place_object(talk.rng, name, color, "center", size) for size in (sizes[::-1] if down else sizes)]
    items = [replace(item, cx=items[0].cx, cy=items[0].cy) for item in items]
    scenes = tuple(Scene((item,), ground) for item in items)
    words = with_article(" ".join(w for w in (color, name) if w))
    order = f"{words} that {'shrinks' if down else 'grows'} from {sizes[-down]} to {sizes[down - 1]}"
    return _plan("growing", f"{order}, {ground.phrase}", scenes, [i.size_word for i in items])


def journey(talk: Talk, count: int) -> Plan | None:
    """The same traveller in one place after another, in daylight first."""
    stops = [str(s) for s in talk.rng.permutation(list(SETTINGS))]
    route = [(setting, time) for time in ALL_TIMES for setting in stops][:count]
    grounds = [talk.scenery(setting, time) for setting, time in route]
    cast = _cast(talk, grounds, among=of_kind("animal", "person", "vehicle"), most=1)
    if cast is None:
        return None
    steps = [ground.phrase for ground in grounds]
    order = f"{_said(cast)} on a journey: {join(steps)}"
    return _plan("journey", order, tuple(Scene(cast, ground) for ground in grounds), steps)


def seasons(talk: Talk, count: int) -> Plan | None:
    """A year: a flower, the beach, an autumn leaf, the snow; the hero stays where it is."""
    year = [("spring", "meadow", "flower", "pink"), ("summer", "beach", "ball", "red")]
    year += [("autumn", "forest", "leaf", "orange"), ("winter", "snow", "hat", "blue")]
    year = year[: max(2, min(4, count))]
    grounds = [talk.scenery(setting, "day") for _, setting, _, _ in year]
    cast = _cast(talk, grounds, among=of_kind("animal"), most=1)
    if cast is None:
        return None
    scenes = []
    for (_, _, name, color), ground in zip(year, grounds, strict=True):
        token = _beside(talk, name, color, cast)
        if token is None:
            return None
        scenes.append(Scene((*cast, token), ground))
    order = f"{_said(cast)} through the seasons: {join([season for season, *_ in year])}"
    steps = [f"{season}, with {with_article(f'{color} {name}')}" for season, _, name, color in year]
    return _plan("seasons", order, tuple(scenes), steps)


def colors(talk: Talk, count: int) -> Plan | None:
    """One thing in one colour after another."""
    name = talk.pick(COLORABLE)
    ground = talk.pick([Background.transparent(), Background.plain("white"), talk.scenery(time="day")])
    fair = [c for c in COLORS if visible(name, c, ground)][:count]
    if len(fair) < 2:
        return None
    first = talk.alone(name, fair[0], ground).objects[0]
    scenes = tuple(Scene((replace(first, color=c),), ground) for c in fair)
    order = f"{with_article(name)} in {join(fair)}, {ground.phrase}"
    return _plan("colours", order, scenes, fair)


def walk(talk: Talk, count: int) -> Plan | None:
    """From one side of the picture to the other."""
    del count
    rows = talk.pick((("left", "center", "right"), ("bottom left", "bottom", "bottom right")))
    route = rows if talk.chance(0.5) else rows[::-1]
    ground = talk.scenery()
    name = talk.pick(of_kind("animal", "vehicle", "person"))
    color = talk.color(name, ground)
    free = all(p in places_of(name, "train") for p in route)
    if not free or not visible(name, color, ground):
        return None
    first = place_object(talk.rng, name, color, route[0], "medium")
    places = [place_object(talk.rng, name, color, p, "medium") for p in route]
    items = [replace(first, cx=item.cx) for item in places]
    order = f"{noun_phrase(first)} that moves from the {route[0]} to the {route[-1]}, {ground.phrase}"
    return _plan(
        "walk", order, tuple(Scene((i,), ground) for i in items), [place_phrase(i.place) for i in items]
    )


def gathering(talk: Talk, count: int) -> Plan | None:
    """One after another joins, and nobody leaves: friends, or the ingredients of a dish."""
    count = min(count, 5)
    ground = talk.scenery()
    among = talk.pick((of_kind("animal", "person"), of_kind("food")))
    names = [among[i] for i in talk.rng.permutation(len(among))[:count]]
    if not all(visible(n, None, ground) for n in names):
        return None
    size = "medium" if count < 4 else "small"
    scene = talk.stage([(n, talk.color(n, ground), size) for n in names], ground)
    if scene is None:
        return None
    scenes = tuple(Scene(scene.objects[: i + 1], ground) for i in range(count))
    order = f"{join([with_article(n) for n in names])} that join one by one, {ground.phrase}"
    steps = [f"{'first' if not i else 'then'} {noun_phrase(o)}" for i, o in enumerate(scene.objects)]
    return _plan("gathering", order, scenes, steps)


PLANS: dict[str, Planner] = {
    "counting": counting,
    "day to night": day_to_night,
    "weathers": weathers,
    "growing": growing,
    "journey": journey,
    "seasons": seasons,
    "colours": colors,
    "walk": walk,
    "gathering": gathering,
}


def _plan(name: str, order: str, scenes: tuple[Scene, ...], steps: list[str]) -> Plan:
    hero = scenes[0].objects[0]
    key = "|".join(f"{o.concept} {o.color}" for o in scenes[-1].objects)
    return Plan(name, key, order, scenes, tuple(steps), hero)


def _cast(
    talk: Talk, grounds: list[Background], among: tuple[str, ...] = (), most: int = 2
) -> tuple[SceneObject, ...] | None:
    """One or two objects, apart, that stand out before every one of the grounds."""
    names = [talk.pick(among) if among else talk.concept() for _ in range(talk.pick(range(1, most + 1)))]
    cast = []
    for name in dict.fromkeys(names):
        fair = [c for c in COLORS if all(visible(name, c, g) for g in grounds)]
        color = talk.pick(fair) if fair and concept(name).colorable else None
        if (concept(name).colorable and not fair) or not all(visible(name, color, g) for g in grounds):
            return None
        cast.append((name, color, talk.pick(("medium", "large")) if len(set(names)) == 1 else "medium"))
    scene = talk.stage(cast, grounds[0])
    return scene.objects if scene else None


def _beside(talk: Talk, name: str, color: str, cast: tuple[SceneObject, ...]) -> SceneObject | None:
    for _ in range(12):
        item = place_object(talk.rng, name, color, talk.pick(places_of(name, "train")), "small")
        if all(apart(item, other) for other in cast):
            return item
    return None


def _said(cast: tuple[SceneObject, ...]) -> str:
    return join([noun_phrase(item) for item in cast])
