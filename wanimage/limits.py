"""Every limit a front checks, once: each `check_*` raises `InvalidInput` before anything is written."""

import math
import re
from collections.abc import Sequence

from wanimage import conditions
from wanimage.errors import InvalidInput
from wanimage.images import CELL, fit_grid
from wanimage.markup import MAX_CELLS
from wanimage.v1 import types_pb2 as pb

MAX_PROMPT = 16_000
"""Characters of a message or prompt."""
MAX_INPUT_IMAGES = 9
"""Pictures a message or job may bring (report 3.5)."""
MAX_OUTPUT_IMAGES = 12
"""Pictures a turn may make (report 3.5)."""
MAX_COLORS = 8
MAX_MESSAGE_TOKENS = 2048
"""Tokens of one message that the nano family can read beside its pictures and the answer."""
MAX_REGIONS = 16
MAX_ASPECT = 8
MIN_SIDE, MAX_SIDE = 48, 4096
MIN_REFINED, MAX_REFINED = 2048, 4096
"""Long edge of a refined picture, pixels."""
MAX_SEED = 2**53 - 1
"""Largest seed that JSON carries exactly."""
MAX_STEPS = 100
"""Of denoising."""
MAX_REF_BYTES = 256
"""Of a reference to a blob; ours take half."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def check_prompt(text: str, field: str) -> None:
    """1 to 16,000 characters, not blank."""
    if not text.strip():
        raise InvalidInput(field, "empty", f"write 1 to {MAX_PROMPT:,} characters")
    if len(text) > MAX_PROMPT:
        raise InvalidInput(field, f"{len(text):,} characters, the limit is {MAX_PROMPT:,}", "shorten it")


def check_tokens(count: int, field: str) -> None:
    """What a message takes of the family's window."""
    if count > MAX_MESSAGE_TOKENS:
        problem = f"{count:,} tokens, this family reads {MAX_MESSAGE_TOKENS:,} a message"
        raise InvalidInput(field, problem, "shorten it")


def check_images(images: Sequence[pb.ImageInput], field: str) -> None:
    """At most 9, each with a source."""
    if len(images) > MAX_INPUT_IMAGES:
        problem = f"{len(images)} pictures, the limit is {MAX_INPUT_IMAGES}"
        raise InvalidInput(field, problem, "send the most telling ones")
    for index, image in enumerate(images):
        if image.WhichOneof("source") is None:
            raise InvalidInput(f"{field}[{index}]", "no source", "give data, blob or session_image")


def check_options(options: pb.TurnOptions, field: str = "options") -> None:
    """All of a turn's options."""
    if options.HasField("image_count"):
        check_range(options.image_count, 1, MAX_OUTPUT_IMAGES, f"{field}.image_count")
    if options.HasField("size"):
        check_size_hint(options.size, f"{field}.size")
    check_palette(options.palette, f"{field}.palette")
    check_background(options.background, f"{field}.background")
    check_regions(options.regions, f"{field}.regions")
    check_sampling(options.sampling, f"{field}.sampling")
    check_enhance(options.enhance, f"{field}.enhance")
    if options.HasField("refine"):
        check_refine(options.refine, f"{field}.refine")
    if options.HasField("max_tokens"):
        check_range(options.max_tokens, 1, 3000, f"{field}.max_tokens")
    if options.HasField("temperature"):
        check_range(options.temperature, 0, 2, f"{field}.temperature")
    check_format(options.format, options.background, f"{field}.format")
    if options.HasField("decode_every"):
        check_decode_every(options.decode_every, options.previews, f"{field}.decode_every")


def check_decode_every(steps: int, previews: bool, field: str) -> None:
    """Steps between previews that are decoded in full, where there are previews."""
    check_range(steps, 1, MAX_STEPS, field)
    if not previews:
        raise InvalidInput(field, "given without previews", "set previews, too, or leave it out")


def check_enhance(enhance: pb.EnhanceOptions, field: str) -> None:
    """A known mode and variant."""
    check_enum(enhance.mode, pb.EnhanceOptions.Mode, f"{field}.mode")
    check_enum(enhance.variant, pb.EnhancerVariant, f"{field}.variant")


def check_range(value: float, low: float, high: float, field: str) -> None:
    """low <= value <= high; NaN is refused."""
    if not low <= value <= high:
        raise InvalidInput(
            field, f"{value:g}, the limits are {low:g} to {high:g}", "choose a value between them"
        )


