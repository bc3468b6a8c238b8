"""Which pictures of a session a new one is made from: the rule, applied when a <BOI> is written.

The markup has no word for a reference, so old and new weights write the same. What the user said gives the
candidates (wording.py), and where they leave it open the planner's own <imagine> text decides. Pure: equal
logs and words give equal choices, so a turn that is taken up again chooses the same. Pictures are found in
the log, not in the planner's context: one that was dropped from the context can still be meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.planner.history import History
from services.planner.wording import Kind, Mention, Number, Said, content, said, wording
from wanimage.limits import MAX_INPUT_IMAGES
from wanimage.v1.events_pb2 import ReferenceReason

REPEATED = 2 / 3
"""Share of a caption's things that a prompt has to repeat where nothing else says what it goes on from."""


@dataclass(frozen=True)
class Shown:
    """A finished picture of the session."""

    index: int
    """In the session."""
    group: int
    """Pictures that one turn brought, or drew, share it."""
    uploaded: bool
    caption: str = ""
    """What the planner wrote for it; uploads have none."""


@dataclass(frozen=True)
class Reference:
    """A picture that was chosen, and what chose it."""

    index: int
    reason: ReferenceReason.Kind
    words: str = ""


def references(history: History, prompt: str) -> list[Reference]:
    """What a picture that the last turn plans is made from: at most `MAX_INPUT_IMAGES`, none twice."""
    turn = history.turns[-1]
    attached = [image.index for image in turn.images]
    return choose(turn.text, attached, shown(history), prompt)


def shown(history: History) -> list[Shown]:
    """Every finished picture of the turns before the last, in the order of the session."""
    found = []
    for number, turn in enumerate(history.turns[:-1]):
        found += [Shown(image.index, 2 * number, uploaded=True) for image in turn.images]
        found += [
            Shown(plan.index, 2 * number + 1, uploaded=False, caption=plan.prompt)
            for plan in turn.planned
            if plan.turn_index in turn.ready
        ]
    return found


def choose(text: str, attached: Sequence[int], earlier: Sequence[Shown], prompt: str) -> list[Reference]:
    """The rule. `attached` come with the request `text`, `earlier` are of the turns before it."""
    request = said(text)
    chosen = _attached(request, attached)
    if not attached or request.back:
        chosen += _earlier(request, _meant(request, earlier), prompt)
    elif len(chosen) == len(attached):
        chosen += _numbered(_unfit(request, len(attached)), earlier)
    unique = {each.index: each for each in reversed(chosen)}  # the first reason for a picture stands
    ordered = [each for each in chosen if unique[each.index] is each]
    own = [each for each in ordered if each.index in attached]
    others = [each for each in ordered if each.index not in attached]
    return own + others[max(0, len(others) - (MAX_INPUT_IMAGES - len(own))) :]


def _attached(request: Said, attached: Sequence[int]) -> list[Reference]:
    """All that came with the request, or those it numbers, unless for what they lend."""
    pictures = [Shown(index, 0, uploaded=True) for index in attached]
    numbered = []
    if not request.back and not any(mention.borrowed for mention in request.mentions):
        numbered = _numbered(request.mentions, pictures)
    return numbered or [Reference(index, ReferenceReason.KIND_ATTACHED) for index in attached]


def _unfit(request: Said, count: int) -> list[Mention]:
    """Mentions of pictures by a number that the attached ones do not reach."""
    return [m for m in request.mentions if m.pictures and m.numbers and max(m.numbers) > count]


def _meant(request: Said, earlier: Sequence[Shown]) -> list[Shown]:
    if not request.whose:
        return list(earlier)
    return [each for each in earlier if each.uploaded == (request.whose == "uploaded")]


def _earlier(request: Said, pictures: list[Shown], prompt: str) -> list[Reference]:
    if not pictures:
        return []
    if request.mentions:
        return _numbered(request.mentions, pictures)
    named = _named(request, pictures, prompt)
    if named or request.kind is Kind.NEW:
        return named
    if request.pointing or request.back:
        likest = max(_last_group(pictures), key=lambda each: (_likeness(each, prompt), each.index))
        return [Reference(likest.index, ReferenceReason.KIND_POINTED, request.pointing or request.back)]
    return _repeated(pictures, prompt)


def _numbered(mentions: Sequence[Mention], pictures: Sequence[Shown]) -> list[Reference]:
    """A number that no picture has chooses nothing."""
    found = []
    for mention in mentions:
        meant = _counted(mention, pictures)
        found += [Reference(each.index, ReferenceReason.KIND_NUMBERED, mention.words) for each in meant]
    return found


def _counted(mention: Mention, pictures: Sequence[Shown]) -> list[Shown]:
    if not pictures:
        return []
    if mention.last:
        return list(pictures[-mention.last :])
    if mention.place is Number.ORIGINAL:
        return [pictures[0]]
    if mention.place is Number.LAST:
        return [pictures[-1]]
    if mention.place is Number.BEFORE_LAST:
        return list(pictures[-2:-1])
    if mention.place is Number.ALL:
        return _counting(pictures, 2)
    among = _counting(pictures, max(mention.numbers))
    return [among[number - 1] for number in mention.numbers if 1 <= number <= len(among)]


def _counting(pictures: Sequence[Shown], most: int) -> list[Shown]:
    """What numbers up to `most` count: the latest turn with two pictures and so many, else all."""
    for group in sorted({each.group for each in pictures}, reverse=True):
        members = [each for each in pictures if each.group == group]
        if len(members) >= max(most, 2):
            return members
    return list(pictures)


def _named(request: Said, pictures: list[Shown], prompt: str) -> list[Reference]:
    """For the things that are named: few pictures that show them, the likest to the prompt, late ones."""
    wanted = set(request.named)
    if request.kind is Kind.NEW:
        wanted &= content(prompt)  # this picture of a new series may be about something else
    found = []
    while wanted:
        best = max(
            pictures,
            key=lambda each: (len(wanted & content(each.caption)), _likeness(each, prompt), each.index),
        )
        shows = [name for name in request.named if name in wanted & content(best.caption)]
        if not shows:
            break
        found.append(Reference(best.index, ReferenceReason.KIND_NAMED, " ".join(shows)))
        wanted -= set(shows)
    return found


def _last_group(pictures: Sequence[Shown]) -> list[Shown]:
    return [each for each in pictures if each.group == pictures[-1].group]


def _likeness(picture: Shown, prompt: str) -> float:
    """Share of a caption's words that a prompt repeats."""
    words = wording(picture.caption)
    return len(words & wording(prompt)) / len(words) if words else 0.0


def _repeated(pictures: Sequence[Shown], prompt: str) -> list[Reference]:
    """The latest picture whose things the planner's prompt mostly repeats."""
    things = content(prompt)
    for each in reversed(pictures):
        before = content(each.caption)
        if before and len(before & things) >= REPEATED * len(before):
            words = " ".join(sorted(before & things))
            return [Reference(each.index, ReferenceReason.KIND_REPEATED, words)]
    return []
