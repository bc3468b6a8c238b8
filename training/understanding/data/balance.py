"""Sampling rules of the user-aligned query set: as balanced as the pool allows, over all attributes."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training.understanding.data.record import CATEGORIES, DIFFICULTIES, Record


def _equal(*values: object) -> Mapping[object, float]:
    return {value: 1 / len(values) for value in values}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Wanted shares of each attribute's values; equal ones by default."""

    category: Mapping[object, float] = field(default_factory=lambda: _equal(*CATEGORIES))
    difficulty: Mapping[object, float] = field(default_factory=lambda: _equal(*DIFFICULTIES))
    numeric: Mapping[object, float] = field(default_factory=lambda: _equal(True, False))
    pure_vqa: Mapping[object, float] = field(default_factory=lambda: {True: 0.2, False: 0.8})
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"category": 2.0, "difficulty": 1.0, "numeric": 1.0, "pure_vqa": 1.0}
    )
    """How much each attribute counts where they pull apart."""


ATTRIBUTES = ("category", "difficulty", "numeric", "pure_vqa")
BALANCED = Rules()


def choose(pool: Sequence[Record], count: int, rules: Rules = BALANCED) -> list[Record]:
    """So many records of a pool: each next one is of the kind that the rules miss most.

    Records of equal attributes are taken in the pool's order. Raises ValueError for a pool that is too small.
    """
    if count > len(pool):
        raise ValueError(f"{count} records of a pool of {len(pool)}; build more")
    kinds: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in reversed(pool):
        kinds[_attributes(record)].append(record)
    counts: dict[str, Counter[object]] = {name: Counter() for name in ATTRIBUTES}
    chosen: list[Record] = []
    while len(chosen) < count:
        best = max(kinds, key=lambda values: _missed(values, counts, len(chosen) + 1, rules))
        chosen.append(kinds[best].pop())
        if not kinds[best]:
            del kinds[best]
        for name, value in zip(ATTRIBUTES, best, strict=True):
            counts[name][value] += 1
    return chosen


def cap(records: Sequence[Record], share: float) -> list[Record]:
    """The records, less those of a task that would be more than that share of them all."""
    most = max(1, round(share * len(records)))
    counts: Counter[str] = Counter()
    kept = []
    for record in records:
        counts[record.task] += 1
        if counts[record.task] <= most:
            kept.append(record)
    return kept


def table(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """How many records have each value of each attribute."""
    return {
        name: {str(k): v for k, v in sorted(Counter(getattr(r, name) for r in records).items(), key=str)}
        for name in (*ATTRIBUTES, "task")
    }


def _attributes(record: Record) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in ATTRIBUTES)


def _missed(
    values: tuple[object, ...], counts: dict[str, Counter[object]], total: int, rules: Rules
) -> float:
    """How far behind their shares the values of a kind are, weighted."""
    behind = 0.0
    for name, value in zip(ATTRIBUTES, values, strict=True):
        wanted = getattr(rules, name).get(value, 0.0) * total
        behind += rules.weights[name] * (wanted - counts[name][value]) / total
    return behind
