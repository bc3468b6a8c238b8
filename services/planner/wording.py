"""What a request's words say about pictures: numbers, names, pointing, and whether it asks for a new one.

English only, and by rule, so that it can be tested word by word (docs/references.md has the table). A
request in another language says nothing here; what the planner writes for it may still repeat a picture.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from wanimage.conditions import COLORS, PLACES, SETTINGS, SIZES, TIMES

_COUNTS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth",
)  # fmt: skip
_ENDINGS = ("st", "nd", "rd", *["th"] * 9)
NUMBERS = (
    {word: n for n, word in enumerate(_COUNTS, 1)}
    | {word: n for n, word in enumerate(_ORDINALS, 1)}
    | {f"{n}{end}": n for n, end in enumerate(_ENDINGS, 1)}
)
"""`two`, `second` and `2nd` to 2; digits are read as they are."""

_PICTURE = r"(?:pictures?|images?|photos?|drawings?|illustrations?|panels?|frames?|pages?|versions?|results?)"
_ORDINAL = "(?:" + "|".join([*_ORDINALS, r"\d{1,2}(?:st|nd|rd|th)"]) + ")"
_COUNT = "(?:" + "|".join([*_COUNTS, r"\d{1,2}(?!\d)"]) + ")"
_AND = r"\s*(?:,\s*and|,|and|&)\s+(?:the\s+)?"
_COLOR = "|".join(COLORS)
_ALONE = (
    rf"(?=\s*(?:$|[.,;:!?]|and\b|but\b|with\b|at\b|in\b|on\b|to\b|darker|brighter|bigger|smaller|{_COLOR}))"
)
"""What may follow `the second` where it stands for a picture; before any other word it counts things."""

_BY_ORDINAL = re.compile(
    rf"\b({_ORDINAL}(?:{_AND}{_ORDINAL}){{0,11}})\s+(?:(ones?)|{_PICTURE})\b(?!\s+of\s+an?\b)"
)
_BARE_ORDINAL = re.compile(rf"\bthe\s+({_ORDINAL}(?:(?:{_AND}{_ORDINAL}){{1,11}}\b|{_ALONE}))")
_BY_NUMBER = re.compile(rf"\b{_PICTURE}\s+(?:number\s+|no\.?\s*|#)?({_COUNT}(?:{_AND}{_COUNT}){{0,11}})\b")
_HASH = re.compile(r"(?<!\w)#(\d{1,2})\b")
_FIRST_FEW = re.compile(rf"\bthe\s+first\s+({_COUNT})\s*(?:ones\b|{_PICTURE}\b|{_ALONE})")
_LAST_FEW = re.compile(rf"\bthe\s+(?:last|latest)\s+({_COUNT})\s*(?:ones\b|{_PICTURE}\b|{_ALONE})")
_LAST_BUT_ONE = re.compile(
    rf"\b(?:second|next)[ -]to[ -]last\b|\blast\s+but\s+one\b|\bthe\s+(?:one|{_PICTURE})\s+before\b"
)
_LAST = re.compile(rf"\b(?:last|latest|newest|previous|final)\s+(?:one|{_PICTURE})\b")
_ORIGINAL = re.compile(rf"\boriginal\s+(?:one|{_PICTURE})\b|\bto\s+the\s+original\b")
_ALL = re.compile(
    rf"\b(?:all|both)\s+(?:of\s+)?(?:the\s+|these\s+|those\s+|your\s+|my\s+)?(?:{_COUNT}\s+)?{_PICTURE}\b"
    rf"|\b(?:each|every)\s+{_PICTURE}\b|\beach\s+of\s+the\s+{_PICTURE}\b|\b(?:these|those)\s+{_PICTURE}\b"
)
_BORROWED = re.compile(
    r"\b(?:background|style|colou?rs?|palette|light|mood|place)\s+(?:of|from|in)\s+(?:the\s+)?$"
)
"""Before a picture's number: the picture lends something, and does not alone make up what is asked for."""
_TAKEN_AWAY = re.compile(r"\b(?:remove|delete|erase|drop|take(?:\s+away)?|without|not)\s+(?:the\s+)?$")
"""Before `the second one`: a thing in a picture."""

_YOURS = re.compile(rf"\byou\s+(?:just\s+)?(?:drew|made|painted|showed)\b|\byour\s+(?:\w+\s+)?{_PICTURE}\b")
_MINE = re.compile(
    rf"\bi\s+(?:just\s+)?(?:sent|uploaded|attached|gave|showed|brought)\b|\buploaded\b"
    rf"|\bmy\s+(?:own\s+)?(?:{_ORDINAL}\s+)?{_PICTURE}\b"
)
_BACK = re.compile(
    r"\b(?:earlier|previous|(?:from|one|had)\s+before|from\s+(?:the|your|our)\s+(?:story|series|chat))\b"
)
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»')
"""Letters that a picture shall show say nothing about pictures."""

