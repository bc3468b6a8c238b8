"""What a turn has to be: its kind of output, its pictures and their sizes, and what each demands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.understanding.evaluation import determined
from training.understanding.evaluation.cases import Case
from training.understanding.evaluation.demands import Allowed, Demand, Wanted
from training.understanding.evaluation.prompts import Said, read_prompt, understood
from training.understanding.evaluation.wording import read
from training.world.dialogues.talk import SIZE_WORDINGS, Grid, Picture
from training.world.scenes.scene import Scene, Spec
from training.world.tasks.pictures import DETAIL, kind_of
from wanimage.markup import ImageSpec, Item, Text, parse, split_tags

ROUTES = ("text", "picture", "edit", "series", "interleaved", "refusal")
_REFUSING = re.compile(r"\b(?:I am sorry|I cannot|I do not know|I can not|I can't)\b", re.IGNORECASE)
_REFERRING = ("task/compose", "task/extract", "task/picture_to_series")
_FREE = ("chat/story", "task/story", "task/howto")
"""Families whose plan is the planner's own: only what runs through all pictures is asked of each."""


@dataclass(frozen=True)
class Expectation:
    """What is determined of a turn.

    `demands` are alternatives, each with one demand a picture; `anywhere` are objects that some picture has
    to show. `grids` are the sizes each picture may have. `lasting` says that somebody runs through all
    pictures and keeps one description; `steady` are those whose noun is determined. `face` says that all but
    the expression of a face stays.
    """

    route: str
    grids: tuple[frozenset[Grid], ...]
    demands: tuple[tuple[Demand, ...], ...]
    anywhere: tuple[Wanted, ...] = ()
    distinct: bool = False
    lasting: bool = False
    steady: tuple[str, ...] = ()
    face: bool = False


def expectation(case: Case) -> Expectation:
    """What the turn of a case has to be."""
    gold = case.gold
    golds = [read_prompt(p.prompt) for p in gold.pictures]
    shown = [spec for p in case.shown if (spec := seen(p)) is not None]
    each = [_demand(case, picture, said, shown) for picture, said in zip(gold.pictures, golds, strict=True)]
    anywhere: tuple[Wanted, ...] = ()
    alternatives = [tuple(each)] if each else []
    if case.family in _FREE:
        anywhere = _once(each)
        alternatives = [tuple(_running(each))]
    elif len(each) > 1 and _either_way(case):
        alternatives.append(tuple(each[::-1]))
    items = list(parse(split_tags(gold.text)))
    running = _steady(golds)
    named = {next(iter(w.fields["concept"])) for demand in each for w in demand.objects}
    return Expectation(
        route(items, case, shown),
        tuple(_grids(case, picture) for picture in gold.pictures),
        tuple(alternatives),
        anywhere,
        len(each) > 1 and case.family not in _FREE,
        bool(running),
        tuple(name for name in running if name in named),
        len(golds) > 1 and all(isinstance(said, Said) and said.kind == "portrait" for said in golds),
    )


def seen(picture: Picture) -> Spec | Said | None:
    """What a picture shows, in words."""
    if isinstance(picture.scene, Scene):
        return picture.scene.spec
    kind = getattr(picture, "kind", "scene")
    return understood(kind_of(kind).phrase(picture.scene))


def route(items: Sequence[Item], case: Case, shown: Sequence[Spec | Said]) -> str:
    """The kind of output a turn is, after these pictures.

    One picture is an edit where the request came with pictures, or where it takes something of an earlier
    picture over; whether it shows what was seen is for its scene to say.
    """
    images = [item for item in items if isinstance(item, ImageSpec)]
    if not images:
        text = "".join(item.text for item in items if isinstance(item, Text))
        return "refusal" if _REFUSING.search(text) else "text"
    if len(images) > 1:
        return "series" if all(image.series for image in images) else "interleaved"
    if case.brought:
        return "edit"
    said = understood(images[0].prompt)
    return "edit" if said and any(_shares(said, spec) for spec in shown) else "picture"


def _shares(said: Spec | Said, shown: Spec | Said) -> bool:
    """Whether a prompt takes a noun of a picture over, or what is behind; of other kinds, its kind."""
    if isinstance(said, Spec) and isinstance(shown, Spec):
        nouns = {o.concept for o in said.objects} & {o.concept for o in shown.objects}
        grounds = [(g.kind, g.setting, g.color, g.bands) for g in (said.background, shown.background)]
        return bool(nouns) or grounds[0] == grounds[1]
    if isinstance(said, Said) and isinstance(shown, Said):
        return said.kind == shown.kind
    return False


