"""Values, labels, colours and form of a chart are measured in its pixels."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.measuring.verifiers import blur
from training.world.pictures import charts
from training.world.pictures.chart_reading import TOLERANCE, verify
from training.world.pictures.charts import FORMS, Chart, Entry, draw, phrase, sample
from training.world.scenes.sample import split_of_key

ENTRIES = (Entry("Jan", 22, "red"), Entry("Feb", 47, "blue"), Entry("Mar", 31, "green"))
CHARTS = {form: Chart(form, "Coffee", ENTRIES, "sans") for form in FORMS}


def failed(chart: Chart, drawn: Chart) -> set[str]:
    return {f.property for f in verify(chart, draw(drawn, 256, 256)).findings if not f.passed}


@pytest.mark.parametrize("radius", [0, 1])
@pytest.mark.parametrize("size", [(256, 256), (256, 384)])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_drawn_is_read_back_sharp_and_soft(form: str, size: tuple[int, int], radius: int) -> None:
    report = verify(CHARTS[form], blur(draw(CHARTS[form], *size), radius))
    assert report.failures() == []


@pytest.mark.parametrize("form", FORMS)
def test_values_are_measured_well_within_the_tolerance(form: str) -> None:
    report = verify(CHARTS[form], draw(CHARTS[form], 256, 256))
    found = [float(f.found) for f in report.findings if f.property == "value"]
    assert found == pytest.approx([22, 47, 31], abs=TOLERANCE / 2)


@pytest.mark.parametrize("form", FORMS)
def test_swapped_values_are_found(form: str) -> None:
    chart = CHARTS[form]
    first, second, third = ENTRIES
    swapped = (replace(first, value=47), replace(second, value=22), third)
    assert failed(chart, replace(chart, entries=swapped)) == {"value"}


def test_a_value_off_by_five_is_found() -> None:
    chart = CHARTS["bar"]
    entries = (replace(ENTRIES[0], value=27), *ENTRIES[1:])
    assert failed(chart, replace(chart, entries=entries)) == {"value"}


def test_a_wrong_colour_label_title_font_and_form_are_found() -> None:
    chart = CHARTS["bar"]
    painted = (replace(ENTRIES[0], color="purple"), *ENTRIES[1:])
    assert failed(chart, replace(chart, entries=painted)) == {"color"}
    labelled = (replace(ENTRIES[0], label="Jon"), *ENTRIES[1:])
    assert failed(chart, replace(chart, entries=labelled)) == {"text"}
    assert failed(chart, replace(chart, title="Toffee")) == {"text"}
    assert "font" in failed(chart, replace(chart, font="slab"))
    assert "form" in failed(chart, replace(chart, form="line"))
    assert failed(CHARTS["pie"], CHARTS["donut"]) == {"form"}


def test_parts_of_a_circle_must_sum_to_a_hundred() -> None:
    with pytest.raises(ValueError, match="sum to 100"):
        Chart("pie", "Tea", (Entry("a", 10, "red"), Entry("b", 20, "blue")), "sans")
    with pytest.raises(ValueError, match="2 to 6 entries"):
        Chart("bar", "Tea", (Entry("a", 10, "red"),), "sans")


@pytest.mark.parametrize("split", ["train", "val", "heldout"])
def test_a_sample_keeps_to_its_split_and_repeats_for_its_seed(split: str) -> None:
    first, again = (sample(np.random.default_rng(8), split) for _ in range(2))
    assert first == again
    assert split_of_key(charts.key(first)) == split


def test_a_phrase_says_every_value_label_and_colour() -> None:
    said = phrase(CHARTS["bar"])
    for word in (
        "bar chart",
        '"Coffee"',
        "sans",
        "#ffffff",
        "Jan 22 (red)",
        "Feb 47 (blue)",
        "Mar 31 (green)",
    ):
        assert word in said


@pytest.mark.parametrize("size", [(64, 512), (512, 64)])
@pytest.mark.parametrize("form", FORMS)
def test_charts_are_drawn_at_the_widest_aspects(form: str, size: tuple[int, int]) -> None:
    assert draw(CHARTS[form], *size).shape == (*size, 4)
