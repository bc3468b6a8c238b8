"""The enhancer's text form: read back exactly, held to by the grammar, its literals checked."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from tests.conftest import SHIPPED_PLANNER
from wanimage.conditions import PLACES
from wanimage.enhancing import (
    CATEGORIES,
    REFERENCED,
    TASKS,
    Description,
    Result,
    asked,
    grammar,
    lost,
    read,
    written,
)
from wanimage.literals import literals, pictures_asked_for
from wanimage.tokens import END_THINK, IM_END, Vocabulary

_VALUE = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), min_size=1, max_size=30)
_WORD = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
_DESCRIPTION = st.builds(
    Description, _VALUE, st.lists(st.tuples(_WORD, st.sampled_from(PLACES)), max_size=9).map(tuple),
    st.lists(_WORD, max_size=4).map(tuple), st.just("") | _VALUE, st.just("") | _VALUE, st.just("") | _VALUE,
)  # fmt: skip
_CATEGORY = st.sampled_from(CATEGORIES)
_IN_WORDS = st.builds(Result, _CATEGORY, st.lists(_DESCRIPTION, min_size=1, max_size=12).map(tuple))
_REFERRING = st.builds(
    Result, _CATEGORY, st.just(()), _VALUE, st.lists(_VALUE, min_size=1, max_size=12).map(tuple)
)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.load(SHIPPED_PLANNER)


@pytest.fixture(scope="module")
def ll_tokenizer(vocabulary: Vocabulary) -> LLTokenizer:
    text = json.dumps(json.loads((SHIPPED_PLANNER / "tokenizer.json").read_text()))
    return LLTokenizer(text, eos_token=vocabulary.control[IM_END])


@given(_IN_WORDS | _REFERRING | st.builds(Result, _CATEGORY))
def test_every_result_is_read_back_exactly_as_it_was_written(result: Result) -> None:
    assert read(written(result)) == result


@given(st.text(max_size=60))
def test_any_other_text_is_refused_or_read_as_what_writes_it(text: str) -> None:
    try:
        found = read(text)
    except ValueError:
        return
    assert written(found) == text


@pytest.mark.parametrize(
    "text",
    ["", "posters", "poster\n", "poster\n1 ", "poster\n2 a fox", "poster\nb a\n1 a", "poster\n1 a\nb x\np y",
     "poster\n1 a\ne fox: nowhere", "poster\n1 a\ne : left", "poster\n1 a\ns b", "general\nc a",
     "general\nc a\n2 b",
     "poster\n1 a\n\nb c"],
)  # fmt: skip
def test_text_that_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read(text)


def test_the_natural_form_joins_subject_background_and_style() -> None:
    found = Description("a fox", background="by a lake by day", style="noto")
    assert found.natural == "a fox, by a lake by day, drawn in noto style"


def test_texts_are_the_quoted_words_of_the_subject() -> None:
    assert Description('a poster that says "Big Sale" and "-50%"').texts == ("Big Sale", "-50%")


def test_what_is_asked_names_task_count_and_whether_it_is_forced() -> None:
    assert asked("t2s", 3, "a fox") == "enhance t2s 3: a fox"
    assert asked("t2i", 1, "a fox", forced=True) == "enhance t2i 1 rewrite: a fox"


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ('A poster that says "Big Sale" on #AABBCC', ['"Big Sale"', "#AABBCC"]),
        ("a chart: Jan 40, Feb 70%", ["40", "70%", "Feb"]),
        ("Draw four pictures of three foxes for Anna", ["three", "Anna"]),
        ("show it in 12 steps", []),
        ("DRAW A FOX FOR ANNA", []),
        ("Draw it. Thanks", []),
        ("a 3d fox at 10:30", ["10:30"]),
    ],
)
def test_literals_are_quotes_colours_numbers_and_names(prompt: str, wanted: list[str]) -> None:
    assert literals(prompt) == wanted


@pytest.mark.parametrize(
    ("prompt", "subject", "missing"),
    [
        ('"Big Sale"', 'a poster that says "Big Sale"', []),
        ('"Big Sale"', 'a poster that says "Big Sales"', ['"Big Sale"']),
        ("3 foxes", "three foxes at the left", []),
        ("three foxes", "3 foxes", []),
        ("three foxes", "four foxes", ["three"]),
        ("14 foxes", "a fox at 114", ["14"]),
        ("on #aabbcc", "a poster on #aabbcd", ["#aabbcc"]),
        ("a fox named Anna", "a fox", ["Anna"]),
    ],
)
def test_a_literal_that_is_not_repeated_is_lost(prompt: str, subject: str, missing: list[str]) -> None:
    assert lost(prompt, Result("poster", (Description(subject),))) == missing


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("Draw three pictures of a fox", 3),
        ("how to bake bread, 4 steps", 4),
        ("THREE NEW IMAGES", 3),
        ("Tell a three-picture story about a fox", 3),
        ("a 4-panel comic", 4),
        ("three foxes", 0),
        ('a poster that says "three pictures"', 0),
        ("draw 12.5 pictures", 0),
        ("99999999999 pictures", 0),
    ],
)
def test_the_number_of_pictures_is_read_where_it_is_said(prompt: str, count: int) -> None:
    assert pictures_asked_for(prompt) == count


def test_nothing_is_lost_where_a_request_passes_through() -> None:
    assert lost('three foxes and "Big Sale"', Result("general")) == []


def _admits(grammar_text: str, ids: list[int], ll_tokenizer: LLTokenizer) -> bool:
    matcher = LLMatcher(ll_tokenizer, grammar_text.removeprefix("%llguidance {}\n"))
    taken = matcher.try_consume_tokens(ids)
    assert not matcher.is_error(), matcher.get_error()
    return taken == len(ids) and matcher.is_accepting()


@settings(max_examples=30)
@given(result=_IN_WORDS | _REFERRING)
def test_the_grammar_admits_every_result_of_its_count(
    result: Result, vocabulary: Vocabulary, ll_tokenizer: LLTokenizer
) -> None:
    task = "ti2s" if result.differences else "t2s"
    ids = vocabulary.encode_user_text(written(result))
    forced = result.category == "general"
    text = grammar(task, result.entries, vocabulary.control, forced=forced)
    assert _admits(text, ids, ll_tokenizer)
    other = grammar(task, result.entries % 12 + 1, vocabulary.control, forced=forced)
    assert not _admits(other, ids, ll_tokenizer)


@pytest.mark.parametrize(
    ("subject", "admitted"),
    [
        ('a poster that says "Big Sale" and "Now" for 17%', True),
        ('"Big Sale""Now"17%', True),
        ('17% off: "Big Sale" and "Now"', False),
        ('a poster that says "Big Sales" and "Now"', False),
        ('a poster that says "Now" and "Big Sale"', False),
        ('a poster that says "Big Sale"', False),
        ('"Big Sale" and "Now" for 18%', False),
    ],
)
def test_a_second_try_repeats_what_was_lost_letter_by_letter(
    subject: str, admitted: bool, vocabulary: Vocabulary, ll_tokenizer: LLTokenizer
) -> None:
    text = grammar("t2i", 1, vocabulary.control, verbatim=['"Big Sale"', '"Now"', "17%"])
    ids = vocabulary.encode_user_text(f"poster\n1 {subject}\nb on a plain white background")
    assert _admits(text, ids, ll_tokenizer) is admitted


@pytest.mark.parametrize("literal", ['"a \\ b"', '"日本語"', '"it\'s | 5%"', "#aabbcc", "Anna"])
def test_any_literal_can_be_asked_for_verbatim(
    literal: str, vocabulary: Vocabulary, ll_tokenizer: LLTokenizer
) -> None:
    text = grammar("t2s", 2, vocabulary.control, verbatim=[literal])
    ids = vocabulary.encode_user_text(f"poster\n1 the word {literal}\n2 a fox")
    assert _admits(text, ids, ll_tokenizer)


@pytest.mark.parametrize("task", TASKS)
def test_only_a_request_that_is_not_forced_may_pass_through(
    task: str, vocabulary: Vocabulary, ll_tokenizer: LLTokenizer
) -> None:
    ids = vocabulary.encode_user_text("general")
    assert _admits(grammar(task, 2, vocabulary.control), ids, ll_tokenizer)
    assert not _admits(grammar(task, 2, vocabulary.control, forced=True), ids, ll_tokenizer)
    body = "\nc a\n1 b\n2 c" if task in REFERENCED else "\n1 a\n2 b"
    assert not _admits(
        grammar(task, 2, vocabulary.control), vocabulary.encode_user_text(f"general{body}"), ll_tokenizer
    )


def test_thinking_comes_before_the_result_and_only_where_it_has_begun(
    vocabulary: Vocabulary, ll_tokenizer: LLTokenizer
) -> None:
    ids = [
        *vocabulary.encode_user_text("It is a scene."),
        vocabulary.control[END_THINK],
        *vocabulary.encode_user_text("general"),
    ]
    assert _admits(grammar("t2i", 1, vocabulary.control, thinking=True), ids, ll_tokenizer)
    assert not _admits(grammar("t2i", 1, vocabulary.control), ids, ll_tokenizer)


@pytest.mark.parametrize(("task", "count"), [("t2v", 1), ("t2i", 0), ("t2s", 13)])
def test_no_grammar_is_made_of_other_tasks_or_counts(task: str, count: int) -> None:
    with pytest.raises(ValueError, match="no answer"):
        grammar(task, count, {})
