"""The visualizer's engine thread: renders join and leave between denoising steps.

One thread owns the engine and does nothing but steps; the event loop talks to it through `Ticket`s. At
every step boundary the loop drops tickets whose caller left, lets waiting ones in while there is room, and
hands out what is finished. So a cancelled render costs at most one step more, and a small picture never
waits for a large one.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from services.visualizer.engine import RenderSpec, RenderState, VisualizerEngine
from wanimage import telemetry
from wanimage.errors import Cancelled
from wanimage.images import Rgba

TELL_SECONDS = 0.1
"""Least time between two reports of one render. Each report wakes five processes, and on two cores that
interrupts the step; a small render's dozen steps take 0.2 s."""
MAX_CELLS = 1024
"""Cells denoised in one step: 16 base pictures. A single render may be larger; it then runs alone."""

log = telemetry.logger(__name__)

OnStep = Callable[[int, int, Sequence[Rgba]], None]
"""Called on the event loop after the first step and some later ones: step, steps, previews (none unless asked
for)."""


@dataclass(eq=False)
class Ticket:
    """One render on its way through the engine thread."""

    spec: RenderSpec
    on_step: OnStep
    previews: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[list[Tensor]]
    left: bool = False
    """Set by the event loop when nobody wants the render any more; the thread looks at every step."""
    state: RenderState | None = field(default=None, repr=False)
    told: int = 0
    """The last step told of; a Heun step takes two evaluations and is told once."""
    next_tell: float = 0.0
    """When the next step may be told of, by `time.monotonic`."""

    def settle(self, result: list[Tensor] | BaseException) -> None:
        """Called on the engine thread."""
        self._call(self._settle, result)

    def tell(self, step: int, steps: int, previews: Sequence[Rgba]) -> None:
        """Called on the engine thread."""
        self.told, self.next_tell = step, time.monotonic() + TELL_SECONDS
        self._call(self.on_step, step, steps, previews)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the event loop is gone, and everybody who waited with it
            self.left = True

    def _settle(self, result: list[Tensor] | BaseException) -> None:
        if self.done.done():
            return
        if isinstance(result, BaseException):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


class StepLoop:
    """The thread. Use from one event loop: `start`, any number of `render`s, `stop`."""

    def __init__(self, engine: VisualizerEngine, max_cells: int = MAX_CELLS) -> None:
        self._engine, self._max_cells = engine, max_cells
        self._inbox: deque[Ticket] = deque()
        self._active: list[Ticket] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.steps = 0
        """Batched steps so far."""
        self.largest_batch = 0
        """Most renders that shared a step."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its step; whoever still waits hears Cancelled. Blocks for at most one step."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    async def render(self, spec: RenderSpec, on_step: OnStep, *, previews: bool = False) -> list[Tensor]:
        """Denoise `spec`; returns the latents `[Z, h, w]` of its pictures. Cancelling the caller frees its
        place at the next step boundary.

        Raises what the engine raised for this task alone.
        """
        loop = asyncio.get_running_loop()
        ticket = Ticket(spec, on_step, previews, loop, loop.create_future())
        with self._changed:
            self._inbox.append(ticket)
            self._changed.notify()
        try:
            return await ticket.done
        finally:
            ticket.left = True

    # ---- On the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_work():
            self._drop_left()
            self._admit()
            if self._active:
                self._step()
                self._hand_out()
        for ticket in [*self._active, *self._inbox]:
            ticket.settle(Cancelled("the visualizer is stopping"))

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._active or self._inbox)
            return not self._stopping

    def _drop_left(self) -> None:
        self._active = [ticket for ticket in self._active if not ticket.left]

    def _admit(self) -> None:
        """Let waiting renders in, in order, while they fit; one always fits."""
        while True:
            with self._changed:
                if not self._inbox:
                    return
                used = sum(ticket.spec.cells for ticket in self._active)
                if self._active and used + self._inbox[0].spec.cells > self._max_cells:
                    return
                ticket = self._inbox.popleft()
            if ticket.left:
                continue
            try:
                ticket.state = self._engine.prepare(ticket.spec)
            except Exception as error:  # this task's alone: its worker reports it
                ticket.settle(error)
            else:
                self._active.append(ticket)

    def _step(self) -> None:
        """One model evaluation for all; when that fails, each alone, so that one bad render ends only
        itself."""
        self.largest_batch = max(self.largest_batch, len(self._active))
        try:
            self._engine.step([_state(ticket) for ticket in self._active])
        except Exception as error:
            log.warning("batched_step_failed", renders=len(self._active), error=repr(error))
            self._active = [ticket for ticket in self._active if self._step_alone(ticket)]
        self.steps += 1

    def _step_alone(self, ticket: Ticket) -> bool:
        try:
            self._engine.step([_state(ticket)])
        except Exception as error:
            ticket.settle(error)
            return False
        return True

    def _hand_out(self) -> None:
        going_on = []
        for ticket in self._active:
            state = _state(ticket)
            try:
                if state.step > ticket.told and time.monotonic() >= ticket.next_tell:
                    previews = self._engine.preview(state) if ticket.previews else ()
                    ticket.tell(state.step, state.steps, previews)
                if state.done:
                    ticket.settle(self._engine.finish(state))
                else:
                    going_on.append(ticket)
            except Exception as error:
                ticket.settle(error)
        self._active = going_on


def _state(ticket: Ticket) -> RenderState:
    assert ticket.state is not None, "only prepared renders become active"
    return ticket.state
