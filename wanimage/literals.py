"""What a user means literally and a rewrite must repeat: quoted texts, hex colours, numbers, names."""

import re

_WORDS = (
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
QUOTED = re.compile(r'"([^"\n]*)"')
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_COUNT = re.compile(rf"(?<![\w#.:/-])(?:{'|'.join(_WORDS)}|\d+(?:[.,:]\d+)*%?)(?![\w-])", re.IGNORECASE)
_PICTURES = (
    r"(?:\w+\s+)?(?:pictures?|pics?|images?|photos?|drawings?|illustrations?|panels?|steps?|entries)\b"
)
_OF_PICTURES = re.compile(rf"\s+{_PICTURES}", re.IGNORECASE)
_SERIES = re.compile(rf"(?<![\w#.:/-])({'|'.join(_WORDS)}|\d{{1,3}})(?:-|\s+){_PICTURES}", re.IGNORECASE)
_NUMBERING = re.compile(r"(?:^|(?<=[.;:] )|(?<=\n))\d+[.)](?=\s)")
_NAME = re.compile(r"(?<=[\w,;)] )(?!(?:Thanks?|That's|Take|Be|Can't|It|Make|Our|Please)\b)[A-Z][\w'-]+")
"""A capital within a sentence; not the words that begin one where its stop was left out."""

OPENINGS = {"quote": '"', "colour": "#", "number": "0-9", "name": "A-Z"}
"""What begins a literal of each kind, as in a class of a regular expression; a number may also be a word."""


def literals(prompt: str) -> list[str]:
    """What a rewrite must repeat verbatim: quoted texts, hex colours, numbers of things, capitalised names.

    Numbers of pictures are the request's form, not its content, and are left out.
    """
    found = [f'"{text}"' for text in QUOTED.findall(prompt) if text.strip()]
    bare = QUOTED.sub('""', prompt)
    found += _HEX.findall(bare)
    bare = _NUMBERING.sub(".", _HEX.sub("", bare))
    found += [m[0] for m in _COUNT.finditer(bare) if not _OF_PICTURES.match(bare, m.end())]
    if not bare.isupper():
        found += _NAME.findall(bare)
    return found


def spelt(prompt: str) -> list[str]:
    """The literals that can be held to letter by letter, in the order in which the prompt has them: all but
    numbers in words."""
    return sorted((each for each in literals(prompt) if each.lower() not in _WORDS), key=prompt.find)


def kind_of(literal: str) -> str:
    """One of OPENINGS."""
    if literal[0] in '"#':
        return "quote" if literal[0] == '"' else "colour"
    return "number" if literal[0].isdigit() or literal.lower() in _WORDS else "name"


def pictures_asked_for(prompt: str) -> int:
    """How many pictures, panels or steps a prompt asks for in so many words; 0 where it does not say."""
    found = _SERIES.search(QUOTED.sub('""', prompt))
    if not found:
        return 0
    word = found[1].lower()
    return _WORDS.index(word) + 2 if word in _WORDS else int(word)


def repeated(literal: str, told: str, entries: int) -> bool:
    """Whether the text `told` has it: verbatim, or a number as a word or in digits.

    The number of `entries` need not be said in them.
    """
    if literal[0] in '"#':
        return literal in told
    if re.search(rf"(?<!\w){re.escape(literal)}(?!\w)", told):
        return True
    low = literal.lower()
    number = str(_WORDS.index(low) + 2) if low in _WORDS else low
    if number == str(entries) or number == "1":
        return True
    words = set(re.findall(r"[\w.,:%-]*[\w%]", told.lower()))
    spelt = _WORDS[int(number) - 2] if number.isdecimal() and 2 <= int(number) <= 12 else number
    return number.isdecimal() and bool({number, spelt} & words)
