"""The illustrated stories of `training.world.dialogues.story` as samples that are verified."""

from dataclasses import replace

from training.world.dialogues.story import story as tell
from training.world.dialogues.talk import Grid, Picture, Talk, Turn
from training.world.scenes.sample import visible
from training.world.scenes.scene import Scene, SceneObject
from training.world.tasks.asking import Wish
from training.world.tasks.building import requests_of
from training.world.tasks.captions import captions
from training.world.tasks.pictures import kind_of
from training.world.tasks.sample import Frame, NearMiss, Sample


def story(talk: Talk, aspect: Grid | None = None) -> Sample:
    """Two to twelve pictures with a sentence or two before each; the tale's own shape unless one is asked."""
    del aspect  # a story chooses its shape when its cast is staged
    told = tell(talk)
    ask, answer = told.turns[0], told.turns[-1]
    outputs = tuple(_frame(picture) for picture in answer.pictures)
    hero = outputs[0].scene.objects[0].concept
    wish = Wish(
        f"story, {hero}, {len(outputs)} pictures",
        f"tell a story about the {hero} in {len(outputs)} pictures",
        f"write and illustrate this: {ask.text.rstrip('.?!')}",
        (f"The {hero} has to look the same in each of the {len(outputs)} pictures.",),
    )
    levels, request = requests_of(talk, wish)
    request = ask.text if talk.chance(0.7) else request
    turns = (*told.turns[:-2], Turn("user", request), replace(answer, pictures=outputs))
    said = tuple(captions(kind_of("scene"), each.scene, talk.rng) for each in outputs)
    return Sample(
        "story",
        talk.split,
        (),
        outputs,
        said,
        levels,
        request,
        replace(told, turns=turns),
        near_misses=_near_misses(talk, outputs),
    )


def _frame(picture: Picture) -> Frame:
    return Frame(picture.scene, picture.grid, picture.prompt)


def _near_misses(talk: Talk, outputs: tuple[Frame, ...]) -> tuple[NearMiss, ...]:
    """The hero is somebody else in one picture, or is missing from it."""
    index = int(talk.rng.integers(len(outputs)))
    scene: Scene = outputs[index].scene
    hero, *rest = scene.objects
    others = [talk.concept(*(o.concept for o in scene.objects)) for _ in range(12)]
    fair = [name for name in others if visible(name, None, scene.background)]
    found = [NearMiss("hero missing from one picture", _with(outputs, index, tuple(rest)))]
    if fair:
        stranger = replace(hero, concept=fair[0], color=talk.color(fair[0], scene.background))
        swapped = _with(outputs, index, (stranger, *rest))
        found.append(NearMiss("character swapped in one picture", swapped))
    return tuple(found)


def _with(outputs: tuple[Frame, ...], index: int, objects: tuple[SceneObject, ...]) -> tuple[Frame, ...]:
    faulty = list(outputs)
    faulty[index] = outputs[index].shows(replace(outputs[index].scene, objects=objects))
    return tuple(faulty)
