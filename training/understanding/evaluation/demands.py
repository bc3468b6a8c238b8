"""What is demanded of one picture, and what a prompt does wrong: faults by their cause and their source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from training.understanding.evaluation.prompts import Said
from training.world.scenes.scene import ObjectSpec, Spec

FIELDS = ("concept", "color", "count", "style", "size", "place")
ASPECTS = (
    "objects",
    "colours",
    "counts",
    "styles",
    "sizes",
    "places",
    "relations",
    "background",
    "text",
    "values",
)
"""Parts of a scene graph that are counted one by one."""
_CAUSES = {
    "concept": "noun", "color": "colour", "count": "count", "style": "style", "size": "size",
    "place": "place",
}  # fmt: skip
_ASPECT_OF = {
    "noun": "objects", "missing object": "objects", "extra object": "objects", "colour": "colours",
    "count": "counts", "style": "styles", "look": "styles", "face": "objects", "size": "sizes",
    "place": "places", "relation": "relations", "background": "background", "text": "text",
    "number": "values", "noun that repeats another": "objects",
}  # fmt: skip
_PARTS = frozenset(_ASPECT_OF) - {"missing object", "extra object"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: its cause, what was wanted and written, and where the wish came from."""

    cause: str
    wanted: str = ""
    written: str = ""
    source: str = "request"

    @property
    def name(self) -> str:
        """The cause as it is tallied: `wrong colour`, or `picture misread: colour`."""
        if self.source == "picture":
            return f"picture misread: {self.cause}"
        return f"wrong {self.cause}" if self.cause in _PARTS else self.cause


Allowed = frozenset[str | int | None]


@dataclass(frozen=True)
class Wanted:
    """An object: what each determined field may be, and which fields a picture showed (`shown`)."""

    fields: Mapping[str, Allowed]
    shown: frozenset[str] = frozenset()

    def misses(self, item: ObjectSpec) -> list[str]:
        """Fields in which an object is another."""
        return [name for name, allowed in self.fields.items() if getattr(item, name) not in allowed]

    @property
    def words(self) -> str:
        """What was wanted, in short."""
        return " ".join("/".join(str(v) for v in sorted(map(str, a))) for a in self.fields.values())


@dataclass(frozen=True)
class Demand:
    """All that is determined of one picture; `claims` are of a kind that is no scene."""

    kind: str = "scene"
    objects: tuple[Wanted, ...] = ()
    closed: bool = False
    """Whether nothing else may be in it."""
    ground: Mapping[str, Allowed] = field(default_factory=dict)
    ground_shown: bool = False
    relations: tuple[tuple[str, str, str], ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    claims_shown: frozenset[str] = frozenset()
    causes: Mapping[str, str] = field(default_factory=dict)

    def asked(self) -> dict[str, int]:
        """How many things of each aspect are determined."""
        found = dict.fromkeys(ASPECTS, 0)
        for item in self.objects:
            for name in item.fields:
                found[_ASPECT_OF[_CAUSES[name]]] += 1
        for name in self.claims:
            found[_ASPECT_OF[self.causes[name]]] += 1
        found["background"] += bool(self.ground)
        found["relations"] += len(self.relations)
        return found


def aspect_of(fault: Fault) -> str | None:
    """The aspect a fault counts against; None for whole prompts that cannot be read."""
    return _ASPECT_OF.get(fault.cause)


# --- judging -------------------------------------------------------------------------------------------


def faults(demand: Demand, said: Spec | Said | None) -> list[Fault]:
    """What a prompt lacks or has wrong; empty when it does what is demanded."""
    if said is None:
        return [Fault("not of the world")]
    kind = said.kind if isinstance(said, Said) else "scene"
    if kind != demand.kind:
        return [Fault("another kind of picture", demand.kind, kind)]
    if isinstance(said, Said):
        return _claim_faults(demand, said)
    return [*_object_faults(demand, said), *_ground_faults(demand, said), *_relation_faults(demand, said)]


def _claim_faults(demand: Demand, said: Said) -> list[Fault]:
    found = []
    for name, value in demand.claims.items():
        written = said.claims[name].value if name in said.claims else ""
        if written != value:
            source = "picture" if name in demand.claims_shown else "request"
            found.append(Fault(demand.causes[name], value, written, source))
    extra = [name for name in said.claims if demand.closed and name not in demand.claims]
    return [*found, *(Fault(said.claims[name].cause, "", said.claims[name].value) for name in extra)]


def _object_faults(demand: Demand, said: Spec) -> list[Fault]:
    pairs, missing, extra = _matched(demand.objects, said.objects)
    found = []
    for wanted, item in pairs:
        for name in wanted.misses(item):
            source = "picture" if name in wanted.shown else "request"
            cause = _noun_cause(demand, said, item) if name == "concept" else _CAUSES[name]
            allowed = "/".join(sorted(map(str, wanted.fields[name])))
            found.append(Fault(cause, allowed, str(getattr(item, name)), source))
            if name == "concept":
                break  # of another object nothing else is compared
    for wanted in missing:
        source = "picture" if "concept" in wanted.shown else "request"
        found.append(Fault("missing object", wanted.words, "", source))
    return [*found, *(Fault("extra object", "", item.concept) for item in extra if demand.closed)]


def _noun_cause(demand: Demand, said: Spec, item: ObjectSpec) -> str:
    """Why another noun stands there: it is the one beside it again, or where more may be, one is missing."""
    if sum(other.concept == item.concept for other in said.objects) > 1:
        return "noun that repeats another"
    return "noun" if demand.closed else "missing object"


def _matched(
    wanted: Sequence[Wanted], items: Sequence[ObjectSpec]
) -> tuple[list[tuple[Wanted, ObjectSpec]], list[Wanted], list[ObjectSpec]]:
    """The pairing with the fewest differences; nouns weigh most."""
    if not wanted or not items:
        return [], list(wanted), list(items)
    costs = np.array([[_cost(w.misses(i)) for i in items] for w in wanted])
    rows, columns = linear_sum_assignment(costs)
    pairs = [(wanted[r], items[c]) for r, c in zip(rows, columns, strict=True)]
    return (
        pairs,
        [w for r, w in enumerate(wanted) if r not in rows],
        [i for c, i in enumerate(items) if c not in columns],
    )


def _cost(misses: list[str]) -> int:
    return sum(100 if name == "concept" else 1 for name in misses)


def _ground_faults(demand: Demand, said: Spec) -> list[Fault]:
    written = said.background
    wrong = [name for name, allowed in demand.ground.items() if getattr(written, name) not in allowed]
    if not wrong:
        return []
    wanted = " ".join("/".join(sorted(map(str, demand.ground[name]))) for name in wrong)
    return [Fault("background", wanted, written.phrase, "picture" if demand.ground_shown else "request")]


def _relation_faults(demand: Demand, said: Spec) -> list[Fault]:
    there = {(r.kind, r.subject.concept, r.target.concept) for r in said.relations}
    return [Fault("relation", " ".join(r)) for r in demand.relations if r not in there]
