"""Interleaved how-tos (steps in words, a picture after each) and comparisons of two things."""

from dataclasses import dataclass, replace

from training.world.assets.concepts import CONCEPTS, concept
from training.world.dialogues.talk import NUMBERS, Grid, Talk, capital
from training.world.scenes.caption import describe, noun_phrase, with_article
from training.world.scenes.sample import split_of_key, visible
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, write
from training.world.tasks.sample import NearMiss, Sample


@dataclass(frozen=True)
class Guide:
    """How something is done: `goal` completes "how to", `things` are (noun, instruction) in order."""

    goal: str
    things: tuple[tuple[str, str], ...]
    settings: tuple[str, ...]
    """Settings it may take place in; none for a plain background."""


GUIDES: tuple[Guide, ...] = (
    Guide(
        "pack for a picnic",
        (
            ("basket", "Take {a}."),
            ("bread", "Add {a}, fresh from the oven."),
            ("cheese", "Then some {n}."),
            ("strawberry", "Put {a} on top."),
            ("watermelon", "A cold {n} is good on a warm day."),
        ),
        ("meadow", "lake", "hills"),
    ),
    Guide(
        "prepare a birthday table",
        (
            ("cake", "Bake {a} and put it on the table."),
            ("candle", "Light {a}."),
            ("balloon", "Blow up {a}."),
            ("gift", "Put {a} beside it."),
            ("flower", "Finish with {a}."),
        ),
        (),
    ),
    Guide(
        "set up a camp",
        (
            ("backpack", "Put down {a}."),
            ("tent", "Pitch {a} on dry ground."),
            ("lantern", "Hang up {a} before it gets dark."),
            ("chair", "Unfold {a}."),
            ("teapot", "Boil water in {a}."),
        ),
        ("forest", "lake", "meadow", "hills"),
    ),
    Guide(
        "make a packed lunch",
        (
            ("bread", "Cut {a}."),
            ("cheese", "Lay {n} on it."),
            ("carrot", "Peel {a}."),
            ("apple", "Wash {a}."),
            ("cookie", "{A} makes a good dessert."),
        ),
        (),
    ),
    Guide(
        "get ready for a day at the sea",
        (
            ("bucket", "Bring {a}."),
            ("umbrella", "Put up {a} against the sun."),
            ("hat", "Wear {a}."),
            ("ball", "Blow up {a}."),
            ("book", "Pack {a} for the quiet hours."),
        ),
        ("beach",),
    ),
    Guide(
        "pack a school bag",
        (
            ("backpack", "Open {a}."),
            ("book", "Put in {a}."),
            ("pencil", "Sharpen {a}."),
            ("banana", "Add {a} for the break."),
            ("umbrella", "Take {a} along if it may rain."),
        ),
        ("city",),
    ),
    Guide(
        "start a garden",
        (
            ("bucket", "Fill {a} with water."),
            ("flower", "Plant {a}."),
            ("sunflower", "Sow {a} behind it."),
            ("tree", "Plant {a} for the shade."),
            ("bee", "Wait for {a} to visit."),
        ),
        ("meadow", "hills"),
    ),
    Guide(
        "form a band",
        (
            ("drum", "Find someone with {a}."),
            ("guitar", "Find someone with {a}."),
            ("hat", "Collect coins in {a}."),
            ("star", "Play until you see {a}."),
        ),
        ("city",),
    ),
    Guide(
        "write to a friend",
        (
            ("pencil", "Take {a}."),
            ("letter", "Write {a}."),
            ("heart", "Draw {a} on it."),
            ("bicycle", "Bring it to the post on {a}."),
        ),
        (),
    ),
)
_TRIES = 1000


def howto(talk: Talk, aspect: Grid | None = None) -> Sample:
    """Steps, each with a picture; what was put down stays where it is."""
    grid = aspect or (8, 8)
    guide, scenes = _steps(talk, grid)
    texts = [
        f"{'' if not i else ' '}{i + 1}. {_instruction(text, scene.objects[i])}"
        for i, ((_, text), scene) in enumerate(zip(guide.things, scenes, strict=False))
    ]
    outputs = [frame(talk, scene, grid) for scene in scenes]
    listed = " ".join(f"{i}. {capital(describe(s))}." for i, s in enumerate(scenes, 1))
    n, there = NUMBERS[len(scenes)], talk.ground_words(scenes[0].background)
    wish = Wish(
        f"how to {guide.goal}, {len(scenes)} steps",
        f"show me how to {guide.goal} in {n} steps",
        f"show me how to {guide.goal} in {n} steps with a picture after each, {there}",
        ("Write what to do before each picture.", "What was there in one picture must be there in the next."),
    )
    lost = replace(scenes[-1], objects=scenes[-1].objects[1:])
    turned = [*outputs[1:], outputs[0]]
    return write(
        talk,
        "howto",
        wish,
        outputs,
        lead=talk.pick(("", f"This is how to {guide.goal}. ", "Step by step: ")),
        texts=texts,
        tail=talk.pick(("", " That is all!", " Done.")),
        thought=f"{len(scenes)} steps. {listed}" if talk.chance(0.2) else "",
        near_misses=(
            NearMiss("steps out of order", tuple(turned)),
            NearMiss("first thing lost at the end", (*outputs[:-1], outputs[-1].shows(lost))),
        ),
    )


