"""`wan top`: what the running stack is doing, from the metrics its processes export."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from wanimage.cli import report, stackfile
from wanimage.cli.readings import Reading, read
from wanimage.cli.topsummary import summary
from wanimage.cli.topview import shown

REFRESH_SECONDS = 2.0
WINDOW_SECONDS = 60.0
"""What "now" means for rates and latencies."""


@report.command
async def top(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="The stack's data directory. [default: the running one]")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once, since the services' start.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON; one object, or one a line while live.")] = False,
) -> None:
    """Watch the running stack: services, queues, latencies, batches, caches, refusals."""
    where, _ = _running(data_dir)
    if once:
        found = summary(*_running(where), await _read(where), None)
        report.print_json(asdict(found)) if json else report.out().print(shown(found))
        return
    readings: deque[Reading] = deque()
    with (
        suppress(asyncio.CancelledError),
        Live(console=report.out(), screen=not json, auto_refresh=False, redirect_stdout=False) as live,
    ):
        while True:
            readings.append(await _read(where))
            while readings[-1].at - readings[0].at > WINDOW_SECONDS:
                readings.popleft()
            found = summary(*_running(where), readings[-1], readings[0])
            report.print_json(asdict(found)) if json else live.update(shown(found), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)


def _running(data_dir: Path | None) -> tuple[Path, stackfile.Stack]:
    if found := stackfile.running(data_dir):
        return found
    raise report.Stop("no running stack found; start one with `wan up` in another terminal")


async def _read(where: Path) -> Reading:
    parts = _running(where)[1].parts.values()
    return await read({part.name: part.metrics for part in parts if part.metrics})
