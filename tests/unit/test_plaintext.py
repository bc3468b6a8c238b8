"""The markup in plain text: what is escaped, read back and admitted."""

from itertools import accumulate, pairwise

import pytest
import xgrammar
from hypothesis import given
from hypothesis import strategies as st
from xgrammar.testing import _is_grammar_accept_string as accepts

from wanimage.markup import ImageSpec, Item, Parser, Tag, Text, Think, pieces, split_tags
from wanimage.plaintext import TextReader, escape, grammar_of, unescape

FOX = "<imagine>a fox</imagine><size>8*8</size>"
confusing = st.lists(
    st.sampled_from(["<", ">", "&", "lt;", "amp;", "&lt;", "<imagine>", "</size>", "<BOI>", "a", "é☃", " "])
).map("".join)
words = st.one_of(st.text(max_size=12), confusing)
prompts = words.filter(str.strip)
pictures = st.builds(ImageSpec, prompts, st.tuples(st.integers(1, 8), st.integers(1, 8)))
series = st.lists(pictures, min_size=2, max_size=4).map(
    lambda specs: [
        ImageSpec(spec.prompt, spec.grid, 1, len(specs), at) for at, spec in enumerate(specs)
    ]
)  # fmt: skip
turns = st.lists(
    st.one_of(st.builds(Text, words), st.builds(Think, words), pictures).map(lambda item: [item]), max_size=6
).flatmap(lambda runs: st.tuples(st.just(runs), st.lists(series, max_size=1)))


def written(items: list[Item]) -> str:
    """Items as a model in plain text would write them."""
    return "".join(
        escape(piece) if not isinstance(piece, Tag) else "" if piece is Tag.BOI else piece.value
        for piece in pieces(items)
    )


def joined(stream: list[str | Tag]) -> list[str | Tag]:
    """Texts side by side as one."""
    found: list[str | Tag] = []
    for piece in stream:
        if found and not isinstance(piece, Tag) and not isinstance(found[-1], Tag):
            found[-1] += piece
        elif piece:
            found.append(piece)
    return found


@given(words)
def test_escaped_text_holds_no_tag_and_is_read_as_it_was(text: str) -> None:
    assert "<" not in escape(text)
    assert unescape(escape(text)) == text


@given(turns, st.data())
def test_a_turn_is_read_back_however_it_is_split(turn, data: st.DataObject) -> None:
    runs, last = turn
    items = [item for run in [*runs, *last] for item in run]
    text = written(items)
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=len(text), max_size=len(text)))
    ends = [0, *accumulate(sizes)]
    reader = TextReader()
    read = [p for a, b in pairwise(ends) for p in reader.feed(text[a:b])]
    assert joined([*read, *reader.finish(stopped=True)]) == joined(list(pieces(items)))


def test_a_size_that_the_stop_cut_off_is_closed() -> None:
    reader = TextReader()
    read = reader.feed("<imagine>a fox</imagine><size>8*8")
    assert [*read, *reader.finish(stopped=True)][-3:] == ["8*8", Tag.END_SIZE, Tag.BOI]
    reader = TextReader()
    assert [*reader.feed("<size>8*"), *reader.finish(stopped=False)][-1] == "8*"


def test_what_is_no_tag_stays_text() -> None:
    reader = TextReader()
    assert joined([*reader.feed("<b>5 < 6</b> <BOI> <imag"), *reader.finish(stopped=True)]) == [
        "<b>5 < 6</b> <BOI> <imag"
    ]


def admitted(leg: str, begun: str = "", banned: frozenset[Tag] = frozenset()) -> bool:
    """Whether a leg may follow what is written."""
    parser, open_text = Parser(), False
    for piece in split_tags(begun.replace("</size>", "</size><BOI>")):
        open_text = not isinstance(piece, Tag)
        parser.feed(piece)
    return bool(accepts(grammar_of(parser, open_text, max_cells=256, banned=banned), leg))


@pytest.mark.parametrize(
    "leg",
    ["", "Fish & chips, 5 &lt; 6, snow ☃\n", f"<think>hm</think>Look:{FOX}", f"<series>12</series>{FOX}",
     "a<think></think>b<think>c</think>"],
)  # fmt: skip
def test_whole_legs_are_admitted(leg: str) -> None:
    assert admitted(leg)


@pytest.mark.parametrize(
    "leg",
    ["5 < 6", "<BOI>", "</think>", "<imagine></imagine>", "<imagine> \n</imagine><size>8*8</size>",
     "<imagine>a</imagine>text<size>8*8</size>", "<imagine>a</imagine><size>99*8</size>", f"{FOX}more",
     "<series>1</series>", f"<series>13</series>{FOX}", "<think>so", "<imagine>a<imagine>", "<drawn/>"],
)  # fmt: skip
def test_malformed_legs_are_refused(leg: str) -> None:
    assert not admitted(leg)


@pytest.mark.parametrize(
    ("begun", "leg"),
    [
        ("<imagine>", "a fox</imagine><size>8*8</size>"),
        ("<imagine>a fo", "x</imagine><size>3*24</size>"),
        ("<imagine>a fox</imagine>", "<size>8*8</size>"),
        ("<imagine>a fox</imagine><size>", "16*16</size>"),
        ("<think>so", " it is</think>Yes."),
        ("<think>so", "</think>Yes."),
        (f"One.{FOX}", f"Two.{FOX}"),
        ("<series>", f"2</series>{FOX}"),
        (f"<series>2</series>{FOX}", FOX),
        (f"<series>2</series>{FOX}{FOX}", "Done."),
    ],
)
def test_a_turn_is_resumed_where_it_stands(begun: str, leg: str) -> None:
    assert admitted(leg, begun)


def test_reasoning_that_was_asked_for_is_not_blank() -> None:
    assert admitted("so</think>", "<think>")
    assert not admitted(" </think>", "<think>")


def test_a_series_owes_its_next_picture_and_banned_tags_open_nothing() -> None:
    assert not admitted("text", f"<series>3</series>{FOX}")
    banned = frozenset({Tag.IMAGINE, Tag.SERIES, Tag.THINK})
    assert admitted("Only words.", banned=banned)
    assert not any(
        admitted(leg, banned=banned) for leg in (FOX, f"<series>2</series>{FOX}", "<think></think>")
    )


def test_every_state_of_a_turn_has_a_grammar_that_compiles() -> None:
    parser, states = Parser(), set()
    for piece in split_tags(
        f"<think>a</think><series>2</series>{FOX.replace('</size>', '</size><BOI>')}{FOX}"
    ):
        if parser.state not in states or not isinstance(piece, Tag):
            states.add(parser.state)
            xgrammar.Grammar.from_ebnf(grammar_of(parser, False, max_cells=256))
        parser.feed(piece)
    assert states == {"text", "think", "count", "in_series", "prompt", "before_size", "grid", "before_boi"}
    parser = Parser()
    parser.feed(Tag.SERIES)
    with pytest.raises(ValueError, match="resume before it"):
        grammar_of(parser, True, max_cells=256)
