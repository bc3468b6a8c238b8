"""Lettering is set where its block says, at any size, and its random words keep to their splits."""

import numpy as np
import pytest

from training.world.pictures import vocabulary
from training.world.pictures.lettering import (
    ALIGNMENTS,
    Lettering,
    draw_text_plate,
    faces,
    gradient,
    layout,
    paint_block,
    rgb,
    written_scripts,
)
from training.world.pixels import straight

BLOCK = Lettering(("Fresh bread", "today"), "serif", "red", 0.12)


def drawn(block: Lettering, height: int = 128, width: int = 128) -> np.ndarray:
    canvas = np.zeros((height, width, 4), np.float32)
    paint_block(canvas, block)
    return straight(canvas)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 512), (512, 64), (97, 131)])
def test_letters_stay_inside_a_picture_of_any_aspect(height: int, width: int) -> None:
    alpha = drawn(BLOCK, height, width)[..., 3]
    assert alpha.max() > 200
    assert not alpha[:, [0, -1]].any()
    assert not alpha[[0, -1]].any()


def test_alignment_moves_the_shorter_line_alone() -> None:
    starts = [
        [line.x for line in layout(Lettering(BLOCK.lines, "sans", "red", 0.1, align=a), 200, 200)]
        for a in ALIGNMENTS
    ]
    assert starts[0][0] == starts[1][0] == starts[2][0]
    assert starts[0][1] < starts[1][1] < starts[2][1]
    assert starts[0][1] == pytest.approx(starts[0][0])


def test_a_block_wider_than_its_box_shrinks_to_it() -> None:
    (line,) = layout(Lettering(("a very long line of words",), "sans", "red", 0.2, most_width=0.5), 100, 100)
    assert line.width == pytest.approx(50)


def test_an_em_is_the_same_share_of_the_picture_at_every_size() -> None:
    small, large = (drawn(BLOCK, px, px)[..., 3] > 127 for px in (128, 512))
    boxes = [np.array([np.flatnonzero(m.any(a))[[0, -1]] for a in (0, 1)]) / len(m) for m in (small, large)]
    assert np.abs(boxes[0] - boxes[1]).max() < 0.02


def test_ink_has_the_colour_of_its_word() -> None:
    pixels = drawn(Lettering(("MMM",), "slab", "teal", 0.3))
    solid = pixels[pixels[..., 3] == 255]
    assert (solid[:, :3] == rgb("teal")).all()


def test_lettering_without_text_is_refused() -> None:
    with pytest.raises(ValueError, match="one to four lines"):
        Lettering((), "serif", "red")
    with pytest.raises(ValueError, match="no colour 'reddish'"):
        rgb("reddish")


def test_every_script_has_a_face_with_all_its_letters() -> None:
    assert written_scripts() == vocabulary.SCRIPTS
    assert len(faces("latin")) >= 6


@pytest.mark.parametrize("script", vocabulary.SCRIPTS)
def test_held_out_words_are_written_in_their_split_alone(script: str) -> None:
    rng = np.random.default_rng(0)
    held, common = (
        {vocabulary.sample_word(rng, script, s) for _ in range(300)} for s in ("heldout_concepts", "train")
    )
    assert len(held) >= 2, "a line repeats no word"
    assert not held & common


def test_wrapping_keeps_the_words_and_balances_the_lines() -> None:
    assert vocabulary.wrap("one two three four", 2) == ("one two", "three four")
    assert vocabulary.wrap("one", 4) == ("one",)
    text = "a much longer text of several words of very different lengths"
    assert all(" ".join(vocabulary.wrap(text, n)) == text for n in range(1, 5))


def test_a_plate_repeats_for_its_seed_and_is_full_of_letters() -> None:
    first, again, other = (draw_text_plate(np.random.default_rng(seed), 128, 160) for seed in (3, 3, 4))
    assert first.shape == (128, 160, 4)
    assert (first == again).all()
    assert (first != other).any()
    plates = [draw_text_plate(np.random.default_rng(seed), 128, 128).astype(int) for seed in range(12)]
    edges = [(np.abs(np.diff(p, axis=1)).max(-1) > 30).mean() for p in plates]
    assert np.mean(edges) > 0.04


def test_a_gradient_runs_from_its_first_to_its_last_colour() -> None:
    ramp = straight(gradient(5, 9, "#000000", "#ffffff", "across"))
    assert ramp[0, 0].tolist() == [0, 0, 0, 255]
    assert ramp[4, 8].tolist() == [255, 255, 255, 255]
