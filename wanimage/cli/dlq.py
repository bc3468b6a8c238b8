"""`wan dlq`: jobs nobody could do; look at them, run them again, drop them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from google.protobuf import json_format
from rich.table import Table
from rich.text import Text

from wanimage.bus import Bus
from wanimage.cli import connecting, options, report
from wanimage.deadletters import DeadLetter, DeadLetters

app = typer.Typer(
    no_args_is_help=True,
    help="Jobs nobody could do. Speaks to NATS itself: set WAN_NATS_URL, WAN_NATS_USER and WAN_NATS_PASSWORD "
    "of an operator, or run it beside `wan up`.",
)

Name = Annotated[str, typer.Argument(metavar="ID", help="The job's id or its beginning, as `list` shows it.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of words.")]
NAME_CHARACTERS = 12
"""Of a job's id, in tables."""


@app.command("list")
@report.command
async def list_letters(
    kind: Annotated[str, typer.Option(help="Only of this kind: turn, render, decode, ...")] = "",
    tenant: Annotated[str, typer.Option(help="Only of this tenant.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """The newest first."""
    async with _letters(data_dir) as letters:
        found = [letter async for letter in letters.all(kind=kind, tenant=tenant)][::-1]
    if json:
        report.print_json([record(letter) for letter in found[:limit]])
        return
    report.out().print(table(found[:limit]))
    if len(found) > limit:
        report.err().print(f"{len(found) - limit} more; see --limit, --kind and --tenant")


@app.command()
@report.command
async def show(name: Name, data_dir: options.DataDirFlag = None) -> None:
    """Everything known of one job, as JSON; of several letters the newest."""
    async with _letters(data_dir) as letters:
        letter = (await letters.find(name))[-1]
    body = json_format.MessageToDict(letter.job, preserving_proto_field_name=True) if letter.job else None
    report.print_json(record(letter) | {"job": body, "size": len(letter.data)})


@app.command()
@report.command
async def retry(
    name: Name,
    seconds: Annotated[float, typer.Option(min=1, help="Deadline of the new attempt.")] = options.TIMEOUT,
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Run a job once more, under a deadline of its own, and take it off the list."""
    async with _letters(data_dir) as letters:
        found = await letters.find(name)
        submission = await letters.retry(found, seconds)
    done = submission.result is not None
    if json:
        report.print_json({"id": found[-1].name, "attempt": submission.attempt, "done_already": done})
    else:
        what = "had been done meanwhile" if done else f"is queued as attempt {submission.attempt}"
        report.out().print(f"{found[-1].name} {what}")


@app.command()
@report.command
async def drop(name: Name, json: Json = False, data_dir: options.DataDirFlag = None) -> None:
    """Take a job off the list for good; its result stays the failure it is."""
    async with _letters(data_dir) as letters:
        found = await letters.find(name)
        await letters.drop(found)
    if json:
        report.print_json({"id": found[-1].name, "dropped": len(found)})
    else:
        report.out().print(f"{found[-1].name} dropped")


@asynccontextmanager
async def _letters(data_dir: options.DataDirFlag) -> AsyncIterator[DeadLetters]:
    async with await Bus.connect(connecting.operator(data_dir), name="wan-dlq") as bus:
        yield DeadLetters(bus)


def table(letters: list[DeadLetter]) -> Table | Text:
    """Letters for people."""
    if not letters:
        return Text("no dead letters", "dim")
    found = Table(box=None, pad_edge=False)
    for column in ("id", "given up (UTC)", "kind", "tenant", "reason"):
        found.add_column(column, no_wrap=column != "reason")
    for letter in letters:
        name = letter.name[:NAME_CHARACTERS] if letter.job else letter.name
        time = letter.time.strftime("%Y-%m-%d %H:%M:%S")
        found.add_row(name, time, letter.kind, letter.tenant, Text(letter.reason))
    return found


def record(letter: DeadLetter) -> dict[str, object]:
    """A letter as JSON, without its job."""
    return {
        "id": letter.name,
        "kind": letter.kind,
        "tenant": letter.tenant,
        "reason": letter.reason,
        "time": letter.time.isoformat(timespec="milliseconds"),
    }
