"""Bars, cards, icons, labels and buttons of a screen are found where they belong."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.measuring.verifiers import blur
from training.world.pictures import screens
from training.world.pictures.screens import Card, Screen, draw, phrase, sample, verify
from training.world.scenes.sample import split_of_key

pytestmark = pytest.mark.usefixtures("icons")

SCREEN = Screen(
    "Bakery",
    (Card("bread", "Today"), Card("cake", "Sunday"), Card("cookie", "Honey")),
    "Join",
    "blue",
    "orange",
    "sans",
)
SIZES = [(384, 256), (256, 256), (256, 384)]


@pytest.mark.parametrize("radius", [0, 1])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_drawn_is_read_back_sharp_and_soft(theme: str, size: tuple[int, int], radius: int) -> None:
    screen = replace(SCREEN, theme=theme)
    assert verify(screen, blur(draw(screen, *size), radius)).failures() == []


def with_card(index: int, **change: str) -> Screen:
    cards = list(SCREEN.cards)
    cards[index] = replace(cards[index], **change)
    return replace(SCREEN, cards=tuple(cards))


FAULTS = {
    "another icon": (with_card(1, icon="pizza"), {"object"}),
    "another label": (with_card(2, label="Money"), {"text"}),
    "another title": (replace(SCREEN, title="Bakers"), {"text"}),
    "another button": (replace(SCREEN, button="Joy"), {"text"}),
    "another button colour": (replace(SCREEN, button_color="purple"), {"color"}),
    "another header colour": (replace(SCREEN, bar="purple"), {"color"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_planted_fault_fails_its_property_alone(name: str) -> None:
    drawn, properties = FAULTS[name]
    report = verify(SCREEN, draw(drawn, 256, 256))
    assert {f.property for f in report.findings if not f.passed} == properties, report.failures()


@pytest.mark.parametrize("size", SIZES)
def test_a_missing_card_is_counted(size: tuple[int, int]) -> None:
    report = verify(SCREEN, draw(replace(SCREEN, cards=SCREEN.cards[:2]), *size))
    (count,) = [f for f in report.findings if f.property == "count"]
    assert (count.passed, count.found) == (False, "2")


@pytest.mark.parametrize("split", ["train", "val", "heldout"])
def test_a_sample_keeps_to_its_split_and_repeats_for_its_seed(split: str) -> None:
    first, again = (sample(np.random.default_rng(2), split, (3, 2)) for _ in range(2))
    assert first == again
    assert split_of_key(screens.key(first)) == split


def test_a_phrase_says_every_part() -> None:
    said = phrase(SCREEN)
    for word in (
        "light",
        "blue header",
        '"Bakery"',
        "sans",
        "3 cards",
        '"Sunday" with a cake',
        "orange button",
        '"Join"',
    ):
        assert word in said


@pytest.mark.parametrize("size", [(64, 512), (512, 64)])
def test_screens_are_drawn_at_the_widest_aspects(size: tuple[int, int]) -> None:
    assert draw(SCREEN, *size).shape == (*size, 4)


def test_a_screen_of_one_card_is_refused() -> None:
    with pytest.raises(ValueError, match="2 to 4 cards"):
        replace(SCREEN, cards=SCREEN.cards[:1])