_THE = frozenset(("the", "this", "that", "these", "those", "my", "your", "our", "same"))
_WEAK = re.compile(r"\b(?:it|its|it's|this|that|them|these|those|they|everything|again|the\s+background)\b")
_STRONG = re.compile(
    rf"\b(?:this|that)\s+(?:same\s+)?{_PICTURE}\b|\b(?:to|in|from|of|on)\s+the\s+{_PICTURE}\b|\bhere\s*(?:$|[.,!?])"
    r"|\b(?:too|as\s+well)\s*(?:$|[.,!?])|\b(?:to|from|on|in|with)\s+it\b|\b(?:of|like)\s+(?:it|this|that)\b"
)
_THE_SAME = re.compile(
    rf"(?:the\s+)?same\b(?:\s+(?:thing|{_PICTURE}))?(?=\s*(?:$|[.,!?]|(?:again|at|by|in|on|but|with|without|as)\b))"
)
_LEAD = re.compile(
    r"(?:(?:now|and|then|ok|okay|please|so|well|great|nice|thanks|thank|hello|hi|can|could|would|will|you|i|i'd|like"
    r"|want|need|love|to|just|also|next|but|for|me|us|let's|see)\b[\s,.!'-]*)*"
)
_EDIT_VERBS = """
make change turn paint colour color recolour recolor add remove delete erase take move put replace swap show
resize scale crop cut keep use give set rotate flip mirror lighten darken brighten fill rename redo repeat
"""
_EDITS = frozenset(_EDIT_VERBS.split())
_CREATES = frozenset(
    ("draw", "create", "generate", "design", "sketch", "illustrate", "tell", "write", "compare", "imagine")
)
_MAYBE_CREATES = frozenset(("make", "show", "paint", "give"))
_INDEFINITE = frozenset(("a", "an", "some", "another", "new", "several", "few", *_COUNTS))
_DEFINITE_WORDS = "the it this that them these those everything my your its their him her"
_DEFINITE = frozenset(_DEFINITE_WORDS.split())
_SENTENCE = re.compile(r"[.!?;:\n]+\s*")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")

_EMPTY = """
a an the this that these those my your its it and or of in on at by to with for from into as is are be near
under over above below behind beside between next left right top bottom center middle corner background plain
transparent field picture image photo drawing same other rest all each both one ones there small medium large
original last latest previous final you i we he she they has have had was were will should big bigger smaller
tiny huge light dark style day night sunset side people person
"""
"""Words of captions that are no things, beside colours, places, sizes and grounds."""


_NEAR = 40
"""How far back, in characters, what leads to a number is looked for."""


class Kind(Enum):
    """What a request asks for."""

    NEW = "new"
    """A picture of its own."""
    EDIT = "edit"
    """Something about a picture there is."""
    OPEN = "open"
    """Its words do not say."""


class Number(Enum):
    """Numbers that count from elsewhere than the first picture."""

    LAST = "last"
    BEFORE_LAST = "before last"
    ORIGINAL = "original"
    ALL = "all"


@dataclass(frozen=True)
class Mention:
    """Pictures named by number."""

    words: str
    """As the user wrote them, in small letters."""
    numbers: tuple[int, ...] = ()
    """From 1."""
    place: Number | None = None
    """In place of `numbers`."""
    last: int = 0
    """In place of `numbers`: so many of the last pictures."""
    pictures: bool = True
    """Whether it says "picture" or the like; "one" may be a thing in a picture."""
    borrowed: bool = False
    """Whether the picture lends a background, style or the like."""


@dataclass(frozen=True)
class Said:
    """What a request says."""

    kind: Kind
    mentions: tuple[Mention, ...] = ()
    named: tuple[str, ...] = ()
    """Stems after `the`, `this`, `my` ...: things that should be known by now."""
    pointing: str = ""
    """The words that point at a picture there is, if any."""
    whose: str = ""
    """`drawn` or `uploaded` when only such pictures are meant."""
    back: str = ""
    """Words that reach behind what comes with this message."""


def said(text: str) -> Said:
    """Read a request."""
    text = _QUOTED.sub(" ", text.lower().replace("\u2019", "'"))
    sentences = [_LEAD.sub("", each, count=1) for each in _SENTENCE.split(text)]
    kind = next((found for each in sentences if (found := _kind(each)) is not Kind.OPEN), Kind.OPEN)
    strong = _STRONG.search(text) or _THE_SAME.match(sentences[0])
    if strong:
        kind = Kind.EDIT
    weak = None if kind is Kind.NEW else (_WEAK.search(text) or _edit_verb(sentences))
    yours, mine = _YOURS.search(text), _MINE.search(text)
    back = _BACK.search(text) or yours
    return Said(
        kind,
        _mentions(text),
        _named(text, within_places=kind is not Kind.NEW),
        _words(strong or weak),
        "drawn" if yours else "uploaded" if mine else "",
        _words(back),
    )


