"""The RGBA VAE: shapes, normalisation, and the two representations of a picture."""

import pytest
import torch

from wanimage.models.vae import Vae, VaeConfig, premultiplied, straight


@pytest.fixture(scope="module")
def model() -> Vae:
    torch.manual_seed(0)
    model = Vae(VaeConfig.tiny()).eval()
    for parameter in model.parameters():  # the heads start at zero, which would hide what runs through them
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (16, 128), (112, 32)])
def test_every_grid_comes_back_at_its_own_size(model: Vae, height: int, width: int) -> None:
    x = noise(2, 4, height, width)
    z = model.encode(x)
    assert z.shape == (2, 48, height // 16, width // 16)
    assert model.decode(z).shape == x.shape


@pytest.mark.parametrize(("height", "width"), [(120, 128), (128, 130), (0, 16), (8, 8)])
def test_sides_that_are_no_multiple_of_sixteen_are_refused(model: Vae, height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"multiples of 16, got {height}x{width}"):
        model.encode(torch.zeros(1, 4, height, width))


def test_three_planes_and_foreign_latents_are_refused(model: Vae) -> None:
    with pytest.raises(ValueError, match=r"\[B, 4, H, W\]"):
        model.encode(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"\[B, 48, h, w\]"):
        model.decode(torch.zeros(1, 16, 1, 1))


def test_encoding_is_deterministic_even_in_training_mode(model: Vae) -> None:
    x = noise(2, 4, 32, 32)
    serving = model.encode(x)
    assert torch.equal(model.encode(x), serving)
    try:
        assert torch.equal(model.train().encode(x), serving)
    finally:
        model.eval()


def test_a_picture_encodes_the_same_alone_and_in_a_batch(model: Vae) -> None:
    x = noise(3, 4, 32, 48)
    torch.testing.assert_close(model.encode(x)[1:2], model.encode(x[1:2]))


def test_calibrated_latents_have_zero_mean_and_unit_variance() -> None:
    torch.manual_seed(0)
    model = Vae(VaeConfig.tiny()).eval()
    x = noise(16, 4, 32, 32)
    model.norm.calibrate(model.encoder(x))
    z = model.encode(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(48), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(48), atol=1e-3, rtol=0)


def test_calibration_does_not_change_the_reconstruction() -> None:
    torch.manual_seed(0)
    model = Vae(VaeConfig.tiny()).eval()
    x = noise(2, 4, 32, 32)
    before = model(x)
    model.norm.calibrate(model.encoder(noise(8, 4, 32, 32)) * 3 + 1)
    torch.testing.assert_close(model(x), before, atol=1e-4, rtol=1e-4)


def test_distant_pixels_do_not_change_a_decoded_cell(model: Vae) -> None:
    z = torch.randn(1, 48, 1, 24, generator=torch.Generator().manual_seed(2))
    other = z.clone()
    other[..., -1] += 5
    torch.testing.assert_close(model.decode(other)[..., :16], model.decode(z)[..., :16])
    assert not torch.allclose(model.decode(other)[..., -16:], model.decode(z)[..., -16:])


def test_config_survives_json_and_refuses_ungroupable_widths() -> None:
    assert VaeConfig.from_json(VaeConfig.paper().to_json()) == VaeConfig.paper()
    with pytest.raises(ValueError, match="multiple of 48"):
        VaeConfig(encoder_widths=(10, 48, 64, 64))
    with pytest.raises(ValueError, match="same length"):
        VaeConfig(encoder_blocks=(1, 1))


def test_shipped_size_has_about_four_million_parameters_at_stride_sixteen() -> None:
    config = VaeConfig.nano()
    assert config.stride == VaeConfig.paper().stride == 16
    with torch.device("meta"):
        count = sum(p.numel() for p in Vae(config).parameters())
    assert 3_600_000 <= count <= 4_200_000


def test_work_grows_with_the_area_of_the_picture(model: Vae) -> None:
    small, large = model.num_macs(32, 32), model.num_macs(64, 96)
    assert large["encode"] == 6 * small["encode"] > 0
    assert large["decode"] == 6 * small["decode"] > small["decode"]


def test_straight_rgba_survives_the_round_trip_where_it_is_opaque() -> None:
    rgba = torch.randint(0, 256, (2, 8, 8, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    rgba[..., 3] = 255
    assert torch.equal(straight(premultiplied(rgba)), rgba)


def test_half_transparent_colours_survive_within_rounding() -> None:
    rgba = torch.randint(0, 256, (2, 8, 8, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    rgba[..., 3] = rgba[..., 3].clamp_min(16)
    back = straight(premultiplied(rgba))
    assert (back.int() - rgba.int()).abs().max() <= 1


def test_transparent_pixels_lose_their_hidden_colour() -> None:
    rgba = torch.tensor([200, 100, 50, 0], dtype=torch.uint8).view(1, 1, 1, 4)
    planes = premultiplied(rgba)
    assert torch.equal(planes, -torch.ones(1, 4, 1, 1))
    assert torch.equal(straight(planes), torch.zeros(1, 1, 1, 4, dtype=torch.uint8))


def test_out_of_range_planes_clamp_to_valid_pixels() -> None:
    planes = torch.tensor([3.0, -3.0, 0.5, 0.0]).view(1, 4, 1, 1)
    assert straight(planes).flatten().tolist() == [255, 0, 255, 128]


def test_float_pictures_are_refused_with_the_expected_type() -> None:
    with pytest.raises(ValueError, match="uint8"):
        premultiplied(torch.zeros(1, 8, 8, 4))
