"""Questions about a picture and their exact answers."""

from training.world.assets.concepts import CONCEPTS
from training.world.dialogues.requests import answer, single_request
from training.world.dialogues.talk import NUMBERS, Dialogue, Picture, Talk, Turn, capital
from training.world.scenes.caption import describe, join, noun_phrase
from training.world.scenes.scene import Background, Scene, SceneObject
from wanimage.conditions import place_phrase


def picture_question(talk: Talk) -> Dialogue:
    """One to three questions about a picture that the user brings, or about one just drawn."""
    turns: list[Turn] = []
    if talk.chance(0.6):
        scene = talk.scene()
        shown: tuple[Picture, ...] = (Picture(scene),)
    else:
        picture, ask = single_request(talk, plain=True)
        turns += [Turn("user", ask), answer(talk, picture)]
        scene, shown = picture.scene, ()
    asked: set[str] = set()
    for _ in range(talk.pick([1, 1, 2, 3])):
        ask, reply = question(talk, scene)
        if ask in asked:
            continue
        asked.add(ask)
        turns += [Turn("user", ask, shown), Turn("assistant", _think(talk, scene) + reply)]
        shown = ()
    return Dialogue("question", tuple(turns))


def _think(talk: Talk, scene: Scene) -> str:
    return f"<think>I see {describe(scene, places=True)}.</think>" if talk.chance(0.08) else ""


def question(talk: Talk, scene: Scene) -> tuple[str, str]:
    """A question that the scene answers, with the answer."""
    kinds = [_what, _what, _how_many, _how_many_kind, _is_there, _where, _background]
    if any(o.color and _alone(scene, o) for o in scene.objects):
        kinds += [_color, _color]
    if scene.background.kind == "setting":
        kinds += [_time]
    if len(scene.objects) > 1:
        kinds += [_bigger]
    found = None
    while found is None:
        found = talk.pick(kinds)(talk, scene)
    return found


def _alone(scene: Scene, item: SceneObject) -> bool:
    return sum(o.concept == item.concept for o in scene.objects) == 1


Pair = tuple[str, str] | None


def _what(talk: Talk, scene: Scene) -> Pair:
    asks = (
        "What is in the picture?",
        "What do you see?",
        "Describe the picture.",
        "What does the picture show?",
        "What is this?",
        "Please describe this image.",
    )
    lead = talk.pick(["", "", "I see ", "The picture shows "])
    return talk.pick(asks), capital(f"{lead}{describe(scene, places=True)}.")


def _how_many(talk: Talk, scene: Scene) -> Pair:
    count = len(scene.objects)
    said = join([noun_phrase(o) for o in scene.objects])
    verb = "is one object" if count == 1 else f"are {NUMBERS[count]} objects"
    return talk.pick(
        ("How many objects are there?", "How many things are in the picture?", "Count the objects.")
    ), (f"There {verb}: {said}.")


def _how_many_kind(talk: Talk, scene: Scene) -> Pair:
    concept = (
        talk.pick(scene.objects).concept
        if talk.chance(0.8)
        else talk.concept(*(o.concept for o in scene.objects))
    )
    count, plural = sum(o.concept == concept for o in scene.objects), CONCEPTS[concept].plural
    reply = {0: f"There are no {plural}.", 1: f"There is one {concept}."}.get(
        count, f"There are {NUMBERS[count]} {plural}."
    )
    return talk.pick((f"How many {plural} are there?", f"How many {plural} do you see?")), reply


def _is_there(talk: Talk, scene: Scene) -> Pair:
    if talk.chance(0.5):
        item = talk.pick(scene.objects)
        return f"Is there {noun_phrase(SceneObject(item.concept))} in the picture?", (
            f"Yes, there is {noun_phrase(item)} {place_phrase(item.place)}."
        )
    absent = talk.concept(*(o.concept for o in scene.objects))
    return f"Is there {noun_phrase(SceneObject(absent))} in the picture?", f"No, there is no {absent}."


def _where(talk: Talk, scene: Scene) -> Pair:
    item = talk.pick(scene.objects)
    if not _alone(scene, item):
        return None
    asks = (
        f"Where is the {item.concept}?",
        f"In which place is the {item.concept}?",
        f"Where do you see the {item.concept}?",
    )
    return talk.pick(asks), f"The {item.concept} is {place_phrase(item.place)}."


def _color(talk: Talk, scene: Scene) -> Pair:
    item = talk.pick([o for o in scene.objects if o.color and _alone(scene, o)])
    word = talk.pick(["colour", "color"])
    asks = (f"What {word} is the {item.concept}?", f"Which {word} does the {item.concept} have?")
    return talk.pick(asks), f"The {item.concept} is {item.color}."


def _time(talk: Talk, scene: Scene) -> Pair:
    asks = ("What time of day is it?", "Is it day or night?", "Is it day, sunset or night?")
    reply = {"day": "It is day.", "sunset": "It is sunset.", "night": "It is night."}[
        str(scene.background.time)
    ]
    return talk.pick(asks), reply


def _background(talk: Talk, scene: Scene) -> Pair:
    ground: Background = scene.background
    asks = (
        "What is the background?",
        "What does the background look like?",
        "Where is this?" if ground.kind == "setting" else "Describe the background.",
    )
    if ground.kind == "setting":
        return talk.pick(asks), f"It is {ground.phrase}."
    if ground.kind == "plain":
        return talk.pick(asks), f"The background is plain {ground.color}."
    if ground.kind == "palette":
        return talk.pick(asks), f"The background has bands of {join([c for c, _ in ground.bands])}."
    return talk.pick(asks), "The background is transparent."


def _bigger(talk: Talk, scene: Scene) -> Pair:
    a, b = (scene.objects[i] for i in talk.rng.permutation(len(scene.objects))[:2])
    ranks = {"small": 0, "medium": 1, "large": 2}
    if a.concept == b.concept or not (_alone(scene, a) and _alone(scene, b)) or a.size_word == b.size_word:
        return None
    bigger = a if ranks[a.size_word] > ranks[b.size_word] else b
    return f"Which is bigger, the {a.concept} or the {b.concept}?", f"The {bigger.concept} is bigger."
