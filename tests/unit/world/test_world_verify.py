"""What two pictures have in common: characters, and what an edit left alone."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.measuring.verifiers import blur
from training.world.pictures.portraits import Portrait, draw
from training.world.scenes.differences import OUTSIDE, outside_difference, same_identity
from training.world.scenes.render import box_of, render
from training.world.scenes.scene import Background, Scene, SceneObject

RING = SceneObject("ring", "blue", 0.24, 0.5, 0.34)
DAY = Scene((RING, SceneObject("cross", "red", 0.76, 0.5, 0.34)), Background.scenery("meadow"))
NIGHT = Scene((replace(RING, cx=0.76),), Background.scenery("lake", "night"))


def test_a_character_is_the_same_at_another_place_and_time() -> None:
    finding = same_identity(render(DAY, 128, 128), DAY, render(NIGHT, 128, 128), NIGHT)
    assert (finding.passed, finding.about) == (True, "ring")


def test_a_character_of_another_colour_is_another() -> None:
    drawn = replace(NIGHT, objects=(replace(NIGHT.objects[0], color="yellow"),))
    assert not same_identity(render(DAY, 128, 128), DAY, render(drawn, 128, 128), NIGHT).passed


def test_a_person_stays_who_they_are_when_they_frown() -> None:
    a, b = Portrait(hair_color="red"), Portrait(hair_color="red", expression="angry", clothes="green")
    assert same_identity(draw(a, 128), a, draw(b, 128), b).passed
    other = replace(b, skin="dark")
    assert not same_identity(draw(a, 128), a, draw(other, 128), b).passed


def test_without_a_shared_character_there_is_nothing_to_compare() -> None:
    lonely = replace(NIGHT, objects=())
    image = render(NIGHT, 128, 128)
    with pytest.raises(ValueError, match="share no noun"):
        same_identity(image, DAY, image, lonely)
    with pytest.raises(ValueError, match="share no character"):
        same_identity(image, DAY, image, Portrait())


def test_an_edit_is_seen_outside_of_its_box_only() -> None:
    before = render(DAY, 128, 128)
    after = render(replace(DAY, objects=(RING,)), 128, 128)
    top, left, side = box_of(DAY.objects[1], 128, 128)
    box = (left, top, left + side, top + side)
    mask = np.zeros((128, 128), bool)
    mask[top : top + side, left : left + side] = True
    assert outside_difference(before, after, box) == outside_difference(before, after, mask) == 0
    assert outside_difference(before, after, (0, 0, 10, 10)) > OUTSIDE
    assert outside_difference(before, blur(after, 0.6), box) < OUTSIDE
    assert outside_difference(before, render(NIGHT, 96, 96), box) > 10


def test_a_mask_of_another_size_is_refused() -> None:
    image = render(DAY, 128, 128)
    with pytest.raises(ValueError, match="must be equal"):
        outside_difference(image, image, np.zeros((64, 64), bool))
