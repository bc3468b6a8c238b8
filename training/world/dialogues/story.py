"""Illustrated stories: a protagonist, something it finds (loses, shares ...), and two to twelve pictures.

A story is `opening, before..., key, after..., ending`; whether the quest is in a picture depends on the plot.
The composition (protagonist, quest, colour, number of pictures) belongs to one split, so that a held-out
story is one whose make-up was never trained on; three pictures of a fox and a red balloon are one such.
"""

import re
from dataclasses import dataclass

from training.world.assets.concepts import CONCEPTS, of_kind
from training.world.dialogues.story_plots import (
    AFTER_WITH,
    ALONE,
    FRIEND_ALONE,
    FRIEND_WITH,
    NAMES,
    PLOTS,
    Beat,
    Plot,
)
from training.world.dialogues.talk import (
    BASE_GRID,
    SIZE_WORDINGS,
    Dialogue,
    Grid,
    Picture,
    Talk,
    Turn,
    capital,
    markup,
)
from training.world.scenes.caption import describe, with_article
from training.world.scenes.sample import split_of_key, visible
from training.world.scenes.scene import Background
from wanimage.conditions import COLORS, SETTINGS

SALT = "story-15"  # chosen so that (fox, red balloon, 3) is held out
HEROES = tuple(n for n in of_kind("animal", "person") if n not in ("fish", "whale", "octopus", "dolphin"))

_COUNTS = {
    2: 0.13,
    3: 0.45,
    4: 0.17,
    5: 0.1,
    6: 0.06,
    7: 0.025,
    8: 0.025,
    9: 0.01,
    10: 0.01,
    11: 0.01,
    12: 0.01,
}


def story_split(hero: str, quest: str, color: str | None, count: int) -> str:
    """The split of a story's composition."""
    return split_of_key(f"{SALT}|{hero}|{quest}|{color}|{count}")


@dataclass
class _Story:
    """The choices that all pictures of one story share."""

    plot: Plot
    hero: str
    quest: str
    color: str | None
    friend: str
    count: int
    name: str
    setting: str | None
    time: str | None
    grid: Grid
    hero_size: str
    quest_size: str

    def words(self, text: str, talk: Talk, ground: Background) -> str:
        """Fill the slots of a sentence."""
        quest = f"{self.color} {self.quest}" if self.color else self.quest
        hero = self.name if self.name and talk.chance(0.6) else f"the {self.hero}"
        at = {"snow": "in the snow", "city": "in the city"}.get(str(ground.setting)) or talk.setting_words(
            str(ground.setting)
        )
        introduced = f"{with_article(self.hero)} named {self.name}" if self.name else with_article(self.hero)
        filled = text.format(
            p=introduced,
            P=hero,
            q=with_article(quest),
            Q=f"the {quest}",
            f=with_article(self.friend),
            F=f"the {self.friend}",
            at=at,
        )
        return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), filled)


def story(talk: Talk) -> Dialogue:
    """A request for a story and the illustrated answer, of the talk's split."""
    tale = _choose(talk)
    ask = _ask(talk, tale)
    sentences, pictures = _tell(talk, tale)
    text = "".join(s + markup(p) for s, p in zip(sentences, pictures, strict=True))
    if talk.chance(0.35):
        text = _title(talk, tale) + "\n" + text
    if talk.chance(0.7):
        text += talk.pick(
            [
                "The end.",
                "The end.",
                "And that is the end of the story.",
                "What a day it was!",
                "Good night!",
                "They never forgot that day.",
            ]
        )
    if talk.chance(0.15):
        text = f"<think>{_plan(tale, pictures)}</think>" + text
    return Dialogue("story", (Turn("user", ask), Turn("assistant", text, tuple(pictures))))


