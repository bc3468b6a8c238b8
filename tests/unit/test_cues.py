"""Cues on pictures: drawn as in training, where they belong, and refused where they cannot be."""

import numpy as np
import pytest

from training.world.tasks import cues as trained
from wanimage import cues
from wanimage.v1 import types_pb2 as pb

GREY = np.full((128, 128, 4), (90, 90, 90, 255), np.uint8)
BOX = {"x": 0.25, "y": 0.3, "width": 0.4, "height": 0.3}
CENTER, HALF = (0.45, 0.45), (0.2, 0.15)
Region = pb.Region


def region(cue: "Region.Cue.ValueType", **fields) -> pb.Region:
    return pb.Region(box=pb.Box(**BOX), prompt="a key", reference=0, cue=cue, **fields)


TRAINED = {
    Region.CUE_BOX: trained.box("magenta", *CENTER, *HALF),
    Region.CUE_MASK: trained.mask("magenta", *CENTER, *HALF),
    Region.CUE_SCRIBBLE: trained.scribble("magenta", *CENTER, *HALF),
    Region.CUE_NUMBER: trained.mark("magenta", *CENTER, 1),
    Region.CUE_ARROW: trained.arrow("magenta", (0.8, 0.75), CENTER),
}


@pytest.mark.parametrize("cue", TRAINED, ids=Region.Cue.Name)
def test_a_cue_looks_as_it_did_in_training(cue):
    ours, theirs = cues.draw(GREY, {0: region(cue)}), trained.draw(GREY, (TRAINED[cue],))
    painted = (theirs != GREY).any(-1)
    difference = np.abs(ours.astype(int) - theirs).mean()
    assert difference < 0.25 * np.abs(theirs.astype(int) - GREY).mean()
    assert (ours != GREY).any(-1).sum() == pytest.approx(painted.sum(), rel=0.25)


def test_the_rest_of_the_picture_stays():
    made = cues.draw(GREY, {0: region(Region.CUE_BOX)})
    assert np.array_equal(made[:30], GREY[:30])
    assert np.array_equal(made[50:60, 50:70], GREY[50:60, 50:70])


def test_regions_have_colours_and_numbers_by_their_place():
    first, second = (cues.draw(GREY, {place: region(Region.CUE_NUMBER)}) for place in (0, 1))
    assert (tuple(first[52, 52][:3]), tuple(second[52, 52][:3])) == (cues.COLORS[0], cues.COLORS[1])
    other = cues.draw(GREY, {3: region(Region.CUE_NUMBER)})
    ink = lambda made: (made[..., :3].astype(int).sum(-1) < 120).sum()  # noqa: E731
    assert ink(first) > 0
    assert ink(first) != ink(other), "1 and 4 look alike"


def test_a_mask_of_its_own_is_veiled_where_it_is_white():
    mask = np.zeros((128, 128), bool)
    mask[:40] = True
    made = cues.draw(GREY, {0: region(Region.CUE_MASK)}, {0: mask})
    assert (made[:40] != GREY[:40]).any(-1).all()
    assert np.array_equal(made[40:], GREY[40:])


def test_cues_stay_visible_on_a_transparent_picture():
    made = cues.draw(np.zeros_like(GREY), {0: region(Region.CUE_BOX)})
    assert made[..., 3].max() == 255
