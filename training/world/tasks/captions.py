"""Captions of any kind of picture, the report's three sorts (2.2.2): raw, natural in three grains, and JSON.

Everything said comes from the scene graph, by way of the kind's `phrase` and `attributes`:

    raw         what the web would have said: tags, an alt text, a file name, a page title, a snippet
    natural     brief (its content alone), normal (the phrase), detailed (a paragraph of all attributes)
    structured  {"class": one of CLASSES, "attributes": {name of BY_CLASS[class]: sentences}}

A structured caption omits the attributes that a picture does not fill: nothing is ever null, so a missing key
always means "nothing to say". `update` repairs one in place, and `rewrite` turns one into prose.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict

import numpy as np

from training.world.kinds import Graph, Kind
from training.world.scenes.caption import join

CLASSES = ("photorealistic", "non-photorealistic", "text-centric", "chart", "multi-image")
ATTRIBUTES = (
    "global_semantics", "subjects", "human_subjects", "objects", "object_counts", "object_attributes",
    "actions", "relations", "background", "setting", "time_of_day", "weather", "lighting", "palette",
    "spatial_layout", "composition", "viewpoint", "style", "medium", "text_content", "typography",
    "chart_type", "chart_data", "transparency", "panels",
)  # fmt: skip
_TEXT = ("text_content", "typography")
_CHART = ("chart_type", "chart_data")
_LAYOUT = (
    "global_semantics", "objects", "background", "palette", "spatial_layout", "composition", "style",
    "medium", "transparency",
)  # fmt: skip
BY_CLASS: dict[str, tuple[str, ...]] = {
    "photorealistic": tuple(a for a in ATTRIBUTES if a not in (*_TEXT, *_CHART, "panels", "style", "medium")),
    "non-photorealistic": tuple(a for a in ATTRIBUTES if a not in (*_TEXT, *_CHART, "panels")),
    "text-centric": tuple(a for a in ATTRIBUTES if a in (*_LAYOUT, *_TEXT, "subjects", "object_counts")),
    "chart": tuple(a for a in ATTRIBUTES if a in (*_LAYOUT, *_TEXT, *_CHART)),
    "multi-image": tuple(a for a in ATTRIBUTES if a not in _CHART),
}
"""The attributes each class is described by, in the order of ATTRIBUTES."""
GRAINS = ("brief", "normal", "detailed")
NOISE = (
    "img", "dsc", "final", "copy", "small", "free", "download", "image", "images", "picture", "graphic",
    "page", "gallery", "archive", "clipart", "wallpaper", "posted", "by", "admin", "read", "more", "see",
    "also", "comments", "share", "hd", "new", "of", "this",
)  # fmt: skip
"""Words that raw captions add; they say nothing about the picture."""


Structured = TypedDict("Structured", {"class": str, "attributes": dict[str, str]})
"""A structured caption, ready for `json.dumps`."""


@dataclass(frozen=True)
class Captions:
    """All captions of one picture."""

    raw: str
    brief: str
    normal: str
    detailed: str
    structured: Structured


def captions(kind: Kind, graph: Graph, rng: np.random.Generator) -> Captions:
    """One of each sort."""
    brief, normal, detailed = (natural(kind, graph, rng, grain) for grain in GRAINS)
    return Captions(raw(kind, graph, rng), brief, normal, detailed, structured(kind, graph))


def structured(kind: Kind, graph: Graph) -> Structured:
    """The kind's class decides which attributes may stand in it; those the graph does not fill are left out.

    Raises ValueError for a kind whose category is no class.
    """
    filled = kind.attributes(graph)
    return {
        "class": kind.category,
        "attributes": {
            name: " ".join(statements(filled[name])) for name in _subset(kind.category) if filled.get(name)
        },
    }


def natural(kind: Kind, graph: Graph, rng: np.random.Generator, grain: str = "normal") -> str:
    """A caption in words, of one of GRAINS; every grain ends in a full stop and says more than the last."""
    phrase = kind.phrase(graph)
    if grain == "brief":
        return _sentence(_brief(phrase))
    if grain == "normal":
        return _sentence(phrase)
    if grain == "detailed":
        return rewrite(structured(kind, graph), rng)
    raise ValueError(f"no grain {grain!r} of captions; one of {GRAINS}")


def rewrite(caption: Structured, rng: np.random.Generator) -> str:
    """A structured caption as prose: the same statements, some joined, content first and its look last."""
    attributes = caption["attributes"]
    groups = [[name for name in group if name in attributes] for group in _PROSE]
    order = [name for group in groups for name in _shuffled(group, rng)]
    said: list[str] = []
    for sentence in dict.fromkeys(s for name in order for s in statements(attributes[name])):
        if said and len(said[-1]) < 60 and len(sentence) < 60 and rng.random() < 0.35:
            said[-1] = f"{said[-1][:-1]}; {_lowered(sentence)}"
        else:
            said.append(sentence)
    return " ".join(said)


def update(caption: Structured, kind: Kind, graph: Graph) -> list[str]:
    """Repair a structured caption in place, and say what was done, one line a change.

    Sentences that the graph does not state are removed, those it states and the caption lacks are added, and
    valid ones stay as they are written (case, spaces and the final stop do not matter).
    """
    true, attributes = structured(kind, graph), caption["attributes"]
    changes = [] if caption["class"] == true["class"] else [f"class: now {true['class']}"]
    caption["class"] = true["class"]
    for name in [n for n in attributes if n not in true["attributes"]]:
        del attributes[name]
        changes.append(f"{name}: removed")
    for name, wanted in true["attributes"].items():
        stated = {_key(s): s for s in statements(attributes.get(name) or "")}
        valid = {_key(s): s for s in statements(wanted)}
        if stated.keys() == valid.keys():
            continue
        attributes[name] = " ".join(stated.get(key, sentence) for key, sentence in valid.items())
        changes.append(f"{name}: {'added' if not stated else 'corrected'}")
    caption["attributes"] = {name: attributes[name] for name in true["attributes"]}
    return changes


def raw(kind: Kind, graph: Graph, rng: np.random.Generator) -> str:
    """What stands beside a picture on the web: incomplete and noisy, but never wrong."""
    parts = chunks(kind.phrase(graph))
    kept = [part for part in parts if rng.random() < 0.7] or parts[:1]
    form = _RAW[int(rng.integers(len(_RAW)))]
    return form([_bare(part) for part in kept], rng)


def chunks(phrase: str) -> list[str]:
    """A phrase in pieces that are each true alone: cut before prepositions and at commas, never in quotes."""
    pieces = _QUOTED.split(phrase)
    cut = "".join(piece if i % 2 else _CUT.sub("\n", piece) for i, piece in enumerate(pieces))
    return [part.strip(" .:") for part in cut.split("\n") if part.strip(" .:")]


@lru_cache(maxsize=16384)
def statements(text: str) -> tuple[str, ...]:
    """The sentences of a text; stops in quotes or numbers do not end one."""
    if not text.strip():
        return ()
    marked = _END.sub("\n", _QUOTED.sub(lambda m: m[0].replace(" ", "\0"), text.strip()))
    return tuple(_sentence(s.replace("\0", " ")) for s in marked.split("\n"))


# --- wording ---------------------------------------------------------------------------------------------

_PROSE = (
    ("global_semantics",),
    ("panels", "chart_type", "chart_data", "subjects", "human_subjects", "objects", "object_counts"),
    ("object_attributes", "actions", "relations", "spatial_layout"),
    ("background", "setting", "time_of_day", "weather", "lighting", "transparency"),
    ("text_content", "typography"),
    ("palette", "composition", "viewpoint", "style", "medium"),
)
_QUOTED = re.compile(r'("[^"]*")')
_CUT = re.compile(r", | and |;|(?:^|(?<=\w)) (?=(?:with|in|on|at|by|under|above|below|beside|before)\b)")
_COMMON = (
    "a",
    "an",
    "the",
    "there",
    "it",
    "in",
    "on",
    "at",
    "everything",
    "seen",
    "one",
    "all",
    "flat",
    "this",
)
_PREPOSITION = re.compile(r"(?:\w+ to|with|in|on|at|by|under|of|above|below|beside|before)\b", re.IGNORECASE)
_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?]\")) +(?=[A-Z\"\d])")
_LEADING = re.compile(r"^(?:an?|the|with|in|on|at|by|and|of) ", re.IGNORECASE)


def _subset(category: str) -> tuple[str, ...]:
    if category not in BY_CLASS:
        raise ValueError(f"no class {category!r} of captions; one of {CLASSES}")
    return BY_CLASS[category]


def _brief(phrase: str) -> str:
    """What is in it, without where and before what: at most three things."""
    things = [part for part in chunks(phrase) if not _PREPOSITION.match(part) and "%" not in part] or chunks(
        phrase
    )[:1]
    return join(things[:3])


def _shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [names[i] for i in rng.permutation(len(names))]


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.rstrip('"')[-1:] in ".!?" else ".")


def _lowered(sentence: str) -> str:
    """Fit to follow a semicolon: names and quoted words keep their capitals."""
    first = sentence.split(" ", 1)[0].lower()
    return sentence[:1].lower() + sentence[1:] if first in _COMMON else sentence


def _key(sentence: str) -> str:
    return " ".join(sentence.lower().split()).rstrip('.!?" ')


def _bare(part: str) -> str:
    while (shorter := _LEADING.sub("", part)) != part:
        part = shorter
    return part


def _number(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(10000)):04d}"


def _tags(parts: list[str], rng: np.random.Generator) -> str:
    tags = [part.lower() for part in _shuffled(parts, rng)]
    tags += [str(rng.choice(["image", "download", "hd", "wallpaper"]))] if rng.random() < 0.6 else []
    return ", ".join(tags) if rng.random() < 0.6 else " ".join("#" + re.sub(r"\W+", "", t) for t in tags)


def _alt(parts: list[str], rng: np.random.Generator) -> str:
    lead = str(rng.choice(["", "image of ", "Picture: ", "picture of ", "graphic: "]))
    return lead + ", ".join(parts)


def _file(parts: list[str], rng: np.random.Generator) -> str:
    joint = str(rng.choice(["-", "_"]))
    words = re.sub(r"[^\w%#]+", joint, joint.join(parts).lower()).strip(joint)
    lead = str(rng.choice(["", "IMG", "DSC", "new", "final", "copy"]))
    return f"{lead}{joint if lead else ''}{words}{joint}{_number(rng)}.{rng.choice(['png', 'jpg', 'webp'])}"


def _title(parts: list[str], rng: np.random.Generator) -> str:
    head = " ".join(part if part.startswith('"') else part.capitalize() for part in parts)
    return (
        f"{head} {rng.choice(['|', '-', '::'])} {rng.choice(['free images', 'picture archive', 'gallery'])}"
    )


def _snippet(parts: list[str], rng: np.random.Generator) -> str:
    tail = str(rng.choice(["Read more", "see also: gallery", "share this image", "posted by admin"]))
    return f"... {', '.join(parts)}. {tail} ({_number(rng)} comments)"


_RAW = (_tags, _alt, _file, _title, _snippet)
