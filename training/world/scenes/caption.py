"""Captions: from a scene to its prompt, and exactly back.

    caption    := units ", " background [style] | Background ": " units [style]
    units      := unit (", " unit)* (" and " unit)?
    unit       := object [place] | object [place] relation object [place]
    object     := article [size] [colour] [style "-style"] noun | number [colour] [style "-style"] plural
    place      := "at the left" | "on the left" | "in the top left corner" | "in the middle" | ...
    relation   := "left of" | "inside" | "holding" | ... (the kinds of training.world.scenes.relations)
    style      := ", drawn in " style " style", said where all objects share one that is not flat
    background := the phrases of wanimage.conditions, and a setting's weather

`parse(caption(scene, rng)) == spec(scene)` for every scene; a test holds it.
"""

import re
from dataclasses import replace

import numpy as np

from training.world.assets.concepts import CATALOGUE, SHAPES, STYLES, colorable, concept
from training.world.scenes.relations import KINDS
from training.world.scenes.scene import (
    WEATHERS,
    Background,
    ObjectSpec,
    RelationSpec,
    Scene,
    SceneObject,
    Spec,
    make_spec,
    object_spec,
)
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
_NOUNS_OF = [*CATALOGUE.values(), *SHAPES.values()]
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Words of the counts 1 to 9."""
_NAMES = {**{c.name: c.name for c in _NOUNS_OF}, **{c.plural: c.name for c in _NOUNS_OF}}
_NOUNS = "|".join(sorted(_NAMES, key=len, reverse=True))
_PLACE_PATTERN = "|".join(sorted(_PLACE_OF, key=len, reverse=True))
_OBJECT = re.compile(
    rf"(an?|{'|'.join(NUMBERS[1:])}) (?:(small|large) )?(?:({'|'.join(COLORS)}) )?"
    rf"(?:({'|'.join(STYLES[1:])})-style )?({_NOUNS})(?: ({_PLACE_PATTERN}))?"
    rf"(?=,| and | (?:{'|'.join(KINDS)}) |$)"
)
_DRAWN = re.compile(rf", drawn in ({'|'.join(STYLES[1:])}) style$")
_SETTING = re.compile(
    rf"({'|'.join(SETTINGS.values())}) ({'|'.join(TIMES.values())})(?: ({'|'.join(WEATHERS.values())}))?"
)
_PLAIN = re.compile(rf"on a plain ({'|'.join(COLORS)}) background")
_BAND = re.compile(rf"({'|'.join(COLORS)}) (\d+)%")
_WEATHER_OF = {phrase: name for name, phrase in WEATHERS.items()}
_SETTING_OF = {phrase: name for name, phrase in SETTINGS.items()}
_TIME_OF = {phrase: name for name, phrase in TIMES.items()}


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the scene's captions: wording and order vary, what is said does not."""
    order = list(range(len(scene.objects)))
    if rng.random() < 0.3:
        order = [order[i] for i in rng.permutation(len(order))]
    plain = rng.random() < 0.75  # most captions keep the plain wording of places
    shared = shared_style(scene.spec)
    phrases = [_phrase(object_spec(scene, index), shared, rng, plain) for index in order]
    said = _units(scene, dict(zip(order, phrases, strict=True)))
    background = scene.background.phrase
    style = f", drawn in {shared} style" if shared != "flat" else ""
    if not said:
        return background
    if rng.random() < 0.12:
        return f"{background[0].upper()}{background[1:]}: {join(said)}{style}"
    return f"{join(said)}, {background}{style}"


def shared_style(said: Spec) -> str:
    """The style that all objects have, or flat where they have several."""
    styles = {item.style for item in said.objects}
    return styles.pop() if len(styles) == 1 else "flat"


def _phrase(item: ObjectSpec, shared: str, rng: np.random.Generator, plain: bool) -> str:
    """An object with its place, if that is said."""
    words = noun_phrase(replace(item, style="flat") if item.style == shared else item)
    return f"{words} {_place_wording(item.place, rng, plain)}" if item.place else words


def _units(scene: Scene, phrases: dict[int, str]) -> list[str]:
    """Objects' phrases in order, related ones joined where the first of the two stands."""
    units: list[str] = []
    related = {index: r for r in scene.relations for index in (r.subject, r.target)}
    for index, phrase in phrases.items():
        relation = related.get(index)
        if relation is None:
            units.append(phrase)
            continue
        unit = f"{phrases[relation.subject]} {relation.kind} {phrases[relation.target]}"
        units += [unit] if unit not in units else []
    return units


