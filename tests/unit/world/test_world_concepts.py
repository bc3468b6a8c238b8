"""The catalogue of nouns: a superset of what the shipped weights know, in plain English, in four styles."""

import hashlib

import numpy as np
import pytest

from training.world.assets import sprites as assets
from training.world.assets.concepts import (
    CATALOGUE,
    CONCEPTS,
    HELD_OUT_CONCEPTS,
    SHAPES,
    STYLES,
    colorable,
    concept,
    is_held_out,
    of_kind,
)
from wanimage.conditions import COLORS


def test_the_shipped_weights_nouns_come_first_and_are_unchanged() -> None:
    assert list(CATALOGUE)[: len(CONCEPTS)] == list(CONCEPTS)
    assert all(CATALOGUE[name] is CONCEPTS[name] for name in CONCEPTS)
    told = "\n".join(f"{c.name} {c.icon} {c.kind} {c.paints} {c.plural}" for c in CONCEPTS.values())
    digest = hashlib.sha256(told.encode()).hexdigest()
    assert digest[:16] == "0f2366ab76221ddb"


def test_over_three_hundred_nouns_have_an_icon_each() -> None:
    assert len(CATALOGUE) >= 300
    assert len({c.icon for c in CATALOGUE.values()}) == len(CATALOGUE)


def test_no_noun_is_also_a_shape_or_a_colour() -> None:
    assert not set(CATALOGUE) & (set(SHAPES) | set(COLORS))


def test_about_a_tenth_of_the_new_nouns_are_held_out_and_no_core_noun() -> None:
    assert not any(is_held_out(name) for name in CONCEPTS)
    assert 0.08 < len(HELD_OUT_CONCEPTS) / (len(CATALOGUE) - len(CONCEPTS)) < 0.13
    assert all(is_held_out(name) for name in HELD_OUT_CONCEPTS)


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("fox", "foxes"),
        ("strawberry", "strawberries"),
        ("monkey", "monkeys"),
        ("sandwich", "sandwiches"),
        ("toothbrush", "toothbrushes"),
        ("goose", "geese"),
        ("bunch of grapes", "bunches of grapes"),
        ("dice", "dice"),
        ("tomato", "tomatoes"),
    ],
)
def test_plurals_are_plain_english(name: str, plural: str) -> None:
    assert concept(name).plural == plural


def test_a_colour_word_applies_to_painted_flat_nouns_and_to_every_outline() -> None:
    assert [colorable("car", style) for style in STYLES] == [True, False, True, False]
    assert [colorable("fox", style) for style in STYLES] == [False, False, True, False]
    with pytest.raises(ValueError, match="sketch"):
        colorable("fox", "sketch")


def test_kinds_ask_the_core_nouns_unless_told_otherwise() -> None:
    assert "zebra" not in of_kind("animal")
    assert "zebra" in of_kind("animal", among=CATALOGUE)


@pytest.mark.usefixtures("icons")
@pytest.mark.parametrize("style", ["flat", "outline"])
def test_every_noun_fills_its_sprite(style: str) -> None:
    for name in CATALOGUE:
        alpha = assets.sprite(name, None, 64, style)[..., 3]
        rows, columns = np.flatnonzero((alpha > 0.05).any(1)), np.flatnonzero((alpha > 0.05).any(0))
        assert max(np.ptp(rows), np.ptp(columns)) >= 61, name


@pytest.mark.usefixtures("icons")
@pytest.mark.parametrize("style", ["flat", "outline"])
def test_no_two_nouns_look_alike(style: str) -> None:
    """Root mean square distance of premultiplied pixels at a quarter of 64; shades of grey differ by 20."""
    looks = np.stack([_look(name, style) for name in CATALOGUE])
    squares = (looks**2).sum(1)
    distance = np.sqrt(np.maximum(0, squares[:, None] + squares - 2 * looks @ looks.T) / looks.shape[1])
    distance[np.diag_indices(len(looks))] = np.inf
    first, second = np.unravel_index(distance.argmin(), distance.shape)
    names = list(CATALOGUE)
    assert distance.min() > 20, (names[first], names[second])


@pytest.mark.usefixtures("icons")
@pytest.mark.parametrize("name", [n for n, c in CATALOGUE.items() if c.colorable and n not in CONCEPTS])
def test_a_colour_word_paints_a_fifth_of_its_sprite(name: str) -> None:
    """Shades of the word's own colour; the rest is what the icon never changes (wheels, handles, straps)."""
    for color in ("red", "green", "blue", "brown", "white"):
        sprite = assets.sprite(name, color, 24)
        opaque = sprite[sprite[..., 3] > 0.99][:, :3]
        assert (np.abs(opaque - COLORS[color]).max(-1) < 56).mean() > 0.2, color


def _look(name: str, style: str) -> np.ndarray:
    pixels = assets.sprite(name, None, 64, style) * (1, 1, 1, 160)
    return pixels.reshape(16, 4, 16, 4, 4).mean((1, 3)).ravel()
