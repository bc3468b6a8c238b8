"""A turn on a terminal: text as it streams, a bar and a forming preview for every picture, then its path.

Without a terminal the same story is told in plain lines.
"""

import textwrap
import time
from typing import Protocol as Interface

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from wanimage.cli import inline
from wanimage.cli.report import counted
from wanimage.cli.turn import ENDS, Picture, Turn
from wanimage.errors import InvalidInput
from wanimage.v1 import events_pb2

PREVIEW_COLUMNS = 16
BAR_COLUMNS = 20
PROMPT_COLUMNS = 60
FRAMES_A_SECOND = 12


class View(Interface):
    """What follows a turn."""

    def event(self, event: events_pb2.Event, turn: Turn) -> None:
        """An event arrived; `turn` already holds it."""

    def saved(self, picture: Picture, data: bytes) -> None:
        """A picture lies on disk."""

    def note(self, text: str, style: str = "dim") -> None:
        """Something the command itself has to say."""

    def close(self) -> None:
        """The turn is over, or the view's owner gave up on it."""


class Silent:
    """Shows nothing: `--json`."""

    def event(self, event: events_pb2.Event, turn: Turn) -> None: ...

    def saved(self, picture: Picture, data: bytes) -> None: ...

    def note(self, text: str, style: str = "dim") -> None: ...

    def close(self) -> None: ...


