"""Whether reasoning leads to the right answer, judged by what it says and not by who wrote it.

    wrong answer      the reply fails the exercise's own check
    wrong sum         a stated sum, difference or product does not hold
    wrong claim       it puts a thing, a colour or a place into the picture that the graph does not have
    wrong list        it counts something that was not given
    leads elsewhere   the answer does not follow: read off the reasoning alone, it is another one, or none
    too long, empty   more than MOST_WORDS words, or none

Only reasoning with no fault is kept (`fault` is empty for it).
"""

import re
from collections.abc import Sequence

from training.understanding.data.exercise import Exercise
from training.world.assets.concepts import CATALOGUE, concept
from training.world.dialogues.talk import Picture
from training.world.scenes.scene import Scene
from training.world.tasks.answers import Answer, normal
from wanimage.conditions import COLORS, PLACES

FAULTS = ("empty", "too long", "wrong answer", "wrong sum", "wrong claim", "wrong list", "leads elsewhere")
MOST_WORDS = 160
_SUM = re.compile(r"(?<![\d.])(\d+(?: [-+*] \d+)+) = (\d+)")
_COLORS = "|".join(COLORS)
_NAMES = {**{c.name: c.name for c in CATALOGUE.values()}, **{c.plural: c.name for c in CATALOGUE.values()}}
_NOUN = "|".join(re.escape(n) for n in sorted(_NAMES, key=len, reverse=True))
_PLACE = "|".join(sorted(PLACES, key=len, reverse=True))
_CLAIM = re.compile(
    rf"\b(?:(?P<color>{_COLORS}) )?(?P<noun>{_NOUN})\b"
    rf"(?: (?:is|are|stands?|lies?))?(?: (?:at|in|on) the (?P<place>{_PLACE})\b(?! (?:third|half|side)))?"
)
_NUMBERED = re.compile(r"(?:^|, |; )(\d+)[.:)]? ([^,;.]+)")
_YES, _NO = ("yes", "true"), ("no", "false", "none")
_DENIAL = re.compile(r"\b(?:not|no|none|nothing|does not|is not|are not)\b")


def fault(exercise: Exercise, thought: str, reply: str) -> str:
    """The first of FAULTS that reasoning and reply have; empty when they may be kept."""
    words = thought.split()
    if not words:
        return "empty"
    if len(words) > MOST_WORDS:
        return "too long"
    if not exercise.answer.check(reply):
        return "wrong answer"
    if any(_value(left) != int(right) for left, right in _SUM.findall(thought)):
        return "wrong sum"
    if not _claims_hold(exercise, thought):
        return "wrong claim"
    if not _list_holds(exercise, thought):
        return "wrong list"
    return "" if leads(exercise.answer, thought, exercise.ask) else "leads elsewhere"


def leads(answer: Answer, thought: str, ask: str = "") -> bool:
    """Whether the answer can be read off the reasoning alone.

    A number must be the last one that the reasoning states (or its last list's length); yes and no follow
    from whether its last sentence denies; a thing, a place or a list must be said in it.
    """
    last = re.split(r"(?<=[.!?]) ", thought.strip())[-1]
    key = normal(answer.key)
    if key.rstrip("%").isdigit():
        found = [n for n in re.findall(r"\d+", normal(last)) or re.findall(r"\d+", normal(thought))]
        listed = [number for number, _ in _NUMBERED.findall(thought)]
        return key.rstrip("%") in (found[-1:] + listed[-1:]) or (key == "0" and bool(_DENIAL.search(last)))
    if key in (*_YES, *_NO) and {normal(r) for r in answer.rivals} & {*_YES, *_NO}:
        return _denies(last, ask) == (key in _NO) or key in normal(thought).split()
    words = set(normal(thought).split())
    return all(word in words for word in key.split() if word not in ("the", "a", "an", "and"))


def describes(picture: Picture, text: str) -> bool:
    """Whether a free text names every object of a picture, its number and colour, and claims nothing else.

    Of a picture that is no scene, nobody can say.
    """
    if not isinstance(picture.scene, Scene):
        return False
    words = normal(text)
    for item in picture.scene.objects:
        noun = concept(item.concept).plural if item.count > 1 else item.concept
        counted = item.count == 1 or str(item.count) in words.split()
        if not (counted and f" {noun} " in f" {words} " and (item.color or "") in words):
            return False
    return _fits((picture,), text)


def _denies(last: str, ask: str) -> bool:
    """Whether the last sentence denies what was asked, or states something else than it."""
    if _DENIAL.search(last.lower()):
        return True
    asked = {m["noun"] for m in _CLAIM.finditer(ask.lower())}
    stated = {m["noun"] for m in _CLAIM.finditer(last.lower())}
    return bool(asked and stated) and not {_NAMES[n] for n in asked} & {_NAMES[n] for n in stated}


def _claims_hold(exercise: Exercise, thought: str) -> bool:
    """Every thing that is claimed to be at a place, or of a colour, is so in one of the pictures."""
    return _fits(exercise.pictures, thought)


def _fits(pictures: Sequence[Picture], text: str) -> bool:
    scenes = [p.scene for p in pictures if isinstance(p.scene, Scene)]
    if not scenes or len(scenes) < len(pictures):
        return True  # nothing to hold a claim against
    things = [(o.concept, o.color, o.place) for scene in scenes for o in scene.objects]
    for claim in _CLAIM.finditer(text.lower()):
        noun, color, place = _NAMES[claim["noun"]], claim["color"], claim["place"]
        if color is None and place is None:
            continue
        if not any(noun == n and color in (None, c) and place in (None, p) for n, c, p in things):
            return False
    return True


def _list_holds(exercise: Exercise, thought: str) -> bool:
    """A numbered list counts from one, and what it counts was given."""
    found = _NUMBERED.findall(thought)
    if len(found) < 2 or exercise.pictures:
        return True
    numbers = [int(number) for number, _ in found]
    given = normal(exercise.ask)
    return numbers == list(range(1, len(found) + 1)) and all(normal(item) in given for _, item in found)


def _value(terms: str) -> int:
    """A sum of products, by the usual precedence."""
    total, product, sign = 0, 1, 1
    for op, digits in re.findall(r"(?:^|([-+*]) )(\d+)", terms):
        if op == "*":
            product *= int(digits)
            continue
        total += sign * product if op else 0
        product, sign = int(digits), -1 if op == "-" else 1
    return total + sign * product
