"""Palettes that prompts state: read exactly, shared out exactly, and reached by the prediction."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wanimage.coloring import REACH, Coloring, Palette, led, meant, shared_out, stated
from wanimage.conditions import COLORS
from wanimage.v1 import types_pb2 as pb

NANO = Path(__file__).resolve().parents[2] / "weights" / "nano"
TWO = Palette(np.array([[1, -1, -1], [-1, -1, 1]], np.float32), np.array([0.25, 0.75]))


def test_each_hex_colour_with_its_percent_is_read():
    found = stated("a palette of #FF0000 25% and #0000ff 75 %, in bands. The largest area is #0000FF.")
    assert found is not None
    np.testing.assert_allclose(found.colors, TWO.colors)
    np.testing.assert_allclose(found.shares, TWO.shares)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a fox",
        "a #FF0000 balloon",
        "#FF0000 25% and #0000FF 60%",
        "sales grew 40% and 60%",
        "#FF000 100%",
    ],
)
def test_prompts_whose_shares_do_not_make_a_whole_state_no_palette(prompt):
    assert stated(prompt) is None


@given(st.text())
def test_no_prompt_breaks_the_reading(prompt):
    stated(prompt)


@given(
    st.integers(1, 200),
    st.lists(st.integers(1, 50), min_size=1, max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_every_block_gets_a_colour_and_every_colour_its_share_to_a_block(count, weights, seed):
    rng = np.random.default_rng(seed)
    colors = rng.uniform(-1, 1, (len(weights), 3)).astype(np.float32)
    shares = np.array(weights) / sum(weights)
    given_out = shared_out(rng.uniform(-1, 1, (count, 3)).astype(np.float32), Palette(colors, shares))
    counted = np.bincount(given_out, minlength=len(weights))
    assert counted.sum() == count
    assert (np.abs(counted - shares * count) < 1).all()


def test_blocks_near_a_colour_get_it():
    blocks = np.array([[-1, -1, 0.9], [0.8, -1, -1], [-1, -0.9, 1], [-0.9, -1, 1]], np.float32)
    assert shared_out(blocks, TWO).tolist() == [1, 0, 1, 1]


def asked(*colors: tuple[str, float | None]) -> pb.Palette:
    return pb.Palette(colors=[pb.PaletteColor(hex=value, proportion=share) for value, share in colors])


def test_a_request_means_its_hex_and_says_a_word():
    found = meant(asked(("#E01010", 0.25), ("#0000ff", 0.75)), pb.Background())
    assert found is not None
    np.testing.assert_allclose(found.colors[1], [-1, -1, 1])
    np.testing.assert_allclose(found.shares, TWO.shares)
    words = [np.array(COLORS[word]) / 127.5 - 1 for word in ("red", "blue")]
    np.testing.assert_allclose(found.said, words, rtol=1e-6)


def test_colours_without_proportions_share_equally():
    found = meant(asked(("#ff0000", None), ("#00ff00", None)), pb.Background())
    assert found is not None
    assert found.shares.tolist() == [0.5, 0.5]


def test_a_background_goes_before_the_palette_as_it_does_in_the_prompt():
    palette = asked(("#ff0000", None), ("#00ff00", None))
    plain = meant(palette, pb.Background(kind=pb.Background.KIND_COLOR, hex="#0000ff"))
    assert plain is not None
    assert plain.colors.tolist() == [[-1, -1, 1]]
    assert meant(palette, pb.Background(kind=pb.Background.KIND_TRANSPARENT)) is None
    assert meant(pb.Palette(), pb.Background()) is None


def test_what_shows_another_thing_than_the_meant_colours_stays():
    red, word, green = (
        np.array([c], np.float32) for c in ([1, -1, -1], [0.7, -0.7, -0.6], [-0.6, 0.3, -0.5])
    )
    near = word + np.float32(0.9 * REACH / 3**0.5)
    shown = led(np.concatenate([word, near, green, red]), Palette(red, np.ones(1), said=word))
    np.testing.assert_allclose(shown, np.concatenate([red, red, green, red]))


@given(st.integers(0, 2**32 - 1))
def test_shares_are_those_of_the_blocks_that_are_led(seed):
    rng = np.random.default_rng(seed)
    blocks = rng.uniform(-1, 1, (60, 3)).astype(np.float32)
    shown = led(blocks, Palette(TWO.colors, TWO.shares, said=TWO.colors))
    counts = [int((shown == color).all(1).sum()) for color in TWO.colors]
    assert abs(counts[0] - 0.25 * sum(counts)) < 1
    assert sum(counts) + int((shown == blocks).all(1).sum()) == 60


@pytest.mark.parametrize("t", [1.0, 0.4, 0.05])
def test_the_prediction_comes_to_show_the_palette(t):
    coloring, generator = Coloring.load(NANO), torch.Generator().manual_seed(0)
    x, velocity = torch.randn(64, 48, generator=generator), torch.randn(64, 48, generator=generator)
    far = [_off(coloring, x - t * v) for v in (velocity, coloring.pull(velocity, x, t, TWO))]
    assert far[1] < 0.3 * far[0]


def _off(coloring: Coloring, clean: torch.Tensor) -> float:
    """Mean distance of the blocks from the palette's colour that is theirs."""
    blocks = (clean @ coloring._look + coloring._bias).reshape(-1, 3).numpy()
    return float(np.abs(blocks - TWO.colors[shared_out(blocks, TWO)]).mean())
