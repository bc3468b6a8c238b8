"""`wan refine`: a picture of a session, or a file, made large."""

import os
import re
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import grpc
import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from wanimage import limits
from wanimage.cli import connecting, options, report, stackfile
from wanimage.cli.client import PlannerClient
from wanimage.cli.options import read_picture
from wanimage.cli.report import BadInput, Stop
from wanimage.cli.turn import save, usage_record
from wanimage.v1 import refiner_pb2, refiner_pb2_grpc, types_pb2


class Format(StrEnum):
    """How the picture is encoded, as a person types it."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


FORMATS = {
    Format.PNG: types_pb2.IMAGE_FORMAT_UNSPECIFIED,  # as turns ask for it, so that equal jobs are one
    Format.WEBP: types_pb2.IMAGE_FORMAT_WEBP,
    Format.JPEG: types_pb2.IMAGE_FORMAT_JPEG,
}
SUFFIXES = {".png": Format.PNG, ".webp": Format.WEBP, ".jpg": Format.JPEG, ".jpeg": Format.JPEG}
SESSION_IMAGE = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,9})")


RefinerAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="WAN_REFINER_ADDRESS",
        metavar="HOST:PORT",
        help="[default: the running stack's]",
        rich_help_panel=options.SERVER,
    ),
]
PlannerAddress = Annotated[
    str | None,
    typer.Option(
        envvar="WAN_ADDRESS",
        metavar="HOST:PORT",
        help="Where sessions and results are fetched from.",
        rich_help_panel=options.SERVER,
    ),
]


@report.command
async def refine(
    source: Annotated[
        str,
        typer.Argument(metavar="SESSION:IMAGE|FILE", help="A session's picture by its number, or a file."),
    ],
    mode: Annotated[
        options.Refine, typer.Option(help="high-fidelity: only sharpens; repair: may change details.")
    ] = options.Refine.HIGH_FIDELITY,
    size: Annotated[
        int, typer.Option(metavar="PIXELS", help="The longer side, 2048 to 4096.")
    ] = limits.MIN_REFINED,
    prompt: Annotated[
        str | None, typer.Option(help="What it shows. [default: what it was drawn from]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="[default: the one it was drawn with, or 0]")] = None,
    image_format: Annotated[
        Format | None, typer.Option("--format", help="[default: by the name of --out, or png]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file. [default: its name with -refined, here]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    address: RefinerAddress = None,
    planner_address: PlannerAddress = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = options.TIMEOUT,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Make a picture large: 2048 to 4096 pixels on its longer side, its shape kept."""
    began = time.monotonic()
    path, encoding = target(source, out, image_format)
    request = _request(mode, size, prompt, seed, encoding)
    if (named := session_image(source)) is None:
        request.image.CopyFrom(read_picture(Path(source)))
    where = stackfile.find("refiner", address, data_dir)
    planner = stackfile.find("planner", planner_address, data_dir)
    async with PlannerClient(planner, api_key, timeout) as client:
        if named is not None:
            _take(request, await _image(client, *named))
        if mode is options.Refine.REPAIR and not request.prompt:
            raise BadInput("--prompt: repair follows a prompt, this picture has none; say what it shows")
        output = await _refined(where, api_key, request, timeout, quiet=json)
        data = await client.fetch(output.image)
    try:
        save(data, path)
    except OSError as error:
        raise BadInput(f"--out: {path}: {error.strerror}; name a file that can be written") from None
    seconds = time.monotonic() - began
    if json:
        report.print_json(_record(output, request, path, seconds))
    else:
        made = f"{output.size.width}x{output.size.height}, {mode}, {seconds:.1f} s"
        report.out().print(f"[green]✓[/green] [bold]{escape(str(path))}[/bold]  [dim]{made}[/dim]")


