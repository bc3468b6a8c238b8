"""Flags of a turn, read into `TurnOptions`; every mistake is BadInput (exit status 2) and names the flag."""

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format

from wanimage import images, limits
from wanimage.cli.report import BadInput
from wanimage.errors import InvalidInput
from wanimage.v1 import types_pb2 as pb

TURN = "The picture"
SERVER = "The server"

SizeFlag = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="WIDTHxHEIGHT", help="Exact size in pixels, multiples of 16.", rich_help_panel=TURN
    ),
]
AspectFlag = Annotated[
    str | None,
    typer.Option(
        "--aspect", metavar="WIDTH:HEIGHT", help="Shape, e.g. 16:9; 1:8 to 8:1.", rich_help_panel=TURN
    ),
]
CountFlag = Annotated[
    int | None,
    typer.Option(
        "--n", help="How many pictures, 1 to 12. [default: the planner decides]", rich_help_panel=TURN
    ),
]
PaletteFlag = Annotated[
    str | None,
    typer.Option(
        "--palette",
        metavar="#RRGGBB[:SHARE],...",
        help="1 to 8 colours, with shares that sum to 1, or without.",
        rich_help_panel=TURN,
    ),
]
BackgroundFlag = Annotated[
    str | None,
    typer.Option(
        "--background",
        metavar="transparent|#RRGGBB",
        help="What lies behind the subject.",
        rich_help_panel=TURN,
    ),
]
RefFlag = Annotated[
    list[Path] | None,
    typer.Option(
        "--ref", metavar="PATH", help="A picture to go by; up to 9, one flag each.", rich_help_panel=TURN
    ),
]
SeedFlag = Annotated[
    int | None, typer.Option("--seed", help="Same seed, same picture.", rich_help_panel=TURN)
]
StepsFlag = Annotated[
    int | None, typer.Option("--steps", help="Denoising steps, 1 to 100.", rich_help_panel=TURN)
]
GuidanceFlag = Annotated[
    float | None, typer.Option("--guidance", help="Text guidance, 1 (off) to 20.", rich_help_panel=TURN)
]


class Enhance(StrEnum):
    """When the prompt enhancer rewrites, as a person types it."""

    AUTO = "auto"
    OFF = "off"
    FAST = "fast"
    QUALITY = "quality"


ENHANCE = {
    Enhance.AUTO: pb.EnhanceOptions(),
    Enhance.OFF: pb.EnhanceOptions(mode=pb.EnhanceOptions.MODE_OFF),
    Enhance.FAST: pb.EnhanceOptions(mode=pb.EnhanceOptions.MODE_ON, variant=pb.ENHANCER_VARIANT_FAST),
    Enhance.QUALITY: pb.EnhanceOptions(mode=pb.EnhanceOptions.MODE_ON, variant=pb.ENHANCER_VARIANT_QUALITY),
}
EnhanceFlag = Annotated[
    Enhance,
    typer.Option(
        "--enhance",
        help="Rewrite the request first. auto: where it helps; fast or quality: always.",
        rich_help_panel=TURN,
    ),
]


class Refine(StrEnum):
    """What the refiner may change, as a person types it."""

    HIGH_FIDELITY = "high-fidelity"
    REPAIR = "repair"


REFINE = {
    Refine.HIGH_FIDELITY: pb.REFINE_MODE_HIGH_FIDELITY,
    Refine.REPAIR: pb.REFINE_MODE_REPAIR,
}
RefineFlag = Annotated[
    Refine | None,
    typer.Option(
        "--refine",
        help="Make each picture large. high-fidelity: only sharpens; repair: may change details.",
        rich_help_panel=TURN,
    ),
]
RefineSizeFlag = Annotated[
    int | None,
    typer.Option(
        "--refine-size",
        metavar="PIXELS",
        help="Its longer side, 2048 to 4096; alone it means --refine high-fidelity. [default: 2048]",
        rich_help_panel=TURN,
    ),
]
OptionsFlag = Annotated[
    str | None,
    typer.Option(
        "--options",
        metavar="JSON",
        help="Any other field of TurnOptions, e.g. '{\"temperature\": 0.2}'.",
        rich_help_panel=TURN,
    ),
]
SessionFlag = Annotated[
    str | None, typer.Option("--session", help="Go on in this session. [default: a new one]")
]
OutFlag = Annotated[Path, typer.Option("--out", help="Folder for the pictures.")]
AddressFlag = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="WAN_ADDRESS",
        metavar="HOST:PORT",
        help="[default: the running stack's]",
        rich_help_panel=SERVER,
    ),
]
KeyFlag = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="WAN_API_KEY", help="Where the server wants one.", rich_help_panel=SERVER
    ),
]
TimeoutFlag = Annotated[
    float,
    typer.Option("--timeout", min=0.001, help="Deadline of a turn or call, seconds.", rich_help_panel=SERVER),
]
DataDirFlag = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The stack's data directory. [default: .wan]", rich_help_panel=SERVER),
]
TIMEOUT = 600.0
"""Default deadline, seconds."""


