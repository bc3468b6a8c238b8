"""Text proxies: plans in which every picture is a dense prompt, from words, from one picture, from several.

    from words             what the user types: a wish with all its details, keywords, a list of pictures
    from one picture       the request that would have led to it, and the plan that gives it back
    from several pictures  their descriptions first, then a tale that holds them together, mended

The planner sees none of these pictures: to train on a proxy, read it as text alone.
"""

from dataclasses import replace

from training.understanding.data.listings import all_of, ground, listing, prompt_of
from training.understanding.data.record import Record, annotate
from training.understanding.data.shapes import GRIDS, asked
from training.world.assets.concepts import colorable, concept
from training.world.dialogues.talk import (
    BASE_GRID,
    ORDINALS,
    Dialogue,
    Grid,
    Picture,
    Talk,
    Turn,
    capital,
    markup,
    series,
)
from training.world.scenes.caption import join, noun_phrase
from training.world.scenes.scene import Scene, SceneObject
from training.world.tasks.building import frame, some_grid
from training.world.tasks.captions import natural
from training.world.tasks.pictures import DETAIL, kind_of, share_of_kinds
from wanimage.conditions import COLORS, SETTINGS, place_phrase

SHAPED = 0.35
"""Share of the single pictures whose shape is asked for."""
SERIES = 0.5
"""Share of lists of pictures that come as a series; the others have words between them."""
COUNTS = {2: 0.22, 3: 0.26, 4: 0.2, 5: 0.12, 6: 0.08, 7: 0.03, 8: 0.03, 9: 0.02, 10: 0.02, 11: 0.01, 12: 0.01}
_LEADS = ("", "", "", "Here it is.", "Of course.", "Sure.", "Here is your picture.", "As you wish.")
_WISHES = (
    "Draw {x}", "{x}", "{X}", "I need a picture: {x}", "Please draw {x}", "Make an image with {x}",
    "A picture with {x}", "Can you draw {x}?", "Show me {x}", "I want {x}", "Picture: {x}",
    "Draw the following: {x}", "In the picture: {x}",
)  # fmt: skip


def wish(talk: Talk) -> Record:
    """One picture with everything said: each thing, its number, colour and place, and the shape."""
    grid = _shape(talk)
    scene = listing(talk, grid)
    words = all_of(talk, scene)
    ask = asked(talk, words, grid) if grid != BASE_GRID else _wished(talk, words)
    picture = Picture(scene, grid, prompt_of(scene))
    thought = f"{_inventory(scene)} {_shape_words(grid)}" if talk.chance(0.3) else ""
    return _told(ask, _one(talk, picture, thought), (picture,), "proxy/text", "wish")


def keywords(talk: Talk) -> Record:
    """A few labels; the plan settles places and shape."""
    scene = listing(talk, BASE_GRID, 3)
    names = [
        " ".join(w for w in (o.color, concept(o.concept).plural if o.count > 1 else o.concept) if w)
        for o in scene.objects
    ]
    names = [
        f"{o.count} {name}" if o.count > 1 else name for o, name in zip(scene.objects, names, strict=True)
    ]
    behind = (
        scene.background.phrase if scene.background.kind == "setting" else talk.ground_words(scene.background)
    )
    style = scene.objects[0].style
    labels = [*names, behind, *([f"{style} style"] if style != "flat" else [])]
    ask = talk.pick((", ", " / ", " + ", "; ")).join(labels)
    picture = Picture(scene, BASE_GRID, prompt_of(scene))
    return _told(ask, _one(talk, picture), (picture,), "proxy/text", "keywords")


