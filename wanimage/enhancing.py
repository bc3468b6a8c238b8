"""The text that a prompt enhancer writes, and what it means: lines of a key and a value, read back exactly.

    answer      := category [ "\n" body ]                 (`general` alone passes through)
    body        := description{n} | "c " common ("\n" number " " difference){n}
    description := number " " subject ("\ne " what ": " place)* ["\np " palette] ["\nl " lighting]
                   ["\nb " background] ["\ny " style]

Entries are numbered from 1, for a model that counts badly. The first body answers requests in words, the
second those with references. The natural form of a description is not written but follows from it: subject,
background and style, as the world's captions join them. `grammar` is the same for constrained decoding, and
`lost` checks that what a user meant literally is still there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wanimage import tokens
from wanimage.conditions import PLACES
from wanimage.decoding import lark
from wanimage.literals import OPENINGS, QUOTED, kind_of, literals, repeated

TASKS = ("t2i", "i2i", "t2s", "ti2s")
CATEGORIES = (
    "general", "text", "poster", "infographic", "interface", "storyboard", "diagram", "knowledge",
)  # fmt: skip
"""The classifier's words; `general` passes through, the others activate rewriting."""
REFERENCED = ("i2i", "ti2s")
MOST_ENTRIES, MOST_ELEMENTS = 12, 9
LONGEST_VALUE = 300
"""Tokens of one value under the grammar: a model that repeats itself without end still gets to an end."""
_KEYS = "seplby"


