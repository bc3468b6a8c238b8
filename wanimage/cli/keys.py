"""`wan keys`: create, list and revoke API keys. Writes the bucket `KEYS`, so it needs NATS as an operator."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from wanimage.bus import Bus
from wanimage.cli import connecting, options, report
from wanimage.keys import Key, KeyStore, RoleName, new_key

app = typer.Typer(no_args_is_help=True, help="API keys: make one, list them, take one back.")

Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@app.command()
@report.command
async def create(
    tenant: Annotated[str, typer.Argument(help="Whose sessions and pictures the key opens.")],
    role: Annotated[
        RoleName, typer.Option(help="reader: look; user: also draw; admin: also act for every tenant.")
    ] = "user",
    name: Annotated[str, typer.Option(help="Whose it is, or what it is for.")] = "",
    expires: Annotated[
        str, typer.Option(metavar="30d", help="How long it is good for: m, h, d or w. [default: for ever]")
    ] = "",
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Make a key and show it, once: only its hash is kept."""
    key, kept = new_key(tenant, role, name=name, lifetime=read_lifetime(expires))
    async with _store(data_dir) as store:
        await store.add(kept)
    if json:
        report.print_json({"key": key, **record(kept)})
        return
    report.out().print(key)
    report.err().print(f"key {kept.id}, {role} of {tenant}; it is not shown again")


@app.command("list")
@report.command
async def list_keys(json: Json = False, data_dir: options.DataDirFlag = None) -> None:
    """Every key ever made, oldest first."""
    async with _store(data_dir) as store:
        found = await store.all()
    if json:
        report.print_json([record(key) for key in found])
        return
    table = Table(box=None, pad_edge=False)
    columns = ("id", "tenant", "role", "name", "state", "created", "expires", "ends in")
    for column in columns:
        table.add_column(column)
    for key in found:
        dates = (key.created.date().isoformat(), key.expires.date().isoformat() if key.expires else "")
        table.add_row(key.id, key.tenant, key.role, key.name, key.state, *dates, key.last_four)
    report.out().print(table)


@app.command()
@report.command
async def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `wan keys list` shows it.")],
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Take a key back: every front refuses it within about a second."""
    async with _store(data_dir) as store:
        key = await store.revoke(key_id)
    if json:
        report.print_json(record(key))
    else:
        report.out().print(f"key {key.id} of {key.tenant} is revoked")


def record(key: Key) -> dict[str, object]:
    """What `--json` shows of a key; not its hash."""
    return {**key.model_dump(mode="json", exclude={"sha256"}), "state": key.state}


def read_lifetime(text: str) -> timedelta | None:
    """`90m`, `12h`, `30d`, `4w`; empty is for ever. Raises BadInput."""
    if not text:
        return None
    read = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if read is None:
        raise report.BadInput(f"--expires: {text!r}; write a number and m, h, d or w, such as 30d")
    return timedelta(**{_UNITS[read[2]]: int(read[1])})


@asynccontextmanager
async def _store(data_dir: Path | None) -> AsyncIterator[KeyStore]:
    async with await Bus.connect(connecting.operator(data_dir), name="wan-keys") as bus:
        yield KeyStore(bus)
