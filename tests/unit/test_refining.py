"""Tiles of a picture: they cover it once, blend where they overlap, and decode without a seam."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wanimage.models.refiner import Refiner, RefinerConfig, state_at, step
from wanimage.models.vae import Vae, VaeConfig
from wanimage.refining import (
    MODES,
    Latent,
    Mode,
    decode_tile,
    encode_tile,
    enlargement_of,
    keep_shades,
    levels,
    refine,
)
from wanimage.tiling import tiles_of

sides = st.integers(1, 300)


@given(sides, sides)
def test_tiles_cover_every_cell_exactly_once(rows: int, columns: int) -> None:
    covered = np.zeros((rows, columns), int)
    for tile in tiles_of((rows, columns)):
        covered[tile.rows.first : tile.rows.last, tile.columns.first : tile.columns.last] += 1
        assert tile.rows.begin <= tile.rows.first < tile.rows.last <= tile.rows.end <= rows
        assert tile.columns.begin <= tile.columns.first < tile.columns.last <= tile.columns.end <= columns
    assert (covered == 1).all()


@given(sides, sides, st.integers(4, 64), st.integers(0, 8))
def test_what_tiles_agree_on_is_what_the_whole_becomes(
    rows: int, columns: int, most: int, overlap: int
) -> None:
    truth = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(rows * 301 + columns))
    latent = Latent((rows, columns), 3)
    for tile in tiles_of((rows, columns), most, min(overlap, most // 2)):
        latent.add(tile, truth[:, tile.rows.begin : tile.rows.end, tile.columns.begin : tile.columns.end])
    assert torch.allclose(latent.whole(), truth, atol=1e-5)


def test_where_tiles_disagree_the_change_is_gradual() -> None:
    latent = Latent((8, 96), 1)
    for value, tile in enumerate(tiles_of((8, 96), 48, 4)):
        latent.add(tile, torch.full((1, *tile.size), float(value)))
    row = latent.whole()[0, 0]
    assert row[:44].max() == 0
    assert row[52:].min() == 1
    assert (row.diff()[43:52] > 0).all()
    assert row.diff().max() < 0.2


def vae() -> Vae:
    torch.manual_seed(0)
    made = Vae(VaeConfig.tiny()).eval().requires_grad_(False)
    for parameter in made.parameters():  # what starts at zero would hide a seam
        parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def test_decoded_tiles_are_what_the_whole_decodes_to() -> None:
    model, latent = vae(), torch.randn(48, 20, 26)
    from wanimage.models.vae import straight

    with torch.inference_mode():
        whole = straight(model.decode(latent[None]))[0].numpy()
        for tile in tiles_of((20, 26), 9, 2):
            part = decode_tile(model, latent, tile, halo=12).astype(int)
            rows, columns = tile.rows, tile.columns
            cut = whole[rows.first * 16 : rows.last * 16, columns.first * 16 : columns.last * 16]
            assert np.abs(part - cut).max() <= 1


def test_encoded_tiles_are_parts_of_the_whole() -> None:
    model = vae()
    source = np.random.default_rng(0).integers(0, 256, (40, 52, 4), dtype=np.uint8)
    enlarged = enlargement_of(source, (320, 416))
    with torch.inference_mode():
        (whole,) = tiles_of((20, 26), 99)
        truth = encode_tile(model, enlarged, whole)
        for tile in tiles_of((20, 26), 9, 2):
            part = encode_tile(model, enlarged, tile, margin=12)
            cut = truth[:, tile.rows.begin : tile.rows.end, tile.columns.begin : tile.columns.end]
            assert torch.allclose(part, cut, atol=1e-4)


@pytest.mark.parametrize("mode", Mode)
def test_levels_fall_from_the_start_to_nothing(mode: Mode) -> None:
    found = levels(MODES[mode].start, MODES[mode].steps)
    assert found[0] == MODES[mode].start
    assert found[-1] == 0
    assert found == sorted(found, reverse=True)
    assert len(found) == MODES[mode].steps + 1 <= 5


def test_repair_begins_at_more_noise_than_high_fidelity() -> None:
    assert 0.4 <= MODES[Mode.REPAIR].start <= 0.6
    assert 0.1 <= MODES[Mode.HIGH_FIDELITY].start <= 0.3


def test_the_path_leads_from_the_noisy_enlargement_to_the_clean_latent() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, low, noise = (torch.randn(2, 4, 3, 3, generator=generator) for _ in range(3))
    start = torch.tensor([0.2, 0.5])
    begin = state_at(clean, low, noise, start, start)
    assert torch.allclose(begin, (1 - start.view(-1, 1, 1, 1)) * low + start.view(-1, 1, 1, 1) * noise)
    assert torch.allclose(state_at(clean, low, noise, 0 * start, start), clean)
    halfway = step(begin, clean, start, start / 2)
    assert torch.allclose(halfway, state_at(clean, low, noise, start / 2, start), atol=1e-6)


def split(size: int, left: int, right: int, alpha: int = 255) -> np.ndarray:
    """A square picture of two shades of red with a crisp edge between them."""
    picture = np.zeros((size, size, 4), np.uint8)
    picture[:, : size // 2, 0], picture[:, size // 2 :, 0], picture[..., 3] = left, right, alpha
    return picture


def test_a_refinement_gets_the_broad_shades_of_its_source_back_and_keeps_its_edge() -> None:
    settled = keep_shades(split(512, 70, 190), enlargement_of(split(32, 90, 210), (512, 512)))
    assert np.abs(settled.astype(int) - split(512, 90, 210))[:, :, :3].max() <= 4
    assert settled[:, 255, 0].max() + 100 < settled[:, 256, 0].min()


def test_opacity_that_a_refinement_lost_comes_back() -> None:
    settled = keep_shades(split(400, 90, 210, 120), enlargement_of(split(32, 90, 210, 160), (400, 400)))
    assert np.abs(settled[..., 3].astype(int) - 160).max() <= 1


def test_a_refinement_whose_shades_are_its_source_s_stays_as_it_is() -> None:
    picture = split(512, 90, 210)
    settled = keep_shades(picture, enlargement_of(split(32, 90, 210), (512, 512)))
    assert np.abs(settled.astype(int) - picture).max() <= 2


def test_a_refined_picture_has_the_size_asked_for_and_depends_on_its_seed() -> None:
    model = vae()
    torch.manual_seed(1)
    refiner = Refiner(RefinerConfig.tiny()).eval().requires_grad_(False)
    refiner.project.weight.normal_(0, 0.1)
    text = [(torch.randn(1, 2, 5, 16), torch.randn(1, 2, 5, 16)) for _ in range(2)]
    prompt = refiner.read(text, torch.ones(1, 5, dtype=torch.bool))
    enlarged = enlargement_of(np.full((30, 50, 4), 200, np.uint8), (103, 170))
    told: list[None] = []
    mode = MODES[Mode.REPAIR]
    first = refine(model, refiner, enlarged, prompt, mode, seed=1, on_tile=lambda: told.append(None))
    again, other = (refine(model, refiner, enlarged, prompt, mode, seed=seed) for seed in (1, 2))
    assert first.shape == (103, 170, 4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(told) == 2 * len(tiles_of((7, 11)))