class TurnView:
    """Draws on `console` until `close`."""

    def __init__(
        self, console: Console, show: inline.Show = inline.Show.AUTO, *, thinking: bool = True
    ) -> None:
        self.console = console
        self.protocol = inline.protocol(show, terminal=console.is_terminal)
        self.thinking = thinking
        self._line_open = False
        self._style = ""
        self._held = ""
        self._bars: dict[int, _Bar] = {}
        self._live: Live | None = None
        self._waiting = console.is_terminal
        if self._waiting:
            self._start_live(Spinner("dots", text=Text("thinking", style="dim")))

    def event(self, event: events_pb2.Event, turn: Turn) -> None:
        """Show what matters of it."""
        kind = event.WhichOneof("kind") or ""
        if self._waiting and kind not in ("session_created", "turn_started"):
            self._waiting = False
            self._stop_live()
        if kind == "text_delta":
            self._write(event.text_delta.text)
        elif kind == "think_delta" and self.thinking:
            self._write(event.think_delta.text, "dim italic")
        elif kind == "prompt_enhanced":
            self._enhanced(event.prompt_enhanced)
        elif kind == "image_planned":
            self._planned(event.image_planned, turn)
        elif kind == "image_progress" and event.image_progress.index in self._bars:
            self._bars[event.image_progress.index].advance(event.image_progress)
            self._refresh()
        elif kind == "image_ready" and event.image_ready.HasField("refine_failure"):
            self._unrefined(event.image_ready, turn)
        elif kind == "image_failed":
            self._bars.pop(event.image_failed.index, None)
            self.note(
                f"picture {event.image_failed.index} failed: {event.image_failed.failure.message}", "red"
            )
        elif kind == "context_trimmed":
            trimmed = event.context_trimmed
            left = " and ".join(
                [counted(trimmed.dropped_images, "picture"), counted(trimmed.dropped_turns, "turn")]
            )
            self.note(f"the context is full: {left} no longer reach the planner")
        elif kind in ENDS:
            self.close()
            if turn.truncated:
                self.note("the answer broke off at its token limit")

    def saved(self, picture: Picture, data: bytes) -> None:
        """The picture itself, if the terminal can, and its path. Without `data` only a line that names it."""
        bar = self._bars.pop(picture.index, None)
        self._stop_live()
        self._end_line()
        if data:
            self._show(data)
        seconds = f", {time.monotonic() - bar.started:.1f} s" if bar else ""
        name = str(picture.path) if picture.path else f"picture {picture.index}"
        size = f"{picture.size[1]}x{picture.size[0]}"
        line = Text.assemble(
            ("✓ ", "green"), (name, "bold"), (f"  {size}, seed {picture.seed}{seconds}", "dim")
        )
        self.console.print(line)
        if self._bars:
            self._start_live(self._bars_table())

    def _show(self, data: bytes) -> None:
        try:
            self._draw(inline.shrunk(data))
        except InvalidInput as error:  # larger than what is decoded here; it lies on disk
            self.note(f"not shown: {error.problem}")

    def _draw(self, data: bytes) -> None:
        if self.protocol is inline.Protocol.KITTY:
            self.console.file.write(inline.kitty(data))
        elif self.protocol is inline.Protocol.ITERM2:
            self.console.file.write(inline.iterm2(data))
        elif self.protocol is inline.Protocol.BLOCKS:
            self.console.print(inline.blocks(data), end="")

    def close(self) -> None:
        """Leave the terminal as a prompt expects it. May be called twice."""
        self._waiting = False
        self._bars.clear()
        self._stop_live()
        self._end_line()

    def _enhanced(self, enhanced: events_pb2.PromptEnhanced) -> None:
        if enhanced.rewritten:
            self.note(f"the enhancer rewrote the request ({enhanced.category}): {enhanced.request}")
        elif enhanced.category != "general":  # which most requests are, and nobody wonders
            self.note(f"the request is left as it is: {enhanced.pass_through_reason}")

    def _planned(self, planned: events_pb2.ImagePlanned, turn: Turn) -> None:
        bar = _Bar(
            planned.index, planned.prompt, f"{planned.grid.width_cells * 16}x{planned.grid.height_cells * 16}"
        )
        if not self.console.is_terminal:
            made_from = f", from {', '.join(map(str, planned.references))}" if planned.references else ""
            self.note(f"drawing picture {planned.index} ({bar.size}{made_from}): {bar.prompt}")
        self._bars[planned.index] = bar
        self._end_line()
        if self._live is None:
            self._start_live(self._bars_table())
        else:
            self._refresh()

    def _unrefined(self, ready: events_pb2.ImageReady, turn: Turn) -> None:
        index, why = ready.image.index, ready.refine_failure.message
        self.note(f"picture {index} is not refined: {why}", "yellow")
        self.note(f"its base is kept; `wan refine {turn.session}:{index}` refines it later")

    def _write(self, text: str, style: str = "") -> None:
        if style != self._style:
            self._end_line()
            self._style = style
        if not self._line_open:
            text = text.lstrip("\n")
        if not text:
            return
        if self._live is not None:
            # Above a live region only whole lines can be printed; the rest waits.
            whole, newline, self._held = (self._held + text).rpartition("\n")
            if newline:
                self.console.print(Text(whole, style))
            return
        self.console.print(Text(text, style), end="")
        self.console.file.flush()
        self._line_open = not text.endswith("\n")

    def note(self, text: str, style: str = "dim") -> None:
        """A line of its own."""
        self._end_line()
        self.console.print(Text(text, style))

    def _end_line(self) -> None:
        if self._line_open:
            self.console.print()
        self._line_open = False

    def _start_live(self, content: RenderableType) -> None:
        if self.console.is_terminal:
            self._live = Live(
                content, console=self.console, transient=True, refresh_per_second=FRAMES_A_SECOND
            )
            self._live.start()

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._held:
            held, self._held = self._held, ""
            self._write(held, self._style)

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._bars_table())

    def _bars_table(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for bar in self._bars.values():
            table.add_row(*bar.cells())
        previews = [bar.preview for bar in self._bars.values() if bar.preview is not None]
        if self.protocol is inline.Protocol.NONE or not previews:
            return table
        return Group(Columns(previews, padding=(0, 1)), table)


class _Bar:
    """One picture under way."""

    def __init__(self, index: int, prompt: str, size: str) -> None:
        self.index, self.size = index, size
        self.prompt = textwrap.shorten(prompt, PROMPT_COLUMNS, placeholder="…")
        self.step = self.steps = 0
        self.refining = False
        self.preview: Text | None = None
        self.started = time.monotonic()
        self._spinner = Spinner("dots")

    def advance(self, progress: events_pb2.ImageProgress) -> None:
        self.step, self.steps = progress.step, progress.steps
        self.refining = progress.stage == "refine"
        if progress.preview_png:
            try:
                self.preview = inline.blocks(progress.preview_png, PREVIEW_COLUMNS)
            except InvalidInput:
                self.preview = None  # a preview is a courtesy; the picture itself is verified

    def cells(self) -> tuple[RenderableType, ...]:
        bar = ProgressBar(
            total=self.steps or None, completed=self.step, width=BAR_COLUMNS, pulse=not self.steps
        )
        steps = f"{self.step}/{self.steps}" if self.steps else "queued"
        if self.refining:
            steps = f"refining {steps}"
        return (
            self._spinner,
            Text(f"picture {self.index}"),
            bar,
            Text(steps, "cyan"),
            Text(self.prompt, "dim"),
        )
