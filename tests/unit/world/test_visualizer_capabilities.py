"""The visualizer's rows: true pictures pass, empty ones fail, and what failed is asked for more."""

import json
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHIPPED
from training.visualizer.capabilities import Row, fringe, outside, report_of, rows
from training.visualizer.evaluate import coded_by, evaluate, gathered, load, measured, table
from training.visualizer.tasks import SHARES
from training.world.assets import sprites as assets
from wanimage.models.layout import Grid
from wanimage.sampling import SamplerConfig

pytestmark = pytest.mark.skipif(not assets.icons_path().exists(), reason="the icons are not fetched")

ROWS = rows()
UNITS = {"dB outside": 30.0}
"""What a true picture reaches in measures that are no rates."""


ONE_A_MEASURE = (
    "2 objects", "counts 2-5", "no background", "portraits", "palettes", "text of 1-3 words",
    "unseen nouns as references", "series of 2-4", "edit recolor, by cues",
)  # fmt: skip


@pytest.mark.parametrize("row", [ROWS[name] for name in ONE_A_MEASURE], ids=ONE_A_MEASURE)
def test_true_pictures_have_what_a_row_asks_and_empty_ones_lack_it(row: Row):
    task = row.make(np.random.default_rng(4))
    true = [frame.draw() for frame in task.shots]
    for name, value in row.judge(task, true, report_of(task, true)).items():
        if name.startswith("least"):
            assert value <= row.bars[name] / 4, name
        else:
            assert value >= UNITS.get(name, 1.0), name
    grey = [np.full_like(picture, 127) for picture in true]
    empty = row.judge(task, grey, report_of(task, grey))
    assert any(v > row.bars[k] if k.startswith("least") else v < UNITS.get(k, 1.0) for k, v in empty.items())


def test_a_ground_by_hex_is_measured_against_the_hex_and_not_its_word():
    row = ROWS["grounds by hex"]
    task = row.make(np.random.default_rng(4))
    said = task.shots[0].draw()
    exact = said.copy()
    ground = (said == said[0, 0]).all(-1)
    exact[ground, :3] = (127.5 * (task.palette.colors[0] + 1)).round()
    off = [row.judge(task, [p], report_of(task, [p]))["least deltaE2000"] for p in (said, exact)]
    assert off[0] > 3
    assert off[1] < 0.5


def test_a_dark_rim_is_a_fringe_and_a_smooth_edge_is_none():
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[8:24, 8:24] = (200, 120, 40, 255)
    picture[8, 8:24, 3] = picture[23, 8:24, 3] = 128
    assert fringe(picture) == 0
    picture[8, 8:24, :3] = 0
    assert fringe(picture) == pytest.approx(0.5 * 120 * 128 / 255, rel=0.01), "of one of two edges"
    assert fringe(np.zeros_like(picture)) == 0


def test_cases_are_held_out_and_always_the_same():
    row = ROWS["2 objects"]
    first, again = (row.make(np.random.default_rng(5)) for _ in range(2))
    assert first == again
    assert first != row.make(np.random.default_rng(6))


def test_every_row_names_a_task_that_training_can_ask_more_of():
    known = {name for shares in vars(SHARES).values() for name in shares}
    assert {row.task for row in ROWS.values()} <= known


def test_what_fails_is_asked_for_more():
    balanced = SHARES.balanced({"poster": 0.0, "collage": 1.0})
    assert balanced.fine_kinds["poster"] / SHARES.fine_kinds["poster"] == pytest.approx(1.5)
    assert balanced.fine_kinds["collage"] / SHARES.fine_kinds["collage"] == pytest.approx(0.5)
    assert balanced.edits == SHARES.edits


def test_rates_have_wilsons_interval_and_other_means_their_error():
    found = gathered([{"right": 1.0, "kept": 0.5}, {"right": 0.0, "kept": 1.0}, {"right": 1.0}])
    assert found["right"] == [0.6667, 0.2077, 0.9385, 3]
    assert found["kept"][0] == 0.75
    assert found["kept"][3] == 2


def test_the_table_says_measures_with_their_bars_and_which_are_met():
    row = {
        "row": "palettes", "n": 2, "bars": {"least deltaE2000": 8, "least share off": 8},
        "measures": {
            "right": [0.5, 0.1, 0.9, 2],
            "least deltaE2000": [7.25, 6.0, 8.5, 2], "least share off": [9, 8, 10, 2],
        },
    }  # fmt: skip
    assert table([row]).splitlines()[2:] == [
        "| palettes | 2 | deltaE2000 | **8.0** | 7.2 (6.0-8.5) |",
        "| | | share off | 8.0 | 9.0 (8.0-10.0) |",
        "| | | right | | 50 (10-90) |",
    ]


def test_rows_judged_in_processes_of_their_own_come_out_as_in_this_one(tmp_path: Path):
    judge = partial(measured, SHIPPED, "fp32", count=2, out=tmp_path, sampler=SamplerConfig(steps=1))
    (found,) = evaluate(judge, ["1 objects"], tmp_path, jobs=1, threads=1)
    assert found["measures"] == judge("1 objects")["measures"]
    assert json.loads((tmp_path / "rows.json").read_text()) == [found]
    assert "| 1 objects | 2 |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "1_objects.png").exists()


def test_an_edit_is_held_outside_to_what_the_vae_alone_keeps_there(tmp_path: Path):
    found = measured(SHIPPED, "fp32", "edit remove", count=2, out=tmp_path, sampler=SamplerConfig(steps=1))
    tasks = [ROWS["edit remove"].make(np.random.default_rng((zlib.crc32(b"edit remove"), i))) for i in (0, 1)]
    painter = load(SHIPPED, "fp32")
    coded = [outside(task, coded_by(painter, task.shots[0].draw())) for task in tasks]
    assert found["bars"]["dB outside"] == pytest.approx(np.mean(coded) - 1.5, abs=0.01)
    assert min(coded) > 24
    assert outside(tasks[0], tasks[0].shots[0].draw()) > 60


EDITS = [name for name in ROWS if name.startswith(("edit", "extract"))]


@pytest.mark.parametrize("name", EDITS)
def test_the_target_of_an_edit_is_right_where_it_was_done_and_wrong_where_nothing_was(name: str):
    row = ROWS[name]
    task = row.make(np.random.default_rng(3))
    done, undone = task.shots[0].draw(), task.references[0].bare.draw()
    found = [row.judge(task, [picture], report_of(task, [picture])) for picture in (done, undone)]
    assert [each["target"] for each in found] == [1.0, 0.0]


def test_what_an_edit_leaves_alone_is_no_part_of_its_target():
    row = ROWS["edit replace"]
    task = row.make(np.random.default_rng(3))
    frame, before = task.shots[0], task.references[0].scene.objects
    assert any(item in before for item in frame.scene.objects)
    new = tuple(item for item in frame.scene.objects if item not in before)
    lost = replace(frame, scene=replace(frame.scene, objects=new)).draw()
    found = row.judge(task, [lost], report_of(task, [lost]))
    assert found["target"] == 1.0
    assert found["right"] == 0.0


def grid_of(row: str) -> Grid:
    return ROWS[row].make(np.random.default_rng(0)).shots[0].grid


def test_aspects_are_drawn_on_their_grids():
    assert (grid_of("aspect 3:24"), grid_of("aspect 24:3"), grid_of("charts")) == ((3, 24), (24, 3), (16, 16))
