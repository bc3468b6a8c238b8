"""Whether `common` and `difference` put every attribute on the right side, whatever value it is given.

Attributes are an object's being there, its place, colour, size and number, the background, the style; of an
edit they are the aspects that the text names. A side's values are another matter: which drink stands where in
a picture is read from it, and measured with the planner's questions.
"""

import re

from training.understanding.evaluation.wording import read
from wanimage.conditions import SETTINGS
from wanimage.enhancing import Result

_GROUND = re.compile(rf"(?:{'|'.join(SETTINGS.values())})\b|on a (?:plain|gradient|transparent|background)\b")

Attributes = frozenset[tuple[str, str]]


def attributes(side: str) -> Attributes:
    """The attributes that a side speaks of: pairs of what, and of which object ("" for the picture)."""
    if aspect := re.fullmatch(r"([a-z]+): .*", side, re.DOTALL):
        return frozenset({("aspect", aspect[1])})
    found: set[tuple[str, str]] = set()
    for phrase in side.split(", "):
        mentions = read(phrase).mentions
        if _GROUND.match(phrase):
            found.add(("background", ""))
        elif phrase.endswith(" style"):
            found.add(("style", ""))
        elif mentions:
            for item in mentions:
                here = {"thing": True, "place": item.place, "colour": item.color, "size": item.size}
                here["number"] = item.count > 1
                found |= {(name, item.concept) for name, there in here.items() if there}
        elif phrase:
            found.add(("aspect", phrase))
    return frozenset(found)


def sides_kept(gold: Result, written: Result) -> float:
    """Share of the attributes that stand on their side, of all that stand or should stand anywhere."""
    if len(written.differences) != len(gold.differences):
        return 0.0
    pairs = [(gold.common, written.common), *zip(gold.differences, written.differences, strict=True)]
    sets = [(attributes(wanted), attributes(found)) for wanted, found in pairs]
    right = sum(len(a & b) for a, b in sets)
    return right / max(1, sum(len(a | b) for a, b in sets))
