"""Strangers: things in references that look like nothing the branch could draw from their words.

A branch that draws each noun from its word has no reason to look at a reference, and what it cannot draw from
a word it then does not copy either. Here a thing wears another look, the same in the references and in the
result, under a name that is no word: so the reference alone tells what to draw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np

from training.visualizer.tasks import Task
from training.world.assets.concepts import CATALOGUE, colorable, concept, is_held_out
from training.world.scenes.scene import Guise, Scene, SceneObject
from training.world.tasks.sample import Frame

SEVERAL = 0.6
"""Chance of each further thing to be a stranger where one is, in a single reference. Of several references
nothing would say which one shows which of several new names."""
HALVES = 0.5
"""Guises made of two nouns."""
EXCHANGED = 0.6
"""Guises with other colours, where no word says the colour."""
_ONSETS = (
    "b", "bl", "d", "dr", "f", "fl", "g", "gl", "j", "k", "kr", "l", "m", "n", "p", "pl", "r", "s", "sk",
    "st", "t", "tr", "v", "w", "y", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ee", "oo", "ai")
_CODAS = ("b", "d", "g", "k", "l", "m", "n", "p", "r", "sh", "t", "x", "z", "nd", "rt")


def estranged(task: Task, rng: np.random.Generator) -> Task:
    """The task with some of the things that its pictures take over from its references made strangers; as it
    is where it takes over none. Its sample is left out: no verifier knows a stranger."""
    frames = (*task.shots, *task.references)
    taken = _taken_over(task) if all(isinstance(frame.scene, Scene) for frame in frames) else []
    if not taken:
        return task
    first, *others = (taken[i] for i in rng.permutation(len(taken)))
    chosen = [first, *(name for name in others if len(task.references) == 1 and rng.random() < SEVERAL)]
    things = [item for frame in frames for item in frame.scene.objects]
    guises = {name: _guise([item for item in things if item.concept == name], rng) for name in chosen}
    names = {name: _no_word(rng) for name in chosen}
    shots, references = (
        tuple(_dressed(frame, guises, names) for frame in some) for some in (task.shots, task.references)
    )
    return replace(task, shots=shots, references=references, sample=None)


def _taken_over(task: Task) -> list[str]:
    """Nouns of the pictures that references show in the same style, whose words mean nothing else there."""
    shown, seen = _nouns(task.shots), _nouns(task.references)
    grounds = " ".join(frame.scene.background.phrase for frame in task.shots)
    others = [grounds, *{name for name, _ in shown | seen}]
    names = sorted({name for name, _ in shown})
    return [
        name
        for name in names
        if all((noun, style) in seen for noun, style in shown if noun == name)
        and not any(_word(name).search(other) for other in others if other != name)
    ]


def _nouns(frames: Iterable[Frame]) -> set[tuple[str, str]]:
    return {(item.concept, item.style) for frame in frames for item in frame.scene.objects}


def _guise(items: list[SceneObject], rng: np.random.Generator) -> Guise:
    """A look that all of these can wear: what a colour word applies to where one has a colour."""
    colored = any(item.color for item in items)
    nouns = [name for name in _known() if not colored or all(colorable(name, i.style) for i in items)]
    upper, lower = (nouns[int(rng.integers(len(nouns)))] for _ in range(2))
    exchanged = not colored and rng.random() < EXCHANGED
    red, green, blue = (int(i) for i in (rng.permutation(3) if exchanged else range(3)))
    return Guise(
        upper,
        lower if rng.random() < HALVES else upper,
        bool(rng.random() < 0.5),
        int(rng.integers(4)),
        (red, green, blue),
    )


@cache
def _known() -> tuple[str, ...]:
    return tuple(name for name in CATALOGUE if not is_held_out(name))


def _no_word(rng: np.random.Generator) -> str:
    """Two syllables."""
    pick = lambda parts: parts[int(rng.integers(len(parts)))]  # noqa: E731
    return "".join(map(pick, (_ONSETS, _VOWELS, _ONSETS, _VOWELS, _CODAS)))


def _dressed(frame: Frame, guises: dict[str, Guise], names: dict[str, str]) -> Frame:
    objects = tuple(replace(item, guise=guises.get(item.concept)) for item in frame.scene.objects)
    prompt = frame.prompt
    for old, new in names.items():
        prompt = _word(old).sub(lambda match, new=new: _renamed(match, new), prompt)  # type: ignore[misc]
    return replace(frame, scene=replace(frame.scene, objects=objects), prompt=prompt)


def _word(noun: str) -> re.Pattern[str]:
    return re.compile(rf"\b(an? )?(?:({re.escape(concept(noun).plural)})|{re.escape(noun)})\b", re.IGNORECASE)


def _renamed(match: re.Match[str], new: str) -> str:
    """The new name in the old one's place, in its number and with its article."""
    article, plural = match.groups()
    return (article[0] + " " if article else "") + new + ("s" if plural else "")