def one_each(talk: Talk) -> Record:
    """A picture for each entry of a list, as a series or with words between."""
    count = talk.weighted(COUNTS)
    scenes = [listing(talk, BASE_GRID, 2 if count < 6 else 1) for _ in range(count)]
    said = [all_of(talk, scene).replace("\n- ", ", ").removeprefix(", ") for scene in scenes]
    lead = talk.pick(
        (
            f"{capital(talk.number(count))} pictures:",
            f"Draw {talk.number(count)} pictures, one for each line.",
            "One picture for each of these:",
            "Make a picture of every entry:",
            f"A series of {talk.number(count)} pictures.",
        )
    )
    ask = f"{lead} " + " ".join(f"{i}. {words}." for i, words in enumerate(said, 1))
    if talk.chance(0.3):
        ask = lead + "".join(f"\n{i}. {words}" for i, words in enumerate(said, 1))
    pictures = tuple(Picture(scene, BASE_GRID, prompt_of(scene)) for scene in scenes)
    return _told(ask, _several(talk, pictures, "series" in lead), pictures, "proxy/text", "one each")


def same_hero(talk: Talk) -> Record:
    """One figure with its looks said once, in as many places as the user lists; it looks the same in all."""
    count = min(talk.weighted(COUNTS), 8)
    hero = listing(talk, BASE_GRID, 1).objects[0]
    hero = replace(hero, count=1)  # where it stands belongs to its split, so it stays there
    others: list[SceneObject | None] = [
        _companion(talk, hero) if talk.chance(0.5) else None for _ in range(count)
    ]
    grounds = [ground(talk) for _ in range(count)]
    scenes = [
        Scene((hero, other) if other else (hero,), behind)
        for other, behind in zip(others, grounds, strict=True)
    ]
    looks, place, n = noun_phrase(hero), place_phrase(hero.place), talk.number(count)
    name = hero.concept
    steps = [
        f"{behind.phrase}{f', with {noun_phrase(other)} {place_phrase(other.place)}' if other else ''}"
        for other, behind in zip(others, grounds, strict=True)
    ]
    lead = talk.pick(
        (
            f"The hero is {looks}, always {place}. {capital(n)} pictures.",
            f"Tell a story of {looks} in {n} pictures ({place} each time).",
            f"{capital(n)} pictures of {looks} {place}.",
        )
    )
    ask = f"{lead} " + " ".join(f"{i}. {capital(step)}." for i, step in enumerate(steps, 1))
    pictures = tuple(Picture(scene, BASE_GRID, prompt_of(scene)) for scene in scenes)
    if talk.chance(0.4):
        return _told(ask, _several(talk, pictures, True), pictures, "proxy/text", "same hero")
    lines = [f"{_joint(i, count)}the {name} is {behind.phrase}." for i, behind in enumerate(grounds)]
    text = "".join(f"{capital(line)}{markup(p)}" for line, p in zip(lines, pictures, strict=True))
    return _told(ask, text, pictures, "proxy/text", "same hero")


def from_picture(talk: Talk) -> Record:
    """The request that one picture answers, terse or loose, and the plan that gives it back."""
    name = talk.weighted(share_of_kinds(talk.split))
    kind, grid = kind_of(name), some_grid(talk)
    detail = DETAIL.get(name, 1)
    source = (
        listing(talk, grid)
        if name == "scene" and talk.split != "heldout_concepts"
        else kind.sample(talk.rng, talk.split, grid)
    )
    target = frame(talk, source, (grid[0] * detail, grid[1] * detail), name)
    if name == "scene":
        target = replace(target, prompt=prompt_of(source) if not source.relations else target.prompt)
    words = target.prompt[:1].lower() + target.prompt[1:]
    ask = asked(talk, words, grid) if grid != BASE_GRID else _wished(talk, words)
    said = natural(kind, source, talk.rng, "brief").rstrip(".")
    about = f"This shows {said[:1].lower()}{said[1:]}." if talk.chance(0.4) else ""
    return _told(ask, _one(talk, target, tail=about), (target,), "proxy/image", "from a picture")


