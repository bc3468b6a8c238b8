"""`wan chat`: a conversation that draws."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from wanimage.cli import inline, options, report, stackfile
from wanimage.cli.client import PlannerClient
from wanimage.cli.options import read_picture, turn_options
from wanimage.cli.running import Interrupted, run_turn
from wanimage.cli.sessions import sessions_table
from wanimage.cli.view import TurnView
from wanimage.errors import WanError
from wanimage.v1 import types_pb2

HELP = """\
Write what you want to see, or just talk. Ctrl-C cancels a turn, twice leaves it.
  /image PATH   attach a picture to the next message   /new        start a new session
  /sessions     list the newest sessions               /fork [AT]  go on in a copy of this session
  /open ID      go on in that session                  /quit       leave (also Ctrl-D)"""
SESSIONS_SHOWN = 10


@report.command
def chat(
    session: options.SessionFlag = None,
    size: options.SizeFlag = None,
    aspect: options.AspectFlag = None,
    n: options.CountFlag = None,
    palette: options.PaletteFlag = None,
    background: options.BackgroundFlag = None,
    seed: options.SeedFlag = None,
    steps: options.StepsFlag = None,
    guidance: options.GuidanceFlag = None,
    enhance: options.EnhanceFlag = options.Enhance.AUTO,
    refine: options.RefineFlag = None,
    refine_size: options.RefineSizeFlag = None,
    more: options.OptionsFlag = None,
    out: options.OutFlag = Path("out"),
    show: Annotated[inline.Show, typer.Option(help="Pictures in the terminal.")] = inline.Show.AUTO,
    address: options.AddressFlag = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = options.TIMEOUT,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Converse; pictures appear in the terminal and in a folder. The flags hold for every turn."""
    turn = turn_options(
        size=size, aspect=aspect, count=n, palette=palette, background=background,
        seed=seed, steps=steps, guidance=guidance, enhance=enhance,
        refine=refine, refine_size=refine_size, options=more,
    )  # fmt: skip
    turn.previews = True
    planner = stackfile.find("planner", address, data_dir)
    converse(Chat(planner, api_key, timeout, turn, out, show, session or ""))


@dataclass
class Chat:
    """A conversation's state on this side: everything else is in the session's log."""

    address: str
    api_key: str | None
    timeout: float
    options: types_pb2.TurnOptions
    out: Path
    show: inline.Show
    session: str = ""
    attached: list[types_pb2.ImageInput] = field(default_factory=list)
    console: Console = field(default_factory=report.out)


def converse(chat: Chat) -> None:
    """Read lines and run turns until /quit or Ctrl-D."""
    import readline  # noqa: F401  # gives `input` a history and line editing

    chat.console.print(f"[bold]wan chat[/bold] with {chat.address}. /help lists the commands.")
    # One loop for the whole conversation: the channel belongs to it. It rests while the user types.
    with asyncio.Runner() as runner:
        client = runner.run(_open(chat))
        try:
            if chat.session:
                runner.run(_reopen(chat, client))
            while (line := _read(chat)) is not None:
                try:
                    if not runner.run(_obey(chat, client, line)):
                        break
                except Interrupted as left:
                    chat.console.print(f"[yellow]{escape(str(left))}[/yellow]")
                except (report.Stop, WanError) as error:
                    chat.console.print(f"[red]{escape(str(error))}[/red]")
        finally:
            runner.run(client.__aexit__(None, None, None))
    if chat.session:
        chat.console.print(f"[dim]Come back with: wan chat --session {chat.session}[/dim]")


async def _open(chat: Chat) -> PlannerClient:
    return PlannerClient(chat.address, chat.api_key, chat.timeout)


async def _reopen(chat: Chat, client: PlannerClient) -> None:
    session = await client.session(chat.session)
    said = f"{report.counted(session.turns, 'turn')}, {report.counted(len(session.images), 'picture')}"
    chat.console.print(f"[dim]{said}: {escape(session.title)}[/dim]")


def _read(chat: Chat) -> str | None:
    """The next line; None at Ctrl-D, or when Ctrl-C is pressed twice in a row."""
    marker = f"[{len(chat.attached)} attached] " if chat.attached else ""
    for last in (False, True):
        try:
            return input(f"{marker}› ").strip()
        except EOFError:
            chat.console.print()
            return None
        except KeyboardInterrupt:
            # The first may have been meant for a turn that ended a moment before.
            chat.console.print("" if last else "\n[dim]Ctrl-C again leaves[/dim]")
    return None


async def _obey(chat: Chat, client: PlannerClient, line: str) -> bool:
    """Run a command or a turn; False ends the conversation."""
    if not line:
        return True
    if not line.startswith("/"):
        await _turn(chat, client, line)
        return True
    word, _, rest = line.partition(" ")
    if word in ("/quit", "/exit", "/q"):
        return False
    act = _COMMANDS.get(word)
    if act is None:
        raise report.BadInput(f"no command {word}; /help lists them")
    await act(chat, client, rest.strip())
    return True


async def _turn(chat: Chat, client: PlannerClient, text: str) -> None:
    view = TurnView(chat.console, chat.show)
    images, chat.attached = chat.attached, []
    turn = await run_turn(
        client, view, chat.out, text, session=chat.session, images=images, options=chat.options
    )  # fmt: skip
    chat.session = turn.session or chat.session
    if turn.failure is not None:
        raise report.failure(turn.failure.reason, turn.failure.message, turn.failure.code)
    if turn.cancelled:
        chat.console.print(f"[yellow]cancelled ({escape(turn.cancelled)})[/yellow]")
    else:
        chat.console.print(f"[dim]{turn.usage.generated_tokens} tokens, {turn.usage.seconds:.1f} s[/dim]")


async def _help(chat: Chat, client: PlannerClient, rest: str) -> None:
    chat.console.print(escape(HELP))


async def _new(chat: Chat, client: PlannerClient, rest: str) -> None:
    chat.session, chat.attached = "", []
    chat.console.print("[dim]a new session begins with your next message[/dim]")


async def _fork(chat: Chat, client: PlannerClient, rest: str) -> None:
    if not chat.session:
        raise report.BadInput("nothing to fork yet; say something first")
    if rest and not rest.isdecimal():
        raise report.BadInput(f"/fork {rest}: give the number of the last event to keep, or nothing for all")
    forked = await client.fork(chat.session, int(rest or 0))
    chat.session = forked.session_id
    chat.console.print(f"[dim]now in {forked.session_id}, a copy up to event {forked.last_seq}[/dim]")


async def _sessions(chat: Chat, client: PlannerClient, rest: str) -> None:
    chat.console.print(sessions_table(await client.sessions(SESSIONS_SHOWN)))


async def _switch(chat: Chat, client: PlannerClient, rest: str) -> None:
    previous, chat.session = chat.session, rest
    try:
        await _reopen(chat, client)
    except report.Stop:
        chat.session = previous
        raise


async def _image(chat: Chat, client: PlannerClient, rest: str) -> None:
    paths = shlex.split(rest)  # quoted, as terminals paste dropped files
    if not paths:
        raise report.BadInput("/image: give the path of a PNG, JPEG or WebP picture")
    chat.attached += [read_picture(Path(path)) for path in paths]
    chat.console.print(
        f"[dim]attached; your next message takes {report.counted(len(chat.attached), 'picture')} along[/dim]"
    )


_COMMANDS: dict[str, Callable[[Chat, PlannerClient, str], Awaitable[None]]] = {
    "/help": _help, "/new": _new, "/fork": _fork, "/sessions": _sessions, "/open": _switch, "/image": _image,
}  # fmt: skip
