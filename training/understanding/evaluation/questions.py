"""Questions about pictures: of which sort each is, and the exact answers to those of the core chats."""

import re
from dataclasses import dataclass

from training.understanding.evaluation.cases import Case
from training.understanding.evaluation.wording import Mention, read
from training.world.scenes.scene import Scene
from training.world.tasks.answers import Answer, normal
from wanimage.conditions import COLORS, PLACES, TIMES

_SORTS: tuple[tuple[str, str], ...] = (  # sort, and how its question begins
    ("count all", r"how many (?:objects|things)|count the objects"),
    ("cards", r"how many cards"),
    ("sum", r"how much are"),
    ("count kind", r"how many"),
    ("difference", r"what is the difference"),
    ("extreme", r"which value is the"),
    ("value", r"what is the value"),
    ("further", r"which is further"),
    ("bigger", r"which is bigger"),
    ("claim", r"true or false: .* is higher than"),
    ("statement", r"true or false"),
    ("time", r"is it day|what time of day"),
    ("face", r"how the person|what colour the|how the skin|does this person|what color the"),
    ("read", r"what do .* say|what is the title|what does the button|what is written"),
    ("ink", r"what colour are the letters"),
    ("color", r"(?:what|which) colou?r"),
    ("background", r"what is the background|what does the background|where is this|describe the background"),
    ("place", r"where|in which place"),
    ("presence", r"is there"),
    ("describe", r"what|describe|please describe"),
)
SORTS = tuple(sort for sort, _ in _SORTS)
REASONED = (
    "count all",
    "count kind",
    "cards",
    "sum",
    "difference",
    "extreme",
    "further",
    "bigger",
    "claim",
    "statement",
)
"""The numeric and logical sorts."""
REASONED_FAMILIES = ("task/question", "task/question_chart", "task/question_text", "chat/question")


@dataclass(frozen=True)
class _Described:
    """An answer that lists what is in a picture; order and lead do not matter."""

    scene: Scene

    def check(self, said: str) -> bool:
        wanted = {(o.concept, o.color or "", o.place) for o in self.scene.objects}
        mentions = [m for m in read(said).mentions if m.place]
        found = {(m.concept, m.color, m.place) for m in mentions}
        grounds = read(said).grounds
        ground = self.scene.background
        there = ground.kind != "setting" or (
            ground.setting in grounds.settings and ground.time in grounds.times
        )
        return found == wanted and len(mentions) == len(self.scene.objects) and there


def sort_of(case: Case) -> str | None:
    """One of SORTS; None for a turn that answers no question about a picture."""
    if case.sample:
        if case.sample.answer is None:
            return None
        question = case.sample.requests[2]
    else:
        asks = case.family == "chat/question" or (
            case.dialogue.kind in ("edit", "question") and not case.gold.pictures
        )
        if not asks or case.gold.text.startswith("I am sorry"):
            return None
        question = case.request
    low = question.lower()
    return next((sort for sort, pattern in _SORTS if re.match(pattern, low)), None)


def check(case: Case, said: str) -> bool:
    """Whether an answer in words is right. Raises ValueError for a case that asks nothing."""
    if case.sample:
        return case.sample.check(said)
    sort, scene = sort_of(case), case.shown[-1].scene
    if sort is None:
        raise ValueError(f"{case.name} asks no question")
    return _answer(sort, case, scene).check(said)


def _answer(sort: str, case: Case, scene: Scene) -> Answer | _Described:
    """The answer of a core chat, from the scene."""
    asked: list[Mention] = list(read(case.request).mentions)
    names = [m.concept for m in asked]
    items = {o.concept: o for o in scene.objects}
    if sort == "describe":
        return _Described(scene)
    if sort == "count all":
        return _number(len(scene.objects))
    if sort == "count kind":
        total = sum(o.concept == names[0] for o in scene.objects)
        return _number(total)
    if sort == "presence":
        there = names[0] in items
        return Answer("yes" if there else "no", "", ("no",) if there else ("yes",))
    if sort == "place":
        return _one_of(items[names[0]].place, PLACES)
    if sort == "color":
        return _one_of(str(items[names[0]].color), tuple(COLORS))
    if sort == "time":
        return _one_of(str(scene.background.time), tuple(TIMES))
    if sort == "bigger":
        first, other = sorted((items[name] for name in names[:2]), key=lambda o: -o.size)
        return Answer(first.concept, "", (other.concept,))
    return Answer(normal(case.gold.text), "")


def _number(value: int) -> Answer:
    also = () if value else ("no", "none")
    return Answer(str(value), "", tuple(str(n) for n in range(13) if n != value), (), also)


def _one_of(key: str, options: tuple[str, ...]) -> Answer:
    return Answer(key, "", tuple(option for option in options if option != key))
