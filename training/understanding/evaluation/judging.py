"""The verdict on one written turn: every measure that applies to it, and its faults by cause."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from training.understanding.evaluation import demands, questions
from training.understanding.evaluation.cases import Case
from training.understanding.evaluation.demands import ASPECTS, Demand, Fault
from training.understanding.evaluation.drawing import scene_of
from training.understanding.evaluation.expectations import Expectation, expectation, route, seen
from training.understanding.evaluation.prompts import Said, understood
from training.understanding.evaluation.wording import read
from training.understanding.evaluation.writing import Written
from training.world.scenes.scene import Scene, Spec
from wanimage.markup import ImageSpec, Item, Text

MEASURES = (
    "well_formed", "route", "count", "size", "orientation", "scene", "consistent", "vqa", "ambiguous",
    "answered", "told", *ASPECTS,
)  # fmt: skip
"""What is measured, each as (right, asked) of a turn."""


_TOLD = ("task/howto", "task/comparison")
"""Families in which every picture shows what the words before it name."""


@dataclass
class Verdict:
    """Measures of one turn, (right, asked); and what is wrong with it."""

    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    expected_route: str = ""
    written_route: str = ""

    def mark(self, name: str, right: bool) -> None:
        """Count one case of a measure."""
        done, asked = self.marks.get(name, (0, 0))
        self.marks[name] = (done + bool(right), asked + 1)

    @property
    def right(self) -> bool:
        """Whether nothing is wrong with the turn."""
        return all(done == asked for done, asked in self.marks.values())


def judge(case: Case, written: Written) -> Verdict:
    """Every measure of a turn."""
    wanted, verdict = expectation(case), Verdict()
    shown = [spec for picture in case.shown if (spec := seen(picture)) is not None]
    verdict.expected_route, verdict.written_route = wanted.route, route(written.items, case, shown)
    verdict.mark("well_formed", not written.problem)
    if written.problem:
        cause = "never ends" if written.endless else "not well-formed"
        verdict.faults.append(Fault(cause, "", written.problem))
    verdict.mark("route", verdict.written_route == wanted.route)
    if wanted.route != "refusal":
        verdict.mark("answered", verdict.written_route != "refusal")
    images = written.images
    if case.gold.pictures:
        verdict.mark("count", len(images) == len(case.gold.pictures))
        _mark_sizes(verdict, wanted, images)
        _mark_scenes(verdict, case, wanted, [understood(image.prompt) for image in images])
        if case.family in _TOLD:
            verdict.mark("told", not (untold := _untold(written.items)))
            verdict.faults += [Fault("picture lacks what its text names", noun) for noun in untold]
    if (sort := questions.sort_of(case)) is not None:
        right = not images and questions.check(case, written.text)
        verdict.mark("vqa", right)
        verdict.mark(f"vqa {sort}", right)
        if not right:
            verdict.faults.append(Fault(f"answer ({sort})", case.gold.text, written.text))
    return verdict


def _mark_sizes(verdict: Verdict, wanted: Expectation, images: Sequence[ImageSpec]) -> None:
    for index, grids in enumerate(wanted.grids):
        grid = images[index].grid if index < len(images) else None
        verdict.mark("size", grid in grids)
        verdict.mark("orientation", grid is not None and _shape(grid) in {_shape(g) for g in grids})


def _shape(grid: tuple[int, int]) -> int:
    return (grid[0] > grid[1]) - (grid[0] < grid[1])


def _mark_scenes(verdict: Verdict, case: Case, wanted: Expectation, said: list[Spec | Said | None]) -> None:
    """Every picture against what is determined of it; of alternatives, against the one it is nearest to."""
    if case.sample and case.sample.accepted:
        _mark_reading(verdict, case, said)
        return
    tried = [(_compare(each, said), each) for each in wanted.demands]
    found, demanded = min(tried, key=lambda pair: sum(map(len, pair[0])))
    if wanted.anywhere:
        found[-1].extend(_nowhere(wanted, said))
    for demand, faults in zip(demanded, found, strict=True):
        verdict.mark("scene", not faults)
        _mark_aspects(verdict, demand, faults)
    repeated = len(said) - len({repr(each) for each in said})
    if wanted.distinct and repeated and len(said) == len(demanded):
        found[-1].append(Fault("repeated picture"))
        done, asked = verdict.marks["scene"]
        verdict.marks["scene"] = (max(0, done - repeated), asked)
    verdict.faults += [fault for faults in found for fault in faults]
    if wanted.lasting or wanted.face:
        keeps = _steady(wanted, said, len(demanded))
        verdict.mark("consistent", keeps)
        verdict.faults += [] if keeps else [Fault("character changes", ", ".join(wanted.steady))]


def _compare(each: Sequence[Demand], said: list[Spec | Said | None]) -> list[list[Fault]]:
    missing = [Fault("missing picture")]
    return [
        demands.faults(demand, said[index]) if index < len(said) else list(missing)
        for index, demand in enumerate(each)
    ]


def _nowhere(wanted: Expectation, said: list[Spec | Said | None]) -> list[Fault]:
    """Objects that no picture shows as asked for."""
    items = [item for spec in said if isinstance(spec, Spec) for item in spec.objects]
    return [
        Fault("missing object", each.words)
        for each in wanted.anywhere
        if not any(not each.misses(item) for item in items)
    ]


def _mark_aspects(verdict: Verdict, demand: Demand, faults: list[Fault]) -> None:
    """Parts of the graph one by one; a picture that is missing or cannot be read has none of them."""
    lost = any(demands.aspect_of(fault) is None for fault in faults)
    wrong: dict[str, int] = {}
    for fault in faults:
        aspect = demands.aspect_of(fault)
        if aspect and fault.cause != "extra object":
            wrong[aspect] = wrong.get(aspect, 0) + 1
    for aspect, asked in demand.asked().items():
        if asked:
            done, before = verdict.marks.get(aspect, (0, 0))
            right = 0 if lost else max(0, asked - wrong.get(aspect, 0))
            verdict.marks[aspect] = (done + right, before + asked)


def _mark_reading(verdict: Verdict, case: Case, said: list[Spec | Said | None]) -> None:
    """An ambiguous request is right when any of its readings accepts the picture."""
    assert case.sample is not None
    before = case.brought[0].scene if case.brought and isinstance(case.brought[0].scene, Scene) else None
    accepted = (
        len(said) == 1
        and isinstance(said[0], Spec)
        and case.sample.accepts("scene", scene_of(said[0], case.gold.pictures[0].grid, before))
    )
    verdict.mark("ambiguous", accepted)
    if not accepted:
        verdict.faults.append(Fault("no reading accepts it"))


def _untold(items: Sequence[Item]) -> list[str]:
    """The first noun of every step of whose nouns its picture shows none."""
    lacking, text = [], ""
    for item in items:
        if isinstance(item, ImageSpec):
            said = understood(item.prompt)
            shown = {o.concept for o in said.objects} if isinstance(said, Spec) else set()
            step = re.split(r"\d\. ", text)[-1]
            named = [mention.concept for mention in read(step).mentions]
            lacking += named[:1] if named and not shown & set(named) else []
            text = ""
        elif isinstance(item, Text):
            text += item.text
    return lacking


def _steady(wanted: Expectation, said: list[Spec | Said | None], pictures: int) -> bool:
    """Whether somebody runs through all pictures (who has to, where it is determined), always the same."""
    if len(said) < min(2, pictures):
        return False
    if wanted.face:
        faces = [
            {name: claim.value for name, claim in each.claims.items() if name != "expression"}
            for each in said
            if isinstance(each, Said)
        ]
        return len(faces) == len(said) and all(face == faces[0] for face in faces)
    casts = [_cast(each) for each in said]
    everywhere = set.intersection(*(set(cast) for cast in casts))
    looks = {name: {cast[name] for cast in casts if name in cast} for cast in casts for name in cast}
    return (
        bool(everywhere)
        and everywhere >= set(wanted.steady)
        and all(len(seen) == 1 for seen in looks.values())
    )


def _cast(said: Spec | Said | None) -> dict[str, tuple[tuple[str | None, str], ...]]:
    """The description of every noun of a scene; several of a noun are described together."""
    looks: dict[str, set[tuple[str | None, str]]] = {}
    for item in said.objects if isinstance(said, Spec) else ():
        looks.setdefault(item.concept, set()).add((item.color, item.style))
    return {name: tuple(sorted(found, key=str)) for name, found in looks.items()}
