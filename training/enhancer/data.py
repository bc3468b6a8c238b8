"""Rows of the enhancer's training: a request, and the reasoning and the result that answer it.

    row = sample_row(rng, "train", role="sft")

is a pure function of the generator. T2I > T2S = TI2S > I2I, as the report says; what no rewrite helps (chat,
questions, compositions, double meanings) is asked too, since a service hears all that a user says. A row is
for SFT or for RL by the hash of its request, so that no prompt is in both; splits are the world's, by
composition. A request whose own answer could not repeat what is meant literally (a fox called Pip, "it is 19
now") is left out.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from training.enhancer import briefs
from training.understanding.data.wording import MANNERS, vary
from training.world.dialogues.chat import chat
from training.world.dialogues.talk import Dialogue, Picture, Talk, Turn, capital
from training.world.scenes.caption import join, noun_phrase, shared_style
from training.world.scenes.scene import Scene, object_spec
from training.world.tasks import sample_task
from wanimage.conditions import place_phrase
from wanimage.enhancing import Description, Result, asked, lost

MIX = {"t2i": 0.44, "t2s": 0.165, "ti2s": 0.165, "i2i": 0.11, "other": 0.12}
ROLES = ("sft", "rl")
RL_SHARE = 0.2
"""Share of the requests kept for reinforcement learning."""
FORCED = 0.35
"""Share of the general requests that are rewritten all the same, because the caller says so."""
LETTERED = replace(MANNERS, lower=0.0, upper=0.0, typo=0.0)
SPELT = replace(MANNERS, typo=0.0)
"""Nouns of requests that are rewritten are spelt right: what was meant has to be plain."""
_ORDERS = ("Draw {x}", "{x}", "A picture of {x}", "Please draw {x}", "I want {x}", "Can you draw {x}?", "{X}")


@dataclass(frozen=True)
class Row:
    """One request of `count` pictures and its answer."""

    task: str
    count: int
    request: str
    forced: bool
    references: tuple[Picture, ...]
    reasoning: str
    result: Result
    scenes: tuple[Scene, ...] = ()
    """What the pictures show, where that is scenes."""

    @property
    def ask(self) -> str:
        """What the model reads."""
        return asked(self.task, self.count, self.request, self.forced)

    @property
    def family(self) -> str:
        """Task and category, for tables."""
        return f"{self.task} {self.result.category}{' rewritten' if self.forced else ''}"


def role_of(request: str) -> str:
    """`rl` or `sft`, by the hash of the request."""
    first = hashlib.sha256(request.encode()).digest()[0]
    return "rl" if first < 256 * RL_SHARE else "sft"


def sample_row(
    rng: np.random.Generator, split: str = "train", role: str | None = None, task: str | None = None
) -> Row:
    """A random row; of both roles where None. Raises ValueError for a role or task that there is none of."""
    if role not in (None, *ROLES) or task not in (None, *MIX):
        raise ValueError(f"no role {role!r} or task {task!r}; roles {ROLES}, tasks {tuple(MIX)}")
    talk = Talk(rng, split)
    chosen = task or talk.weighted(MIX)
    while True:
        row = _MAKERS[chosen](talk)
        if row is None or role not in (None, role_of(row.request)):
            continue
        if not lost(row.request, row.result):
            return row


# --- one picture from words ------------------------------------------------------------------------------


def _single(talk: Talk) -> Row | None:
    return talk.weighted(_SINGLES)(talk)


def _brief(make: Callable[[Talk], briefs.Brief]) -> Callable[[Talk], Row]:
    def row(talk: Talk) -> Row:
        brief = make(talk)
        result = Result(brief.category, (brief.description,))
        return Row("t2i", 1, _said(talk, brief.request, LETTERED), False, (), briefs.reasoning(brief), result)

    return row


def _general(talk: Talk) -> Row | None:
    """A request that is good as it is: scenes, faces, stickers, palettes, in the world's own words."""
    sample = sample_task(talk.rng, talk.split, "text_to_image")
    if sample.outputs[0].kind not in _GENERAL:
        return None
    reasoning = f"General: {_named(sample.outputs[0].kind)}, no lettering. It passes through."
    return Row("t2i", 1, _said(talk, sample.request), False, (), reasoning, Result("general"))


def _collage(talk: Talk) -> Row | None:
    """Panels side by side are a storyboard."""
    sample = sample_task(talk.rng, talk.split, "text_to_image")
    if sample.outputs[0].kind != "collage":
        return None
    prompt = sample.outputs[0].prompt
    count = len(sample.outputs[0].scene.panels)
    request = talk.pick(
        ("{x}", "Draw {x}.", "Make {x}.", "Please draw {x}.", "A storyboard page: {x}")
    ).format(x=prompt)
    reasoning = f"Storyboard. Said: {count} panels. Open: nothing."
    result = Result("storyboard", (Description(prompt),))
    return Row("t2i", 1, _said(talk, request, LETTERED), False, (), reasoning, result)


