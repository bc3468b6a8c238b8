"""Several reference pictures, two to nine, into one: their subjects, and sometimes their background."""

from collections.abc import Sequence
from dataclasses import replace

from training.world.dialogues.talk import NUMBERS, ORDINALS, Grid, Talk
from training.world.scenes.caption import describe, join, with_article
from training.world.scenes.sample import allowed_places, apart, place_object, places_of, split_of_key, visible
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, some_grid, write
from training.world.tasks.sample import Frame, NearMiss, Sample

MOST = 9
COUNTS = {2: 0.3, 3: 0.25, 4: 0.15, 5: 0.1, 6: 0.07, 7: 0.05, 8: 0.04, 9: 0.04}
"""Number of input pictures, by weight."""
_TRIES = 200
Cast = Sequence[tuple[str, str | None, str]]


def compose(talk: Talk, aspect: Grid | None = None) -> Sample:
    """The subjects of all inputs in one picture; with `borrowed`, the last input is its background."""
    count = talk.weighted(COUNTS) if max(aspect or (1, 1)) <= 2.2 * min(aspect or (1, 1)) else 2
    grid = some_grid(talk, aspect) if count < 4 else aspect or (8, 8)
    borrowed = talk.chance(0.35)
    scene = _together(talk, count - borrowed, grid)
    while split_of_key(_key(scene)) != talk.split:
        scene = _together(talk, count - borrowed, grid)
    references = [_reference(talk, item) for item in scene.objects]
    names = [o.concept for o in scene.objects]
    if borrowed:
        references.append(Frame(Scene((), scene.background)))
        there = f"before the background of the {ORDINALS[count - 1]} picture"
    else:
        there = talk.ground_words(scene.background)
    all_of_it = join([f"the {name}" for name in names])
    together = ("put {x} together", "bring {x} together", "draw {x} in one picture")
    order = talk.pick(together if len(names) > 1 else ("put {x}", "draw {x}"))
    them = "all of them" if len(names) > 1 else "it"
    full = f"{order.format(x=all_of_it)} {there}"
    listed = [f"The {name} is in the {ORDINALS[i]} picture." for i, name in enumerate(names)]
    places = [f"I want the {o.concept} {_place(o)}." for o in scene.objects] if count <= 5 else []
    wish = Wish(
        f"{' + '.join(names)} {there}" if count < 4 else f"all {NUMBERS[len(names)]} {there}",
        f"{order.format(x=them)} {there}",
        full,
        (*listed, *places),
    )
    target = frame(talk, scene, grid)
    return write(
        talk,
        "compose",
        wish,
        (target,),
        references,
        lead=talk.pick(("", "Here they are together.", f"Here is {describe(scene)}.")),
        thought=_thought(names, scene, borrowed) if talk.chance(0.2) else "",
        near_misses=_near_misses(talk, target),
    )


def _key(scene: Scene) -> str:
    """What decides the split of a composition: who comes together."""
    return "compose|" + "|".join(sorted(f"{o.concept} {o.color}" for o in scene.objects))


def _together(talk: Talk, count: int, grid: Grid) -> Scene:
    """As many different objects as asked for, apart from each other; many of them are small."""
    sizes = ("medium", "small") if count < 4 else ("small",)
    for _ in range(_TRIES):
        ground = talk.scenery() if talk.chance(0.8) else Background.plain(talk.pick(("white", "grey")))
        placed: list[SceneObject] = []
        free = [str(p) for p in talk.rng.permutation(allowed_places(grid))]
        for place in free:
            item = _fitting(talk, place, ground, talk.pick(sizes), grid, placed)
            placed += [item] if item else []
            if len(placed) == count:
                return Scene(tuple(placed), ground)
    raise ValueError(f"no room for {count} objects on {grid}; ask for a squarer picture")


def _fitting(
    talk: Talk, place: str, ground: Background, size: str, grid: Grid, placed: list[SceneObject]
) -> SceneObject | None:
    """An object for a place: new among the others, visible, and clear of them."""
    for _ in range(6):
        name = talk.concept(*(o.concept for o in placed))
        if place not in places_of(name, "train") or not visible(name, None, ground):
            continue
        item = place_object(talk.rng, name, talk.color(name, ground), place, size, grid)
        if all(apart(item, other, grid) for other in placed):
            return item
    return None


def _reference(talk: Talk, item: SceneObject) -> Frame:
    """One subject alone, as a sticker or before some day's scenery."""
    ground = talk.pick([Background.transparent(), Background.plain("white"), talk.scenery(time="day")])
    if not visible(item.concept, item.color, ground):
        ground = Background.transparent()
    alone = talk.alone(item.concept, item.color, ground).objects[0]
    return Frame(Scene((replace(alone, style=item.style),), ground))


def _place(item: SceneObject) -> str:
    return f"{'in' if item.place == 'center' else 'at'} the {item.place}"


def _thought(names: list[str], scene: Scene, borrowed: bool) -> str:
    seen = [f"Picture {i}: {with_article(name)}." for i, name in enumerate(names, 1)]
    seen += [f"Picture {len(names) + 1}: {scene.background.phrase}."] if borrowed else []
    return f"{' '.join(seen)} All of it in one picture: {describe(scene, places=True)}."


def _near_misses(talk: Talk, target: Frame) -> tuple[NearMiss, ...]:
    scene: Scene = target.scene
    lost = talk.pick(scene.objects)
    rest = tuple(o for o in scene.objects if o is not lost)
    stranger = _fitting(talk, lost.place, scene.background, lost.size_word, target.grid, list(rest))
    misses = [NearMiss("one subject left out", (target.shows(replace(scene, objects=rest)),))]
    if stranger and stranger.concept != lost.concept:
        swapped = replace(scene, objects=(*rest, stranger))
        misses.append(NearMiss("one subject is another", (target.shows(swapped),)))
    ground = talk.scenery(time="day" if scene.background.time != "day" else "night")
    misses.append(NearMiss("wrong background", (target.shows(replace(scene, background=ground)),)))
    return tuple(misses)
