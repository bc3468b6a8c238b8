"""Rendering and checking pictures of procedural shapes; the icons' own numbers are in docs/world.md."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from training.world.preview import FAILED, MARGIN, PASSED, SIDE, Cell, write_sheet
from training.world.scenes.render import render
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.scenes.verify import verify
from wanimage.conditions import COLORS

BLUE_RING = SceneObject("ring", "blue", 0.24, 0.5, 0.34)
RED_SQUARE = SceneObject("square", "red", 0.76, 0.25, 0.22)
MEADOW = Background.scenery("meadow", "day")
SCENE = Scene((BLUE_RING, RED_SQUARE), MEADOW)
GROUNDS = (
    MEADOW,
    Background.scenery("city", "night", 2),
    Background.plain("yellow"),
    Background.palette(("green", 0.6), ("white", 0.4)),
    Background.transparent(),
)


@pytest.mark.parametrize("shape", [(128, 128), (96, 160), (48, 384), (384, 48), (256, 256)])
def test_a_scene_fills_any_shape(shape: tuple[int, int]) -> None:
    image = render(SCENE, *shape)
    assert image.shape == (*shape, 4)
    assert image.dtype == np.uint8
    assert (image[..., 3] == 255).all()


def test_rendering_repeats_and_leaves_caches_alone() -> None:
    first = render(SCENE, 128, 128)
    kept = first.copy()
    first[:] = 0
    assert (render(SCENE, 128, 128) == kept).all()


def test_transparent_pictures_hold_only_their_objects() -> None:
    image = render(Scene((RED_SQUARE,)), 128, 128)
    assert image[100, 20, 3] == 0
    assert tuple(image[32, 97]) == (*COLORS["red"], 255)
    assert 0.03 < (image[..., 3] > 0).mean() < 0.06


def test_later_objects_stand_in_front() -> None:
    back, front = (SceneObject("square", color, 0.5, 0.5, 0.34) for color in ("blue", "red"))
    assert tuple(render(Scene((back, front), MEADOW), 128, 128)[64, 64, :3]) == COLORS["red"]


@pytest.mark.parametrize("ground", GROUNDS)
def test_a_render_passes_its_own_check(ground: Background) -> None:
    scene = replace(SCENE, background=ground)
    report = verify(scene, render(scene, 128, 128))
    assert report.passed, report.failures()
    assert report.unexplained < 0.1


@pytest.mark.parametrize(
    ("drawn", "refused"),
    [
        (Scene((BLUE_RING,), MEADOW), "object"),
        (Scene((BLUE_RING, replace(RED_SQUARE, concept="cross")), MEADOW), "object"),
        (Scene((BLUE_RING, replace(RED_SQUARE, cy=0.76)), MEADOW), "object"),
        (Scene((BLUE_RING, replace(RED_SQUARE, color="teal")), MEADOW), "color"),
        (Scene((BLUE_RING, replace(RED_SQUARE, size=0.34)), MEADOW), "size"),
        (Scene((BLUE_RING, RED_SQUARE), Background.scenery("meadow", "night")), "background"),
        (Scene((BLUE_RING, RED_SQUARE), Background.plain("green")), "background"),
        (Scene((BLUE_RING, RED_SQUARE)), "alpha"),
    ],
)
def test_one_fault_is_named_by_its_property(drawn: Scene, refused: str) -> None:
    report = verify(SCENE, render(drawn, 128, 128))
    assert refused in {finding.property for finding in report.findings if not finding.passed}
    assert report.score("object", "color", "size", "background", "alpha") < 1


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("shape", ["circle", "cross"])
def test_a_large_object_that_reaches_into_a_place_is_not_there(shape: str, strict: bool) -> None:
    wanted = SceneObject(shape, "red", 0.5, 0.27, 0.5)
    scene, drawn = (Scene((replace(wanted, cx=cx),), MEADOW) for cx in (0.5, 0.27))

    assert verify(scene, render(scene, 128, 128), strict).passed
    report = verify(scene, render(drawn, 128, 128), strict)
    assert {f.property for f in report.findings if not f.passed} >= {"place" if strict else "object"}


def test_an_opaque_sticker_is_refused() -> None:
    sticker = Scene((RED_SQUARE,))
    image = render(sticker, 128, 128)
    image[..., 3] = 255
    assert {f.property for f in verify(sticker, image).findings if not f.passed} >= {"background", "alpha"}


def test_noise_shows_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 4), dtype=np.uint8)
    report = verify(SCENE, noise)
    assert report.score("object") == 0
    assert report.score("background") == 0


def test_a_sheet_bars_what_passes_green_and_what_fails_red(tmp_path: Path) -> None:
    right, wrong = render(SCENE, 128, 128), render(Scene((BLUE_RING,), MEADOW), 128, 128)
    write_sheet(tmp_path / "sheet.png", [Cell(p, "", verify(SCENE, p)) for p in (right, wrong)], columns=2)
    sheet = Image.open(tmp_path / "sheet.png")
    bars = [sheet.getpixel((MARGIN + column * (SIDE + MARGIN) + 4, MARGIN + 129)) for column in (0, 1)]
    assert bars == [ImageColor.getrgb(PASSED), ImageColor.getrgb(FAILED)]


def test_verify_refuses_other_arrays() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 4\]"):
        verify(SCENE, np.zeros((128, 128, 3), np.uint8))


@pytest.mark.usefixtures("icons")
def test_icons_are_told_apart_and_faults_found() -> None:
    from training.world.measuring.verifiers import FAULTS, SOUND, measure

    rows = measure(scenes=12, seed=5)
    assert min(rows[name] for name in SOUND) >= 0.9
    assert min(rows[name] for name in FAULTS) >= 0.9
