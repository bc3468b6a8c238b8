"""Raw words beside rewrites: what a picture is held to, and how the two sides are compared."""

from dataclasses import replace

import numpy as np
import pytest

from training.enhancer.data import Row
from training.enhancer.pictures import Painted, determined, held_out, judge, summary
from training.visualizer.tasks import BASE
from training.world.report import Finding, Report
from training.world.scenes.render import render
from training.world.scenes.scene import Scene
from training.world.tasks.sample import Frame


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row for group in ("storyboard", "general") for row in held_out(group, 4)]


def test_a_true_picture_shows_what_its_request_determines(rows: list[Row]) -> None:
    assert all(judge(row, 0, render(row.scenes[0], 128, 128)).passed for row in rows)


def test_a_picture_without_the_objects_does_not(rows: list[Row]) -> None:
    for row in rows:
        empty = replace(row.scenes[0], objects=())
        assert not judge(row, 0, render(empty, 128, 128)).passed


def test_nothing_is_asked_that_the_request_leaves_open() -> None:
    row = next(row for row in held_out("general rewritten", 12) if row.scenes[0].background.kind == "setting")
    bare = replace(row, request=f"a {row.scenes[0].objects[0].concept}")
    said = determined(bare, 0)
    assert [(item.place, item.size, item.color) for item in said] == [("", "", None)] * len(said)
    findings = judge(bare, 0, render(row.scenes[0], 128, 128)).findings
    assert not {"background", "alpha", "weather", "place", "size"} & {f.property for f in findings}


def _painted(passed: bool, prompt: str) -> Painted:
    report = Report((Finding("object", "fox", passed, ""),), 0.0)
    return Painted(Frame(Scene(()), BASE, prompt), np.zeros((8, 8, 4), np.uint8), report)


def test_the_gain_is_paired_and_counts_the_prompts_that_changed() -> None:
    same = _painted(True, "a fox")
    found = summary([(_painted(False, "fox"), _painted(True, "a fox"))] * 3 + [(same, same)])
    assert found["pictures"] == 4
    assert found["changed"] == 3
    assert found["gain"] == [75.0, pytest.approx(25, abs=26), 100.0]
