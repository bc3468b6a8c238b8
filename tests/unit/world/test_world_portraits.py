"""Portraits say in words all that they show, and the verifier reads it back."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.pictures.portraits import (
    BLACK_HAIR,
    KIND,
    NOVEL,
    WORDS,
    Portrait,
    draw,
    sample_portrait,
    split_of,
    verify,
)

FACES = [sample_portrait(np.random.default_rng(seed)) for seed in range(2)]
FACES.append(Portrait(hair="pinned-up", hair_color="blond", glasses="sunglasses", beard="a goatee"))


def other_words(portrait: Portrait, name: str) -> list[str]:
    """Words this attribute could have instead, the other attributes staying."""
    if name == "hair_color" and portrait.hair in BLACK_HAIR:
        return []
    kept = [word for word in WORDS[name] if word != getattr(portrait, name)]
    return [w for w in kept if name != "hair" or portrait.hair_color == "black" or w not in BLACK_HAIR]


@pytest.mark.parametrize("portrait", FACES, ids=lambda face: face.phrase)
def test_what_is_drawn_is_read_back(portrait: Portrait) -> None:
    assert verify(portrait, draw(portrait, 128)).failures() == []


@pytest.mark.parametrize("name", WORDS)
def test_one_planted_fault_is_one_finding(name: str) -> None:
    planted = [(face, word) for face in FACES for word in other_words(face, name)[:1]]
    assert planted
    for face, word in planted:
        report = verify(face, draw(replace(face, **{name: word}), 128))
        wrong = [(f.property, f.found) for f in report.findings if not f.passed]
        assert wrong == [(name, word)], face.phrase


def test_a_softened_portrait_is_still_read() -> None:
    face = FACES[-1]
    picture = draw(face, 128).astype(float)
    distance = np.arange(128)[:, None] - np.arange(128)[None]
    kernel = np.exp(-0.5 * (distance / 1.2) ** 2)
    kernel /= kernel.sum(1, keepdims=True)
    picture[..., :3] *= picture[..., 3:] / 255
    blurred = np.einsum("yi,xj,ijc->yxc", kernel, kernel, picture, optimize=True)
    blurred[..., :3] /= np.maximum(blurred[..., 3:] / 255, 1e-3)
    assert verify(face, blurred.clip(0, 255).astype(np.uint8)).failures() == []


def test_a_portrait_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="hair 'green' is none of"):
        Portrait(hair="green")
    with pytest.raises(ValueError, match="afro hair is drawn in black only, not in red"):
        Portrait(hair="afro", hair_color="red")


def test_portraits_are_a_function_of_their_seed_and_differ_in_their_captions() -> None:
    twice = [[sample_portrait(np.random.default_rng(seed)) for seed in range(40)] for _ in range(2)]
    assert twice[0] == twice[1]
    phrases = {face.phrase for face in twice[0]}
    assert len(phrases) == len(set(twice[0])) > 35


def test_a_portrait_stands_in_the_middle_of_any_shape() -> None:
    face = replace(FACES[0], background="teal")
    wide = KIND.draw(face, 96, 160)
    assert wide.shape == (96, 160, 4)
    assert verify(face, wide).failures() == []


def test_new_words_are_kept_from_the_other_splits() -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "heldout", "heldout_concepts"):
        faces = [KIND.sample(rng, split, (1, 1)) for _ in range(40)]
        new = [any(getattr(face, name) == word for name, word in NOVEL.items()) for face in faces]
        assert set(new) == {split == "heldout_concepts"}
        assert {split_of(face) for face in faces} == {split}
