"""Captions taken apart, said in other words and compared; and facts about the nouns of the world."""

import re

from training.understanding.data.exercise import Exercise, Maker, exercise, nouns, several
from training.world.assets.concepts import concept
from training.world.dialogues.talk import Talk, capital
from training.world.scenes.caption import caption, describe, join, noun_phrase, with_article
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.answers import Answer
from wanimage.conditions import COLORS, PLACES, place_phrase

_KIND_WORDS = {
    "animal": "an animal", "food": "food", "vehicle": "a vehicle", "person": "a person or a figure",
    "toy": "a toy", "nature": "part of nature", "thing": "a thing",
}  # fmt: skip


def reworded(talk: Talk) -> Exercise:
    """A scene in the words of a prompt, in the order in which the user named its things."""
    scene = talk.scene()
    order = [scene.objects[int(i)] for i in talk.rng.permutation(len(scene.objects))]
    parts = [_placed(item) for item in order]
    ask = talk.pick(
        ("Write this as a prompt: {x}", "As a prompt, please: {x}", "Turn this into a caption: {x}")
    )
    wanted = f"{join(parts)}, {scene.background.phrase}"
    return exercise("reword", ask.format(x=_loosely(talk, parts, scene.background)), wanted)


def things_of(talk: Talk) -> Exercise:
    """The things of a caption, as a list."""
    scene = _distinct(talk)
    words = caption(scene, talk.rng)
    items = [noun_phrase(item).split(" ", 1)[1] for item in _in_order(scene, words)]
    ask = talk.pick(("What is in this picture? {x}", "List the objects: {x}", "Which things are in it? {x}"))
    return exercise("things of a caption", ask.format(x=words), ", ".join(items))


def detail_of(talk: Talk) -> Exercise:
    """Where something is, what colour it has, or where the scene is, by its caption."""
    scene = _distinct(talk)
    words = capital(caption(scene, talk.rng))
    item = talk.pick(scene.objects)
    form = talk.pick(("place", "color", "ground"))
    if form == "place":
        rivals = tuple(p for p in PLACES if p != item.place)
        answer = Answer(item.place, capital(f"{place_phrase(item.place)}."), rivals)
        return Exercise("detail", f"{words}. Where is the {item.concept}?", answer)
    if form == "color" and item.color:
        rivals = tuple(c for c in COLORS if c != item.color)
        return Exercise(
            "detail",
            f"{words}. What colour is the {item.concept}?",
            Answer(item.color, f"{capital(item.color)}.", rivals),
        )
    ground = scene.background.phrase
    return exercise("detail", f"{words}. What is the background?", capital(f"{ground}."), (), ground)


def shorter(talk: Talk) -> Exercise:
    """A caption without sizes, colours, places and background."""
    scene = _distinct(talk)
    words = caption(scene, talk.rng)
    said = join([with_article(o.concept) for o in _in_order(scene, words)])
    return exercise("shorten", f"Make it short: {words}", capital(f"{said}."))


def fuller(talk: Talk) -> Exercise:
    """The background of a caption changed, all else kept."""
    scene = talk.scene()
    other = talk.scenery()
    after = Scene(scene.objects, other)
    first = describe(scene, places=True)
    ask = talk.pick(
        (
            f"Keep everything but the background, it shall be {other.phrase}: {first}",
            f"The same {other.phrase}, please: {first}",
            f"{capital(first)}. Now {other.phrase}.",
        )
    )
    return exercise("change a caption", ask, capital(f"{describe(after, places=True)}."))


def differ(talk: Talk) -> Exercise:
    """Two captions that differ in one object."""
    scene = _distinct(talk)
    index = int(talk.rng.integers(len(scene.objects)))
    old = scene.objects[index]
    new = SceneObject(talk.concept(*(o.concept for o in scene.objects)), None, old.cx, old.cy, old.size)
    swapped = Scene(tuple(new if o is old else o for o in scene.objects), scene.background)
    before, after = describe(scene, places=True), describe(swapped, places=True)
    reply = f"{capital(noun_phrase(old))} became {noun_phrase(new)}."
    return exercise("difference", f"What changed? Before: {before}. After: {after}.", reply)


def more_things(talk: Talk) -> Exercise | None:
    """Which of two captions names more."""
    scenes = [talk.scene(), talk.scene()]
    counts = [len(scene.objects) for scene in scenes]
    if counts[0] == counts[1]:
        return None
    said = [capital(describe(scene)) for scene in scenes]
    winner, loser = ("first", "second") if counts[0] > counts[1] else ("second", "first")
    steps = tuple(
        f"The {nth} has {join([o.concept for o in scene.objects])}: {len(scene.objects)}."
        for nth, scene in zip(("first", "second"), scenes, strict=True)
    )
    ask = f"Which has more things? First: {said[0]}. Second: {said[1]}."
    return Exercise("more things", ask, Answer(winner, f"The {winner}.", (loser,), steps))