def comparison(talk: Talk, aspect: Grid | None = None) -> Sample:
    """Two things, a picture of each, and true sentences on what they have in common and what not."""
    grid = aspect or (8, 8)
    for _ in range(_TRIES):
        a, b = talk.concept(), talk.concept()
        if a == b or split_of_key(f"comparison|{min(a, b)}|{max(a, b)}") != talk.split:
            continue
        ground = talk.scenery() if talk.chance(0.6) else Background.plain("white")
        other = talk.scenery() if talk.chance(0.4) else ground
        if visible(a, None, ground) and visible(b, None, other):
            break
    else:
        raise ValueError(f"no comparison of split {talk.split!r} in {_TRIES} tries")
    scenes = [_single(talk, name, back) for name, back in ((a, ground), (b, other))]
    outputs = [frame(talk, scene, grid) for scene in scenes]
    first, second = (scene.objects[0] for scene in scenes)
    wish = Wish(
        f"{a} vs {b}",
        f"compare {with_article(a)} and {with_article(b)}",
        f"compare {with_article(a)} and {with_article(b)} in words, with a picture of each",
        (f"Show the {a} {ground.phrase}.", f"Show the {b} {other.phrase}.", "End with what is different."),
    )
    texts = [
        capital(f"{noun_phrase(first)} {ground.phrase}:"),
        " " + capital(f"{noun_phrase(second)} {other.phrase}:"),
    ]
    return write(
        talk,
        "comparison",
        wish,
        outputs,
        texts=texts,
        tail=" " + " ".join(differences(scenes[0], scenes[1])),
        thought=f"Two pictures: {describe(scenes[0])}, and {describe(scenes[1])}."
        if talk.chance(0.2)
        else "",
        near_misses=(
            NearMiss("pictures out of order", (outputs[1], outputs[0])),
            NearMiss("the same thing twice", (outputs[0], outputs[0])),
        ),
    )


def differences(left: Scene, right: Scene) -> list[str]:
    """What the graphs of two scenes of one object say of them, side by side."""
    a, b = left.objects[0], right.objects[0]
    one, two = concept(a.concept), concept(b.concept)
    said = [
        f"Both are {_kind(one.kind)}."
        if one.kind == two.kind
        else f"The {one.name} is {_one(one.kind)}, the {two.name} is {_one(two.kind)}."
    ]
    ranks = {"small": 0, "medium": 1, "large": 2}
    if a.size_word != b.size_word:
        larger, smaller = (a, b) if ranks[a.size_word] > ranks[b.size_word] else (b, a)
        said.append(f"The {larger.concept} is drawn larger than the {smaller.concept}.")
    else:
        said.append("They are drawn about equally large.")
    if a.color and b.color:
        same = a.color == b.color
        said.append(
            f"Both are {a.color}." if same else f"The {a.concept} is {a.color}, the {b.concept} {b.color}."
        )
    if left.background.key != right.background.key:
        said.append(f"One is {left.background.phrase}, the other {right.background.phrase}.")
    return said


def _one(kind: str) -> str:
    return {"food": "something to eat", "nature": "part of nature", "person": "a figure"}.get(
        kind, with_article(kind)
    )


def _kind(kind: str) -> str:
    return {"food": "something to eat", "nature": "part of nature", "person": "figures"}.get(kind, f"{kind}s")


def _single(talk: Talk, name: str, ground: Background) -> Scene:
    size = talk.pick(("small", "medium", "large"))
    return talk.alone(name, talk.color(name, ground), ground, size)


def _steps(talk: Talk, grid: Grid) -> tuple[Guide, list[Scene]]:
    """A guide of the split, cut to a number of steps, and its growing scenes."""
    for _ in range(_TRIES):
        guide = talk.pick(GUIDES)
        count = int(talk.rng.integers(2, len(guide.things) + 1))
        guide = replace(guide, things=guide.things[:count])
        plain = Background.plain(talk.pick(("white", "grey")))
        ground = talk.scenery(talk.pick(guide.settings)) if guide.settings else plain
        names = [name for name, _ in guide.things]
        colors = [talk.color(name, ground) for name in names]
        key = f"howto|{guide.goal}|{ground.key}|{colors}"
        if not all(visible(n, None, ground) for n in names) or split_of_key(key) != talk.split:
            continue
        size = "medium" if count < 4 else "small"
        scene = talk.stage([(n, c, size) for n, c in zip(names, colors, strict=True)], ground, grid)
        if scene is not None:
            return guide, [replace(scene, objects=scene.objects[: i + 1]) for i in range(count)]
    raise ValueError(f"no how-to of split {talk.split!r} on {grid}; ask for a squarer picture")


def _instruction(text: str, item: SceneObject) -> str:
    colored = " ".join(w for w in (item.color, item.concept) if w)
    words = with_article(colored)
    return text.format(a=words, A=capital(words), n=colored)


assert all(name in CONCEPTS for guide in GUIDES for name, _ in guide.things), "guides use nouns of the world"
