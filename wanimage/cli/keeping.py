"""`wan gc` and the part of `wan sessions` that keeps, moves and removes: an operator's, past the planner.

These commands speak to NATS and S3 themselves, as WAN_NATS_* and WAN_S3_* say or as the stack that `wan up`
runs; docs/deployment.md lists the rights they need.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from wanimage.archive import Archive, Contents, export_session, import_session
from wanimage.blobs import Blobs
from wanimage.bucket import Bucket
from wanimage.bus import Bus
from wanimage.cli import connecting, options, report
from wanimage.cli.report import BadInput
from wanimage.retention import Account, Collector, check_grace, delete_session

Session = Annotated[str, typer.Argument(help="Its id, as `wan sessions list` shows it.")]
Tenant = Annotated[str, typer.Option(help="Whose session it is.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of words.")]
DEFAULT_TENANT = "default"


@report.command
async def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, change nothing.")] = False,
    tenant: Annotated[str, typer.Option(help="Only this tenant; else all.")] = "",
    grace: Annotated[
        float | None, typer.Option(help="Hours below which a blob is young, and that the trash keeps it.")
    ] = None,
    session_ttl: Annotated[
        float | None, typer.Option(help="Days after which an idle session is deleted; 0 keeps all.")
    ] = None,
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Delete idle sessions, and blobs that no session, job or result names. Safe beside running turns."""
    settings = connecting.operator(data_dir)
    seconds = settings.gc_grace if grace is None else grace * 3600
    ttl = settings.session_ttl if session_ttl is None else session_ttl * 86400
    check_grace(seconds, settings.max_deadline)
    if 0 < ttl < settings.max_deadline:
        raise BadInput(
            f"--session-ttl: {ttl:.0f} s is less than a turn may take ({settings.max_deadline:.0f} s)"
        )
    async with await Bus.connect(settings, name="wan-gc") as bus:
        collector = Collector(bus, Bucket(settings), grace=seconds, session_ttl=ttl or None, dry_run=dry_run)
        accounts = await collector.run(tenant)
    if json:
        report.print_json([account.record() for account in accounts])
    else:
        report.out().print(table(accounts))
        for account in accounts:
            if account.left_alone:
                report.err().print(f"{account.tenant}: nothing collected; {account.left_alone}")


@report.command
async def delete(
    session: Session,
    tenant: Tenant = DEFAULT_TENANT,
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Delete a session for good; `wan gc` collects its pictures. Refused while a turn runs."""
    async with await Bus.connect(connecting.operator(data_dir), name="wan-delete") as bus:
        await delete_session(bus, tenant, session, "operator")
    if json:
        report.print_json({"session": session, "deleted": True})
    else:
        report.out().print(f"{session} deleted")


@report.command
async def export(
    session: Session,
    out: Annotated[Path | None, typer.Option("--out", help="The file. [default: SESSION.wan.zip]")] = None,
    tenant: Tenant = DEFAULT_TENANT,
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Write a session and all its pictures and latents into one file."""
    path = out or Path(f"{session}.wan.zip")
    async with _ground(data_dir) as (bus, blobs):
        try:
            contents = await export_session(bus, blobs, tenant, session, path)
        except OSError as error:
            raise BadInput(f"--out: {path}: {error.strerror}; name a file that can be written") from None
    _tell(contents, path, json, "exported to")


@report.command
async def import_(
    file: Annotated[Path, typer.Argument(help="What `wan sessions export` wrote.")],
    name: Annotated[str, typer.Option("--as", help="The new session's id; else the old one's.")] = "",
    tenant: Tenant = DEFAULT_TENANT,
    json: Json = False,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Bring an exported session back, here or elsewhere; the whole file is checked first."""
    with Archive(file) as archive:
        async with _ground(data_dir) as (bus, blobs):
            contents = await import_session(bus, blobs, archive, tenant, name)
    _tell(contents, file, json, "imported from")


def _tell(contents: Contents, path: Path, json: bool, done: str) -> None:
    if json:
        report.print_json(contents.record() | {"path": str(path)})
        return
    size = f"{report.counted(contents.events, 'event')}, {report.counted(contents.blobs, 'blob')}"
    report.out().print(f"{contents.session_id} {done} {path}: {size}, {contents.blob_bytes:,} bytes")


@asynccontextmanager
async def _ground(data_dir: Path | None) -> AsyncIterator[tuple[Bus, Blobs]]:
    settings = connecting.operator(data_dir)
    async with (
        await Bus.connect(settings, name="wan-sessions") as bus,
        await Blobs.connect(settings) as blobs,
    ):
        yield bus, blobs


def table(accounts: list[Account]) -> Table | Text:
    """Accounts for people."""
    if not accounts:
        return Text("nothing stored", "dim")
    found = Table(box=None, pad_edge=False)
    for column in (
        "tenant",
        "sessions",
        "deleted",
        "kept",
        "young",
        "to trash",
        "bytes",
        "back",
        "destroyed",
        "bytes",
    ):
        found.add_column(column, no_wrap=True, justify="left" if column == "tenant" else "right")
    for each in accounts:
        numbers = (
            each.sessions, each.sessions_deleted, each.kept, each.young, each.collected, each.collected_bytes,
            each.put_back, each.destroyed, each.destroyed_bytes,
        )  # fmt: skip
        found.add_row(each.tenant, *(f"{number:,}" for number in numbers))
    return found
