"""`wan demo`: one turn that shows everything, then a chat when somebody is there to type."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from wanimage.cli import background, inline, options, report, stackfile
from wanimage.cli.chat import Chat, converse
from wanimage.cli.client import PlannerClient
from wanimage.cli.running import check, run_turn
from wanimage.cli.turn import Turn, save
from wanimage.cli.up import choose, refuse_second
from wanimage.cli.view import TurnView
from wanimage.v1 import types_pb2

PROMPT = "Tell a three-picture story about a fox who finds a red balloon."


@report.command
def demo(
    keep_up: Annotated[
        bool, typer.Option("--keep-up", help="Leave the services running; `wan down` ends them.")
    ] = False,
    prompt: Annotated[str, typer.Option(help="Another request.")] = PROMPT,
    out: options.OutFlag = Path("out"),
    show: Annotated[inline.Show, typer.Option(help="Pictures in the terminal.")] = inline.Show.AUTO,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="The stack's data directory.")
    ] = stackfile.DATA_DIR,
    address: options.AddressFlag = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = options.TIMEOUT,
) -> None:
    """Run one turn on the running stack, or on one started for it; save and time everything."""
    console, started_at = report.out(), time.monotonic()
    # `make`, a terminal that closes and `kill` must all end what was started here.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    own = None
    found = None if address else stackfile.running(data_dir)
    if found and found[1].state == stackfile.STARTING:
        console.print(f"Waiting for the stack of {data_dir}.")
        background.wait(data_dir, lambda: stackfile.running(data_dir) is not None, console)
    elif not address and found is None:
        refuse_second(data_dir)
        console.print(f"Starting the services; logs and data in {data_dir}.")
        own = background.start(data_dir, choose(None), console, with_us=not keep_up)
    try:
        planner = stackfile.find("planner", address, data_dir)
        ready_seconds = stackfile.elapsed(started_at) if own else 0.0
        folder = new_folder(out)
        console.print(f"[bold cyan]›[/bold cyan] {prompt}")
        turn = asyncio.run(draw(console, planner, api_key, timeout, prompt, folder, show))
        record = {**turn.record(), "prompt": prompt, "ready_seconds": round(ready_seconds, 3)}
        save((json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode(), folder / "turn.json")
        console.print(times_table(turn, ready_seconds))
        console.print(f"Pictures and turn.json are in [bold]{folder}[/bold].")
        if sys.stdin.isatty() and console.is_terminal:
            chat_options = types_pb2.TurnOptions(previews=True)
            converse(Chat(planner, api_key, timeout, chat_options, folder, show, turn.session))
    finally:
        if own is not None and not keep_up:
            console.print("Stopping the services.")
            background.stop(data_dir, own)


async def draw(
    console: Console,
    planner: str,
    api_key: str | None,
    timeout: float,
    prompt: str,
    folder: Path,
    show: inline.Show,
) -> Turn:
    """The demonstration's turn. Raises Stop unless it finished with at least one picture."""
    async with PlannerClient(planner, api_key, timeout) as client:
        view = TurnView(console, show)
        turn = await run_turn(client, view, folder, prompt, options=types_pb2.TurnOptions(previews=True))
    check(turn)
    if not turn.record()["images"]:
        raise report.Stop("the turn finished without a picture; see what the planner wrote above")
    return turn


def new_folder(out: Path) -> Path:
    """`out`/demo-<n> with the first free n, made."""
    number = 1
    while True:
        folder = out / f"demo-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def times_table(turn: Turn, ready_seconds: float) -> Table:
    """Seconds a stage, a column a picture, the turn's sum last."""
    pictures = [picture for picture in turn.pictures.values() if picture.path]
    table = Table(title="seconds", box=None, pad_edge=False, title_justify="left", title_style="bold")
    table.add_column("stage")
    for picture in pictures:
        table.add_column(f"picture {picture.index}", justify="right")
    table.add_column("turn", justify="right", style="bold")
    if ready_seconds:
        table.add_row("start services", *[""] * len(pictures), f"{ready_seconds:.2f}")
    names = list(
        dict.fromkeys([*turn.usage.stage_seconds, *(name for p in pictures for name in p.stage_seconds)])
    )
    for name in names:
        cells = [f"{p.stage_seconds[name]:.2f}" if name in p.stage_seconds else "" for p in pictures]
        whole = turn.usage.stage_seconds.get(name) if name in turn.usage.stage_seconds else None
        table.add_row(name, *cells, "" if whole is None else f"{whole:.2f}")
    table.add_row("whole turn", *[""] * len(pictures), f"{turn.usage.seconds:.2f}")
    return table
