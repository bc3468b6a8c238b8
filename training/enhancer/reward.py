"""What a rewrite is worth: it keeps what was asked, it is rich, and it is written in the world's language.

    fidelity   demands of the request that the rewrite meets, by the world's own grammars and judges
    richness   properties that the rewrite settles, of those that a full answer does
    accuracy   descriptions that the world's grammars read, less what is repeated

Padding, repetition and inventions score lower: what a grammar does not read counts for nothing, a repeated
line is taken off, and each invented thing is a fault against fidelity. `by_words` judges otherwise, by plain
words, and no training sees it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.enhancer.data import Row
from training.understanding.evaluation import demands
from training.understanding.evaluation.determined import said_claims, said_scene
from training.understanding.evaluation.prompts import Said, understood
from training.understanding.evaluation.wording import read as words_of
from training.world.scenes.scene import Spec
from wanimage.conditions import COLORS, SETTINGS, TIMES
from wanimage.enhancing import Description, Result, lost, read
from wanimage.literals import literals

WEIGHTS = {"fidelity": 0.5, "richness": 0.25, "accuracy": 0.25}
_QUOTED = re.compile(r'"[^"]*"')
_COLOR = rf"(?:{'|'.join(COLORS)}|#[0-9a-fA-F]{{6}})"
_GROUND = re.compile(
    rf"on (?:a plain {_COLOR} background|"
    rf"a gradient from {_COLOR} to {_COLOR}, (?:top to bottom|left to right)|"
    rf"{_COLOR} panels before a scene (?:{'|'.join(SETTINGS.values())}) (?:{'|'.join(TIMES.values())}))"
)


@dataclass(frozen=True)
class Reward:
    """The terms, each 0..1."""

    fidelity: float = 0.0
    richness: float = 0.0
    accuracy: float = 0.0

    @property
    def total(self) -> float:
        """Their weighted mean."""
        return sum(weight * getattr(self, name) for name, weight in WEIGHTS.items())


def reward(row: Row, text: str) -> Reward:
    """The worth of an answer's text; nothing where it is no answer, or another category's."""
    try:
        result = read(text)
    except ValueError:
        return Reward()
    gold = row.result
    kinds = [(len(each.descriptions), len(each.differences)) for each in (gold, result)]
    if result.category != gold.category or kinds[0] != kinds[1]:
        return Reward()
    if not gold.entries:
        return Reward(1.0, 1.0, 1.0)
    if gold.differences:
        right = sides_right(gold, result)
        told = sum(bool(each) for each in result.differences) / gold.entries
        return Reward(right, right * told, _unrepeated([result.common, *result.differences], gold.entries))
    pairs = list(zip(gold.descriptions, result.descriptions, strict=True))
    kept = sum(fidelity(row.request, a, b) for a, b in pairs) / len(pairs)
    rich = sum(richness(a, b) for a, b in pairs) / len(pairs)
    sound = sum(_read(each.natural) is not None for each in result.descriptions) / len(pairs)
    missing = lost_share(row, result)
    return Reward(kept * (1 - missing), rich, sound * _unrepeated(_lines(result), 1))


def fidelity(request: str, gold: Description, written: Description) -> float:
    """Share of what the request determines that a description says, less a demand an invention."""
    wanted, said = _read(gold.natural), _read(written.natural)
    assert wanted is not None, gold.natural
    if said is None or isinstance(said, Said) != isinstance(wanted, Said):
        return 0.0
    if isinstance(wanted, Said):
        demand = said_claims(wanted, gold.natural, request)
        demand = replace(demand, claims={**demand.claims, **_poster_claims(wanted, request)})
        invented = len([n for n in said.claims if n not in wanted.claims]) if isinstance(said, Said) else 0
    else:
        demand = said_scene(wanted, gold.natural, request)
        invented = max(0, len(said.objects) - len(wanted.objects)) if isinstance(said, Spec) else 0
    asked = max(1, sum(demand.asked().values()))
    faults = [f for f in demands.faults(demand, said) if f.cause != "extra object"]
    return max(0.0, 1 - (len(faults) + invented) / asked)


def _poster_claims(wanted: Said, request: str) -> dict[str, str]:
    """What a request says of a poster in other words than its phrase: parts of a look, and the object."""
    values = {name: claim.value for name, claim in wanted.claims.items()}
    found = {}
    for index in (1, 2):
        text = values.get(f"text {index}")
        look = re.search(rf'"{re.escape(text)}" in ([^"]*?) letters', request) if text else None
        for name in ("size", "color", "font"):
            value = values.get(f"{name} {index}")
            if look and value in look[1].split():
                found[f"{name} {index}"] = value
    if "object" in values and re.search(rf"\b{values['object']}\b", _QUOTED.sub("", request), re.IGNORECASE):
        found["object"] = values["object"]
    return found


def faithful(row: Row, result: Result) -> bool:
    """Whether nothing that was asked for is lost or contradicted in any picture, and nothing is invented."""
    pairs = zip(row.result.descriptions, result.descriptions, strict=True)
    return all(fidelity(row.request, gold, written) == 1.0 for gold, written in pairs)


def richness(gold: Description, written: Description) -> float:
    """Properties settled, at most as many as in a full answer; what no grammar reads settles none."""
    said, full = _read(written.natural), _read(gold.natural)
    if said is None or full is None:
        return 0.0
    share = min(1.0, _settled(said) / max(1, _settled(full)))
    lines = [bool(getattr(written, name)) for name in ("layout", "palette", "lighting", "background")]
    wanted = [bool(getattr(gold, name)) for name in ("layout", "palette", "lighting", "background")]
    there = sum(a and b for a, b in zip(lines, wanted, strict=True)) / max(1, sum(wanted))
    return 0.5 * share + 0.5 * (there if any(wanted) else share)


def _read(prompt: str) -> Spec | Said | None:
    """What a prompt says; nothing where a poster's ground, of which the grammar reads any, is padded."""
    said = understood(prompt)
    if (
        isinstance(said, Said)
        and said.kind == "poster"
        and not _GROUND.fullmatch(said.claims["ground"].value)
    ):
        return None
    return said