def from_pictures(talk: Talk) -> Record:
    """Correlated pictures in an order, described one by one, then told as one text with the joints mended."""
    count = min(talk.weighted(COUNTS), 7)
    first = listing(talk, BASE_GRID, 1).objects[0]
    hero = replace(first, count=1)
    settings = [str(s) for s in talk.rng.permutation(list(SETTINGS))[:count]]
    cast = [_companion(talk, hero) if talk.chance(0.6) else None for _ in range(count)]
    scenes = [
        Scene((hero, other) if other else (hero,), talk.scenery(setting))
        for setting, other in zip(settings, cast, strict=True)
    ]
    described = [_sentence(hero, other, scene) for other, scene in zip(cast, scenes, strict=True)]
    lines = mended(described, hero.concept)
    pictures = tuple(Picture(scene, BASE_GRID, prompt_of(scene)) for scene in scenes)
    looks = noun_phrase(hero)
    stops = join([scene.background.phrase for scene in scenes])
    ask = talk.pick(
        (
            f"Write an illustrated text about {looks} and its trip: {stops}.",
            f"A travel report with {talk.number(count)} pictures. {capital(looks)} goes places: {stops}.",
            f"{capital(looks)} travels. Stops: {stops}. Text and a picture for each, please.",
        )
    )
    text = "".join(line + markup(picture) for line, picture in zip(lines, pictures, strict=True))
    return _told(
        ask,
        text + talk.pick(("", "", "The end.", "That was the trip.")),
        pictures,
        "proxy/images",
        "from pictures",
    )


def mended(sentences: list[str], name: str) -> list[str]:
    """Sentences about one figure made into a text: joints between, and `it` where the name was just said."""
    lines = []
    for index, sentence in enumerate(sentences):
        words = sentence if index % 2 == 0 else sentence.replace(f"the {name}", "it", 1)
        lines.append(capital(f"{_joint(index, len(sentences))}{words}."))
    return lines


def _sentence(hero: SceneObject, other: SceneObject | None, scene: Scene) -> str:
    """One picture in words, its description before it is told."""
    where = f"the {hero.concept} is {scene.background.phrase}"
    return f"{where} and sees {noun_phrase(other)}" if other else where


def _joint(index: int, count: int) -> str:
    if index == 0:
        return "first, "
    return "finally, " if index == count - 1 and count > 2 else ("then ", "after that, ", "next, ")[index % 3]


def _companion(talk: Talk, hero: SceneObject) -> SceneObject:
    """Something beside the hero, somewhere else in the picture."""
    while True:
        item = listing(talk, BASE_GRID, 1).objects[0]
        if item.place != hero.place and item.concept != hero.concept:
            return replace(item, style=hero.style, color=_color(talk, item, hero.style))


def _color(talk: Talk, item: SceneObject, style: str) -> str | None:
    return talk.pick(list(COLORS)) if colorable(item.concept, style) else None


def _shape(talk: Talk) -> Grid:
    return talk.pick(GRIDS) if talk.chance(SHAPED) else BASE_GRID


def _wished(talk: Talk, words: str) -> str:
    return talk.pick(_WISHES).format(x=words, X=capital(words))


def _one(talk: Talk, picture: Picture, thought: str = "", tail: str = "") -> str:
    thinking = f"<think>{thought}</think>" if thought else ""
    return f"{thinking}{talk.pick(_LEADS)}{markup(picture)}{tail}"


def _several(talk: Talk, pictures: tuple[Picture, ...], as_series: bool) -> str:
    if as_series or talk.chance(SERIES):
        thought = f"<think>{len(pictures)} pictures.</think>" if talk.chance(0.2) else ""
        return thought + talk.pick(("", "", "Here they are.")) + series(pictures)
    words = [f"{i}." for i in range(1, len(pictures) + 1)]
    if talk.chance(0.4) and len(pictures) <= len(ORDINALS):
        words = [f"The {ORDINALS[i]} picture:" for i in range(len(pictures))]
    return "".join(f"{w}{markup(p)}" for w, p in zip(words, pictures, strict=True))


def _inventory(scene: Scene) -> str:
    """What has to be in the picture, counted."""
    things = [noun_phrase(item) for item in scene.objects]
    return f"To draw: {'; '.join(things)}: {len(things)}. Behind: {scene.background.phrase}."


def _shape_words(grid: Grid) -> str:
    return f"Size {grid[0]}*{grid[1]}."


def _told(ask: str, text: str, pictures: tuple[Picture, ...], row: str, task: str) -> Record:
    dialogue = Dialogue(task, (Turn("user", ask), Turn("assistant", text, pictures)))
    return annotate(dialogue, row, task)
