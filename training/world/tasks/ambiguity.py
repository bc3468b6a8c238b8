"""Requests that may be read in more than one way, with every reading that is accepted.

A reading accepts graphs, so any picture whose graph it accepts is right when it also shows that graph;
`outputs` are one such picture. Near misses show what no reading allows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from training.world.assets.concepts import COLORABLE, of_kind
from training.world.dialogues.talk import ALL_TIMES, Grid, Talk
from training.world.scenes.sample import allowed_places, places_of, split_of_key, visible
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.asking import Reading, Wish
from training.world.tasks.building import frame, write
from training.world.tasks.changes import admissible, newcomer
from training.world.tasks.sample import NearMiss, Sample
from training.world.tasks.scenes import draw_scene

WARM = ("red", "orange", "yellow", "brown", "pink")
GREETINGS = ("flower", "heart", "cake", "gift", "balloon", "star", "sunflower", "teddy bear", "letter")
FESTIVE = ("cake", "balloon", "gift", "candle", "star", "crown", "doughnut", "ice cream")
BEDTIME = ("teddy bear", "star", "owl", "lantern", "book", "candle", "rabbit", "bear")
_TRIES = 300


@dataclass(frozen=True)
class _Case:
    """An ambiguous wish, its readings, one picture that answers it, and some that do not."""

    wish: Wish
    readings: tuple[Reading, ...]
    answer: Scene
    wrong: tuple[Scene, ...]
    before: Scene | None = None


def ambiguous(talk: Talk, aspect: Grid | None = None) -> Sample:
    """One of the cases below."""
    grid = aspect or (8, 8)
    for _ in range(_TRIES):
        case = talk.pick(_CASES)(talk, grid)
        if case is not None and admissible(case.answer, talk.split):
            break
    else:
        raise ValueError(f"no ambiguous request of split {talk.split!r} on {grid}")
    target = frame(talk, case.answer, grid)
    wrong = [NearMiss("no reading allows it", (target.shows(scene),)) for scene in case.wrong]
    inputs = (replace(frame(talk, case.before, grid), prompt=""),) if case.before else ()
    chosen = next(r.words for r in case.readings if r.accepts("scene", case.answer))
    others = [r.words for r in case.readings if r.words != chosen]
    thought = f"This may mean: {'; '.join(r.words for r in case.readings)}. I choose: {chosen}."
    return write(
        talk,
        "ambiguous",
        case.wish,
        (target,),
        inputs,
        thought=thought if talk.chance(0.5) else "",
        tail=f" I took it to mean: {chosen}. Did you mean this: {talk.pick(others)}?" if others else "",
        near_misses=tuple(wrong),
        accepted=case.readings,
    )


def _holds(*names: str, ground: Callable[[Background], bool] = lambda _: True) -> Callable[[Scene], bool]:
    """A scene with one of these nouns, before such a background."""
    return lambda scene: any(o.concept in names for o in scene.objects) and ground(scene.background)


def _occasion(
    order: str, terse: str, names: tuple[str, ...], words: str, times: tuple[str, ...] = ALL_TIMES
) -> Callable[[Talk, Grid], _Case | None]:
    """A picture for an occasion: one reading for each noun that suits it."""

    def make(talk: Talk, grid: Grid) -> _Case | None:
        def fits(ground: Background) -> bool:
            return ground.time is None or ground.time in times

        ground = talk.scenery(time=talk.pick(times))
        placeable = [n for n in names if set(places_of(n, talk.split)) & set(allowed_places(grid))]
        placeable = [n for n in placeable if visible(n, None, ground)]
        if not placeable:
            return None
        scene = talk.scene(grid, background=ground, concepts=(talk.pick(placeable),))
        stranger = talk.concept(*names)
        if not visible(stranger, None, ground):
            return None
        readings = tuple(Reading(f"{words} with a {n}", "scene", _holds(n, ground=fits)) for n in names)
        wrong = replace(scene, objects=(replace(scene.objects[0], concept=stranger, color=None),))
        wish = Wish(terse, order, order, ("You will know best what suits.",))
        return _Case(wish, readings, scene, (wrong,))

    return make


def warmer(talk: Talk, grid: Grid) -> _Case | None:
    """ "Make it warmer": the light, the background, the colours, or the place."""
    scene = draw_scene(talk, grid)
    ground = scene.background

    def kept(after: Scene) -> bool:
        return [o.concept for o in after.objects] == [o.concept for o in scene.objects]

    def sunset(after: Scene) -> bool:
        return (
            kept(after) and after.background.setting == ground.setting and after.background.time == "sunset"
        )

    def plain(after: Scene) -> bool:
        return after.objects == scene.objects and after.background.color in WARM

    def recolored(after: Scene) -> bool:
        turned = (
            [(a, b) for a, b in zip(scene.objects, after.objects, strict=True) if a != b]
            if kept(after)
            else []
        )
        warm = all(replace(a, color=b.color) == b and b.color in WARM for a, b in turned)
        return bool(turned) and warm and after.background.key == ground.key

    def elsewhere(after: Scene) -> bool:
        return after.objects == scene.objects and after.background.setting in ("desert", "beach")

    readings = [Reading("warmer colours on the objects", "scene", recolored)]
    options = [_recolored(talk, scene)]
    if ground.kind == "setting":
        readings += [
            Reading("the light of a sunset", "scene", sunset),
            Reading("a warmer place", "scene", elsewhere),
        ]
        options += [replace(scene, background=replace(ground, time="sunset"))]
        options += [replace(scene, background=talk.scenery(talk.pick(("desert", "beach")), ground.time))]
    else:
        readings += [Reading("a background in a warm colour", "scene", plain)]
        options += [replace(scene, background=Background.plain(talk.pick(WARM)))]
    wrong = replace(scene, background=talk.scenery("snow", "night"))
    wish = Wish(
        "warmer", "make it warmer", "make this picture look a little warmer", ("It feels too cold to me.",)
    )
    return _case(talk, wish, readings, options, wrong, scene)


def second_one(talk: Talk, grid: Grid) -> _Case | None:
    """ "Remove the second one" of several alike: counted from the left, from the right or from the top."""
    name = talk.concept()
    ground = talk.scenery()
    color = talk.color(name, ground)
    if split_of_key(f"second one|{name}|{color}|{ground.phrase}") != talk.split:
        return None
    scene = talk.stage([(name, color, "small")] * 3, ground, grid) if visible(name, color, ground) else None
    if scene is None:
        return None
    orders = {
        "the second from the left": lambda o: o.cx,
        "the second from the right": lambda o: -o.cx,
        "the second from the top": lambda o: o.cy,
    }
    readings, options = [], []
    for words, along in orders.items():
        second = sorted(scene.objects, key=along)[1]
        after = replace(scene, objects=tuple(o for o in scene.objects if o is not second))
        readings.append(Reading(words, "scene", _equal(after)))
        options.append(after)
    bad = [_less(scene, o) for o in scene.objects]
    wrong = next((s for s in bad if not any(r.accepts("scene", s) for r in readings)), None)
    wish = Wish("not the second one", "remove the second one", f"remove the second {name} from this picture")
    return _case(talk, wish, readings, options, wrong, scene)


def other_side(talk: Talk, grid: Grid) -> _Case | None:
    """ "Put it on the other side": mirrored from side to side, or from top to bottom."""
    scene = draw_scene(talk, grid)
    item = scene.objects[0]
    corner = abs(item.cx - 0.5) > 0.2 and abs(item.cy - 0.5) > 0.2
    if not corner or item.count > 1:
        return None
    flips = {
        "across, from side to side": replace(item, cx=1 - item.cx),
        "across, from top to bottom": replace(item, cy=1 - item.cy),
        "to the opposite corner": replace(item, cx=1 - item.cx, cy=1 - item.cy),
    }
    readings, options = [], []
    for words, moved in flips.items():
        taken = any(abs(o.cx - moved.cx) + abs(o.cy - moved.cy) < 0.4 for o in scene.objects[1:])
        if not taken:
            after = replace(scene, objects=(moved, *scene.objects[1:]))
            readings.append(Reading(words, "scene", _equal(after)))
            options.append(after)
    name = item.concept
    order = f"put the {name} on the other side"
    wish = Wish(f"{name}, other side", order, f"{order} of this picture")
    return _case(talk, wish, readings, options, scene, scene) if len(options) > 1 else None


def one_more(talk: Talk, grid: Grid) -> _Case | None:
    """ "Add another one": another of what is there, anywhere."""
    scene = draw_scene(talk, grid)
    if any(o.count > 1 for o in scene.objects) or len({o.concept for o in scene.objects}) < 2:
        return None
    place = newcomer(talk, scene, grid)
    if place is None:
        return None
    readings = []
    options = []
    for item in scene.objects:
        readings.append(Reading(f"another {item.concept}", "scene", _more(scene, item)))
        options.append(
            replace(scene, objects=(*scene.objects, replace(item, cx=place.cx, cy=place.cy, size=place.size)))
        )
    wrong = replace(scene, objects=(*scene.objects, place))
    wish = Wish(
        "one more", "add another one", "add another one of these to the picture", ("There is room for it.",)
    )
    return _case(talk, wish, readings, options, wrong, scene)


def too_many(talk: Talk, grid: Grid) -> _Case | None:
    """ "There is too much in it": any one of the objects may go."""
    scene = draw_scene(talk, grid)
    if len(scene.objects) < 2 or len({o.concept for o in scene.objects}) < len(scene.objects):
        return None
    options = [_less(scene, o) for o in scene.objects]
    readings = [
        Reading(f"without the {o.concept}", "scene", _equal(s))
        for o, s in zip(scene.objects, options, strict=True)
    ]
    wrong = replace(
        scene,
        objects=(
            replace(scene.objects[0], concept=talk.concept(*(o.concept for o in scene.objects)), color=None),
        ),
    )
    wish = Wish(
        "one thing less",
        "take one thing out",
        "take one of the things out of this picture",
        ("It is a little full.",),
    )
    return _case(talk, wish, readings, options, wrong, scene)


def _case(
    talk: Talk,
    wish: Wish,
    readings: list[Reading],
    options: Sequence[Scene | None],
    wrong: Scene | None,
    before: Scene,
) -> _Case | None:
    """One of the options that can be seen; None when there is none."""
    fair = [s for s in options if s and s != before and any(r.accepts("scene", s) for r in readings)]
    fair = [s for s in fair if all(visible(o.concept, o.color, s.background) for o in s.objects)]
    if not fair or wrong is None:
        return None
    return _Case(wish, tuple(readings), talk.pick(fair), (wrong,), before)


def _recolored(talk: Talk, scene: Scene) -> Scene | None:
    items = [o for o in scene.objects if o.concept in COLORABLE and o.color not in WARM]
    if not items:
        return None
    item = talk.pick(items)
    warm = [c for c in WARM if visible(item.concept, c, scene.background)]
    if not warm:
        return None
    new = replace(item, color=talk.pick(warm))
    return replace(scene, objects=tuple(new if o is item else o for o in scene.objects))


def _less(scene: Scene, item: SceneObject) -> Scene:
    return replace(scene, objects=tuple(o for o in scene.objects if o is not item))


def _equal(wanted: Scene) -> Callable[[Scene], bool]:
    """The same words, that is all a picture can be asked for."""
    return lambda scene: scene.spec == wanted.spec


def _more(before: Scene, item: SceneObject) -> Callable[[Scene], bool]:
    """All that was there, and one more of a noun (in any colour and size)."""

    def fits(scene: Scene) -> bool:
        rest = [o for o in scene.objects if o not in before.objects]
        return (
            len(rest) == 1
            and rest[0].concept == item.concept
            and len(scene.objects) == len(before.objects) + 1
        )

    return fits


_CASES: tuple[Callable[[Talk, Grid], _Case | None], ...] = (
    _occasion("make a card for grandma", "card for grandma", GREETINGS, "a greeting"),
    _occasion("make something for a birthday", "birthday!", FESTIVE, "a birthday picture"),
    _occasion("make a good-night picture", "good night", BEDTIME, "a bedtime picture", ("night",)),
    _occasion("draw my favourite animal", "an animal", of_kind("animal"), "a picture"),
    _occasion(
        "draw something sweet", "something sweet", ("cake", "cookie", "doughnut", "ice cream"), "a treat"
    ),
    warmer,
    second_one,
    other_side,
    one_more,
    too_many,
)
