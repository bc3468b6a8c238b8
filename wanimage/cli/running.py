"""Runs a turn from words to saved pictures, with Ctrl-C meaning: cancel the turn; a second time: leave it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from wanimage.cli import report
from wanimage.cli.client import PlannerClient
from wanimage.cli.turn import Turn, file_name, save
from wanimage.cli.view import View
from wanimage.v1 import events_pb2, types_pb2

CANCEL_REASON = "client"


class Interrupted(report.Stop):
    """The user pressed Ctrl-C."""

    status = report.INTERRUPTED


async def run_turn(
    client: PlannerClient,
    view: View,
    folder: Path,
    text: str,
    *,
    session: str = "",
    images: Sequence[types_pb2.ImageInput] = (),
    options: types_pb2.TurnOptions | None = None,
) -> Turn:
    """One turn; its pictures lie in `folder`. Returns also when it failed or was cancelled (see `check`)."""
    turn = Turn(session=session)
    events = client.turn(text, session=session, images=images, options=options)
    return await interruptible(client, view, turn, follow(client, events, view, folder, turn))


async def interruptible(client: PlannerClient, view: View, turn: Turn, work: object) -> Turn:
    """Await `work`, which fills `turn`; Ctrl-C cancels the turn, a second one raises Interrupted."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    cancels: list[asyncio.Task[str]] = []

    def interrupt() -> None:
        if cancels or not turn.id:
            task.cancel()
            return
        view.note("cancelling the turn; Ctrl-C again leaves at once", "yellow")
        cancels.append(asyncio.ensure_future(client.cancel(turn.session, CANCEL_REASON)))

    loop = asyncio.get_running_loop()
    with suppress(
        NotImplementedError, ValueError, RuntimeError
    ):  # not in the main thread: no signals to care for
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        raise Interrupted("left; the turn may go on, see `wan sessions`") from None
    finally:
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)
        await asyncio.gather(*cancels, return_exceptions=True)
        view.close()
    return turn


async def follow(
    client: PlannerClient, events: AsyncIterator[events_pb2.Event], view: View, folder: Path, turn: Turn
) -> Turn:
    """Consume a turn's events: show them and save each finished picture, its hash checked, into `folder`."""
    async for event in events:
        turn.apply(event)
        view.event(event, turn)
        if event.WhichOneof("kind") == "image_ready":
            await _save(client, turn, event.image_ready.image.index, view, folder)
    return turn


async def _save(client: PlannerClient, turn: Turn, index: int, view: View, folder: Path) -> None:
    picture = turn.pictures[index]
    assert picture.blob is not None, index
    data = await client.fetch(picture.blob)
    picture.path = folder / file_name(turn.session, turn.id, index, picture.blob.media_type)
    save(data, picture.path)
    view.saved(picture, data)


def check(turn: Turn) -> None:
    """Raise what a turn that did not finish ends the command with."""
    if turn.failure is not None:
        raise report.failure(turn.failure.reason, turn.failure.message, turn.failure.code)
    if turn.cancelled:
        raise Interrupted(f"the turn was cancelled ({turn.cancelled})")


def check_refined(turn: Turn) -> None:
    """Raise Stop when a picture was to be refined and has its base alone."""
    left = [picture for picture in turn.pictures.values() if picture.refine_failure]
    if left:
        raise report.Stop(f"{report.counted(len(left), 'picture')} not refined: {left[0].refine_failure}")
