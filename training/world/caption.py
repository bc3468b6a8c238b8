"""Captions: from a scene to its prompt, and exactly back.

    caption    := objects ", " background | Background ": " objects
    objects    := object (", " object)* (" and " object)?
    object     := article [size] [colour] noun place
    place      := "at the left" | "on the left" | "in the top left corner" | "in the middle" | ...
    background := the phrases of wanimage.conditions

`parse(caption(scene, rng)) == spec(scene)` for every scene; a test holds it.
"""

import re

import numpy as np

from training.world.concepts import CONCEPTS, SHAPES, concept
from training.world.scene import Background, ObjectSpec, Scene, SceneObject, Spec, make_spec
from wanimage.conditions import COLORS, PLACES, SETTINGS, TIMES, TRANSPARENT

_PLACE_WORDINGS: dict[str, tuple[str, ...]] = {  # the first is the commonest and the services' own
    "top left": ("at the top left", "in the top left corner"),
    "top": ("at the top",),
    "top right": ("at the top right", "in the top right corner"),
    "left": ("at the left", "on the left"),
    "center": ("in the center", "in the middle"),
    "right": ("at the right", "on the right"),
    "bottom left": ("at the bottom left", "in the bottom left corner"),
    "bottom": ("at the bottom",),
    "bottom right": ("at the bottom right", "in the bottom right corner"),
}
_PLACE_OF = {words: place for place, wordings in _PLACE_WORDINGS.items() for words in wordings}
_NOUNS = "|".join(sorted([*CONCEPTS, *SHAPES], key=len, reverse=True))
_PLACE_PATTERN = "|".join(sorted(_PLACE_OF, key=len, reverse=True))
_OBJECT = re.compile(rf"(an?) (?:(small|large) )?(?:({'|'.join(COLORS)}) )?({_NOUNS}) ({_PLACE_PATTERN})")
_SETTING = re.compile(rf"({'|'.join(SETTINGS.values())}) ({'|'.join(TIMES.values())})")
_PLAIN = re.compile(rf"on a plain ({'|'.join(COLORS)}) background")
_BAND = re.compile(rf"({'|'.join(COLORS)}) (\d+)%")
_SETTING_OF = {phrase: name for name, phrase in SETTINGS.items()}
_TIME_OF = {phrase: name for name, phrase in TIMES.items()}


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the scene's captions: wording and order vary, what is said does not."""
    order = list(scene.objects)
    if rng.random() < 0.3:
        order = [order[i] for i in rng.permutation(len(order))]
    style = rng.random() < 0.75  # most captions keep the plain wording of places
    said = [f"{noun_phrase(o)} {_place_wording(o.place, rng, style)}" for o in order]
    background = scene.background.phrase
    if not said:
        return background
    if rng.random() < 0.12:
        return f"{background[0].upper()}{background[1:]}: {join(said)}"
    return f"{join(said)}, {background}"


def noun_phrase(item: SceneObject | ObjectSpec, definite: bool = False) -> str:
    """`a small red balloon`, or `the small red balloon`."""
    size = item.size if isinstance(item, ObjectSpec) else item.size_word
    words = " ".join(w for w in ("" if size == "medium" else size, item.color or "", item.concept) if w)
    return f"the {words}" if definite else with_article(words)


def with_article(words: str) -> str:
    """`owl` -> `an owl`."""
    return f"{'an' if words[0] in 'aeiou' and not words.startswith('uni') else 'a'} {words}"


def join(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def describe(scene: Scene, places: bool = False) -> str:
    """A short natural noun phrase for chat: `a fox and a small red balloon in a meadow by day`."""
    said = [
        f"{noun_phrase(o)} {_PLACE_WORDINGS[o.place][0]}" if places else noun_phrase(o) for o in scene.objects
    ]
    return f"{join(said)} {scene.background.phrase}" if said else scene.background.phrase


def parse(prompt: str) -> Spec:
    """What a caption says. Raises ValueError, naming the words, when it is not of the grammar."""
    head, colon, tail = prompt.partition(": ")
    if colon:
        words, background = tail, _background(head[0].lower() + head[1:])
    else:
        found = list(_OBJECT.finditer(prompt))
        cut = found[-1].end() if found else 0
        words, background = prompt[:cut], _background(prompt[cut:].removeprefix(", "))
    objects, end = [], 0
    for match in _OBJECT.finditer(words):
        if words[end : match.start()] not in ("", ", ", " and "):
            raise ValueError(f"not a caption of the world: {words[end : match.start()]!r} in {prompt!r}")
        article, size, color, noun, place = match.groups()
        if article != with_article(" ".join(w for w in (size, color, noun) if w)).split(" ")[0]:
            raise ValueError(f"not a caption of the world: {match.group()!r} has the wrong article")
        if color and not concept(noun).colorable:
            raise ValueError(f"not a caption of the world: a {noun} has no colour word")
        objects.append(ObjectSpec(noun, color, _PLACE_OF[place], size or "medium"))
        end = match.end()
    if end != len(words):
        raise ValueError(f"not a caption of the world: {words[end:]!r} in {prompt!r}")
    return make_spec(objects, background)


def _place_wording(place: str, rng: np.random.Generator, plain: bool) -> str:
    wordings = _PLACE_WORDINGS[place]
    return wordings[0] if plain else wordings[int(rng.integers(len(wordings)))]


def _background(words: str) -> Background:
    if words == TRANSPARENT:
        return Background.transparent()
    if match := _SETTING.fullmatch(words):
        return Background.scenery(_SETTING_OF[match[1]], _TIME_OF[match[2]])
    if match := _PLAIN.fullmatch(words):
        return Background.plain(match[1])
    listed = words.removeprefix("on a background of ").split(", ")
    bands = [_BAND.fullmatch(band) for band in listed]
    if listed != [words] and all(bands):
        return Background.palette(*((m[1], int(m[2]) / 100) for m in bands if m))
    raise ValueError(f"not a background of the world: {words!r}; see wanimage.conditions")


assert set(_PLACE_WORDINGS) == set(PLACES), "every place word has its wordings"
