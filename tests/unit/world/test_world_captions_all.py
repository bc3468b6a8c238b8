"""Captions of every kind say what the graph says, and nothing else."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.world.kinds import Graph, Kind
from training.world.tasks.captions import (
    ATTRIBUTES,
    BY_CLASS,
    CLASSES,
    NOISE,
    captions,
    chunks,
    natural,
    raw,
    rewrite,
    statements,
    structured,
    update,
)
from training.world.tasks.pictures import KINDS

SEEDS = st.integers(0, 2**32)
ONES = settings(max_examples=40, deadline=None)
WORD = re.compile(r"[a-z0-9#%']+")


def _drawn(seed: int) -> tuple[Kind, Graph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    kind = list(KINDS.values())[seed % len(KINDS)]
    return kind, kind.sample(rng, "train", (1, 1)), rng


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


def test_there_are_five_classes_and_25_attributes() -> None:
    assert len(CLASSES) == 5
    assert len(set(ATTRIBUTES)) == len(ATTRIBUTES) == 25
    assert set(BY_CLASS) == set(CLASSES)
    assert {name for names in BY_CLASS.values() for name in names} == set(ATTRIBUTES)
    assert all(set(names) < set(ATTRIBUTES) for names in BY_CLASS.values())


@ONES
@given(SEEDS)
def test_a_structured_caption_is_json_of_its_class(seed: int) -> None:
    kind, graph, _ = _drawn(seed)
    caption = structured(kind, graph)
    assert json.loads(json.dumps(caption)) == caption
    assert caption["class"] == kind.category
    assert set(caption["attributes"]) <= set(BY_CLASS[kind.category])
    assert all(isinstance(text, str) and text for text in caption["attributes"].values())
    assert list(caption["attributes"]) == sorted(caption["attributes"], key=ATTRIBUTES.index)


@ONES
@given(SEEDS)
def test_natural_captions_say_only_what_the_graph_says(seed: int) -> None:
    kind, graph, rng = _drawn(seed)
    said = _words(kind.phrase(graph)) | {w for text in kind.attributes(graph).values() for w in _words(text)}
    brief, normal, detailed = (natural(kind, graph, rng, grain) for grain in ("brief", "normal", "detailed"))
    assert _words(brief) <= _words(normal) | {"and"} <= said | {"and"}
    assert _words(detailed) <= said
    assert len(brief) <= len(normal) < len(detailed)


@ONES
@given(SEEDS)
def test_a_rewriting_keeps_every_statement(seed: int) -> None:
    kind, graph, rng = _drawn(seed)
    caption = structured(kind, graph)
    prose = rewrite(caption, rng).lower()
    for text in caption["attributes"].values():
        assert all(sentence.lower().rstrip(".!?") in prose for sentence in statements(text))


@ONES
@given(SEEDS)
def test_raw_captions_add_noise_and_no_claims(seed: int) -> None:
    kind, graph, rng = _drawn(seed)
    phrase = kind.phrase(graph).lower()
    known = _words(phrase.replace("-", " ")) | set(NOISE)
    for word in _words(raw(kind, graph, rng).replace("_", " ").replace("-", " ")) - known:
        hashtag = word.startswith("#") and word[1:] in re.sub(r"\W", "", phrase) + "imagedownloadhdwallpaper"
        assert hashtag or re.fullmatch(r"\d{4}|png|jpg|webp", word), word


def test_raw_captions_come_in_several_forms() -> None:
    kind, graph, rng = _drawn(0)
    forms = {raw(kind, graph, rng) for _ in range(40)}
    assert len(forms) > 20
    assert any(form.endswith((".png", ".jpg", ".webp")) for form in forms)
    assert any(form.startswith("#") for form in forms)


@ONES
@given(SEEDS)
def test_an_update_mends_exactly_what_was_damaged(seed: int) -> None:
    kind, graph, rng = _drawn(seed)
    caption, true = structured(kind, graph), structured(kind, graph)
    names = [str(n) for n in rng.permutation(list(true["attributes"]))]
    lost, wrong, *kept = names
    alien = next(a for a in BY_CLASS[kind.category] if a not in true["attributes"])
    del caption["attributes"][lost]
    caption["attributes"][wrong] = "A submarine is made of cheese."
    caption["attributes"][alien] = "There is a submarine."
    caption["attributes"][kept[0]] = valid = caption["attributes"][kept[0]].upper()
    changes = update(caption, kind, graph)
    assert sorted(changes) == sorted([f"{alien}: removed", f"{lost}: added", f"{wrong}: corrected"])
    assert caption["attributes"][kept[0]] == valid
    caption["attributes"][kept[0]] = true["attributes"][kept[0]]
    assert caption == true
    assert update(caption, kind, graph) == []


def test_an_update_keeps_the_valid_half_of_an_attribute() -> None:
    kind, graph, _ = _drawn(0)
    caption = structured(kind, graph)
    name, text = next((n, t) for n, t in caption["attributes"].items() if t)
    caption["attributes"][name] = text.upper() + " A submarine passes."
    assert update(caption, kind, graph) == [f"{name}: corrected"]
    assert caption["attributes"][name] == text.upper()


def test_an_update_routes_to_the_right_class() -> None:
    kind, graph, _ = _drawn(0)
    caption = structured(kind, graph)
    caption["class"] = "chart"
    assert update(caption, kind, graph) == [f"class: now {kind.category}"]


def test_text_in_quotes_is_never_cut() -> None:
    assert chunks('a poster with the words "Sale, on now and here" on a red background') == [
        "a poster", 'with the words "Sale, on now and here"', "on a red background",
    ]  # fmt: skip
    assert statements('It reads "Stop. Look." The ground is red. It is 0.5 wide.') == (
        'It reads "Stop. Look."', "The ground is red.", "It is 0.5 wide.",
    )  # fmt: skip


def test_equal_generators_give_equal_captions() -> None:
    kind, graph, _ = _drawn(3)
    first, second = (captions(kind, graph, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_an_unknown_grain_is_refused() -> None:
    kind, graph, rng = _drawn(0)
    with pytest.raises(ValueError, match="grain"):
        natural(kind, graph, rng, "endless")