def _settled(said: Spec | Said) -> int:
    if isinstance(said, Said):
        return sum(bool(claim.value) for claim in said.claims.values())
    fields = [
        value for item in set(said.objects) for value in (item.concept, item.color, item.place, item.size)
    ]
    return sum(bool(value) for value in fields) + 1


def lost_share(row: Row, result: Result) -> float:
    """Share of the request's literals that no description repeats verbatim."""
    wanted = literals(row.request)
    if not wanted or not result.descriptions:
        return 0.0
    return len(lost(row.request, result)) / len(wanted)


def sides_right(gold: Result, written: Result) -> float:
    """Share of the attributes that stand on their side, of all that stand or should stand anywhere."""
    if len(written.differences) != len(gold.differences):
        return 0.0
    right = total = 0
    sides = [(gold.common, written.common), *zip(gold.differences, written.differences, strict=True)]
    for wanted, found in sides:
        a, b = set(wanted.split(", ")), set(found.split(", "))
        right, total = right + len(a & b), total + len(a | b)
    return right / max(1, total)


def by_words(row: Row, text: str) -> float:
    """A judge apart from the reward: F1 of the words that request and rewrite name.

    Nouns, colours, places, quoted text and hex colours; of what it adds, nouns alone count against it.
    """
    try:
        result = read(text)
    except ValueError:
        return 0.0
    told = "\n".join([*(d.natural for d in result.descriptions), result.common, *result.differences])
    asked, said = _mentioned(row.request), _mentioned(told)
    if not row.result.entries:
        return float(not result.entries)
    if not asked:
        return float(bool(said) or bool(told.strip()))
    recall = len(asked & said) / len(asked)
    nouns = {word for kind, word in said if kind == "noun"}
    precision = len(nouns & {w for k, w in asked if k == "noun"}) / len(nouns) if nouns else 1.0
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def _mentioned(text: str) -> set[tuple[str, str]]:
    words = words_of(_QUOTED.sub("", text).replace(" letters", ""))
    found = {("noun", m.concept) for m in words.mentions}
    found |= {("colour", m.color) for m in words.mentions if m.color}
    found |= {("place", m.place) for m in words.mentions if m.place}
    return found | {("literal", each) for each in literals(text) if each[0] in '"#'}


def _lines(result: Result) -> list[str]:
    """What a reader would call said twice: placed elements and words within one description."""
    return [part for d in result.descriptions for part in (f"{what} {place}" for what, place in d.layout)]


def _unrepeated(lines: Sequence[str], allowed: int) -> float:
    """Share of distinct lines; up to `allowed` equal ones (panels that show the same) are fair."""
    if not lines:
        return 1.0
    over = sum(max(0, lines.count(line) - allowed) for line in set(lines))
    return 1 - over / len(lines)
