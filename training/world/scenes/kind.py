"""Scenes as a kind of picture: all of `training.world.scenes.rich`, captioned, drawn and verified."""

from dataclasses import replace

import numpy as np

from training.world.assets.concepts import concept
from training.world.kinds import Kind, Pixels
from training.world.report import Report
from training.world.scenes.caption import caption, join, noun_phrase, shared_style
from training.world.scenes.render import render
from training.world.scenes.rich import sample_rich_scene
from training.world.scenes.scene import ObjectSpec, Scene, object_spec
from training.world.scenes.verify import verify as verify_scene
from wanimage.conditions import COLORS, place_phrase

_STYLES = {
    "flat": "Flat vector shapes without gradients.",
    "gradient": "Vector shapes shaded with soft gradients.",
    "outline": "Line drawings of one ink.",
    "noto": "Emoji with fine shading, in noto style.",
}
_LIGHT = {"day": "Even daylight.", "sunset": "Warm evening light.", "night": "Dim night light."}
_TIMES = {"day": "Day.", "sunset": "Sunset.", "night": "Night."}
_WEATHERS = {"rain": "It rains.", "snowfall": "Snow is falling.", "fog": "It is foggy."}


def phrase(scene: Scene) -> str:
    """The scene's plainest caption, always the same."""
    return caption(scene, _Plain())


class _Plain(np.random.Generator):
    """Draws that choose every caption's commonest wording and order."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, *_: object, **__: object) -> float:  # type: ignore[override]
        """Above every share of a rarer wording but the plain one's."""
        return 0.5


def verify(scene: Scene, image: Pixels) -> Report:
    """All that the scene says and leaves unsaid."""
    return verify_scene(scene, image, strict=True)


def attributes(scene: Scene) -> dict[str, str]:
    """Sentences by name of `captions.ATTRIBUTES`."""
    said = [object_spec(scene, index) for index in range(len(scene.objects))]
    nouns = [noun_phrase(replace(item, style="flat")) for item in said]
    found = {
        "global_semantics": f"A picture of {join(nouns)} {scene.background.phrase}.",
        "background": _sentence(scene.background.phrase),
        "composition": f"{_number(sum(item.count for item in said))} before a simple background.",
        "style": _STYLES[shared_style(scene.spec)],
        "medium": "A digital vector illustration.",
        "object_counts": _sentence(join([_counted(item) for item in said])),
    }
    living = [n for n, i in zip(nouns, said, strict=True) if concept(i.concept).kind in ("animal", "person")]
    things = [n for n in nouns if n not in living]
    found |= {"subjects": _sentence(join(living))} if living else {}
    found |= {"objects": _sentence(join(things))} if things else {}
    described = [f"the {i.concept} is {word}" for i in said for word in _words(i)]
    found |= {"object_attributes": _sentence(join(described))} if described else {}
    placed = [
        f"{noun_phrase(replace(i, style='flat'), definite=True)} {_are(i)} {place_phrase(i.place)}"
        for i in said
        if i.place
    ]
    found |= {"spatial_layout": _sentence(join(placed))} if placed else {}
    related = [
        f"the {said[r.subject].concept} is {r.kind} the {said[r.target].concept}" for r in scene.relations
    ]
    found |= {"relations": _sentence(join(related))} if related else {}
    colors = list(dict.fromkeys(word for i in said if (word := i.color)))
    found |= {"palette": _sentence(join([f"{color} objects" for color in colors]))} if colors else {}
    return found | _surroundings(scene)


def _surroundings(scene: Scene) -> dict[str, str]:
    ground = scene.background
    if ground.kind == "transparent":
        return {"transparency": "The background is transparent; the objects are opaque."}
    if ground.kind != "setting":
        return {}
    time = str(ground.time)
    found = {
        "setting": _sentence(ground.phrase),
        "time_of_day": _TIMES[time],
        "lighting": _LIGHT[time],
    }
    return found | ({"weather": _WEATHERS[ground.weather]} if ground.weather else {})


def _words(item: ObjectSpec) -> list[str]:
    size = item.size if item.size in ("small", "large") else ""
    return [word for word in (size, item.color if item.color in COLORS else "") if word]


def _counted(item: ObjectSpec) -> str:
    return noun_phrase(ObjectSpec(item.concept, None, "", "", "flat", item.count))


def _number(count: int) -> str:
    return "One object" if count == 1 else f"{count} objects"


def _are(item: ObjectSpec) -> str:
    return "is" if item.count == 1 else "are"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


KIND = Kind("scene", "non-photorealistic", sample_rich_scene, render, verify, phrase, attributes)
