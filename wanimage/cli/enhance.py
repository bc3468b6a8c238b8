"""`wan enhance`: what the prompt enhancer makes of a prompt, without drawing it."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Any

import grpc
import typer
from google.protobuf import json_format
from rich.text import Text

from wanimage import limits
from wanimage.cli import connecting, options, report, stackfile
from wanimage.cli.options import read_picture
from wanimage.enhancejobs import category_word, changes
from wanimage.v1 import enhancer_pb2, enhancer_pb2_grpc, jobs_pb2, types_pb2


class TaskName(StrEnum):
    """The tasks, as a person types them."""

    AUTO = "auto"
    T2I = "t2i"
    I2I = "i2i"
    T2S = "t2s"
    TI2S = "ti2s"


class Variant(StrEnum):
    """The variants, as a person types them."""

    FAST = "fast"
    QUALITY = "quality"


class Mode(StrEnum):
    """When to rewrite, as a person types it."""

    AUTO = "auto"
    OFF = "off"
    ON = "on"


MODES = dict(zip(Mode, types_pb2.EnhanceOptions.Mode.values(), strict=True))
TASKS = dict(zip(TaskName, jobs_pb2.Task.values(), strict=True))


@report.command
async def enhance(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What you want to see.")],
    task: Annotated[TaskName, typer.Option(help="auto: decided from prompt and --ref.")] = TaskName.AUTO,
    variant: Annotated[Variant, typer.Option(help="quality reasons first.")] = Variant.FAST,
    mode: Annotated[Mode, typer.Option(help="auto: rewrite only where it helps; on: always.")] = Mode.AUTO,
    n: options.CountFlag = None,
    ref: options.RefFlag = None,
    json: Annotated[bool, typer.Option("--json", help="Print the EnhanceResult and nothing else.")] = False,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            envvar="WAN_ENHANCER_ADDRESS",
            metavar="HOST:PORT",
            help="[default: the running stack's]",
            rich_help_panel=options.SERVER,
        ),
    ] = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = options.TIMEOUT,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Rewrite a prompt into a rich, structured description, or say why it is left as it is."""
    limits.check_prompt(prompt, "PROMPT")
    if n is not None:
        limits.check_range(n, 1, limits.MAX_OUTPUT_IMAGES, "--n")
    quality = variant is Variant.QUALITY
    request = enhancer_pb2.EnhanceRequest(
        task=TASKS[task],  # type: ignore[arg-type]
        prompt=prompt,
        image_count=n or 0,
        references=[read_picture(path) for path in ref or []],
        options=types_pb2.EnhanceOptions(
            mode=MODES[mode],  # type: ignore[arg-type]
            variant=types_pb2.ENHANCER_VARIANT_QUALITY if quality else types_pb2.ENHANCER_VARIANT_FAST,
        ),
    )
    where = stackfile.find("enhancer", address, data_dir)
    console = report.out()
    async for answer in _answers(where, api_key, request, timeout):
        if answer.HasField("result"):
            if json:
                report.print_json(record(answer.result))
            else:
                console.print(shown(answer.result))
        elif not json:
            console.print(Text(answer.think_delta, "dim italic"), end="")


async def _answers(
    where: str, api_key: str | None, request: enhancer_pb2.EnhanceRequest, timeout: float
) -> AsyncIterator[enhancer_pb2.EnhanceResponse]:
    async with connecting.channel(where, api_key) as channel:
        stub = enhancer_pb2_grpc.EnhancerServiceStub(channel)
        try:
            async for answer in stub.Enhance(request, timeout=timeout):
                yield answer
        except grpc.RpcError as error:
            raise report.explain(error, where) from None


def record(result: jobs_pb2.EnhanceResult) -> dict[str, Any]:
    """An EnhanceResult as JSON, with every field."""
    return json_format.MessageToDict(
        result, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def shown(result: jobs_pb2.EnhanceResult) -> Text:
    """For people: category, then what a painter would be told."""
    lines = [Text((category_word(result) or "unspecified").replace("_", " "), "bold")]
    if result.thinking:
        lines.insert(0, Text())
    if not result.rewritten:
        lines.append(Text(f"left as it is: {result.pass_through_reason}", "dim"))
    several = len(result.descriptions) > 1
    for number, each in enumerate(result.descriptions, 1):
        lines.append(Text(f"{number}. {each.natural}" if several else each.natural))
    if result.common:
        lines.append(Text.assemble(("stays    ", "dim"), result.common))
    lines += [Text.assemble(("changes  ", "dim"), each) for each in changes(result)]
    lines.append(Text(f"{result.usage.generated_tokens} tokens, {result.usage.seconds:.2f} s", "dim"))
    return Text("\n").join(lines)