def _choose(talk: Talk) -> _Story:
    for _ in range(5000):
        plot = talk.pick(PLOTS)
        hero = talk.pick(HEROES)
        friend = talk.other(HEROES, hero)
        quest = friend if plot.quest == ("friend",) else talk.pick(plot.quest)
        count = talk.weighted(_COUNTS)
        setting = talk.pick(list(SETTINGS)) if talk.chance(0.2) else None
        time = talk.pick(["day", "sunset", "night"]) if setting and talk.chance(0.4) else None
        color = talk.pick(list(COLORS)) if CONCEPTS[quest].colorable else None
        if story_split(hero, quest, color, count) != talk.split or quest == hero:
            continue
        if not _drawable(plot, quest, color, setting, time):
            continue
        grid = talk.pick(list(SIZE_WORDINGS)[1:3]) if talk.chance(0.1) else BASE_GRID
        name = talk.pick(NAMES) if talk.chance(0.2) else ""
        sizes = talk.pick(["medium", "medium", "large"]), talk.pick(["small", "small", "medium"])
        return _Story(plot, hero, quest, color, friend, count, name, setting, time, grid, *sizes)
    raise ValueError(f"no story of split {talk.split!r}")


def _drawable(plot: Plot, quest: str, color: str | None, setting: str | None, time: str | None) -> bool:
    """Whether the quest stands out wherever the story must take it; black ones shun the night."""
    nights = [b.time for b in (plot.opening, plot.key, plot.ending)] + [time]
    if color == "black" and "night" in nights:
        return False
    return setting is None or visible(quest, color, Background.scenery(setting, time or "day"))


def _ask(talk: Talk, tale: _Story) -> str:
    """What the user writes; it states the number of pictures unless that is three."""
    hero = with_article(tale.hero)
    quest = with_article(f"{tale.color} {tale.quest}" if tale.color else tale.quest)
    if talk.chance(0.8):
        about = f"{hero} {talk.pick(['who', 'who', 'that'])} {talk.pick(tale.plot.asks).format(q=quest)}"
    else:
        about = f"{hero} and {quest}"
    if tale.setting:
        ground = Background.scenery(tale.setting, tale.time or "day")
        about += " " + talk.ground_words(ground, time=tale.time is not None)
    shape = talk.pick(SIZE_WORDINGS[tale.grid]) + " " if tale.grid != BASE_GRID else ""
    unit = talk.pick(["picture", "picture", "picture", "image", "panel", "illustration"])
    n = talk.number(tale.count)
    if tale.count == 3 and not shape and talk.chance(0.2):
        forms = [
            f"Tell me a story about {about}.",
            f"A picture story about {about}, please.",
            f"tell a story with pictures about {about}",
            f"Make an illustrated story about {about}.",
        ]
        return talk.pick(forms)
    many = f"{n} {shape}{unit}s"
    forms = [
        f"Tell a {n}-{unit} story about {about}." if not shape else f"Tell a story about {about} in {many}.",
        f"Tell a {n}-{unit} story about {about}." if not shape else f"A story in {many} about {about}.",
        f"Tell me a story about {about} in {many}.",
        f"Tell a story in {many} about {about}.",
        f"Write a story with {many} about {about}.",
        f"I would like a story about {about}, with {many}.",
        f"a story about {about}, {many}",
        f"Can you tell a story about {about}? {capital(many)}, please.",
        f"Make a comic with {many}: {about}.",
        f"{many}: {about}",
        f"Show me in {many} {about}.",
        f"Please make a storyboard of {many} about {about}.",
        f"Draw a picture book about {about}. It has {many}.",
        f"Illustrate the story of {about} in {many}.",
    ]
    ask = talk.pick(forms)
    if tale.name and talk.chance(0.5):
        ask += f" {talk.pick(['The', 'Our'])} {tale.hero} is called {tale.name}."
    else:
        tale.name = "" if talk.chance(0.7) else tale.name
    return ask


