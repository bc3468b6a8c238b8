"""Edits of a picture that the user brings, in words or with cues drawn on it, and cutting out by a cue."""

from dataclasses import replace

from training.world.dialogues.talk import Grid, Talk, capital
from training.world.scenes.caption import describe, noun_phrase
from training.world.scenes.sample import place_object, places_of
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, some_grid, write
from training.world.tasks.changes import CHANGES, Change, Maker, admissible
from training.world.tasks.checks import Done, Kept, Region
from training.world.tasks.pointing import around, by_cues, in_words, reach
from training.world.tasks.sample import Frame, NearMiss, Sample
from training.world.tasks.scenes import draw_scene

CUED = 0.5
"""Share of the edits of an object that are asked for with cues."""
_LOOSE = ("add", "move", "replace")
_TRIES = 200


def edit(talk: Talk, aspect: Grid | None = None, *, name: str) -> Sample:
    """One change of `changes.CHANGES` to a picture; everything else has to stay."""
    grid = some_grid(talk, aspect)
    change = _change(talk, CHANGES[name], grid)
    said = in_words(change)
    if talk.chance(CUED):
        said = by_cues(talk, change, grid) or said
    order, other = (talk.pick(change.orders).format(old=said.old, to=said.to) for _ in range(2))
    before = replace(frame(talk, change.before, grid), prompt="", cues=said.cues)
    after = frame(talk, change.after, grid)
    wish = Wish(
        change.terse.format(old=said.old, to=said.to),
        order,
        f"{other} in this picture and keep the rest",
        (f"The picture shows {describe(change.before)}.", *_marked(said.cues)),
    )
    thought = f"{capital(other)}. After that the picture shows {describe(change.after, places=True)}."
    slack = 0.12 if name in _LOOSE and not said.cues else 0.05
    return write(
        talk,
        f"edit_{name}",
        wish,
        (after,),
        (before,),
        lead=talk.pick(("", "", "Done.", "Here it is.", "Of course.")),
        thought=thought if talk.chance(0.15) else "",
        checks=(Kept(slack), Done(_regions(change, grid))),
        near_misses=tuple(_near_misses(talk, change, before, after)),
    )


def extract(talk: Talk, aspect: Grid | None = None) -> Sample:
    """What a cue surrounds, cut out as a sticker on nothing."""
    grid = some_grid(talk, aspect)
    for _ in range(_TRIES):
        scene = draw_scene(talk, grid)
        item = talk.pick(scene.objects)
        said = around(talk, scene, item, grid)
        if said and item.count == 1 and not scene.relations:
            break
    else:
        raise ValueError(f"no object to cut out on {grid}; ask for another aspect")
    sticker = _sticker(talk, item)
    before = replace(frame(talk, scene, grid), prompt="", cues=said.cues)
    after = frame(talk, sticker)
    order = f"cut out {said.old}"
    wish = Wish(
        order,
        f"{order} as a sticker",
        f"{order} and make it a sticker on a transparent background",
        ("Only that one thing, nothing around it.", *_marked(said.cues)),
    )
    wrong = [NearMiss("another object cut out", (after.shows(_sticker(talk, o)),)) for o in scene.objects]
    wrong = [miss for miss in wrong if miss.outputs[0].scene.objects[0].concept != item.concept][:1]
    framed = after.shows(replace(sticker, background=Background.plain(_ground(talk, item))))
    wrong.append(NearMiss("background not cut away", (framed,)))
    wrong.append(NearMiss("picture given back", (before.bare,)))
    return write(
        talk,
        "extract",
        wish,
        (after,),
        (before,),
        lead=talk.pick(("", "Here is the sticker.", f"Here is {noun_phrase(SceneObject(item.concept))}.")),
        near_misses=tuple(wrong),
    )


def _change(talk: Talk, make: Maker, grid: Grid) -> Change:
    for _ in range(_TRIES):
        scene = draw_scene(talk, grid)
        change = make(talk, scene, grid) if not scene.relations else None
        if change is not None and admissible(change.after, talk.split):
            return change
    raise ValueError(f"no such edit for a {talk.split} picture of aspect {grid}; ask for another aspect")


def _regions(change: Change, grid: Grid) -> tuple[Region, ...]:
    """Around every object that is changed, as it was and as it is; else the whole picture."""
    before, after = change.before.objects, change.after.objects
    regions = []
    for item in (*(o for o in before if o not in after), *(o for o in after if o not in before)):
        half_width, half_height = reach(item, grid)
        x0, y0 = max(0.0, item.cx - half_width), max(0.0, item.cy - half_height)
        regions.append((x0, y0, min(1.0, item.cx + half_width), min(1.0, item.cy + half_height)))
    return tuple(regions) or ((0.0, 0.0, 1.0, 1.0),)


def _marked(cues: tuple[object, ...]) -> tuple[str, ...]:
    return ("The marks are only there to show you what I mean, they must not stay.",) if cues else ()


def _near_misses(talk: Talk, change: Change, before: Frame, after: Frame) -> list[NearMiss]:
    """Not done, done to another object, done with something else gone, and marks left in."""
    misses = [NearMiss("edit not done", (before.bare,))]
    if change.elsewhere:
        misses.append(NearMiss("wrong object edited", (after.shows(talk.pick(change.elsewhere)),)))
    untouched = [o for o in change.after.objects if o in change.before.objects]
    if untouched:
        lost = talk.pick(untouched)
        rest = tuple(o for o in change.after.objects if o is not lost)
        misses.append(NearMiss("something else removed", (after.shows(replace(change.after, objects=rest)),)))
    if before.cues:
        misses.append(NearMiss("cue left in the picture", (replace(after, cues=before.cues),)))
    return misses


def _sticker(talk: Talk, item: SceneObject) -> Scene:
    """The object alone and large, in the center where its split allows that."""
    places = places_of(item.concept, "train")
    place = "center" if "center" in places else talk.pick(places)
    alone = place_object(talk.rng, item.concept, item.color, place, "large")
    return Scene((replace(item, cx=alone.cx, cy=alone.cy, size=alone.size, count=1),))


def _ground(talk: Talk, item: SceneObject) -> str:
    return talk.pick([c for c in ("white", "grey", "yellow") if c != item.color])
