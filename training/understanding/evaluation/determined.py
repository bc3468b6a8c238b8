"""What a request and the pictures shown with it determine of a picture.

The gold prompt says everything; a demand keeps of it what is determined. A property is determined when the
request's words say it, or when the picture that is edited (or referred to) shows it. The rest is free: any
place for a fox nobody placed, any hour for a meadow without a time.
"""

import re
from collections.abc import Sequence

from training.understanding.evaluation.demands import FIELDS, Allowed, Demand, Wanted
from training.understanding.evaluation.prompts import Said
from training.understanding.evaluation.wording import Words, read, related
from training.world.assets.concepts import of_kind
from training.world.scenes.scene import Background, ObjectSpec, Spec

_SIZE_ORDER = ("small", "medium", "large")
_SORTS = "animal|food|toy|vehicle"
_STICKERS = re.compile(rf"\b(?:({_SORTS}) stickers|stickers of ({_SORTS})s?)\b")


def said_scene(gold: Spec, phrase: str, request: str) -> Demand:
    """What words alone determine; everything when they contain the whole phrase."""
    words = read(request)
    if phrase.lower() in words.text:
        return whole(gold)
    objects = [Wanted(_said_fields(item, words)) for item in gold.objects if words.of(item.concept)]
    if not objects and (sort := _STICKERS.search(words.text)):
        objects = [Wanted({"concept": frozenset(of_kind(sort[1] or sort[2]))}) for _ in gold.objects]
    closed = len(objects) == len(gold.objects)
    relations = tuple(
        (r.kind, r.subject.concept, r.target.concept)
        for r in gold.relations
        if related(request, r.kind, r.subject.concept, r.target.concept)
    )
    return Demand("scene", tuple(objects), closed, _said_ground(gold.background, words), False, relations)


def whole(gold: Spec) -> Demand:
    """Everything that a caption says."""
    objects = tuple(Wanted(_fields(item)) for item in gold.objects)
    relations = tuple((r.kind, r.subject.concept, r.target.concept) for r in gold.relations)
    return Demand("scene", objects, True, _ground(gold.background), False, relations)


def edited_scene(gold: Spec, before: Spec, request: str, cued: bool) -> Demand:
    """What a picture and the order to change it determine: all that stays, and what the order says."""
    words = read(request)
    kept, changed, new, gone = _compared(gold, before)
    objects = [Wanted(_fields(item), frozenset(FIELDS)) for item in kept]
    for item, old in changed:
        same = frozenset(name for name in FIELDS if getattr(item, name) == getattr(old, name))
        fields = _fields(item)
        if "size" in fields and "size" not in same and old.size:
            fields["size"] = _sizes(item.size, old.size)
        objects.append(Wanted(fields, same))
    for item in new:
        old = next((o for o in gone if (o.place, o.size) == (item.place, item.size)), None)
        fields, shown = _new_fields(item, old, before, words, cued)
        objects.append(Wanted(fields, shown))
    ground, stays = _ground(gold.background), gold.background == before.background
    if not stays:
        ground = _changed_ground(gold.background, before.background, words)
    return Demand("scene", tuple(objects), True, ground, stays)


def referred_scene(gold: Spec, shown: Sequence[Spec], request: str) -> Demand:
    """What reference pictures and words determine: who the subjects are; their places as far as said."""
    words = read(request)
    seen = {item.concept: item for spec in shown for item in spec.objects}
    objects, named = [], 0
    for item in gold.objects:
        fields = _said_fields(item, words) if words.of(item.concept) else {}
        there = seen.get(item.concept)
        marks: set[str] = set()
        if there:
            marks = {n for n in ("concept", "color", "style") if getattr(item, n) == getattr(there, n)}
            fields = {**fields, **{name: frozenset([getattr(item, name)]) for name in marks}}
        if fields:
            named += 1
            objects.append(Wanted(fields, frozenset(marks)))
    ground = _said_ground(gold.background, words)
    backdrop = any(not spec.objects and spec.background == gold.background for spec in shown)
    if backdrop:
        ground = _ground(gold.background)
    return Demand("scene", tuple(objects), named == len(gold.objects), ground, backdrop)


def said_claims(gold: Said, phrase: str, request: str, before: Said | None = None) -> Demand:
    """The same of a kind that is no scene; `before` is the picture that is edited."""
    low = request.lower()
    full = before is not None or _tail(phrase).lower() in low
    wanted, shown = {}, set()
    for name, claim in gold.claims.items():
        if full or any(_stands(words.lower(), low) for words in claim.words):
            wanted[name] = claim.value
        if before and name in before.claims and before.claims[name].value == claim.value:
            shown.add(name)
    causes = {name: claim.cause for name, claim in gold.claims.items()}
    return Demand(gold.kind, (), full, {}, False, (), wanted, frozenset(shown), causes)