def _beats(talk: Talk, tale: _Story) -> list[Beat]:
    """As many beats as pictures, the plot's own in order, fillers between."""
    plot = tale.plot
    if tale.count == 2:
        return [plot.opening, plot.key]
    extra = tale.count - 3
    before = int(talk.rng.integers(extra + 1)) if extra else 0
    first = list(AFTER_WITH if plot.opening.quest else ALONE)
    then = list(AFTER_WITH if plot.key.quest else ALONE)
    if "friend" not in plot.quest and not plot.opening.friend and not plot.key.friend:
        first += FRIEND_WITH if plot.opening.quest else FRIEND_ALONE
        then += FRIEND_WITH if plot.key.quest else FRIEND_ALONE
    if tale.color == "black":
        first, then = ([b for b in pool if b.time != "night"] for pool in (first, then))
    middle_one = _fill(talk, first, before)
    middle_two = _fill(talk, [b for b in then if b not in middle_one] or then, extra - before)
    return [plot.opening, *middle_one, plot.key, *middle_two, plot.ending]


def _fill(talk: Talk, pool: list[Beat], count: int) -> list[Beat]:
    """`count` different beats, again from the start when the pool is dry."""
    order = [pool[i] for i in talk.rng.permutation(len(pool))]
    return [order[i % len(order)] for i in range(count)]


def _tell(talk: Talk, tale: _Story) -> tuple[list[str], list[Picture]]:
    setting = tale.setting or talk.pick(list(SETTINGS))
    times = _times(talk, tale)
    sentences, pictures = [], []
    for index, beat in enumerate(_beats(talk, tale)):
        if beat.moves and not tale.setting:
            setting = talk.other(list(SETTINGS), setting)
        ground = talk.scenery(setting, tale.time or beat.time or times[index])
        picture = _illustrate(talk, tale, beat, ground)
        sentences.append(tale.words(talk.pick(beat.texts), talk, picture.scene.background))
        pictures.append(picture)
        setting = str(picture.scene.background.setting)
    return sentences, pictures


def _times(talk: Talk, tale: _Story) -> list[str]:
    """A day that passes, or one that stands still."""
    if talk.chance(0.4) or tale.color == "black":
        return ["day"] * tale.count
    cuts = sorted(talk.rng.integers(1, tale.count + 2, size=2))
    return ["day" if i < cuts[0] else "sunset" if i < cuts[1] else "night" for i in range(tale.count)]


def _illustrate(talk: Talk, tale: _Story, beat: Beat, ground: Background) -> Picture:
    cast: list[tuple[str, str | None, str]] = [(tale.hero, None, tale.hero_size)]
    if beat.friend and tale.friend != tale.quest:
        cast.append((tale.friend, None, "medium"))
    if beat.quest:
        size = "medium" if tale.quest == tale.friend else tale.quest_size
        cast.append((tale.quest, tale.color, size))
        while not visible(tale.quest, tale.color, ground):
            ground = talk.scenery(time=ground.time)  # never for a story set in one place: see _drawable
    scene = talk.stage(cast, ground, tale.grid, low=(tale.hero, tale.friend))
    for size in ("medium", "small"):  # a crowded picture shrinks its cast
        if scene is None:
            scene = talk.stage([(name, color, size) for name, color, _ in cast], ground, tale.grid)
    assert scene is not None, f"no room for {cast} on {tale.grid}"
    return talk.picture(scene, tale.grid)


def _title(talk: Talk, tale: _Story) -> str:
    quest = f"{tale.color} {tale.quest}" if tale.color else tale.quest
    options = [f"The {tale.hero} and the {quest}", f"The {quest}", f"A story of {with_article(tale.hero)}"]
    if tale.name:
        options.append(f"{tale.name} and the {quest}")
    return talk.pick(options)


def _plan(tale: _Story, pictures: list[Picture]) -> str:
    steps = " ".join(f"{i}. {describe(p.scene)}." for i, p in enumerate(pictures, 1))
    return f"A story in {tale.count} pictures. {steps}"
