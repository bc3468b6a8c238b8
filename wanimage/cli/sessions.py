"""`wan sessions`: list, show, watch, fork; and, from `keeping.py`, delete, export, import."""

from typing import Annotated

import typer
from google.protobuf import json_format
from rich.console import Group
from rich.table import Table
from rich.text import Text

from wanimage.cli import inline, keeping, options, report, stackfile
from wanimage.cli.client import PlannerClient
from wanimage.cli.turn import ENDS, Turn, size_of
from wanimage.cli.view import TurnView
from wanimage.v1 import events_pb2, planner_pb2, types_pb2

app = typer.Typer(no_args_is_help=True, help="Look at conversations, follow, branch, delete and move them.")

Session = Annotated[str, typer.Argument(help="Its id, as `wan sessions list` shows it.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
WATCH_TIMEOUT = 3600.0
"""The longest deadline a server grants by default, seconds."""


def _client(address: str | None, key: str | None, timeout: float) -> PlannerClient:
    return PlannerClient(stackfile.find("planner", address), key, timeout)


@app.command("list")
@report.command
async def list_sessions(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    json: Json = False,
    address: options.AddressFlag = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = 30.0,
) -> None:
    """The newest sessions first."""
    async with _client(address, api_key, timeout) as client:
        found = await client.sessions(limit)
    if json:
        report.print_json([record(session) for session in found])
    else:
        report.out().print(sessions_table(found))


@app.command()
@report.command
async def show(
    session: Session,
    json: Json = False,
    address: options.AddressFlag = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = 30.0,
) -> None:
    """What was said and drawn in a session."""
    async with _client(address, api_key, timeout) as client:
        found = await client.session(session)
        if json:
            report.print_json(record(found))
            return
        console = report.out()
        console.print(
            Group(
                Text.assemble(
                    (found.session_id, "bold"),
                    f"  {report.counted(found.turns, 'turn')}, event {found.last_seq}",
                )
            )
        )
        turn = Turn()
        async for event in client.watch(session, until_idle=True):
            kind = event.WhichOneof("kind")
            if kind == "turn_started":
                turn = Turn()
                console.print(Text.assemble(("› ", "bold cyan"), event.turn_started.text))
            turn.apply(event)
            if kind == "image_ready":
                turn.text += f"[picture {event.image_ready.image.index}: {event.image_ready.image.prompt}]"
            elif kind in ENDS:
                console.print(
                    Text(turn.text + (f" ({kind.removeprefix('turn_')})" if kind != "turn_finished" else ""))
                )


@app.command()
@report.command
async def watch(
    session: Session,
    after: Annotated[int, typer.Option(min=0, help="Skip events up to this number.")] = 0,
    until_idle: Annotated[bool, typer.Option(help="End when no turn is running.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line and event.")] = False,
    address: options.AddressFlag = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = WATCH_TIMEOUT,
) -> None:
    """Replay a session, then follow it live (Ctrl-C leaves)."""
    async with _client(address, api_key, timeout) as client:
        console = report.out()
        view, turn = None, Turn()
        async for event in client.watch(session, after, until_idle=until_idle):
            if json:
                report.print_json(event_record(event))
                continue
            if event.WhichOneof("kind") == "turn_started":
                console.print(Text.assemble(("› ", "bold cyan"), event.turn_started.text))
                view, turn = TurnView(console, inline.Show.NONE), Turn()
            turn.apply(event)
            if view is not None:
                view.event(event, turn)
                if event.WhichOneof("kind") == "image_ready":
                    view.saved(turn.pictures[event.image_ready.image.index], b"")
        if view is not None:
            view.close()


@app.command()
@report.command
async def fork(
    session: Session,
    at: Annotated[int, typer.Option(min=0, help="Last event to keep; 0 keeps all.")] = 0,
    json: Json = False,
    address: options.AddressFlag = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = 30.0,
) -> None:
    """A new session that shares the old one's history."""
    async with _client(address, api_key, timeout) as client:
        forked = await client.fork(session, at)
    if json:
        report.print_json(record(forked))
    else:
        report.out().print(
            f"{forked.session_id}\n[dim]go on with: wan chat --session {forked.session_id}[/dim]"
        )


app.command()(keeping.delete)
app.command()(keeping.export)
app.command("import")(keeping.import_)


def sessions_table(sessions: list[planner_pb2.Session]) -> Table | Text:
    """Sessions for people."""
    if not sessions:
        return Text("no sessions yet; `wan chat` begins one", "dim")
    table = Table(box=None, pad_edge=False)
    for column in ("session", "created (UTC)", "turns", "events", "title"):
        right = column in ("turns", "events")
        table.add_column(column, no_wrap=column != "title", justify="right" if right else "left")
    for session in sessions:
        known = session.HasField("created")
        created = session.created.ToDatetime().strftime("%Y-%m-%d %H:%M") if known else ""
        title = Text(session.problem, "red") if session.problem else Text(session.title)
        if session.running_turn_id:
            title.append(" (drawing)", "yellow")
        table.add_row(session.session_id, created, str(session.turns), str(session.last_seq), title)
    return table


def record(session: planner_pb2.Session) -> dict[str, object]:
    """A session as JSON with plain numbers."""
    return {
        "session": session.session_id,
        "created": session.created.ToJsonString(),
        "last_seq": session.last_seq,
        "turns": session.turns,
        "running_turn": session.running_turn_id,
        "title": session.title,
        "problem": session.problem,
        "forked_from": session.forked_from,
        "images": [
            {
                "index": image.index,
                "prompt": image.prompt,
                "height": image.size.height,
                "width": image.size.width,
                "seed": image.seed,
                "sha256": image.base.sha256,
                "refined": _refined_record(image),
            }
            for image in session.images
        ],
    }


def _refined_record(image: types_pb2.Image) -> dict[str, object] | None:
    if not image.HasField("refined"):
        return None
    height, width = size_of(image.refined, image.size)
    return {"height": height, "width": width, "sha256": image.refined.sha256}


def event_record(event: events_pb2.Event) -> dict[str, object]:
    """An event in protobuf's own JSON, with the proto's field names."""
    return json_format.MessageToDict(event, preserving_proto_field_name=True)