def holds(talk: Talk) -> Exercise:
    """Whether a caption names a thing."""
    scene = talk.scene()
    names = [o.concept for o in scene.objects]
    name = talk.pick(names) if talk.chance(0.5) else talk.concept(*names)
    key, rival = ("yes", "no") if name in names else ("no", "yes")
    ask = f"{capital(caption(scene, talk.rng))}. Is there {with_article(name)} in it?"
    among = "is among them" if name in names else "is not among them"
    steps = (f"It names {join([with_article(n) for n in names])}.", f"{capital(with_article(name))} {among}.")
    return Exercise("holds", ask, Answer(key, f"{capital(key)}.", (rival,), steps))


def kind_of_noun(talk: Talk) -> Exercise:
    """What sort of thing a noun is."""
    name = talk.pick(nouns(talk.split))
    kind = concept(name).kind
    if talk.chance(0.5):
        other = talk.pick(("animal", "vehicle"))
        key, rival = ("yes", "no") if kind == other else ("no", "yes")
        reply = f"{capital(key)}, {with_article(name)} is {_KIND_WORDS[kind]}."
        return Exercise(
            "facts", f"Is {with_article(name)} {_KIND_WORDS[other]}?", Answer(key, reply, (rival,))
        )
    ask = talk.pick((f"What kind of thing is {with_article(name)}?", f"What is {with_article(name)}?"))
    words = _KIND_WORDS[kind]
    return exercise(
        "facts",
        ask,
        f"{capital(with_article(name))} is {words}.",
        (),
        words,
        (*_KIND_WORDS.values(), "yes", "no"),
    )


def plural(talk: Talk) -> Exercise:
    """One and several."""
    name = talk.pick(nouns(talk.split))
    many = concept(name).plural
    if talk.chance(0.5):
        return exercise("plural", f"One {name}, two ...?", f"Two {many}.")
    return exercise("plural", f"What is the singular of {many}?", name)


def some_of_kind(talk: Talk) -> Exercise:
    """Examples of a kind, out of a list."""
    kind = talk.pick(("animal", "food", "vehicle", "toy"))
    words = {"animal": "animals", "food": "food", "vehicle": "vehicles", "toy": "toys"}[kind]
    items = several(talk, 6, lambda t: t.pick(nouns(t.split)))
    hits = [item for item in items if concept(item).kind == kind]
    sorted_out = tuple(f"{capital(item)}: {_KIND_WORDS[concept(item).kind]}." for item in items)
    steps = sorted_out if hits else (*sorted_out, f"{capital(words)}: none.")
    return exercise(
        "of a kind", f"Which of these are {words}? {', '.join(items)}", ", ".join(hits) or "None.", steps
    )


LANGUAGE: dict[str, tuple[Maker, float]] = {  # maker and share
    "reword": (reworded, 0.2),
    "things of a caption": (things_of, 0.12),
    "detail": (detail_of, 0.14),
    "shorten": (shorter, 0.08),
    "change a caption": (fuller, 0.12),
    "difference": (differ, 0.08),
    "more things": (more_things, 0.06),
    "holds": (holds, 0.06),
    "facts": (kind_of_noun, 0.06),
    "plural": (plural, 0.03),
    "of a kind": (some_of_kind, 0.05),
}


def _placed(item: SceneObject) -> str:
    return f"{noun_phrase(item)} {place_phrase(item.place)}"


def _distinct(talk: Talk) -> Scene:
    """A scene in which every noun stands once."""
    while True:
        scene = talk.scene()
        if len({item.concept for item in scene.objects}) == len(scene.objects):
            return scene


def _in_order(scene: Scene, words: str) -> list[SceneObject]:
    """The objects as a caption names them, by where their noun phrases stand."""
    places = {item: re.search(rf"\b{noun_phrase(item)}\b", words) for item in scene.objects}
    return sorted(scene.objects, key=lambda item: places[item].start())  # type: ignore[union-attr]


def _loosely(talk: Talk, parts: list[str], background: Background) -> str:
    """All of a scene as a user might say it: a sentence, its place first, or a list."""
    ground = background.phrase if background.kind == "setting" else talk.ground_words(background)
    form = talk.pick(("sentence", "ground first", "bullets", "there is"))
    if form == "ground first":
        return f"{capital(ground)} there is {join(parts)}"
    if form == "bullets":
        return "".join(f"\n- {part}" for part in [*parts, ground])
    return f"{'there is ' if form == 'there is' else ''}{join(parts)} {ground}"