def _tail(phrase: str) -> str:
    """A face's phrase without its expression: series of moods say the rest once."""
    head, person, rest = phrase.partition(" person with ")
    return f"person with {rest}" if person and '"' not in head else phrase


def _stands(words: str, text: str) -> bool:
    start = text.find(words)
    while start >= 0:
        end = start + len(words)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            return True
        start = text.find(words, start + 1)
    return False


def _fields(item: ObjectSpec) -> dict[str, Allowed]:
    """All fields that a caption says of an object."""
    said = {name: frozenset([getattr(item, name)]) for name in FIELDS}
    return {name: allowed for name, allowed in said.items() if allowed != frozenset([""])}


def _said_fields(item: ObjectSpec, words: Words) -> dict[str, Allowed]:
    """The fields of an object that words say, its noun first."""
    mentions = words.of(item.concept)
    fields: dict[str, Allowed] = {"concept": frozenset([item.concept])}
    for name in ("color", "style", "size", "place"):
        value = getattr(item, name)
        if value and any(getattr(mention, name) == value for mention in mentions):
            fields[name] = frozenset([value])
    if item.color in words.loose_colors:
        fields["color"] = frozenset([item.color])
    if f"{item.style} style" in words.text:
        fields["style"] = frozenset([item.style])
    if any(m.count == item.count and m.several == (item.count > 1) for m in mentions):
        fields["count"] = frozenset([item.count])
    return fields


def _new_fields(
    item: ObjectSpec, old: ObjectSpec | None, before: Spec, words: Words, cued: bool
) -> tuple[dict[str, Allowed], frozenset[str]]:
    """A newcomer: what the order says; from the picture its style, and the place of what it replaces."""
    fields = _said_fields(item, words) if words.of(item.concept) else {"concept": frozenset([item.concept])}
    shown: set[str] = set()
    if old:
        shown |= {"place", "size"}
    if {o.style for o in before.objects} == {item.style}:
        shown.add("style")
    shown = {name for name in shown if getattr(item, name) != ""}
    fields = {**fields, **{name: frozenset([getattr(item, name)]) for name in shown}}
    if cued and item.place:
        fields["place"] = frozenset([item.place])
    return fields, frozenset(shown)


def _compared(
    gold: Spec, before: Spec
) -> tuple[list[ObjectSpec], list[tuple[ObjectSpec, ObjectSpec]], list[ObjectSpec], list[ObjectSpec]]:
    """Objects that stayed, that changed (now, then), that came, and that went."""
    left = list(before.objects)
    kept, rest = [], []
    for item in gold.objects:
        if item in left:
            left.remove(item)
            kept.append(item)
        else:
            rest.append(item)
    changed, new = [], []
    for item in rest:
        old = max(
            (o for o in left if o.concept == item.concept), key=lambda o: _likeness(o, item), default=None
        )
        if old:
            left.remove(old)
            changed.append((item, old))
        else:
            new.append(item)
    return kept, changed, new, left


def _likeness(a: ObjectSpec, b: ObjectSpec) -> int:
    return sum(getattr(a, name) == getattr(b, name) for name in FIELDS)


def _sizes(now: str, then: str) -> Allowed:
    """Every size on the same side of what it was: "bigger" says no more."""
    at, was = _SIZE_ORDER.index(now), _SIZE_ORDER.index(then)
    return frozenset(_SIZE_ORDER[was + 1 :] if at > was else _SIZE_ORDER[:was])


def _ground(ground: Background) -> dict[str, Allowed]:
    return {
        name: frozenset([getattr(ground, name)])
        for name in ("kind", "setting", "time", "weather", "color", "bands")
    }


def _said_ground(ground: Background, words: Words) -> dict[str, Allowed]:
    """The parts of a ground that words say."""
    said = words.grounds
    if ground.kind == "setting":
        parts = {"setting": said.settings, "time": said.times, "weather": said.weathers}
        return {
            n: frozenset([getattr(ground, n)]) for n, named in parts.items() if getattr(ground, n) in named
        }
    bands = {(color, round(100 * part)) for color, part in ground.bands}
    stands = {
        "plain": ground.color in said.plains,
        "transparent": said.transparent,
        "palette": bool(bands) and bands <= set(said.bands),
    }
    return _ground(ground) if stands[ground.kind] else {}


def _changed_ground(now: Background, then: Background, words: Words) -> dict[str, Allowed]:
    """A ground that an order changes: a weather it does not speak of may stay or go, a time may be any."""
    ground = _ground(now)
    if now.kind == "setting" and now.setting != then.setting:
        ground["weather"] = frozenset([now.weather, then.weather])
        if then.time is None and now.time not in words.grounds.times:
            del ground["time"]
    return ground