def noun_phrase(item: SceneObject | ObjectSpec, definite: bool = False) -> str:
    """`a small red balloon`, `the small red balloon` or `five red balloons`."""
    size = item.size if isinstance(item, ObjectSpec) else item.size_word if item.count == 1 else ""
    style = "" if item.style == "flat" else f"{item.style}-style"
    noun = item.concept if item.count == 1 else concept(item.concept).plural
    words = " ".join(w for w in ("" if size == "medium" else size, item.color or "", style, noun) if w)
    if item.count > 1:
        words = f"{NUMBERS[item.count - 1]} {words}"
        return f"the {words}" if definite else words
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
    drawn = _DRAWN.search(prompt)
    style, said = (drawn[1], prompt[: drawn.start()]) if drawn else ("flat", prompt)
    head, colon, tail = said.partition(": ")
    if colon:
        words, background = tail, _background(head[0].lower() + head[1:])
    else:
        found = list(_OBJECT.finditer(said))
        cut = found[-1].end() if found else 0
        words, background = said[:cut], _background(said[cut:].removeprefix(", "))
    objects: list[ObjectSpec] = []
    pairs: list[tuple[str, int]] = []  # relation, index of its subject
    end = 0
    for match in _OBJECT.finditer(words):
        between = words[end : match.start()]
        if objects and between[1:-1] in KINDS and between == f" {between[1:-1]} ":
            pairs.append((between[1:-1], len(objects) - 1))
        elif between not in (("", ", ", " and ") if objects else ("",)):
            raise ValueError(f"not a caption of the world: {between!r} in {prompt!r}")
        objects.append(_object(match, style))
        end = match.end()
    if end != len(words):
        raise ValueError(f"not a caption of the world: {words[end:]!r} in {prompt!r}")
    return _related(objects, pairs, background)


def _object(match: re.Match[str], shared: str) -> ObjectSpec:
    article, size, color, style, noun, place = match.groups()
    name = _NAMES[noun]
    plural = article in NUMBERS
    expected = concept(name).plural if plural else name
    if noun != expected or (plural and size):
        raise ValueError(f"not a caption of the world: {match.group()!r} has the wrong number")
    words = " ".join(w for w in (size, color, style and f"{style}-style", noun) if w)
    if not plural and article != with_article(words).split(" ")[0]:
        raise ValueError(f"not a caption of the world: {match.group()!r} has the wrong article")
    if color and not colorable(name, style or shared):
        raise ValueError(f"not a caption of the world: a {name} has no colour word")
    count = NUMBERS.index(article) + 1 if plural else 1
    size = "" if plural else size or "medium"
    return ObjectSpec(name, color, _PLACE_OF[place] if place else "", size, style or shared, count)


def _related(objects: list[ObjectSpec], pairs: list[tuple[str, int]], background: Background) -> Spec:
    """The spec of what was read; what a relation implies is unsaid, and only that."""
    implied = set()
    for kind, index in pairs:
        for role, at in (("subject", index), ("target", index + 1)):
            if role in KINDS[kind].sizeless:
                objects[at] = replace(objects[at], size="")
            if role == KINDS[kind].placeless:
                implied.add(at)
    for at, item in enumerate(objects):
        if bool(item.place) == (at in implied):
            wrong = "no" if not item.place else "a"
            raise ValueError(f"not a caption of the world: {noun_phrase(item)} has {wrong} place")
    relations = [RelationSpec(kind, objects[index], objects[index + 1]) for kind, index in pairs]
    return make_spec(objects, background, relations)


def _place_wording(place: str, rng: np.random.Generator, plain: bool) -> str:
    wordings = _PLACE_WORDINGS[place]
    return wordings[0] if plain else wordings[int(rng.integers(len(wordings)))]


def _background(words: str) -> Background:
    if words == TRANSPARENT:
        return Background.transparent()
    if match := _SETTING.fullmatch(words):
        weather = _WEATHER_OF[match[3]] if match[3] else None
        return Background.scenery(_SETTING_OF[match[1]], _TIME_OF[match[2]], weather=weather)
    if match := _PLAIN.fullmatch(words):
        return Background.plain(match[1])
    listed = words.removeprefix("on a background of ").split(", ")
    bands = [_BAND.fullmatch(band) for band in listed]
    if listed != [words] and all(bands):
        return Background.palette(*((m[1], int(m[2]) / 100) for m in bands if m))
    raise ValueError(f"not a background of the world: {words!r}; see wanimage.conditions")


assert set(_PLACE_WORDINGS) == set(PLACES), "every place word has its wordings"
