"""Requests for single pictures and for series, from terse to verbose, and their answers."""

from training.world.assets.concepts import COLORABLE, CONCEPTS, of_kind
from training.world.dialogues.talk import (
    ALL_TIMES,
    BASE_GRID,
    SIZE_WORDINGS,
    Dialogue,
    Grid,
    Picture,
    Talk,
    Turn,
    capital,
    markup,
    retime,
    series,
)
from training.world.scenes.caption import describe, join, noun_phrase, with_article
from training.world.scenes.scene import Background, Scene, SceneObject
from wanimage.conditions import COLORS, SETTINGS, place_phrase

_ASKS = (
    "Draw {x}.",
    "draw {x}",
    "Draw {x}, please.",
    "Please draw {x}.",
    "Can you draw {x}?",
    "Could you paint {x}?",
    "I would like a picture of {x}.",
    "A picture of {x}.",
    "Make a picture of {x}.",
    "Make an image of {x}.",
    "make {x}",
    "Create {x}.",
    "Generate {x}.",
    "Show me {x}.",
    "Paint {x}.",
    "I want to see {x}.",
    "{x}",
    "{X}.",
    "An illustration of {x}, please.",
    "Please create an image that shows {x}.",
    "Give me {x}.",
)
_SIZED_ASKS = (
    "Draw a {s} picture of {x}.",
    "A {s} picture of {x}, please.",
    "Make a {s} image of {x}.",
    "Draw {x} as a {s} picture.",
    "{x}, {s}",
    "{X}, {s} format.",
    "I need a {s} image with {x}.",
    "Create a {s} illustration: {x}.",
    "Please draw {x} in {s} format.",
)
_PLAIN_LEADS = ("Here is your picture.", "Here it is.", "Of course.")
_LEADS = (
    *_PLAIN_LEADS,
    "Here is {x}.",
    "Here you are: {x}.",
    "Sure, {x}.",
    "With pleasure: {x}.",
    "I will draw {x}.",
)
_TAILS = (
    "I hope you like it.",
    "Would you like to change something?",
    "Shall I draw another one?",
    "Tell me if you want it different.",
)


def single(talk: Talk) -> Dialogue:
    """One picture; the request says some of the scene, the answer settles the rest."""
    picture, ask = single_request(talk)
    return Dialogue("single", (Turn("user", ask), answer(talk, picture)))


def single_request(talk: Talk, plain: bool = False) -> tuple[Picture, str]:
    """A picture and a request that it satisfies; `plain` keeps to the base size."""
    grid = BASE_GRID if plain or talk.chance(0.72) else talk.pick(list(SIZE_WORDINGS))
    stated_ground = talk.chance(0.62)
    ground = (
        None
        if stated_ground
        else talk.scenery()
        if talk.chance(0.8)
        else Background.plain(talk.pick(list(COLORS)))
    )
    scene = talk.scene(grid, background=ground)
    picture = talk.picture(scene, grid)
    words = picture.prompt if talk.chance(0.1) else _scene_words(talk, scene, stated_ground)
    sized = grid != BASE_GRID or (not plain and talk.chance(0.06))
    form = talk.pick(_SIZED_ASKS if sized else _ASKS)
    return picture, form.format(x=words, X=capital(words), s=talk.pick(SIZE_WORDINGS[grid]))


def answer(talk: Talk, picture: Picture, lead: str | None = None) -> Turn:
    """An assistant's turn with one picture: thought, lead-in and closing words come and go."""
    text = ""
    if talk.chance(0.1):
        text += (
            f"<think>{capital(describe(picture.scene, places=True))}. {_size_thought(picture.grid)}</think>"
        )
    if lead is not None or talk.chance(0.45):
        text += lead or _lead(talk, picture.scene)
    text += markup(picture)
    if talk.chance(0.2):
        text += talk.pick(_TAILS)
    return Turn("assistant", text, (picture,))


def _lead(talk: Talk, scene: Scene) -> str:
    names = [o.concept for o in scene.objects]
    return talk.pick(_LEADS if len(set(names)) == len(names) else _PLAIN_LEADS).format(x=describe(scene))


def _size_thought(grid: Grid) -> str:
    return f"The picture is {SIZE_WORDINGS[grid][0]}."


def _scene_words(talk: Talk, scene: Scene, ground: bool) -> str:
    """The scene as a user puts it: colours, sizes and places may be left out, repeated things counted."""
    detail = talk.pick([0.0, 0.25, 0.25, 0.6, 1.0])
    said = [_object_words(talk, item, detail) for item in scene.objects]
    first = scene.objects[0]
    alike = [o for o in scene.objects if o.concept == first.concept]
    if len(alike) == len(scene.objects) > 1 and talk.chance(0.7):
        color = f"{first.color} " if len({o.color for o in alike}) == 1 and first.color else ""
        said = [f"{talk.number(len(alike))} {color}{CONCEPTS[first.concept].plural}"]
    words = join(said)
    if ground:
        time = scene.background.time != "day" or talk.chance(0.5)
        words += talk.pick([" ", " ", ", "]) + talk.ground_words(scene.background, time)
    return words


def _object_words(talk: Talk, item: SceneObject, detail: float) -> str:
    size = item.size_word if item.size_word != "medium" and talk.chance(detail) else ""
    color = item.color if item.color and talk.chance(0.4 + detail) else ""
    words = with_article(" ".join(w for w in (size, color, item.concept) if w))
    if not talk.chance(detail):
        return words
    place = place_phrase(item.place)
    if item.place in ("left", "right") and talk.chance(0.3):
        place = place.replace("at the", "on the")
    return f"{words} {place}"


