"""The markup grammar as llguidance reads it: what it admits from every state of a turn."""

import json
from pathlib import Path

import pytest
from llguidance import LLMatcher, LLTokenizer

from tests.families import build_family
from wanimage.grammar import LONGEST_PROMPT, grammar_of
from wanimage.markup import Parser, Tag, split_tags
from wanimage.tokens import IM_END, Vocabulary

FOX = "<imagine>a fox</imagine><size>8*8</size><BOI>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family")).path / "understanding"


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> Vocabulary:
    return Vocabulary.load(folder)


@pytest.fixture(scope="module")
def ll_tokenizer(folder: Path, vocabulary: Vocabulary) -> LLTokenizer:
    text = json.dumps(json.loads((folder / "tokenizer.json").read_text()))
    return LLTokenizer(text, eos_token=vocabulary.control[IM_END])


class Guided:
    """A grammar from where `written` leaves the turn."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        ll_tokenizer: LLTokenizer,
        written: str,
        banned: frozenset[Tag] = frozenset(),
    ) -> None:
        parser, begun = Parser(), False
        for piece in split_tags(written):
            begun = not isinstance(piece, Tag)
            parser.feed(piece)
        grammar = grammar_of(parser, begun, vocabulary.control, max_cells=256, banned=banned)
        self._vocabulary = vocabulary
        self._new = lambda: LLMatcher(ll_tokenizer, grammar.removeprefix("%llguidance {}\n"))

    def admits(self, text: str, *, to_the_end: bool = True) -> bool:
        """Whether all of `text` may follow (and, `to_the_end`, complete a leg)."""
        matcher = self._new()
        ids = self._vocabulary.encode_markup(text)
        taken = matcher.try_consume_tokens(ids)
        assert not matcher.is_error(), matcher.get_error()
        return taken == len(ids) and (not to_the_end or matcher.is_accepting())


@pytest.fixture
def guided(vocabulary: Vocabulary, ll_tokenizer: LLTokenizer):
    return lambda written="", banned=frozenset(): Guided(vocabulary, ll_tokenizer, written, banned)


@pytest.mark.parametrize(
    "leg",
    ["", "Hello.", "Hello, snow ☃ man\n", "<think>hm</think>Well.", f"<think>hm</think>Look:{FOX}", FOX,
     f"<series>12</series>{FOX}", "Two <small> things & more", f"<think></think>{FOX}"],
)  # fmt: skip
def test_whole_legs_are_admitted(guided, leg: str) -> None:
    assert guided().admits(leg)


@pytest.mark.parametrize(
    "leg",
    ["</think>", "<BOI>", "<size>", "<imagine></imagine>", "<imagine>  </imagine>", "<imagine>a<BOI>",
     "<imagine>a fox</imagine>text", "<imagine>a fox</imagine><size>8x8", "<imagine>a fox</imagine><size>0*8",
     "<imagine>a fox</imagine><size>8*8<BOI>", "<imagine>a fox</imagine><size>99*8", "<series>1</series>",
     "<series>13</series>", "<series>3</series>text", "<think><think>", "<think>a<imagine>", "<|im_start|>"],
)  # fmt: skip
def test_malformed_legs_are_refused(guided, leg: str) -> None:
    assert not guided().admits(leg, to_the_end=False)


@pytest.mark.parametrize("written", ["", "<imagine>", "<imagine>a fox", "<series>2</series>"])
def test_a_prompt_without_end_is_ended(guided, written: str) -> None:
    opened = "" if written.startswith("<imagine>") else "<imagine>"
    endless = opened + " and" * (LONGEST_PROMPT + 1)
    assert not guided(written).admits(endless, to_the_end=False)
    assert guided(written).admits(f"{opened} and</imagine><size>8*8</size><BOI>")


@pytest.mark.parametrize(
    ("written", "leg"),
    [
        ("<imagine>", "a fox</imagine><size>8*8</size><BOI>"),
        ("<imagine>a fo", "x</imagine><size>3*24</size><BOI>"),
        ("<imagine>a fox", "</imagine><size>8*8</size><BOI>"),
        ("<imagine>a fox</imagine>", "<size>8*8</size><BOI>"),
        ("<imagine>a fox</imagine><size>", "16*16</size><BOI>"),
        ("<think>", "so</think>Yes."),
        ("<think>so", " it is</think>Yes."),
        (f"One.{FOX}", f"Two.{FOX}"),
        ("<series>", f"2</series>{FOX}"),
        (f"<series>2</series>{FOX}", FOX),
        (f"<series>2</series>{FOX}{FOX}", "Done."),
    ],
)
def test_a_turn_is_resumed_where_it_stands(guided, written: str, leg: str) -> None:
    assert guided(written).admits(leg)


def test_nothing_but_the_next_picture_may_follow_in_a_series(guided) -> None:
    inside = guided(f"<series>3</series>{FOX}")
    assert not inside.admits("text", to_the_end=False)
    assert not inside.admits("")


def test_banned_tags_open_nothing(guided) -> None:
    no_pictures = guided(banned=frozenset({Tag.IMAGINE, Tag.SERIES, Tag.THINK}))
    assert no_pictures.admits("Only words.")
    for opened in ("<imagine>", "<series>", "<think>"):
        assert not no_pictures.admits(opened, to_the_end=False)


def test_reasoning_that_was_asked_for_is_not_blank(guided) -> None:
    for blank in ("</think>Yes.", " \n</think>Yes."):
        assert guided().admits(f"<think>{blank}"), "a planner that decides for itself may say nothing"
        assert not guided("<think>").admits(blank)
    assert guided("<think>").admits("\nso</think>Yes.")


def test_a_turn_may_end_only_outside_of_constructs(guided) -> None:
    assert guided().admits("Bye.")
    for unfinished in ("<think>so", "<imagine>a fox", "<imagine>a fox</imagine><size>8*8</size>"):
        assert not guided().admits(unfinished)


def test_a_turn_is_never_resumed_inside_a_number(vocabulary: Vocabulary) -> None:
    parser = Parser()
    for piece in split_tags("<series>1"):
        parser.feed(piece)
    with pytest.raises(ValueError, match="resume before it"):
        grammar_of(parser, True, vocabulary.control, max_cells=256)