def _demand(case: Case, picture: Picture, gold: Spec | Said, shown: list[Spec | Said]) -> Demand:
    """What is determined of one picture of the gold answer."""
    request = case.request
    if isinstance(gold, Said):
        before = next((s for s in shown[-1:] if isinstance(s, Said) and s.kind == gold.kind), None)
        return determined.said_claims(gold, picture.prompt, request, before)
    scenes = [spec for spec in shown if isinstance(spec, Spec)]
    if not scenes:
        demand = determined.said_scene(gold, picture.prompt, request)
        return _planned(demand, gold, request) if "series" in case.family else demand
    if case.family in _REFERRING or case.dialogue.kind == "image_join":
        demand = determined.referred_scene(gold, scenes, request)
        return _planned(demand, gold, request) if "series" in case.family else demand
    cued = any(getattr(p, "cues", ()) for p in case.brought)
    return determined.edited_scene(gold, _edited(case, gold, scenes), request, cued)


def _edited(case: Case, gold: Spec, scenes: list[Spec]) -> Spec:
    """The picture that an edit is about: the last one, or the one of a story that its number names."""
    if case.dialogue.kind != "story_edit":
        return scenes[-1]
    return max(scenes, key=lambda spec: _overlap(spec, gold))


def _overlap(a: Spec, b: Spec) -> tuple[int, bool]:
    return len(set(a.objects) & set(b.objects)), a.background == b.background


def _planned(demand: Demand, gold: Spec, request: str) -> Demand:
    """A series' plan says by its name what changes from picture to picture: counts, sizes or places."""
    low = request.lower()
    if "day to night" in low and gold.background.time:
        demand = replace(demand, ground={**demand.ground, "time": frozenset([gold.background.time])})
    field = "count" if "count" in low else "size" if re.search(r"\bgrow|\bshrink", low) else ""
    field = "place" if re.search(r"moves from the", low) else field
    if not field:
        return demand
    of = {item.concept: getattr(item, field) for item in gold.objects if getattr(item, field) != ""}
    objects = []
    for wanted in demand.objects:
        name = next(iter(wanted.fields.get("concept", [""])))
        fields = {**wanted.fields, field: frozenset([of[name]])} if name in of else wanted.fields
        objects.append(replace(wanted, fields=fields))
    return replace(demand, objects=tuple(objects))


def _either_way(case: Case) -> bool:
    """Whether a series may as well run backwards, since its direction is not said."""
    low = case.request.lower()
    told = re.search(r"\bfrom\b|\bup\b|\bdown\b|1\. ", low)
    return not told and re.search(r"\bcounting|\bgrow|\bwalk", low) is not None


def _once(each: Sequence[Demand]) -> tuple[Wanted, ...]:
    """Objects that words ask for and that not every picture shows, each once, as fully as it is said."""
    found: dict[object, Wanted] = {}
    everywhere = _everywhere(each)
    for demand in each:
        for wanted in demand.objects:
            name = next(iter(wanted.fields["concept"]))
            if name not in everywhere and len(wanted.fields) >= len(getattr(found.get(name), "fields", ())):
                found[name] = replace(wanted, fields=_lasting(wanted))
    return tuple(found.values())


def _running(each: Sequence[Demand]) -> list[Demand]:
    """What words ask of every picture of a story: who is in all of them, and where all of it happens."""
    everywhere = _everywhere(each)
    ground = {
        name: allowed
        for name, allowed in each[0].ground.items()
        if all(demand.ground.get(name) == allowed for demand in each)
    }
    kept = []
    for demand in each:
        objects = [
            replace(wanted, fields=_lasting(wanted))
            for wanted in demand.objects
            if next(iter(wanted.fields["concept"])) in everywhere
        ]
        kept.append(replace(demand, objects=tuple(objects), closed=False, ground=ground, relations=()))
    return kept


def _lasting(wanted: Wanted) -> dict[str, Allowed]:
    return {name: allowed for name, allowed in wanted.fields.items() if name in ("concept", "color", "style")}


def _everywhere(each: Sequence[Demand]) -> set[object]:
    nouns = [{next(iter(w.fields["concept"])) for w in demand.objects} for demand in each]
    return set.intersection(*nouns) if nouns else set()


def _steady(golds: Sequence[Spec | Said]) -> tuple[str, ...]:
    """Nouns that are in every gold picture, with one description."""
    scenes = [said for said in golds if isinstance(said, Spec)]
    if len(scenes) < 2:
        return ()
    looks: dict[str, set[object]] = {}
    for spec in scenes:
        for item in spec.objects:
            looks.setdefault(item.concept, set()).add((item.color, item.style))
    return tuple(
        name
        for name, found in looks.items()
        if len(found) == 1 and all(any(o.concept == name for o in spec.objects) for spec in scenes)
    )


def _grids(case: Case, picture: Picture) -> frozenset[Grid]:
    """Sizes that a picture may have: the gold one, and the usual one where nothing says a shape."""
    kind = getattr(picture, "kind", "scene")
    detail = DETAIL.get(kind, 1)
    said = read(case.request).text
    spoken = any(
        re.search(rf"(?<![\w:]){re.escape(word)}\b", said)
        for words in SIZE_WORDINGS.values()
        for word in words
    )
    if spoken or case.shown:
        return frozenset([picture.grid])
    return frozenset([picture.grid, (8 * detail, 8 * detail)])