def content(caption: str) -> frozenset[str]:
    """Stems of the things a caption shows: no articles, places, colours, sizes, grounds."""
    return frozenset(stem for word in _WORD.findall(caption.lower()) if (stem := _stem(word)) not in _COMMON)


def wording(caption: str) -> frozenset[str]:
    """All stems of a caption."""
    return frozenset(_stem(word) for word in _WORD.findall(caption.lower()))


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


_COMMON = frozenset(
    _stem(word)
    for phrase in (
        *_EMPTY.split(),
        *NUMBERS,
        *COLORS,
        *PLACES,
        *SIZES,
        *SETTINGS,
        *SETTINGS.values(),
        *TIMES,
        *TIMES.values(),
    )
    for word in phrase.split()
)


def _kind(sentence: str) -> Kind:
    words = _WORD.findall(sentence)
    if not words:
        return Kind.OPEN
    first = words[0]
    if first in _INDEFINITE or first.isdigit():
        return Kind.NEW
    if first in _CREATES or first in _MAYBE_CREATES:
        for word in words[1:]:
            if word in _INDEFINITE or word.isdigit():
                return Kind.NEW
            if word in _DEFINITE:
                return Kind.EDIT
        return Kind.NEW if first in _CREATES else Kind.EDIT
    return Kind.EDIT if first in _EDITS else Kind.OPEN


def _edit_verb(sentences: Sequence[str]) -> re.Match[str] | None:
    return next((found for each in sentences if (found := _WORD.match(each)) and found[0] in _EDITS), None)


def _words(found: re.Match[str] | None) -> str:
    return found[0].strip(" .,!?") if found else ""


def _mentions(text: str) -> tuple[Mention, ...]:
    """Every mention of pictures by number, in order; a place in the text is read once."""
    readers: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], dict[str, Any]]], ...] = (
        (_FIRST_FEW, lambda m: {"numbers": tuple(range(1, _value(m[1]) + 1))}),
        (_LAST_FEW, lambda m: {"last": _value(m[1])}),
        (_LAST_BUT_ONE, lambda m: {"place": Number.BEFORE_LAST}),
        (_LAST, lambda m: {"place": Number.LAST}),
        (_ORIGINAL, lambda m: {"place": Number.ORIGINAL}),
        (_ALL, lambda m: {"place": Number.ALL}),
        (_BY_ORDINAL, lambda m: {"numbers": _values(m[1]), "pictures": m[2] is None}),
        (_BARE_ORDINAL, lambda m: {"numbers": _values(m[1]), "pictures": False}),
        (_BY_NUMBER, lambda m: {"numbers": _values(m[1])}),
        (_HASH, lambda m: {"numbers": _values(m[1])}),
    )
    found: dict[int, Mention] = {}
    for pattern, read in readers:
        for match in pattern.finditer(text):
            before, fields = text[max(0, match.start() - _NEAR) : match.start()], read(match)
            if fields.get("pictures", True) or not _TAKEN_AWAY.search(before):
                borrowed = bool(_BORROWED.search(before))
                found[match.start()] = Mention(_words(match), borrowed=borrowed, **fields)
        text = pattern.sub(lambda match: "\0" * len(match[0]), text)
    return tuple(found[start] for start in sorted(found))


def _value(word: str) -> int:
    digits = re.match(r"\d+", word)
    return int(digits[0]) if digits else NUMBERS[word]


def _values(words: str) -> tuple[int, ...]:
    return tuple(_value(word) for word in re.findall(r"\w+", words) if word in NUMBERS or word[0].isdigit())


_PLACING = frozenset(("in", "on", "at", "by", "into", "onto", "near"))
_BREAK_WORDS = "and or but in on at by to into with without of from for is are as it so that which who"
_BREAKS = frozenset(_BREAK_WORDS.split())


def _named(text: str, *, within_places: bool) -> tuple[str, ...]:
    """Stems of up to three words after each `the` or the like; not after `in`, `on`, `at` of a new scene."""
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)?|[.,;:!?]", text)
    found: dict[str, None] = {}
    for position, word in enumerate(words):
        if word not in _THE or (not within_places and position and words[position - 1] in _PLACING):
            continue
        for following in words[position + 1 : position + 4]:
            if following in _BREAKS or not following[0].isalpha():
                break
            if (stem := _stem(following)) not in _COMMON:
                found[stem] = None
    return tuple(found)
