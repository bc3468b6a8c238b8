"""Which pictures a new one is made from: the table of docs/references.md, and what holds for any words."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.history import History, Turn
from services.planner.referring import Shown, choose, references, shown
from wanimage.config import ROOT
from wanimage.limits import MAX_INPUT_IMAGES
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import types_pb2

SESSION = [
    Shown(0, 1, uploaded=False, caption="a fox in the center, in a meadow by day"),
    Shown(1, 1, uploaded=False, caption="a fox on the left and an owl on the right, in a forest at night"),
    Shown(2, 1, uploaded=False, caption="a fox, an owl and a red balloon, on a beach by day"),
    Shown(3, 2, uploaded=True),
    Shown(4, 3, uploaded=False, caption="a cat in the center, on a plain blue background"),
    Shown(5, 5, uploaded=False, caption="a small car at the left, in a city by day"),
]
LINES = (ROOT / "docs" / "references.md").read_text().splitlines()
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in LINES[LINES.index("|---|---|---|---|") + 1 :]
]


@pytest.mark.parametrize(("request_", "attached", "prompt", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_a_request_chooses_what_the_documents_say(
    request_: str, attached: str, prompt: str, expected: str
) -> None:
    found = choose(request_, [int(index) for index in attached.split()], SESSION, prompt)
    said = [f"{each.index} {ev.ReferenceReason.Kind.Name(each.reason)[5:].lower()}" for each in found]
    assert ", ".join(said) == expected


PHRASES = (
    "make", "draw", "the", "a", "second", "one", "picture", "pictures", "3", "#2", "fox", "owl", "it", "this",
    "last two", "all", "both", "first and third", "you drew", "I sent", "earlier", "before", "of", "in",
    "too", "same", "without", ".", ",", "99", "twelfth", "0th", "\x00", "é", "“", '"', "background of the",
)  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PHRASES), st.text(max_size=8)), max_size=12).map(" ".join)
captions = st.lists(st.sampled_from(["a", "fox", "owl", "red", "cat", "in a meadow", ""]), max_size=5)
earlier = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), captions.map(" ".join)), max_size=14
).map(
    lambda drawn: [
        Shown(index, 2 * sum(step for step, _, _ in drawn[: index + 1]) + (not up), up, "" if up else words)
        for index, (step, up, words) in enumerate(drawn)
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(texts, st.integers(0, 9), earlier, texts)
def test_any_words_choose_known_pictures_once_and_nine_at_most(
    text: str, count: int, before: list[Shown], prompt: str
) -> None:
    attached = list(range(len(before), len(before) + count))
    found = choose(text, attached, before, prompt)
    indices = [each.index for each in found]
    assert len(set(indices)) == len(indices) <= MAX_INPUT_IMAGES
    assert set(indices) <= {each.index for each in before} | set(attached)
    assert indices == [i for i in indices if i in attached] + [i for i in indices if i not in attached]
    assert not attached or set(indices) & set(attached), "what comes with a request is never ignored"
    assert found == choose(text, attached, before, prompt)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.data())
def test_an_ordinal_chooses_the_picture_of_that_number(length: int, data: st.DataObject) -> None:
    story = [Shown(index, 1, uploaded=False, caption="a fox") for index in range(length)]
    number = data.draw(st.integers(1, length))
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number, "th")
    for words in (f"make the {number}{ending} one blue", f"picture {number} at night", f"#{number} again"):
        assert [each.index for each in choose(words, [], story, "a blue fox")] == [number - 1]


def test_words_are_read_in_time_that_grows_with_their_length() -> None:
    for text in ("#1 " * 5_000, "the first and " * 1_100, "the " * 4_000, "now " * 4_000, "a" * 16_000):
        assert len(choose(text, [], SESSION, "a fox")) <= MAX_INPUT_IMAGES


def turn(text: str, first: int, prompts: list[str], finished: int, uploads: int = 0) -> Turn:
    """A turn that planned `prompts` and finished some of them."""
    planned = [
        ev.ImagePlanned(turn_index=i, index=first + uploads + i, prompt=prompt)
        for i, prompt in enumerate(prompts)
    ]
    return Turn(
        turn_id=text, started_seq=1, started=datetime.now(UTC), text=text,
        images=[types_pb2.Image(index=first + i) for i in range(uploads)],
        options=types_pb2.TurnOptions(), deadline=datetime.now(UTC), planned=planned,
        ready={plan.turn_index: ev.ImageReady() for plan in planned[:finished]},
    )  # fmt: skip


def test_pictures_that_a_cancelled_turn_did_not_finish_are_not_counted() -> None:
    story = turn("a story", 0, ["a fox", "an owl", "a cat"], finished=2, uploads=1)
    history = History("s", datetime.now(UTC), turns=[story, turn("make the third one blue", 4, [], 0)])
    assert [(each.index, each.group) for each in shown(history)] == [(0, 0), (1, 1), (2, 1)]
    assert [each.index for each in references(history, "a blue cat")] == [2]  # the session's third
    history.turns[-1].text = "make the last one blue"
    assert [each.index for each in references(history, "a blue owl")] == [2]
