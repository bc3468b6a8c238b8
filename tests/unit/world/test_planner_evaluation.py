"""The planner's judge: gold answers are right in every measure, planted faults are found by their cause."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer

from tests.families import build_family
from training.intervals import difference, wilson
from training.understanding.evaluation.cases import FAMILIES, STORIES, Case, cases_of
from training.understanding.evaluation.compare import Run, tables
from training.understanding.evaluation.drawing import picture_of
from training.understanding.evaluation.expectations import expectation
from training.understanding.evaluation.judging import Verdict, judge
from training.understanding.evaluation.prompts import NotOfTheWorld, read_prompt
from training.understanding.evaluation.report import Results, compact
from training.understanding.evaluation.wording import read
from training.understanding.evaluation.writing import MAX_CELLS, Written, history, pieces_of
from training.world.scenes.kind import phrase
from wanimage.grammar import grammar_of
from wanimage.markup import ImageSpec, Item, Parser, Text, parse, split_tags
from wanimage.tokens import BOI, IM_END, Vocabulary

pytestmark = pytest.mark.usefixtures("icons")
SEED, SPLIT = 7, "heldout"


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary.load(build_family(tmp_path_factory.mktemp("family")).path / "understanding")


@pytest.fixture(scope="module")
def ll_tokenizer(vocabulary: Vocabulary) -> LLTokenizer:
    return LLTokenizer(vocabulary.trusted.to_str(), eos_token=vocabulary.control[IM_END])


def cases(family: str, count: int = 3) -> list[Case]:
    return [case for number in range(count) for case in cases_of(family, number, SPLIT, SEED)]


def gold(case: Case) -> list[Item]:
    return list(parse(split_tags(case.gold.text)))


def first(family: str, fits: Callable[[Case], bool] = lambda _: True) -> Case:
    """The first case of a family that fits."""
    return next(case for number in range(60) for case in cases_of(family, number, SPLIT, SEED) if fits(case))


def rewritten(case: Case, change: Callable[[ImageSpec], ImageSpec]) -> Verdict:
    """The verdict on the gold answer with every picture changed."""
    items = [change(item) if isinstance(item, ImageSpec) else item for item in gold(case)]
    return judge(case, Written(items))


def reworded(old: str, new: str) -> Callable[[ImageSpec], ImageSpec]:
    return lambda spec: replace(spec, prompt=spec.prompt.replace(old, new))


def causes(verdict: Verdict) -> set[str]:
    return {fault.name for fault in verdict.faults}


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_answers_are_right_in_every_measure(family: str) -> None:
    for case in cases(family):
        verdict = judge(case, Written(gold(case)))
        assert verdict.right, (case.name, case.request, case.gold.text, verdict)
        assert not verdict.faults, (case.name, case.request, case.gold.text, verdict)


def test_a_story_of_a_session_is_written_after_those_before_it(vocabulary: Vocabulary) -> None:
    case = first("session/stories")
    shown = [picture for turn in case.before for picture in turn.pictures]
    context = history(vocabulary, case)
    assert len(case.before) == 2 * (STORIES - 1)
    assert len([part for part in context if isinstance(part, np.ndarray)]) == len(shown) >= 6
    assert not case.shown


def test_a_missing_picture_counts_against_number_and_scene() -> None:
    case = first("task/howto")
    items = gold(case)
    last = max(index for index, item in enumerate(items) if isinstance(item, ImageSpec))
    verdict = judge(case, Written(items[:last]))
    assert verdict.marks["count"] == (0, 1)
    assert verdict.marks["scene"][0] == verdict.marks["scene"][1] - 1


def test_another_colour_for_what_an_edit_keeps_is_a_misread_picture() -> None:
    case = first("chat/edit", lambda c: "a red " in c.gold.text and "red" not in c.request)
    verdict = rewritten(case, reworded("a red ", "a teal "))
    assert "picture misread: colour" in causes(verdict)
    assert verdict.marks["scene"] == (0, 1)


def test_a_colour_that_was_asked_for_and_not_written_is_a_wrong_colour() -> None:
    case = first("chat/single", lambda c: any(m.color == "red" for m in read(c.request).mentions))
    verdict = rewritten(case, reworded("red ", "teal "))
    assert "wrong colour" in causes(verdict)


def test_one_letter_of_a_text_counts() -> None:
    case = first("task/edit_text", lambda c: '" in ' in c.gold.text)
    verdict = rewritten(case, reworded('" in ', 'x" in '))
    right, asked = verdict.marks["text"]
    assert right < asked


def test_what_nobody_said_may_be_anything() -> None:
    case = first("chat/single", lambda c: not read(c.request).grounds.settings and "by day" in c.gold.text)
    assert rewritten(case, reworded("by day", "at night")).right


def test_a_hero_in_another_colour_changes_character() -> None:
    case = first("chat/series", lambda c: any(f"red {n}" in c.gold.text for n in expectation(c).steady))
    pictures = iter(range(99))
    verdict = rewritten(
        case, lambda s: s if next(pictures) else replace(s, prompt=s.prompt.replace("red ", "blue "))
    )
    assert "character changes" in {f.cause for f in verdict.faults}
    assert verdict.marks["consistent"] == (0, 1)


def test_needless_refusals_and_wrong_sizes_are_counted() -> None:
    case = first("chat/single")
    verdict = judge(case, Written([Text("I am sorry, I cannot draw that.")]))
    assert verdict.marks["answered"] == (0, 1)
    assert verdict.written_route == "refusal"
    turned = rewritten(case, lambda spec: replace(spec, grid=(9, 7)))
    assert turned.marks["size"] == (0, 1)


def test_pictures_of_a_series_that_are_all_the_same_are_found() -> None:
    case = first("chat/series")
    prompt = next(item.prompt for item in gold(case) if isinstance(item, ImageSpec))
    verdict = rewritten(case, lambda spec: replace(spec, prompt=prompt))
    assert "repeated picture" in {f.cause for f in verdict.faults}


def test_near_misses_of_an_ambiguous_request_are_not_accepted() -> None:
    for case in cases("task/ambiguous", 6):
        assert case.sample is not None
        prompt = phrase(case.sample.near_misses[0].outputs[0].scene)
        verdict = rewritten(case, lambda spec, prompt=prompt: replace(spec, prompt=prompt))
        assert verdict.marks["ambiguous"] == (0, 1), case.name


def test_a_wrong_answer_is_wrong_and_another_wording_of_the_right_one_is_right() -> None:
    case = first("task/question_chart", lambda c: c.sample.answer.key.isdigit())
    assert judge(case, Written([Text(f"That makes {case.sample.answer.key}.")])).marks["vqa"] == (1, 1)
    assert judge(case, Written([Text(f"That makes {int(case.sample.answer.key) + 1}.")])).marks["vqa"] == (
        0,
        1,
    )


def test_prompts_that_no_grammar_reads_are_named() -> None:
    with pytest.raises(NotOfTheWorld, match="a fox with no place"):
        read_prompt("a fox with no place")


def test_what_the_planner_sees_is_drawn_from_its_words() -> None:
    spec = ImageSpec("a large red balloon in the center, on a plain white background", (8, 8))
    red, green, blue = (int(c) for c in picture_of(spec, 0, ())[56, 64, :3])
    assert red > 150 > max(green, blue)


def test_shares_have_wilson_intervals() -> None:
    assert wilson(50, 100) == (40.4, 59.6)
    assert wilson(0, 0) == (0.0, 100.0)


def test_models_are_compared_on_the_samples_that_both_have() -> None:
    first = {f"chat/edit/{n}/1": {"route": (n % 2, 1), "scene": (1, 2)} for n in range(40)}
    second = {f"chat/edit/{n}/1": {"route": (1, 1), "scene": (1, 2)} for n in range(4, 44)}
    gain, low, high, count = difference(first, second, ["route"])
    assert (gain, count) == (50.0, 36)
    assert 20 < low < 50 < high < 80
    assert difference(first, second, ["route", "scene"])[0] == 25.0
    assert difference(first, second, ["vqa"]) is None


def test_the_grammar_admits_every_gold_answer(ll_tokenizer: LLTokenizer, vocabulary: Vocabulary) -> None:
    for family in FAMILIES:
        for case in cases(family, 1):
            parser = Parser()
            for leg in legs_of(vocabulary, case.gold.text):
                grammar = grammar_of(parser, False, vocabulary.control, max_cells=MAX_CELLS)
                matcher = LLMatcher(ll_tokenizer, grammar)
                assert matcher.consume_tokens(leg), (case.name, case.gold.text)
                for piece in pieces_of(vocabulary, leg):
                    parser.feed(piece)


def legs_of(vocabulary: Vocabulary, markup: str) -> list[list[int]]:
    """A gold turn as the planner decodes it: to every <BOI>, and to its end."""
    legs: list[list[int]] = [[]]
    for token in [*vocabulary.encode_markup(markup), vocabulary.control[IM_END]]:
        legs[-1].append(token)
        if token == vocabulary.control[BOI]:
            legs.append([])
    return legs


def test_two_runs_become_tables(tmp_path: Path) -> None:
    for name, right in (("sft", 1), ("opd", 2)):
        results = Results()
        for case in cases("chat/single", 3):
            verdict = judge(case, Written(gold(case) if int(case.name.split("/")[2]) < right else []))
            results.add(case, Written(), verdict)
        summary = {"command": "c", "machine": "m", "date": "d", "seconds": 1, "think - instruct": None}
        (tmp_path / f"{name}.json").write_text(compact(summary | results.summary()))
        (tmp_path / f"{name}.items.json").write_text(json.dumps(results.items))
    runs = [Run.read(f"{name}={tmp_path / name}") for name in ("sft", "opd")]
    text = "\n".join(tables(runs, [("sft", "opd")]))
    assert "| number of images right | 97 | **33.3** [6.1, 79.2] of 3 | **66.7** [20.8, 93.9] of 3 |" in text
    assert "| number of images right | +33.3 [" in text