def _scene(talk: Talk) -> Row:
    """A scene that is asked for in part, rewritten because the caller says so, or passed through."""
    scene = talk.scene()
    share = talk.pick((0.0, 0.5, 1.0))
    said, chosen, parts = [], [], []
    for index, item in enumerate(scene.objects):
        spec = object_spec(scene, index)
        told = {name for name in ("color", "size", "place") if talk.chance(share)}
        bare = replace(spec, color=spec.color if "color" in told else None, size="")
        bare = replace(bare, size=spec.size if "size" in told else "")
        where = f" {place_phrase(item.place)}" if "place" in told else ""
        parts.append(f"{noun_phrase(bare)}{where}")
        said.append(parts[-1])
        missing = [("color", spec.color), ("size", spec.size), ("place", place_phrase(item.place))]
        chosen += [
            f"the {item.concept} {value}"
            for name, value in missing
            if value not in ("", None, "medium") and name not in told
        ]
    ground = scene.background.phrase
    behind = ""
    if talk.chance(max(share, 0.3)):
        behind = f" {ground if scene.background.kind == 'setting' else talk.ground_words(scene.background)}"
        said.append(ground)
    else:
        chosen.append(ground)
    listed = join(parts) + behind
    order = talk.pick(_ORDERS)
    request = _said(talk, order.format(x=listed, X=capital(listed)) + talk.pick((".", "")), SPELT)
    if not talk.chance(FORCED):
        return Row(
            "t2i",
            1,
            request,
            False,
            (),
            "General: a scene, no lettering. It passes through.",
            Result("general"),
            (scene,),
        )
    open_ones = f" Open: {join(chosen)}." if chosen else " Nothing is open."
    reasoning = f"General, rewritten. Said: {join(said)}.{open_ones}"
    result = Result("general", (described(scene, True),))
    return Row("t2i", 1, request, True, (), reasoning, result, (scene,))


def described(scene: Scene, full: bool = False) -> Description:
    """The description of a scene, its natural form the world's plainest caption; `full` places elements."""
    subject, background, style = pieces(scene)
    if not full:
        return Description(subject, background=background, style=style)
    layout = tuple((item.concept, item.place) for item in scene.objects)
    palette = tuple(dict.fromkeys(item.color for item in scene.objects if item.color))
    lighting = _LIGHT.get(str(scene.background.time), "")
    return Description(subject, layout, palette, lighting, background, style)


def pieces(scene: Scene) -> tuple[str, str, str]:
    """(objects with their places, background, the style they share or "")."""
    objects, background, style = parts_of(scene)
    return join(list(objects)), background, style


def parts_of(scene: Scene) -> tuple[tuple[str, ...], str, str]:
    """(each object with its place, background, the style they share or "")."""
    shared = shared_style(scene.spec)
    said = []
    for index in range(len(scene.objects)):
        spec = object_spec(scene, index)
        words = noun_phrase(replace(spec, style="flat") if spec.style == shared else spec)
        said.append(f"{words} {place_phrase(spec.place)}" if spec.place else words)
    return tuple(said), scene.background.phrase, "" if shared == "flat" else shared


# --- several pictures, and references --------------------------------------------------------------------


def _series(talk: Talk) -> Row | None:
    """Stories and series are storyboards, steps are diagrams, comparisons present knowledge."""
    name = talk.weighted(_SERIES)
    sample = sample_task(talk.rng, talk.split, name)
    scenes = tuple(frame.scene for frame in sample.outputs)
    if any(scene.relations for scene in scenes):
        return None
    category = _SERIES_CATEGORY[name]
    steps = "; ".join(f"{i}: {_short(scene)}" for i, scene in enumerate(scenes, 1))
    result = Result(category, tuple(described(scene) for scene in scenes))
    reasoning = f"{capital(category)} of {len(scenes)}. {steps}."
    return Row("t2s", len(scenes), _said(talk, sample.request, SPELT), False, (), reasoning, result, scenes)


def _going_on(talk: Talk) -> Row | None:
    """A series that goes on from a picture: what all pictures share, and what each has of its own."""
    sample = sample_task(talk.rng, talk.split, "picture_to_series")
    scenes = tuple(frame.scene for frame in sample.outputs)
    if any(scene.relations for scene in scenes):
        return None
    common, differences = sides(scenes)
    if not common or not all(differences):
        return None
    result = Result("storyboard", (), common, differences)
    reasoning = f"Storyboard of {len(scenes)}. The same in all: {common}."
    request = _said(talk, sample.request, SPELT)
    return Row("ti2s", len(scenes), request, False, sample.inputs, reasoning, result, scenes)


def sides(scenes: tuple[Scene, ...]) -> tuple[str, tuple[str, ...]]:
    """What is in every scene, and what each has beside it, as words."""
    parts = [
        (*objects, ground, *([f"{style} style"] if style else []))
        for objects, ground, style in map(parts_of, scenes)
    ]
    shared = [part for part in parts[0] if all(part in each for each in parts)]
    own = [", ".join(part for part in each if part not in shared) for each in parts]
    return ", ".join(shared), tuple(own)