def check_size_hint(hint: pb.SizeHint, field: str) -> None:
    """A size in pixels or an aspect ratio, within 1:8 to 8:1."""
    kind = hint.WhichOneof("hint")
    if kind == "size":
        for name, side in (("height", hint.size.height), ("width", hint.size.width)):
            check_range(side, MIN_SIDE, MAX_SIDE, f"{field}.{name}")
            if side % CELL:
                near = max(MIN_SIDE, round(side / CELL) * CELL)
                raise InvalidInput(f"{field}.{name}", f"{side} is not a multiple of {CELL}", f"use {near}")
        check_aspect(hint.size.width, hint.size.height, field)
    elif kind == "aspect":
        check_range(hint.aspect.width, 1, 64, f"{field}.aspect.width")
        check_range(hint.aspect.height, 1, 64, f"{field}.aspect.height")
        check_aspect(hint.aspect.width, hint.aspect.height, field)
    else:
        raise InvalidInput(field, "neither size nor aspect", "give one, or leave the field out")


def check_aspect(width: int, height: int, field: str) -> None:
    """1:8 to 8:1."""
    if max(width, height) > MAX_ASPECT * min(width, height):
        problem = f"{width}:{height} is outside 1:{MAX_ASPECT} to {MAX_ASPECT}:1"
        raise InvalidInput(field, problem, "make the longer side at most 8 times the shorter")


def check_palette(palette: pb.Palette, field: str) -> None:
    """At most 8 colours "#RRGGBB"; proportions for all or none, summing to 1."""
    if len(palette.colors) > MAX_COLORS:
        problem = f"{len(palette.colors)} colours, the limit is {MAX_COLORS}"
        raise InvalidInput(f"{field}.colors", problem, "merge similar ones")
    for index, color in enumerate(palette.colors):
        _check_hex(color.hex, f"{field}.colors[{index}].hex")
    given = [color.proportion for color in palette.colors if color.HasField("proportion")]
    if given and len(given) < len(palette.colors):
        problem = f"{len(given)} of {len(palette.colors)} colours have a proportion"
        raise InvalidInput(f"{field}.colors", problem, "give one to each colour or to none")
    for index, share in enumerate(given):
        check_range(share, 0, 1, f"{field}.colors[{index}].proportion")
    if given and not math.isclose(sum(given), 1, abs_tol=0.01):
        problem = f"the proportions sum to {sum(given):.2f}, not 1"
        raise InvalidInput(f"{field}.colors", problem, "scale them so that they sum to 1")


def check_background(background: pb.Background, field: str) -> None:
    """A colour exactly when the kind is COLOR."""
    if background.kind == pb.Background.KIND_COLOR:
        _check_hex(background.hex, f"{field}.hex")
    elif background.hex:
        raise InvalidInput(
            f"{field}.hex", "a colour without KIND_COLOR", "set kind to KIND_COLOR or drop hex"
        )
    check_enum(background.kind, pb.Background.Kind, f"{field}.kind")


def is_hex(value: str) -> bool:
    """Whether it is a colour "#RRGGBB"."""
    return _HEX.fullmatch(value) is not None


def _check_hex(value: str, field: str) -> None:
    if not is_hex(value):
        raise InvalidInput(field, f"{value[:20]!r} is not a colour", "write it as #RRGGBB, e.g. #E63946")


def check_enum(value: int, kind: object, field: str) -> None:
    if value not in kind.values():  # type: ignore[attr-defined]
        raise InvalidInput(field, f"unknown value {value}", "use a value of the enum")


def check_regions(regions: Sequence[pb.Region], field: str) -> None:
    """At most 16 boxes inside the picture, each with a prompt; cues lie on references."""
    if len(regions) > MAX_REGIONS:
        problem = f"{len(regions)} regions, the limit is {MAX_REGIONS}"
        raise InvalidInput(field, problem, "describe the rest in the text")
    for index, region in enumerate(regions):
        name, box = f"{field}[{index}]", region.box
        if not 1 <= len(region.prompt.strip()) <= 1000:
            problem = f"{len(region.prompt)} characters, the limits are 1 to 1,000"
            raise InvalidInput(f"{name}.prompt", problem, "say what belongs there")
        inside = 0 <= box.x <= 1 and 0 <= box.y <= 1 and box.width > 0 and box.height > 0
        if not inside or box.x + box.width > 1.0001 or box.y + box.height > 1.0001:
            raise InvalidInput(
                f"{name}.box", "not inside the picture", "use fractions with x+width and y+height <= 1"
            )
        if region.cue and not region.HasField("reference"):
            problem = "no reference picture to draw it on"
            raise InvalidInput(f"{name}.cue", problem, "name the reference, or leave the cue out")
        if region.HasField("mask") and region.cue != pb.Region.CUE_MASK:
            raise InvalidInput(f"{name}.mask", "the cue is not CUE_MASK", "set it, or leave the mask out")
        check_ref(region.mask, f"{name}.mask")


def check_ref(ref: pb.BlobRef, field: str) -> None:
    """A reference that is kept as the client wrote it is no longer than one of ours."""
    if ref.ByteSize() > MAX_REF_BYTES:
        problem = f"a reference of {ref.ByteSize():,} bytes, the limit is {MAX_REF_BYTES}"
        raise InvalidInput(field, problem, "send the reference as it came")