def series_request(talk: Talk) -> Dialogue:
    """Several pictures at once, that belong together: stickers, colour variations, places, times of day."""
    kind = talk.pick([_stickers, _colors, _places, _times, _variations])
    ask, scenes, lead = kind(talk)
    pictures = tuple(talk.picture(scene) for scene in scenes)
    text = f"<think>A series of {len(pictures)} pictures.</think>" if talk.chance(0.1) else ""
    text += (lead if talk.chance(0.7) else "") + series(pictures)
    if talk.chance(0.2):
        text += talk.pick(("Which one do you like best?", "I hope you like them.", "Shall I draw more?"))
    return Dialogue("series", (Turn("user", talk.pick(ask)), Turn("assistant", text, pictures)))


Series = tuple[tuple[str, ...], list[Scene], str]


def _count(talk: Talk, most: int) -> int:
    return min(most, talk.weighted({2: 0.2, 3: 0.3, 4: 0.3, 5: 0.08, 6: 0.08, 8: 0.02, 9: 0.01, 12: 0.01}))


def _stickers(talk: Talk) -> Series:
    count = _count(talk, 9)
    kind, names = talk.pick(
        [
            ("animal", of_kind("animal")),
            ("food", of_kind("food")),
            ("toy", of_kind("toy")),
            ("vehicle", of_kind("vehicle")),
        ]
    )
    count = min(count, len(names))
    chosen = [names[i] for i in talk.rng.permutation(len(names))[:count]]
    ground = Background.transparent()
    scenes = [talk.alone(n, talk.color(n, ground), ground) for n in chosen]
    n = talk.number(count)
    asks = (
        f"Make {n} {kind} stickers.",
        f"{n} stickers of {kind}s" if kind != "food" else f"{n} stickers of food",
        f"I need a set of {n} {kind} stickers.",
        f"Draw {n} {kind} stickers on a transparent background.",
        f"A set of {n} stickers, please: {join([with_article(c) for c in chosen])}.",
    )
    return asks, scenes, f"Here are {n} stickers."


def _colors(talk: Talk) -> Series:
    concept, count = talk.pick(COLORABLE), _count(talk, 6)
    ground = talk.pick([Background.transparent(), Background.plain("white"), talk.scenery(time="day")])
    colors: list[str] = []
    while len(colors) < count:
        color = talk.color(concept, ground)
        if color and color not in colors:
            colors.append(color)
    scenes = [talk.alone(concept, color, ground, "large") for color in colors]
    n, plural, where = talk.number(count), CONCEPTS[concept].plural, talk.ground_words(ground)
    asks = (
        f"Draw {n} {plural} in different colours, one in each picture, {where}.",
        f"A series of {n} pictures: {with_article(concept)} in {join(colors)}, {where}.",
        f"Show {with_article(concept)} in {n} colours {where}.",
        f"Make {n} colour variations of {with_article(concept)} {where}.",
    )
    return asks, scenes, f"Here is the {concept} in {n} colours."


def _places(talk: Talk) -> Series:
    count = _count(talk, 6)
    concept = talk.pick(of_kind("animal", "person", "vehicle"))
    order = [list(SETTINGS)[i] for i in talk.rng.permutation(len(SETTINGS))[:count]]
    color = talk.pick(["red", "blue", "yellow", "purple"]) if CONCEPTS[concept].colorable else None
    scenes = [talk.alone(concept, color, talk.scenery(s, "day"), "medium") for s in order]
    words, n = noun_phrase(SceneObject(concept, color)), talk.number(count)
    where = join([talk.setting_words(s) for s in order])
    asks = (
        f"A series of {n} pictures of {words} in different places.",
        f"Show {words} in {n} different places.",
        f"Draw the same {words.split(' ', 1)[1]} {where}.",
        f"{n} pictures of {words}: {where}",
    )
    return asks, scenes, f"Here is {words} in {n} places."


def _times(talk: Talk) -> Series:
    scene = talk.scene(n_objects=talk.pick([1, 1, 2]), background=talk.scenery(time="day"))
    if any(item.color == "black" for item in scene.objects):
        scene = Scene((SceneObject("owl", None, 0.5, 0.5, 0.34),), scene.background)
    scenes = [Scene(scene.objects, retime(scene.background, time)) for time in ALL_TIMES]
    words = join([noun_phrase(o) for o in scene.objects])
    where = talk.setting_words(str(scene.background.setting))
    asks = (
        f"A series of three pictures: {words} {where} by day, at sunset and at night.",
        f"Show {words} {where} at three times of day.",
        f"Draw {words} {where} by day, at sunset and at night.",
    )
    return asks, scenes, "Here are day, sunset and night."


def _variations(talk: Talk) -> Series:
    count = _count(talk, 4)
    first = talk.scene(n_objects=talk.pick([1, 1, 2]))
    cast = [(o.concept, o.color, o.size_word) for o in first.objects]
    scenes = [first]
    while len(scenes) < count:
        scene = talk.stage(cast, first.background)
        if scene is not None:
            scenes.append(scene)
    n = talk.number(count)
    asks = (
        f"Draw {n} variations of {describe(first)}.",
        f"{n} versions of {describe(first)}",
        f"Give me {n} variations of {describe(first)}.",
    )
    return asks, scenes, f"Here are {n} variations."
