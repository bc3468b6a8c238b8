"""Streams of tokens through the markup parser, the planner's reader of tokens and its grammar."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from services.planner.engine import PieceReader
from tests.conftest import SHIPPED_PLANNER
from tests.fuzz.campaign import campaign
from wanimage import markup
from wanimage.grammar import grammar_of
from wanimage.markup import ImageSpec, Item, MarkupError, Parser, Tag, Text, Think
from wanimage.tokens import IM_END, Vocabulary

FOX = [
    Tag.IMAGINE, "a fox", Tag.END_IMAGINE, Tag.SIZE, "8*8", Tag.END_SIZE, Tag.BOI,
]  # fmt: skip
RUNS: tuple[list[str | Tag], ...] = (
    FOX,
    [Tag.THINK, "hm", Tag.END_THINK],
    [Tag.SERIES, "2", Tag.END_SERIES, *FOX, *FOX],
    [Tag.SERIES, "12", Tag.END_SERIES],
    [Tag.SIZE, "24*3", Tag.END_SIZE, Tag.BOI],
    [Tag.IMAGINE, " \n", Tag.END_IMAGINE],
)
"""Stretches that come up by chance too seldom."""
LOOKS = (
    "<BOI>",
    "</imagine>",
    "<think",
    ">",
    "2",
    "12",
    "13",
    "8*8",
    "300*1",
    "08*8",
    "٣*٣",
    "²",
    "",
    "\x00",
    "\ufffd",
)
pieces = st.one_of(
    st.sampled_from(list(Tag)),
    st.sampled_from(LOOKS),
    st.text(max_size=8),
)
streams = st.lists(st.one_of(pieces.map(lambda piece: [piece]), st.sampled_from(RUNS)), max_size=12).map(
    lambda runs: [piece for run in runs for piece in run]
)


@pytest.fixture(scope="module")
def ground() -> Vocabulary:
    return Vocabulary.load(SHIPPED_PLANNER)


def outcome(stream: list[str | Tag]) -> tuple[list[Item], str]:
    """Items until the end or the error, adjacent text joined, and the parser's state where it stopped."""
    parser, items = Parser(), []
    try:
        for piece in stream:
            items += parser.feed(piece)
            assert 0 <= parser.series_left <= markup.MAX_SERIES
        parser.finish()
    except MarkupError:
        return joined(items), f"refused at {parser.state}"
    return joined(items), "turn"


def joined(items: list[Item]) -> list[Item]:
    result: list[Item] = []
    for item in items:
        last = result[-1] if result else None
        if isinstance(item, Text | Think) and type(last) is type(item):
            result[-1] = type(item)(last.text + item.text)
        else:
            result.append(item)
    return result


def split(stream: list[str | Tag], cuts: list[int]) -> list[str | Tag]:
    """The stream with each text cut at places that follow from `cuts`."""
    result: list[str | Tag] = []
    for number, piece in enumerate(stream):
        if isinstance(piece, Tag):
            result.append(piece)
            continue
        wanted = {cut % (len(piece) + 1) for cut in cuts[number % 3 :: 3]} | {0, len(piece)}
        result += [piece[a:b] for a, b in pairwise(sorted(wanted))] or [piece]
    return result


@campaign(
    "token streams, split at random points",
    st.tuples(streams, st.lists(st.integers(0, 999), max_size=9)),
    few=1000,
    full=100_000,
)
def test_any_stream_is_a_turn_or_a_markup_error_however_it_is_split(case: Any, ground: Vocabulary) -> None:
    stream, cuts = case
    items, end = outcome(stream)
    assert outcome(split(stream, cuts)) == (items, end)
    if end != "turn":
        return
    assert joined(list(markup.parse(markup.pieces(items)))) == items
    drawn = [item for item in items if isinstance(item, ImageSpec)]
    assert len(drawn) == sum(piece is Tag.BOI for piece in stream)  # a str may equal a Tag
    series: dict[int, list[ImageSpec]] = {}
    for item in drawn:
        series.setdefault(item.series, []).append(item)
    single = series.pop(0, [])
    assert all(item.series_length == item.position == 0 for item in single)
    assert list(series) == list(range(1, len(series) + 1))
    for members in series.values():
        assert [item.position for item in members] == list(range(members[0].series_length))


def read(vocabulary: Vocabulary, ids: list[int]) -> tuple[list[str | Tag], bool]:
    """What a reader makes of ids; whether it refused one."""
    reader, found = PieceReader(vocabulary), []
    try:
        for token in ids:
            found += reader.feed(token)
        return found + reader.finish(), False
    except MarkupError:
        return found, True


words = st.text(max_size=12).map(lambda text: text.encode())
byte_runs = st.one_of(words, st.binary(max_size=6))


@campaign(
    "token ids through reader, parser and grammar",
    st.lists(
        st.one_of(byte_runs, st.integers(0, 15), st.sampled_from(RUNS), st.integers(16, 4000)), max_size=12
    ),
    few=700,
    full=30_000,
)
def test_ids_become_whole_characters_and_tags_and_a_grammar_goes_on(
    case: Any, vocabulary: Vocabulary
) -> None:
    ids, said = ids_of(case, vocabulary)
    found, refused = read(vocabulary, ids)
    if not refused:
        assert "".join(piece.value if isinstance(piece, Tag) else piece for piece in found) == said
    parser, begun = Parser(), False
    try:
        for piece in found:
            begun = not isinstance(piece, Tag)
            parser.feed(piece)
    except MarkupError:
        return
    try:
        grammar = grammar_of(parser, begun, vocabulary.control, max_cells=256)
    except ValueError:
        assert begun
        assert parser.state in ("grid", "count")
        return
    assert "start: " in grammar


def ids_of(case: Any, vocabulary: Vocabulary) -> tuple[list[int], str]:
    """Token ids, and the text they must give: bytes between tags decoded together, broken ones as U+FFFD."""
    single = {piece: index for index, piece in enumerate(vocabulary.pieces) if len(piece) == 1}
    ids: list[int] = []
    for part in case:
        if isinstance(part, bytes):
            ids += [single[part[i : i + 1]] for i in range(len(part))]
        elif isinstance(part, int):
            ids.append(part % len(vocabulary))
        else:
            for piece in part:
                ids += (
                    [vocabulary.control[piece.value]] if isinstance(piece, Tag)
                    else vocabulary.encode_user_text(piece)
                )  # fmt: skip
    said, run = "", b""
    for token in ids:
        if vocabulary.is_control(token):
            said, run = said + run.decode(errors="replace") + vocabulary.name(token), b""
        else:
            run += vocabulary.pieces[token]
    return ids, said + run.decode(errors="replace")


def test_every_state_a_stream_can_leave_has_a_grammar_that_compiles(ground: Vocabulary) -> None:
    text = json.dumps(json.loads((SHIPPED_PLANNER / "tokenizer.json").read_text()))
    tokenizer = LLTokenizer(text, eos_token=ground.control[IM_END])
    seen = set()
    for run in RUNS:
        parser, begun = Parser(), False
        for piece in run:
            try:
                parser.feed(piece)
            except MarkupError:
                break
            begun = not isinstance(piece, Tag)
            try:
                grammar = grammar_of(parser, begun, ground.control, max_cells=256)
            except ValueError:
                continue
            seen.add(parser.state)
            assert not LLMatcher(tokenizer, grammar.removeprefix("%llguidance {}\n")).is_error()
    assert seen == {"text", "think", "count", "in_series", "prompt", "before_size", "grid", "before_boi"}
