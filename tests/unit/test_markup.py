"""The markup parser: right for every split of the stream, strict about structure, deaf to look-alikes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanimage import markup
from wanimage.markup import ImageSpec, MarkupError, Parser, Tag, Text, Think

words = st.text(min_size=1, max_size=12)
prompts = words.filter(lambda text: text.strip() != "")
sides = st.integers(1, 16)
grids = st.tuples(sides, sides).filter(lambda grid: max(grid) <= 8 * min(grid))


@st.composite
def turns(draw: st.DrawFn) -> list[markup.Item]:
    """Well-formed turns as items, adjacent texts and thoughts already joined."""
    items: list[markup.Item] = []
    series = 0
    for kind in draw(st.lists(st.sampled_from(["text", "think", "image", "series"]), max_size=6)):
        if kind == "text" and not (items and isinstance(items[-1], Text)):
            items.append(Text(draw(words)))
        elif kind == "think" and not (items and isinstance(items[-1], Think)):
            items.append(Think(draw(words)))
        elif kind == "image":
            items.append(ImageSpec(draw(prompts), draw(grids)))
        elif kind == "series":
            series += 1
            count = draw(st.integers(2, 4))
            items += [ImageSpec(draw(prompts), draw(grids), series, count, i) for i in range(count)]
    return items


def joined(items: list[markup.Item]) -> list[markup.Item]:
    """Adjacent texts, and adjacent thoughts, as one."""
    result: list[markup.Item] = []
    for item in items:
        last = result[-1] if result else None
        if isinstance(item, Text | Think) and type(last) is type(item):
            result[-1] = type(item)(last.text + item.text)
        else:
            result.append(item)
    return result


@given(turns(), st.data())
def test_parser_reads_back_what_was_written_for_every_split(items, data):
    stream: list[str | Tag] = []
    for piece in markup.pieces(items):
        if isinstance(piece, Tag):
            stream.append(piece)
            continue
        cuts = sorted(data.draw(st.sets(st.integers(0, len(piece)), max_size=5)) | {0, len(piece)})
        stream += [piece[a:b] for a, b in pairwise(cuts)]
    assert joined(list(markup.parse(stream))) == items


@given(turns())
def test_images_come_out_at_their_boi(items):
    parser, seen = Parser(), 0
    for piece in markup.pieces(items):
        out = parser.feed(piece)
        assert any(isinstance(item, ImageSpec) for item in out) == (piece is Tag.BOI)
        seen += sum(isinstance(item, ImageSpec) for item in out)
    assert seen == parser.images == sum(isinstance(item, ImageSpec) for item in items)


@given(st.lists(st.one_of(st.sampled_from(Tag), words), max_size=12))
def test_any_stream_is_either_a_turn_or_a_markup_error(stream):
    try:
        items = list(markup.parse(stream))
    except MarkupError:
        return
    assert joined(list(markup.parse(markup.pieces(items)))) == joined(items)


def test_text_that_looks_like_a_tag_stays_text():
    assert list(markup.parse(["say <imagine>", "cat</imagine><BOI>"])) == [
        Text("say <imagine>"),
        Text("cat</imagine><BOI>"),
    ]


def test_trusted_markup_is_split_at_its_tags():
    text = "A fox.<imagine>a fox</imagine><size>8*8</size><BOI>The end."
    assert list(markup.parse(markup.split_tags(text))) == [
        Text("A fox."),
        ImageSpec("a fox", (8, 8)),
        Text("The end."),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<imagine> </imagine>", "empty prompt"),
        ("<imagine>a</imagine>x", "<size>"),
        ("<imagine>a</imagine><BOI>", "<size>"),
        ("<imagine>a</imagine><size>8x8</size>", "height\\*width"),
        ("<imagine>a</imagine><size>08*8</size>", "height\\*width"),
        ("<imagine>a</imagine><size>1*9</size>", "1:8"),
        ("<imagine>a</imagine><size>300*300</size>", "256"),
        ("<imagine>a", "</imagine>"),
        ("<series>1</series>", "2 to 12"),
        ("<series>13</series>", "2 to 12"),
        ("<series>2</series>text", "<imagine>"),
        ("<think>a<imagine>", "</think>"),
        ("</think>", "<think>"),
    ],
)
def test_malformed_markup_is_refused_naming_what_may_stand(text, complaint):
    with pytest.raises(MarkupError, match=complaint):
        list(markup.parse(markup.split_tags(text)))


def test_a_series_owes_exactly_its_pictures():
    parser = Parser()
    for piece in markup.split_tags("<series>2</series><imagine>a</imagine><size>8*8</size><BOI>"):
        parser.feed(piece)
    assert parser.series_left == 1
    with pytest.raises(MarkupError, match="<imagine>"):
        parser.finish()
    for piece in markup.split_tags("<imagine>b</imagine><size>8*8</size><BOI>"):
        last = parser.feed(piece)
    assert last == [ImageSpec("b", (8, 8), 1, 2, 1)]
    parser.finish()
