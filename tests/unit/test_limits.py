"""Limits: each refusal names its field, and what is allowed passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanimage import limits
from wanimage.errors import InvalidInput
from wanimage.images import fit_grid
from wanimage.v1 import types_pb2 as pb


def options(**fields) -> pb.TurnOptions:
    return pb.TurnOptions(**fields)


def palette(*colors: tuple[str, float | None]) -> pb.Palette:
    return pb.Palette(colors=[pb.PaletteColor(hex=h, proportion=p) for h, p in colors])


WHOLE = {"prompt": "a cat", "box": pb.Box(width=1, height=1)}
BAD = {
    "options.image_count": [options(image_count=0), options(image_count=13)],
    "options.size": [
        options(size=pb.SizeHint(size=pb.Size(height=48, width=432))),
        options(size=pb.SizeHint(aspect=pb.AspectRatio(width=9, height=1))),
        options(size=pb.SizeHint()),
    ],
    "options.size.height": [options(size=pb.SizeHint(size=pb.Size(height=100, width=128)))],
    "options.size.aspect.width": [options(size=pb.SizeHint(aspect=pb.AspectRatio(width=0, height=1)))],
    "options.palette.colors[0].hex": [options(palette=palette(("#GGGGGG", None)))],
    "options.palette.colors": [
        options(palette=palette(("#FF0000", 0.6), ("#00FF00", 0.6))),
        options(palette=palette(("#FF0000", 0.6), ("#00FF00", None))),
        options(palette=palette(*[("#FF0000", None)] * 9)),
    ],
    "options.palette.colors[0].proportion": [options(palette=palette(("#FF0000", 1.2)))],
    "options.background.hex": [
        options(background=pb.Background(kind=pb.Background.KIND_COLOR)),
        options(background=pb.Background(hex="#FF0000")),
    ],
    "options.regions[0].prompt": [options(regions=[pb.Region(box=pb.Box(width=1, height=1))])],
    "options.regions[0].box": [
        options(regions=[pb.Region(prompt="a cat", box=pb.Box(x=0.5, width=0.6, height=1))])
    ],
    "options.regions[0].cue": [options(regions=[pb.Region(**WHOLE, cue=pb.Region.CUE_BOX)])],
    "options.regions[0].mask": [
        options(regions=[pb.Region(**WHOLE, reference=0, cue=pb.Region.CUE_BOX, mask=pb.BlobRef(size=9))]),
        options(
            regions=[
                pb.Region(
                    **WHOLE, reference=0, cue=pb.Region.CUE_MASK, mask=pb.BlobRef(media_type="x" * 1000)
                )
            ]
        ),
    ],
    "options.sampling.steps": [options(sampling=pb.SamplingOptions(steps=0))],
    "options.sampling.seed": [options(sampling=pb.SamplingOptions(seed=2**53))],
    "options.sampling.guidance_scale": [options(sampling=pb.SamplingOptions(guidance_scale=math.nan))],
    "options.sampling.sampler": [options(sampling=pb.SamplingOptions(sampler=9))],
    "options.refine.target_long_edge": [options(refine=pb.RefineOptions(target_long_edge=8192))],
    "options.temperature": [options(temperature=3)],
    "options.max_tokens": [options(max_tokens=0)],
    "options.format": [
        options(format=pb.IMAGE_FORMAT_JPEG, background=pb.Background(kind=pb.Background.KIND_TRANSPARENT))
    ],
}


@pytest.mark.parametrize(("field", "bad"), [(f, o) for f, cases in BAD.items() for o in cases])
def test_options_beyond_a_limit_are_refused_naming_the_field(field, bad):
    with pytest.raises(InvalidInput) as refused:
        limits.check_options(bad)
    assert refused.value.field == field
    assert refused.value.way_out


def test_options_within_the_limits_pass():
    limits.check_options(
        options(
            image_count=12,
            size=pb.SizeHint(size=pb.Size(height=48, width=384)),
            palette=palette(("#ff0000", 0.25), ("#00FF00", 0.75)),
            background=pb.Background(kind=pb.Background.KIND_COLOR, hex="#123456"),
            sampling=pb.SamplingOptions(seed=0, steps=100, guidance_scale=1),
        )
    )


def test_a_prompt_beyond_16000_characters_is_refused():
    limits.check_prompt("x" * 16_000, "user.text")
    with pytest.raises(InvalidInput, match="16,001 characters, the limit is 16,000"):
        limits.check_prompt("x" * 16_001, "user.text")
    with pytest.raises(InvalidInput, match="empty"):
        limits.check_prompt(" \n", "user.text")


def test_a_tenth_picture_is_refused():
    limits.check_images([pb.ImageInput(data=b"x")] * 9, "user.images")
    with pytest.raises(InvalidInput, match="10 pictures, the limit is 9"):
        limits.check_images([pb.ImageInput(data=b"x")] * 10, "user.images")
    with pytest.raises(InvalidInput, match=r"user.images\[0\]"):
        limits.check_images([pb.ImageInput()], "user.images")


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_fitted_grid_keeps_shape_and_area(height, width):
    if max(height, width) > 8 * min(height, width):
        return
    rows, columns = fit_grid(height, width, 64)
    assert max(rows, columns) <= 8 * min(rows, columns)
    assert 48 <= rows * columns <= 80
    assert abs(math.log(columns / rows * height / width)) < 0.2


def test_the_base_size_is_the_square_of_the_family():
    assert limits.grid_for(None, 64, 256, "size") == (8, 8)
    assert limits.grid_for(pb.SizeHint(aspect=pb.AspectRatio(width=16, height=9)), 64, 256, "size") == (6, 11)
    with pytest.raises(InvalidInput, match="this family draws 256"):
        limits.grid_for(pb.SizeHint(size=pb.Size(height=512, width=512)), 64, 256, "size")


def test_conditions_join_the_prompt_in_trained_phrases():
    prompt = "a cat in the center, in a meadow by day"
    bands = palette(("#DE282E", 0.6), ("#2C66E2", 0.4))
    joined = limits.joined_prompt(prompt, bands, pb.Background(), [])
    assert joined == "a cat in the center, on a background of red 60%, blue 40%"
    clear = pb.Background(kind=pb.Background.KIND_TRANSPARENT)
    region = pb.Region(prompt="a star", box=pb.Box(width=0.3, height=0.3))
    joined = limits.joined_prompt(prompt, pb.Palette(), clear, [region])
    assert joined == "a cat in the center and a star at the top left, on a transparent background"
    assert limits.joined_prompt(prompt, pb.Palette(), pb.Background(), []) == prompt
