"""Stickers: effects and soft edges, drawn and read back."""

from dataclasses import replace

import numpy as np
import pytest

from training.world.measuring.verifiers import blur
from training.world.pictures.stickers import KIND, Sticker, draw, verify

pytestmark = pytest.mark.usefixtures("icons")
FOX = Sticker("fox", style="noto")
STICKERS = (
    FOX,
    replace(FOX, effect="outlined", effect_color="white"),
    replace(FOX, effect="shadowed"),
    replace(FOX, effect="glowing", effect_color="blue"),
    replace(FOX, effect="see-through", opacity=50),
)


def failed(sticker: Sticker, image: np.ndarray) -> set[str]:
    """The properties that a picture lacks."""
    return {finding.property for finding in verify(sticker, image).findings if not finding.passed}


@pytest.mark.parametrize("sticker", STICKERS, ids=lambda each: each.effect)
def test_an_effect_is_read_back_sharp_and_soft(sticker: Sticker) -> None:
    image = draw(sticker, 128, 128)
    assert failed(sticker, image) == set()
    assert failed(sticker, blur(image, 1.5)) == set()


@pytest.mark.parametrize("sticker", STICKERS[1:], ids=lambda each: each.effect)
def test_a_plain_sticker_has_no_effect(sticker: Sticker) -> None:
    assert "effect" in failed(sticker, draw(FOX, 128, 128))


def test_hard_edges_and_opaque_grounds_are_alpha_faults() -> None:
    glowing = draw(STICKERS[3], 128, 128)
    hard, opaque = glowing.copy(), glowing.copy()
    hard[..., 3] = np.where(glowing[..., 3] > 60, 255, 0)
    opaque[..., 3] = 255
    assert "alpha" in failed(STICKERS[3], hard)
    assert "alpha" in failed(STICKERS[3], opaque)


def test_see_through_bodies_have_their_opacity() -> None:
    solid, clear = (draw(sticker, 128, 128)[64, 64, 3] for sticker in (FOX, STICKERS[4]))
    assert (solid, clear) == (255, 128)


def test_an_effect_takes_what_it_needs() -> None:
    with pytest.raises(ValueError, match="not an effect"):
        Sticker("fox", effect="outlined")
    with pytest.raises(ValueError, match="opacity 55"):
        Sticker("fox", effect="see-through", opacity=55)


def test_splits_are_disjoint() -> None:
    rng = np.random.default_rng(0)
    seen = {
        split: {(s.concept, s.effect) for s in (KIND.sample(rng, split, (1, 1)) for _ in range(150))}
        for split in ("train", "val", "heldout", "heldout_concepts")
    }
    splits = list(seen)
    assert all(not seen[a] & seen[b] for at, a in enumerate(splits) for b in splits[:at])