def _edit(talk: Talk) -> Row:
    """A change of a picture: the aspects that stay, and the one that changes, with the order."""
    name = talk.weighted(_EDITS)
    sample = sample_task(talk.rng, talk.split, name)
    kind = {"edit_text": "poster", "edit_chart": "chart"}.get(name, "scene")
    category = {"poster": "poster", "chart": "infographic"}.get(kind, "general")
    aspect = CHANGED[name]
    if name == "edit_text" and " to " not in sample.requests[1] and " with " not in sample.requests[1]:
        aspect = "colours"
    forced = category == "general" and talk.chance(0.7)
    manners = SPELT if kind == "scene" else LETTERED
    request = _said(talk, sample.request, manners)
    if category == "general" and not forced:
        reasoning = "General: an edit, no lettering. It passes through."
        return Row("i2i", 1, request, False, sample.inputs, reasoning, Result("general"))
    kept = ", ".join(a for a in ASPECTS[kind] if a != aspect)
    order = sample.request  # a terse request is its own order
    if order != sample.requests[0]:
        order = sample.requests[1].rstrip(".")
        order = order[:1].lower() + order[1:]
    result = Result(category, (), kept, (f"{aspect}: {order}",))
    reasoning = f"{capital(category)}, an edit. It changes the {aspect}; the rest stays."
    return Row("i2i", 1, request, forced, sample.inputs, reasoning, result)


def _other(talk: Talk) -> Row | None:
    """What passes through: chat, questions about pictures, and wishes that are clear or open on purpose."""
    name = talk.weighted(_OTHERS)
    if name == "chat":
        first, answer = chat(talk).turns[:2]
        if answer.pictures:
            return None
        reasoning, result = "General: no picture is asked for.", Result("general")
        return Row("t2i", 1, _said(talk, first.text), False, (), reasoning, result)
    sample = sample_task(talk.rng, talk.split, name)
    count = max(1, len(sample.outputs))
    task = ("ti2s" if count > 1 else "i2i") if sample.inputs else ("t2s" if count > 1 else "t2i")
    what = "a question" if sample.answer else f"{name.split('_')[0]}, no lettering"
    reasoning = f"General: {what}. It passes through."
    request = _said(talk, sample.request)
    return Row(task, count, request, False, sample.inputs, reasoning, Result("general"))


def _said(talk: Talk, request: str, manners: object = MANNERS) -> str:
    """The request in somebody's own words."""
    turn = vary(talk, Dialogue("request", (Turn("user", request),)), manners).turns[0]  # type: ignore[arg-type]
    return " ".join(turn.text.split())


def _short(scene: Scene) -> str:
    return f"{join([noun_phrase(item) for item in scene.objects])} {scene.background.phrase}"


def _named(kind: str) -> str:
    return {"portrait": "a face"}.get(kind, f"a {kind}")


ASPECTS = {
    "scene": ("objects", "places", "colours", "background", "style"),
    "poster": ("words", "colours", "fonts", "background"),
    "chart": ("title", "labels", "values", "colours"),
}
"""What pictures have that may stay or change, by kind."""
CHANGED = {
    "edit_add": "objects", "edit_remove": "objects", "edit_replace": "objects", "edit_recolor": "colours",
    "edit_move": "places", "edit_background": "background", "edit_restyle": "style", "edit_text": "words",
    "edit_chart": "values",
}  # fmt: skip
_EDITS = {name: 2.0 if name in ("edit_text", "edit_chart") else 1.0 for name in CHANGED}
_SERIES = {"text_to_series": 0.5, "story": 0.2, "howto": 0.15, "comparison": 0.15}
_SERIES_CATEGORY = {
    "text_to_series": "storyboard", "story": "storyboard", "howto": "diagram", "comparison": "knowledge",
}  # fmt: skip
_GENERAL = ("scene", "portrait", "sticker", "palette")
_OTHERS = {
    "chat": 3.0, "question": 2.0, "question_portrait": 1.0, "question_chart": 1.0, "question_text": 1.0,
    "ambiguous": 1.0, "compose": 1.5, "extract": 1.0, "edit_portrait": 1.0,
}  # fmt: skip
_LIGHT = {"day": "even daylight", "sunset": "warm evening light", "night": "dim night light"}
_SINGLES = {
    _general: 0.22, _scene: 0.28, _collage: 0.06, _brief(briefs.poster): 0.2, _brief(briefs.chart): 0.12,
    _brief(briefs.screen): 0.12,
}  # fmt: skip
_MAKERS: dict[str, Callable[[Talk], Row | None]] = {
    "t2i": _single, "t2s": _series, "ti2s": _going_on, "i2i": _edit, "other": _other,
}  # fmt: skip
