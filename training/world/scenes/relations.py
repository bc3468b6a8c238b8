"""Relations between two objects of a scene: their words, where they put the two, and whether they hold.

Offsets are subject minus target, in units of `scene.unit_px`; y points down. Placements keep a margin to the
conditions, so that no sample is borderline.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Relation:
    """`kind` of `KINDS` between two objects, named by their index in the scene."""

    kind: str
    subject: int
    target: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no relation {self.kind!r}; one of {', '.join(KINDS)}")
        if self.subject == self.target:
            raise ValueError(f"object {self.subject} cannot be {self.kind} itself")


@dataclass(frozen=True)
class Words:
    """What a caption leaves unsaid of two related objects, because the relation says it."""

    placeless: str | None = None  # the one whose place follows from the other's: subject | target
    sizeless: tuple[str, ...] = ()


KINDS: dict[str, Words] = {
    "left of": Words("subject"),
    "right of": Words("subject"),
    "above": Words("subject"),
    "below": Words("subject"),
    "inside": Words("subject", ("subject",)),
    "holding": Words("target", ("target",)),
    "bigger than": Words(None, ("subject", "target")),
    "behind": Words("subject"),
    "in front of": Words("subject"),
}
OVERLAPPING = ("inside", "holding", "behind", "in front of")
_AXES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
_SIZES: dict[str, tuple[tuple[str, str], ...]] = {  # subject and target; others are as large as they like
    "inside": (("small", "large"),),
    "holding": (("large", "small"),),
    "bigger than": (("large", "medium"), ("large", "small"), ("medium", "small")),
    "behind": (("medium", "medium"),),
    "in front of": (("medium", "medium"),),
}
_BESIDE = (("small", "small"), ("small", "medium"), ("medium", "small"), ("medium", "medium"))


@dataclass(frozen=True)
class Spot:
    """Where an object is: its center and its diameter in units."""

    x: float
    y: float
    size: float


def sizes(rng: np.random.Generator, kind: str) -> tuple[str, str]:
    """Size words of subject and target."""
    options = _SIZES.get(kind, _BESIDE)
    return options[int(rng.integers(len(options)))]


def offset(rng: np.random.Generator, kind: str, subject: float, target: float) -> tuple[float, float]:
    """A random offset of a subject from a target of these diameters that makes the relation hold."""
    middle = (subject + target) / 2
    if kind in _AXES:
        along, across = float(rng.uniform(1.05, 1.3)) * middle, float(rng.uniform(-0.25, 0.25)) * middle
        x, y = _AXES[kind]
        return (x * along, across) if x else (across, y * along)
    if kind == "inside":
        return float(rng.uniform(-0.04, 0.04)) * target, float(rng.uniform(0, 0.08)) * target
    side = float(rng.choice([-1.0, 1.0]))
    if kind == "holding":
        return side * float(rng.uniform(0.4, 0.46)) * subject, -float(rng.uniform(0.2, 0.28)) * subject
    if kind in ("behind", "in front of"):
        return side * float(rng.uniform(0.6, 0.68)) * middle, float(rng.uniform(-0.16, 0.16)) * middle
    raise ValueError(f"{kind!r} leaves its objects where they are")


def holds(kind: str, subject: Spot, target: Spot) -> bool:
    """Whether two found objects are so related, by their boxes; which one is in front is not seen here."""
    x, y = subject.x - target.x, subject.y - target.y
    middle = (subject.size + target.size) / 2
    if kind in _AXES:
        along, across = (abs(x), abs(y)) if _AXES[kind][0] else (abs(y), abs(x))
        forward = x * _AXES[kind][0] + y * _AXES[kind][1] > 0
        return forward and along > 1.3 * across and along > 0.6 * middle
    if kind == "inside":
        return max(abs(x), abs(y)) + subject.size / 2 < 0.6 * target.size
    if kind == "holding":
        beside = 0.25 * subject.size < abs(x) < 0.62 * subject.size
        return beside and 0.05 * subject.size < -y < 0.45 * subject.size and target.size < 0.75 * subject.size
    if kind == "bigger than":
        return subject.size > 1.2 * target.size
    return 0.35 * middle < max(abs(x), abs(y)) < 0.85 * middle