def _request(
    mode: options.Refine, size: int, prompt: str | None, seed: int | None, encoding: Format
) -> refiner_pb2.RefineRequest:
    """All but the source. Raises InvalidInput naming the flag."""
    limits.check_range(size, limits.MIN_REFINED, limits.MAX_REFINED, "--size")
    if seed is not None:
        limits.check_range(seed, 0, limits.MAX_SEED, "--seed")
    if prompt is not None:
        limits.check_prompt(prompt, "--prompt")
    return refiner_pb2.RefineRequest(
        prompt=prompt or "",
        seed=seed,
        options=types_pb2.RefineOptions(mode=options.REFINE[mode], target_long_edge=size),
        format=FORMATS[encoding],
    )


def target(source: str, out: Path | None, image_format: Format | None) -> tuple[Path, Format]:
    """Where the picture goes, and in which format. Raises BadInput where name and format disagree."""
    if out is None:
        image_format = image_format or Format.PNG
        return Path(f"{Path(source).stem.replace(':', '-')}-refined.{image_format}"), image_format
    named = SUFFIXES.get(out.suffix.lower())
    if out.is_dir():
        raise BadInput(f"--out: {out} is a folder; name a file in it")
    if image_format and named and named is not image_format:
        raise BadInput(f"--format: {image_format}, but --out ends in {out.suffix}; change one of them")
    return out, image_format or named or Format.PNG


def session_image(source: str) -> tuple[str, int] | None:
    """(session, index) of `SESSION:IMAGE`; None for the path of a file. Raises BadInput for neither."""
    if ":" not in source or os.path.exists(Path(source).expanduser()):
        return None
    if (named := SESSION_IMAGE.fullmatch(source)) is None:
        raise BadInput(
            f"{source}: neither a file nor SESSION:IMAGE; `wan sessions show SESSION` numbers the pictures"
        )
    return named[1], int(named[2])


async def _image(client: PlannerClient, session: str, index: int) -> types_pb2.Image:
    images = {image.index: image for image in (await client.session(session)).images}
    if index not in images:
        found = f"its finished pictures are {', '.join(map(str, images))}" if images else "it has none yet"
        raise BadInput(f"{session}:{index}: session {session} has no picture {index}; {found}")
    return images[index]


def _take(request: refiner_pb2.RefineRequest, image: types_pb2.Image) -> None:
    """Refine what the session holds: the latent, or the picture itself where a user brought it."""
    if image.HasField("latent"):
        request.latent.CopyFrom(image.latent)
    else:
        request.image.blob.CopyFrom(image.base)
    request.prompt = request.prompt or image.prompt
    if not request.HasField("seed"):
        request.seed = image.seed


async def _refined(
    where: str, api_key: str | None, request: refiner_pb2.RefineRequest, timeout: float, *, quiet: bool
) -> refiner_pb2.RefineOutput:
    """Ask the refiner, with a bar that fills tile by tile."""
    console = report.err()
    columns = (
        SpinnerColumn(),
        TextColumn("refining"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    shown = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    async with connecting.channel(where, api_key) as channel:
        stub = refiner_pb2_grpc.RefinerServiceStub(channel)
        try:
            with shown:
                bar = shown.add_task("", total=None)
                async for answer in stub.Refine(request, timeout=timeout):
                    if answer.HasField("output"):
                        return answer.output
                    shown.update(bar, total=answer.progress.steps or None, completed=answer.progress.step)
        except grpc.RpcError as error:
            raise report.explain(error, where) from None
    raise Stop(f"{where} ended the stream before the picture; try again, what is finished is kept")


def _record(
    output: refiner_pb2.RefineOutput, request: refiner_pb2.RefineRequest, path: Path, seconds: float
) -> dict[str, object]:
    return {
        "path": str(path),
        "height": output.size.height,
        "width": output.size.width,
        "sha256": output.image.sha256,
        "prompt": request.prompt,
        "seed": request.seed,
        "seconds": round(seconds, 3),
        "usage": usage_record(output.usage),
    }