@dataclass(frozen=True)
class Description:
    """One picture. `layout` are (what, one of PLACES); what is empty is unsaid."""

    subject: str
    layout: tuple[tuple[str, str], ...] = ()
    palette: tuple[str, ...] = ()
    lighting: str = ""
    background: str = ""
    style: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The lettering, verbatim."""
        return tuple(QUOTED.findall(self.subject))

    @property
    def natural(self) -> str:
        """The same as the prompt of a picture."""
        behind = f", {self.background}" if self.background else ""
        return f"{self.subject}{behind}" + (f", drawn in {self.style} style" if self.style else "")


@dataclass(frozen=True)
class Result:
    """An answer: descriptions for requests in words, `common` and `differences` for those with references.

    Neither where the request passes through.
    """

    category: str
    descriptions: tuple[Description, ...] = ()
    common: str = ""
    differences: tuple[str, ...] = ()

    @property
    def entries(self) -> int:
        """How many pictures it speaks of."""
        return len(self.descriptions) or len(self.differences)


def asked(task: str, count: int, prompt: str, forced: bool = False) -> str:
    """What the model is asked; `forced` rewrites whatever the category."""
    return f"enhance {task} {count}{' rewrite' if forced else ''}: {prompt}"


def written(result: Result) -> str:
    """The text of a result."""
    lines = [result.category]
    for number, each in enumerate(result.descriptions, 1):
        lines.append(f"{number} {each.subject}")
        lines += [f"e {what}: {place}" for what, place in each.layout]
        lines += [f"p {', '.join(each.palette)}"] if each.palette else []
        rest = (("l", each.lighting), ("b", each.background), ("y", each.style))
        lines += [f"{key} {value}" for key, value in rest if value]
    if result.differences:
        lines.append(f"c {result.common}")
        lines += [f"{number} {each}" for number, each in enumerate(result.differences, 1)]
    return "\n".join(lines)


def read(text: str) -> Result:
    """The result of a text. Raises ValueError, naming the line, for a text that is none."""
    category, *lines = text.split("\n")
    if category not in CATEGORIES:
        raise ValueError(f"{category!r} is no category; one of {CATEGORIES}")
    if lines and lines[0].startswith("c "):
        if len(lines) < 2:
            raise ValueError("after `c` come numbered lines, got none")
        return Result(
            category, (), lines[0][2:], tuple(_numbered(line, n) for n, line in enumerate(lines[1:], 1))
        )
    groups: list[list[str]] = []
    for line in lines:
        if line[:1].isdigit():
            groups.append([])
            line = f"s {_numbered(line, len(groups))}"
        if not groups or line[1:2] != " " or line[0] not in _KEYS or not line[2:]:
            raise ValueError(f"no line of a description: {line!r}")
        groups[-1].append(line)
    return Result(category, tuple(map(_description, groups)))


def _numbered(line: str, number: int) -> str:
    """What follows the number of a line."""
    found, _, value = line.partition(" ")
    if found != str(number) or not value:
        raise ValueError(f"entry {number} is missing or empty, got {line!r}")
    return value


def _description(lines: list[str]) -> Description:
    order = [_KEYS.index(line[0]) for line in lines]
    repeated = [key for key in _KEYS if key != "e" and sum(line[0] == key for line in lines) > 1]
    if order != sorted(order) or repeated:
        raise ValueError(f"lines out of order or repeated: {lines}")
    found = {line[0]: line[2:] for line in lines}
    layout = []
    for line in lines:
        if line[0] == "e":
            what, bar, place = line[2:].rpartition(": ")
            if not bar or not what.strip() or place not in PLACES:
                raise ValueError(f"no placed element: {line!r}; places are {PLACES}")
            layout.append((what, place))
    palette = tuple(found["p"].split(", ")) if "p" in found else ()
    rest = (found.get(key, "") for key in "lby")
    return Description(found["s"], tuple(layout), palette, *rest)


# --- what was meant literally ----------------------------------------------------------------------------


def lost(prompt: str, result: Result) -> list[str]:
    """The literals of a prompt (`literals.py`) that no entry of a result repeats.

    None where the request passes through. A palette is not part of what is painted, and does not count.
    """
    told = "\n".join(_told(result))
    if not told:
        return []
    return [each for each in literals(prompt) if not repeated(each, told, result.entries)]


def _told(result: Result) -> Iterator[str]:
    yield from (each.natural for each in result.descriptions)
    if result.differences:
        yield result.common
        yield from result.differences


# --- constrained decoding --------------------------------------------------------------------------------

_RULES = """\
what[max_tokens={longest}]: /[^\\n: ][^\\n:]*: /
element: "\\ne " what PLACE
rest: element{{0,{elements}}} ("\\np " value)? ("\\nl " value)? ("\\nb " value)? ("\\ny " value)?
PLACE: /{places}/
ACTIVE: /{active}/
"""


def grammar(
    task: str,
    count: int,
    control: Mapping[str, int],
    *,
    forced: bool = False,
    thinking: bool = False,
    verbatim: Sequence[str] = (),
) -> str:
    """Lark text of every answer to a request of `count` pictures; exactly so many entries.

    `forced` does not let the request pass through. `thinking` begins inside `<think>`. Wherever something of
    a kind of the literals `verbatim` begins, it is one of them; a single picture's subject has all of them in
    that order, colours aside, which may stand elsewhere. Raises ValueError for a task that there is none of,
    and for a count outside of 1 to 12.
    """
    if task not in TASKS or not 1 <= count <= MOST_ENTRIES:
        raise ValueError(
            f"no answer of {count} entries to {task!r}; tasks {TASKS}, 1 to {MOST_ENTRIES} entries"
        )
    numbers = range(1, count + 1)
    if task in REFERENCED:
        body = '"\\nc " value ' + " ".join(f'"\\n{n} " value' for n in numbers)
    elif count == 1:
        body = '"\\n1 " subject rest'
    else:
        body = " ".join(f'"\\n{n} " value rest' for n in numbers)
    answer = '("general" | ACTIVE) body' if forced else '"general" | ACTIVE body'
    start = f"{thoughts(control)} answer" if thinking else "answer"
    rules = _RULES.format(
        longest=LONGEST_VALUE,
        elements=MOST_ELEMENTS,
        places="|".join(PLACES),
        active="|".join(CATEGORIES[1:]),
    )
    return lark(f"start: {start}\nanswer: {answer}\nbody: {body}\n{_values(verbatim)}{rules}")


def thoughts(control: Mapping[str, int]) -> str:
    """Lark for what follows `<think>`, its end included."""
    return f"/(?s:.+)/? <[{control[tokens.END_THINK]}]>"


def _values(verbatim: Sequence[str]) -> str:
    """Rules of `value` and `subject`: free text, or text in which literals of some kinds are those given."""
    limit = f"[max_tokens={LONGEST_VALUE}]"
    if not verbatim:
        return f"value{limit}: /[^\\n]+/\nsubject: value\n"
    kinds = {kind_of(each) for each in verbatim}
    given = [json.dumps(each, ensure_ascii=False) for each in verbatim]
    told = [each for each in given if kind_of(json.loads(each)) != "colour"]
    colours = [each for each in given if each not in told]
    free = f"piece (({' | '.join(colours)}) piece)*" if colours else "piece"
    subject = " ".join(f"{each} free" for each in told)
    return (
        f"piece{limit}: /[^\\n{''.join(OPENINGS[kind] for kind in sorted(kinds))}]*/\n"
        f"free: {free}\nvalue: piece (({' | '.join(dict.fromkeys(given))}) piece)*\nsubject: free {subject}\n"
    )
