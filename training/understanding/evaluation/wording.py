"""What the words of a request say of objects and backgrounds, whatever sentence they stand in.

A request is free text, so this reads mentions (`two small red balloons at the left`) and phrases of grounds
out of it and makes no more of the rest. What is not read is not said, and what is not said is not demanded.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from training.world.assets.concepts import CATALOGUE, SHAPES, STYLES
from training.world.dialogues.talk import NUMBERS, SETTING_WORDINGS, TIME_WORDINGS
from training.world.scenes.relations import KINDS as RELATIONS
from training.world.scenes.scene import WEATHERS
from wanimage.conditions import COLORS, PLACES, SETTINGS, TIMES


@dataclass(frozen=True)
class Mention:
    """An object as it is spoken of; what is empty (0 for a count) is not said."""

    concept: str
    color: str = ""
    size: str = ""
    style: str = ""
    count: int = 0
    place: str = ""
    several: bool = False
    """Whether the noun stands in its plural."""


@dataclass(frozen=True)
class Grounds:
    """Every word on backgrounds in a text."""

    settings: frozenset[str] = frozenset()
    times: frozenset[str] = frozenset()
    weathers: frozenset[str] = frozenset()
    plains: frozenset[str] = frozenset()
    bands: tuple[tuple[str, int], ...] = ()
    transparent: bool = False


@dataclass(frozen=True)
class Words:
    """What a text says."""

    mentions: tuple[Mention, ...]
    grounds: Grounds
    loose_colors: frozenset[str]
    """Colour words that belong to no mention and to no ground."""
    text: str

    def of(self, concept: str) -> list[Mention]:
        """The mentions of a noun."""
        return [mention for mention in self.mentions if mention.concept == concept]


_NOUN_OF = {c.name: c.name for c in (*CATALOGUE.values(), *SHAPES.values())}
_PLURAL_OF = {c.plural: c.name for c in (*CATALOGUE.values(), *SHAPES.values())}
_NOUNS = "|".join(sorted({**_NOUN_OF, **_PLURAL_OF}, key=len, reverse=True))
_COUNT_OF = {"a": 1, "an": 1} | {word: n for n, word in enumerate(NUMBERS) if n}
_PLACES = "|".join(sorted((*PLACES, "middle"), key=len, reverse=True))
_MENTION = re.compile(
    rf"(?:\b({_PLACES}): )?(?:\b({'|'.join(_COUNT_OF)}|\d+) )?"
    rf"(?:\b(small|large) )?(?:\b({'|'.join(COLORS)}) )?"
    rf"(?:\b({'|'.join(STYLES[1:])})-style )?\b({_NOUNS})\b"
    rf"(?:(?: is| are)? (?:at|on|in|to) the ({_PLACES})\b)?"
)
_PLAIN = re.compile(rf"\b(?:plain ({'|'.join(COLORS)})|({'|'.join(COLORS)}) background)\b")
_BAND = re.compile(rf"\b({'|'.join(COLORS)}) (\d+)%")
_CLEAR = re.compile(r"transparent|with(?:out a| no) background|\bstickers?\b|\bcut out\b")
_COLOR = re.compile(rf"\b({'|'.join(COLORS)})\b")


def _wordings(own: dict[str, str], spoken: dict[str, tuple[str, ...]]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(rf"\b(?:{'|'.join({own[name], *spoken.get(name, ())})})\b"), name) for name in own]


_SETTINGS = _wordings(SETTINGS, SETTING_WORDINGS)
_TIMES = _wordings(TIMES, TIME_WORDINGS)
_WEATHERS = _wordings(WEATHERS, {})


@lru_cache(maxsize=4096)
def read(text: str) -> Words:
    """All that a text says."""
    low = text.lower()
    found = [(match, _mention(match)) for match in _MENTION.finditer(low)]
    spans = [m.span() for m, _ in found] + [m.span() for p in (_PLAIN, _BAND) for m in p.finditer(low)]
    loose = {m[1] for m in _COLOR.finditer(low) if not any(start <= m.start() < end for start, end in spans)}
    return Words(tuple(mention for _, mention in found), _grounds(low), frozenset(loose), low)


def related(text: str, kind: str, subject: str, target: str) -> bool:
    """Whether a text says that one noun is so related to another."""
    assert kind in RELATIONS, kind
    names = [rf"(?:{subject}|{CATALOGUE[subject].plural})", rf"(?:{target}|{CATALOGUE[target].plural})"]
    return re.search(rf"\b{names[0]}\b[^.,]*?\b{kind} [^.,]*?\b{names[1]}\b", text.lower()) is not None


def _mention(match: re.Match[str]) -> Mention:
    before, count, size, color, style, noun, after = match.groups()
    place = after or before
    number = _COUNT_OF.get(count) or (int(count) if count else 0)
    return Mention(
        _NOUN_OF.get(noun) or _PLURAL_OF[noun],
        color or "",
        size or "",
        style or "",
        number,
        "center" if place == "middle" else place or "",
        noun not in _NOUN_OF,
    )


def _grounds(low: str) -> Grounds:
    def named(patterns: list[tuple[re.Pattern[str], str]]) -> frozenset[str]:
        return frozenset(name for pattern, name in patterns if pattern.search(low))

    return Grounds(
        named(_SETTINGS),
        named(_TIMES),
        named(_WEATHERS),
        frozenset(m[1] or m[2] for m in _PLAIN.finditer(low)),
        tuple((m[1], int(m[2])) for m in _BAND.finditer(low)),
        _CLEAR.search(low) is not None,
    )