def turn_options(
    *,
    size: str | None = None,
    aspect: str | None = None,
    count: int | None = None,
    palette: str | None = None,
    background: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    enhance: Enhance = Enhance.AUTO,
    refine: Refine | None = None,
    refine_size: int | None = None,
    options: str | None = None,
) -> pb.TurnOptions:
    """Read the flags and check their limits before anything is sent. Raises BadInput."""
    turn = read_json(options)
    if size and aspect:
        raise BadInput("--size and --aspect contradict each other; give one of them")
    if size:
        width, height = _pair(size.lower(), "x", "--size", "WIDTHxHEIGHT, e.g. 128x128")
        turn.size.size.CopyFrom(pb.Size(width=width, height=height))
    if aspect:
        width, height = _pair(aspect, ":", "--aspect", "WIDTH:HEIGHT, e.g. 16:9")
        turn.size.aspect.CopyFrom(pb.AspectRatio(width=width, height=height))
    if count is not None:
        turn.image_count = _unsigned(count, "--n", 2**32 - 1)
    if seed is not None:
        turn.sampling.seed = _unsigned(seed, "--seed", 2**64 - 1)
    if steps is not None:
        turn.sampling.steps = _unsigned(steps, "--steps", 2**32 - 1)
    if guidance is not None:
        turn.sampling.guidance_scale = guidance
    if enhance is not Enhance.AUTO:
        turn.enhance.CopyFrom(ENHANCE[enhance])
    if refine is not None or refine_size is not None:
        turn.refine.CopyFrom(refine_options(refine, refine_size, "--refine-size"))
    if palette:
        turn.palette.CopyFrom(read_palette(palette))
    if background:
        turn.background.CopyFrom(read_background(background))
    try:
        limits.check_options(turn)
    except InvalidInput as error:
        flag = next((flag for path, flag in _FLAGS.items() if error.field.startswith(path)), "--options")
        if flag == "--size" and aspect:
            flag = "--aspect"
        raise BadInput(f"{flag}: {error.problem}; {error.way_out}") from None
    return turn


_FLAGS = {
    "options.size": "--size",
    "options.image_count": "--n",
    "options.palette": "--palette",
    "options.background": "--background",
    "options.sampling.seed": "--seed",
    "options.sampling.steps": "--steps",
    "options.sampling.guidance_scale": "--guidance",
    "options.refine": "--refine-size",
}
"""Where a refused field was given."""


def refine_options(mode: Refine | None, size: int | None, flag: str) -> pb.RefineOptions:
    """High fidelity and the least size where none is given; `flag` is where `size` was."""
    edge = limits.MIN_REFINED if size is None else _unsigned(size, flag, 2**32 - 1)
    return pb.RefineOptions(mode=REFINE[mode or Refine.HIGH_FIDELITY], target_long_edge=edge)


def read_json(text: str | None) -> pb.TurnOptions:
    """`TurnOptions` in protobuf JSON; a field that does not exist is refused."""
    turn = pb.TurnOptions()
    if text:
        try:
            json_format.ParseDict(json.loads(text), turn)
        except (ValueError, TypeError, json_format.ParseError) as error:
            raise BadInput(
                f"--options: {error}; the fields are those of TurnOptions in types.proto"
            ) from None
    return turn


def read_palette(text: str) -> pb.Palette:
    """`#RRGGBB:0.6,#RRGGBB:0.4` or `#RRGGBB,#RRGGBB`."""
    colors = []
    for item in text.split(","):
        color, _, share = item.strip().partition(":")
        try:
            colors.append(pb.PaletteColor(hex=color, proportion=float(share) if share else None))
        except ValueError:
            raise BadInput(
                f"--palette: share {share!r} is not a number; write #RRGGBB:0.6,#RRGGBB:0.4"
            ) from None
    return pb.Palette(colors=colors)


def read_background(text: str) -> pb.Background:
    """`transparent` or `#RRGGBB`."""
    if text.lower() == "transparent":
        return pb.Background(kind=pb.Background.KIND_TRANSPARENT)
    if text.startswith("#"):
        return pb.Background(kind=pb.Background.KIND_COLOR, hex=text)
    raise BadInput(f"--background: {text!r}; write transparent or a colour like #FFE4C4")


def read_picture(path: Path) -> pb.ImageInput:
    """A file as message input, checked as the server will check it."""
    try:
        data = path.expanduser().read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; give the path of a PNG, JPEG or WebP picture") from None
    images.decode(data, str(path))
    return pb.ImageInput(data=data)


def _pair(text: str, separator: str, flag: str, form: str) -> tuple[int, int]:
    first, found, second = text.partition(separator)
    numbers = re.fullmatch(r"[0-9]{1,5}", first) and re.fullmatch(r"[0-9]{1,5}", second)
    if not found or not numbers:
        raise BadInput(f"{flag}: {text!r}; write {form}")
    return int(first), int(second)


def _unsigned(value: int, flag: str, largest: int) -> int:
    # Only what the field cannot hold is refused here; limits.py knows the range.
    if not 0 <= value <= largest:
        raise BadInput(f"{flag}: {value} is out of range; `--help` gives the range")
    return value
