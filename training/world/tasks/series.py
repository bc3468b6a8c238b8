"""Series of two to twelve pictures, from words alone or going on from a picture that the user brings."""

from dataclasses import replace

from training.world.dialogues.talk import NUMBERS, Grid, Talk, capital
from training.world.scenes.caption import noun_phrase
from training.world.scenes.sample import split_of_key, visible
from training.world.scenes.scene import Scene
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, write
from training.world.tasks.checks import Distinct, SameCharacter
from training.world.tasks.sample import Frame, NearMiss, Sample
from training.world.tasks.series_plans import PLANS, Plan

COUNTS = {2: 0.1, 3: 0.3, 4: 0.2, 5: 0.1, 6: 0.1, 7: 0.05, 8: 0.05, 9: 0.04, 10: 0.02, 11: 0.02, 12: 0.02}
"""Wished number of pictures, by weight; plans that end sooner make fewer."""
SHAPES: tuple[Grid, ...] = ((8, 8),)
_TRIES = 3000


def from_words(talk: Talk, aspect: Grid | None = None) -> Sample:
    """Text to series: all pictures are drawn."""
    plan = _planned(talk, least=2)
    outputs = [frame(talk, scene, aspect or (8, 8)) for scene in plan.scenes]
    return _sample(talk, "text_to_series", plan, outputs, [], plan.order)


def from_picture(talk: Talk, aspect: Grid | None = None) -> Sample:
    """Text and picture to series: the user brings the first picture, or the hero as a sticker."""
    plan = _planned(talk, least=3)
    grid = aspect or (8, 8)
    outputs = [frame(talk, scene, grid) for scene in plan.scenes]
    if talk.chance(0.5):
        first = replace(outputs[0], prompt="")
        order = f"the rest of the series that starts with this picture: {plan.order}"
        return _sample(talk, "picture_to_series", plan, outputs[1:], [first], order)
    sticker = Frame(Scene((replace(plan.hero, cx=0.5, cy=0.5, size=0.48, count=1),)))
    order = f"a series with the {plan.hero.concept} of this picture: {plan.order}"
    return _sample(talk, "picture_to_series", plan, outputs, [sticker], order)


def _planned(talk: Talk, least: int) -> Plan:
    for _ in range(_TRIES):
        make = PLANS[talk.pick(list(PLANS))]
        plan = make(talk, max(least, talk.weighted(COUNTS)))
        if plan is None or len(plan.scenes) < least:
            continue
        if split_of_key(f"series|{plan.name}|{plan.key}|{len(plan.scenes)}") == talk.split:
            return plan
    raise ValueError(f"no series of split {talk.split!r} in {_TRIES} tries")


def _sample(
    talk: Talk, task: str, plan: Plan, outputs: list[Frame], inputs: list[Frame], order: str
) -> Sample:
    count = len(outputs)
    n, steps = NUMBERS[count], plan.steps[len(plan.steps) - count :]
    numbered = " ".join(f"{i}. {capital(step)}." for i, step in enumerate(steps, 1))
    wish = Wish(
        f"{plan.name}, {plan.hero.concept}, {count}",
        f"draw {n} pictures: {plan.name} with the {plan.hero.concept}"
        if inputs
        else f"draw {n} pictures: {plan.name} of {_plain(plan)}",
        f"draw {n} pictures of {order}" if not inputs else f"draw {n} pictures, {order}",
        (f"It must be the same {plan.hero.concept} in all of them.", f"In order: {numbered}"),
    )
    return write(
        talk,
        task,
        wish,
        outputs,
        inputs,
        lead=talk.pick(("", "", f"Here are {n} pictures.", "Of course.")),
        thought=f"A series of {count} pictures. {numbered}" if talk.chance(0.2) else "",
        as_series=count > 1,
        checks=(Distinct(), SameCharacter()) if _steady(outputs) else (Distinct(),),
        near_misses=_near_misses(talk, plan, outputs),
    )


def _steady(outputs: list[Frame]) -> bool:
    """Whether the first noun of the first picture is in the last one, in the same colour and style."""
    first, *_ = outputs[0].scene.spec.objects
    same = [o for o in outputs[-1].scene.spec.objects if o.concept == first.concept]
    return bool(same) and (same[0].color, same[0].style) == (first.color, first.style)


def _plain(plan: Plan) -> str:
    return noun_phrase(replace(plan.hero, size=0.33, count=1))


def _near_misses(talk: Talk, plan: Plan, outputs: list[Frame]) -> tuple[NearMiss, ...]:
    i, j = (int(k) for k in talk.rng.permutation(len(outputs))[:2])
    turned, repeated = list(outputs), list(outputs)
    turned[i], turned[j] = turned[j], turned[i]
    repeated[i] = outputs[j]
    misses = [NearMiss("pictures out of order", tuple(turned)), NearMiss("picture repeated", tuple(repeated))]
    scene: Scene = outputs[i].scene
    hero = next(o for o in scene.objects if o.concept == plan.hero.concept)
    others = [talk.concept(*(o.concept for o in scene.objects)) for _ in range(12)]
    fair = [name for name in others if visible(name, None, scene.background)]
    if fair:
        stranger = replace(hero, concept=fair[0], color=talk.color(fair[0], scene.background))
        swapped = tuple(stranger if o is hero else o for o in scene.objects)
        faulty = list(outputs)
        faulty[i] = outputs[i].shows(replace(scene, objects=swapped))
        misses.append(NearMiss("character swapped in one picture", tuple(faulty)))
    return tuple(misses)
