"""Cues are seen where they are drawn, and nowhere else."""

import numpy as np
import pytest

from training.world.dialogues.talk import Talk
from training.world.scenes.render import render
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks import cues
from training.world.tasks.changes import CHANGES, Change, recolor
from training.world.tasks.pointing import by_cues, inside

GROUND = np.full((128, 128, 4), 255, np.uint8)
SQUARES = Scene(
    (SceneObject("square", "red", 0.24, 0.3, 0.33), SceneObject("circle", "blue", 0.74, 0.7, 0.33)),
    Background.plain("grey"),
)


@pytest.mark.parametrize("shape", [cues.box, cues.mask, cues.scribble])
@pytest.mark.parametrize("color", list(cues.COLORS))
def test_a_cue_around_a_place_is_read_back_there(shape: object, color: str) -> None:
    cue = shape(color, 0.4, 0.6, 0.2, 0.15)  # type: ignore[operator]
    found = cues.extent(cues.draw(GROUND, (cue,)), color)
    assert found == pytest.approx((0.2, 0.45, 0.6, 0.75), abs=0.03)


def test_a_mark_is_read_back_at_its_center() -> None:
    found = cues.extent(cues.draw(GROUND, (cues.mark("cyan", 0.3, 0.7, 4),)), "cyan")
    assert found is not None
    x0, y0, x1, y1 = found
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((0.3, 0.7), abs=0.02)


def test_the_digits_of_marks_differ() -> None:
    drawn = [cues.draw(GROUND, (cues.mark("lime", 0.5, 0.5, n),)) for n in range(1, 10)]
    differing = [(a != b).any(-1).sum() for i, a in enumerate(drawn) for b in drawn[:i]]
    assert min(differing) > 10


def test_an_arrow_has_more_paint_at_its_tip() -> None:
    image = cues.draw(GROUND, (cues.arrow("magenta", (0.2, 0.5), (0.8, 0.5)),))
    painted = cues.pixels_of(image, "magenta")
    assert painted[:, 64:].sum() > 1.3 * painted[:, :64].sum()
    assert cues.extent(image, "magenta") == pytest.approx((0.2, 0.45, 0.8, 0.55), abs=0.04)


def test_a_mask_lets_the_picture_through() -> None:
    image = cues.draw(render(SQUARES, 128, 128), (cues.mask("lime", 0.24, 0.3, 0.2, 0.2),))
    red, green = image[38, 30, 0], image[38, 30, 1]
    assert red > 100 < green


def test_cues_are_drawn_on_transparent_pictures_too() -> None:
    image = cues.draw(np.zeros((128, 128, 4), np.uint8), (cues.box("cyan", 0.5, 0.5, 0.2, 0.2),))
    assert cues.extent(image, "cyan") == pytest.approx((0.3, 0.3, 0.7, 0.7), abs=0.03)
    assert image[64, 64, 3] == 0


def test_a_picture_without_cues_has_none_of_their_colours() -> None:
    assert cues.left_in(render(SQUARES, 128, 128)) == 0
    assert cues.left_in(cues.draw(GROUND, (cues.box("lime", 0.5, 0.5, 0.1, 0.1),))) > 0.005


def test_no_cues_leave_the_picture_as_it_is() -> None:
    assert cues.draw(GROUND, ()) is GROUND


@pytest.mark.parametrize(
    ("shape", "color", "points", "number"),
    [
        ("circle", "lime", ((0.1, 0.1), (0.2, 0.2)), 0),
        ("box", "red", ((0.1, 0.1), (0.2, 0.2)), 0),
        ("box", "lime", ((0.1, 0.1),), 0),
        ("box", "lime", ((0.1, 0.1), (0.2, 0.2)), 3),
        ("mark", "lime", ((0.1, 0.1),), 0),
    ],
)
def test_what_is_no_cue_is_refused(
    shape: str, color: str, points: tuple[tuple[float, float], ...], number: int
) -> None:
    with pytest.raises(ValueError, match="not a cue"):
        cues.Cue(shape, color, points, number)


@pytest.mark.parametrize("seed", range(12))
def test_an_object_is_pointed_at_where_it_is(seed: int) -> None:
    square = SQUARES.objects[0]
    change = Change("recolor", SQUARES, SQUARES, ("make {old} blue",), "{old} blue", square, square)
    said = by_cues(Talk(np.random.default_rng(seed), "train"), change, (8, 8))
    assert said is not None
    (cue,) = said.cues
    found = cues.extent(cues.draw(render(SQUARES, 128, 128), said.cues), cue.color)
    assert found is not None
    assert found[0] < square.cx < found[2] + 0.03
    assert found[1] < square.cy < found[3] + 0.03
    assert not found[0] < SQUARES.objects[1].cx < found[2]


def test_a_cue_that_would_hold_two_objects_is_not_drawn() -> None:
    near = Scene((SQUARES.objects[0], SceneObject("circle", "blue", 0.3, 0.36, 0.2)))
    assert inside(near.objects[1], near.objects[0], (8, 8))
    change = Change("remove", near, near, ("remove {old}",), "", near.objects[0])
    assert by_cues(Talk(np.random.default_rng(0), "train"), change, (8, 8)) is None


def test_every_change_of_an_object_can_be_pointed_at(icons: None) -> None:
    talk = Talk(np.random.default_rng(1), "train")
    for name, make in CHANGES.items():
        if name in ("background", "restyle"):  # of the whole picture
            continue
        pointings = []
        while len(pointings) < 3:
            change = make(talk, talk.scene(n_objects=2), (8, 8))
            said = by_cues(talk, change, (8, 8)) if change else None
            if change and said:
                filled = change.orders[0].format(old=said.old, to=said.to)
                assert all(
                    cue.phrase in filled or str(cue.number) in filled or cue.color in filled
                    for cue in said.cues
                )
                pointings.append(said)
    assert recolor in CHANGES.values()


def test_what_its_ground_would_swallow_in_any_colour_is_not_recoloured() -> None:
    letter = SceneObject("letter", "red", 0.5, 0.5, 0.34, style="outline")
    talk = Talk(np.random.default_rng(0), "train")
    assert recolor(talk, Scene((letter,), Background.scenery("snow")), (8, 8)) is None
    assert recolor(talk, Scene((letter,), Background.plain("white")), (8, 8)) is not None