def check_sampling(sampling: pb.SamplingOptions, field: str) -> None:
    """Seed, steps, guidance and shift within their ranges; absent ones are fine."""
    ranges = {
        "seed": (0, MAX_SEED),
        "steps": (1, MAX_STEPS),
        "guidance_scale": (1, 20),
        "image_guidance_scale": (1, 10),
        "shift": (0.1, 10),
    }
    for name, (low, high) in ranges.items():
        if sampling.HasField(name):
            check_range(getattr(sampling, name), low, high, f"{field}.{name}")
    check_enum(sampling.sampler, pb.Sampler, f"{field}.sampler")


def check_refine(refine: pb.RefineOptions, field: str) -> None:
    """A known mode, or none, and a long edge of 2048 to 4096."""
    check_enum(refine.mode, pb.RefineMode, f"{field}.mode")
    check_range(refine.target_long_edge, MIN_REFINED, MAX_REFINED, f"{field}.target_long_edge")


def refine_mode(refine: pb.RefineOptions) -> pb.RefineMode:
    """The mode asked for; high fidelity when none is named."""
    return refine.mode or pb.REFINE_MODE_HIGH_FIDELITY


def check_format(image_format: int, background: pb.Background, field: str) -> None:
    """A known format that can carry what is asked for."""
    check_enum(image_format, pb.ImageFormat, field)
    if image_format == pb.IMAGE_FORMAT_JPEG and background.kind == pb.Background.KIND_TRANSPARENT:
        raise InvalidInput(
            field, "JPEG has no alpha channel", "ask for PNG or WebP with a transparent background"
        )


def grid_for(hint: pb.SizeHint | None, base_cells: int, max_cells: int, field: str) -> tuple[int, int]:
    """(height, width) in cells for a checked hint; None or empty gives the base square.

    `base_cells` and `max_cells` are the family's (manifest field `grid`).
    """
    kind = hint.WhichOneof("hint") if hint is not None else None
    if hint is None or kind is None:
        return fit_grid(1, 1, base_cells)
    if kind == "aspect":
        return fit_grid(hint.aspect.height, hint.aspect.width, base_cells)
    grid = (hint.size.height // CELL, hint.size.width // CELL)
    check_cells(grid, max_cells, f"{field}.size")
    return grid


def check_grid(grid: tuple[int, int], max_cells: int, field: str) -> None:
    """A grid (height, width) in cells that the family can draw, as a job states it."""
    for name, side in zip(("height_cells", "width_cells"), grid, strict=True):
        check_range(side, 1, MAX_CELLS, f"{field}.{name}")
    check_aspect(grid[1], grid[0], field)
    check_cells(grid, max_cells, field)


def check_cells(grid: tuple[int, int], max_cells: int, field: str) -> None:
    """The family can draw this many cells."""
    if grid[0] * grid[1] > max_cells:
        problem = (
            f"{grid[1] * CELL}x{grid[0] * CELL} is {grid[0] * grid[1]} cells, this family draws {max_cells}"
        )
        raise InvalidInput(
            field, problem, f"ask for at most {int(max_cells**0.5) * CELL} pixels a side, then refine"
        )


def target_size(source: tuple[int, int], long_edge: int, field: str) -> tuple[int, int]:
    """The size (height, width) in pixels with that long edge and the aspect of `source`, to the nearest
    pixel.

    Raises InvalidInput naming `field` when it is smaller than `source`.
    """
    longest = max(source)
    if long_edge < longest:
        problem = f"{long_edge} pixels, the picture has {source[1]}x{source[0]} already"
        raise InvalidInput(field, problem, f"ask for at least {longest}, or send a smaller picture")
    height, width = (max(1, round(side * long_edge / longest)) for side in source)
    return height, width


def joined_prompt(
    prompt: str, palette: pb.Palette, background: pb.Background, regions: Sequence[pb.Region]
) -> str:
    """Join a client's conditions into an <imagine> prompt, in the phrases the family was trained on.

    Regions become placed subjects. A palette, or a background, replaces the prompt's own background phrase,
    since a picture has one.
    """
    places = [
        conditions.region_phrase(
            r.prompt.strip(), r.box.x, r.box.y, r.box.x + r.box.width, r.box.y + r.box.height
        )
        for r in regions
    ]
    subject, behind = conditions.split_background(prompt)
    if places:
        subject = " and ".join([part for part in (subject, *places) if part])
    if palette.colors:
        equal = 1 / len(palette.colors)
        bands = [
            (conditions.hex_word(c.hex), c.proportion if c.HasField("proportion") else equal)
            for c in palette.colors
        ]
        behind = conditions.palette_phrase(bands)
    if background.kind == pb.Background.KIND_TRANSPARENT:
        behind = conditions.TRANSPARENT
    elif background.kind == pb.Background.KIND_COLOR:
        behind = conditions.plain_phrase(conditions.hex_word(background.hex))
    return f"{subject}, {behind}" if behind else subject
