"""The visualizer's engine thread: renders join and leave between denoising steps.

One thread owns the engine and does nothing but steps; the event loop talks to it through `Ticket`s. At
every step boundary the loop drops tickets whose caller left, chooses who takes part in the next step, and
hands out what is finished. So a cancelled render costs at most one step more.

Who takes part: renders of the tenants that were served least of late, the oldest first, as many as there is
room for. A tenant far ahead of the others sits out until they have caught up; so somebody who sends one small
picture does not share every step with somebody who sends a hundred large ones. More than `MAX_CELLS` in a
step would gain nothing (benchmarks/README.md), and everybody would finish last.
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
from wanimage import metrics, telemetry
from wanimage.errors import Cancelled
from wanimage.images import Rgba

TELL_SECONDS = 0.1
"""Least time between two reports of one render. Each report wakes five processes, and on two cores that
interrupts the step; a small render's dozen steps take 0.2 s."""
MAX_CELLS = 512
"""Cells denoised in one step: 8 base pictures, each twice for guidance. A larger render runs alone."""
SLACK_CELLS = 4096
"""How far a tenant may be ahead of another, in cells times steps, before it sits out: about five base
pictures. Within it all share their steps, which is what makes batching pay."""
HALF_LIFE_SECONDS = 10.0
"""What a tenant was served is forgotten by half in this time."""

log = telemetry.logger(__name__)

OnStep = Callable[[int, int, Sequence[Rgba]], None]
"""Called on the event loop after the first step and some later ones: step, steps, previews (none unless asked
for)."""


@dataclass(eq=False)
class Ticket:
    """One render on its way through the engine thread."""

    spec: RenderSpec
    tenant: str
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
        self._ledger = _Ledger()
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

    async def render(
        self, spec: RenderSpec, on_step: OnStep, *, tenant: str = "", previews: bool = False
    ) -> list[Tensor]:
        """Denoise `spec`; returns the latents `[Z, h, w]` of its pictures. Cancelling the caller frees its
        place at the next step boundary.

        Raises what the engine raised for this task alone.
        """
        loop = asyncio.get_running_loop()
        ticket = Ticket(spec, tenant, on_step, previews, loop, loop.create_future())
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
            if company := self._ready(self._choose()):
                self._step(company)
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
        with self._changed:
            self._active += [ticket for ticket in self._inbox if not ticket.left]
            self._inbox.clear()

    def _choose(self) -> list[Ticket]:
        """Who takes part in the next step, in the order of the module's head."""
        self._ledger.forget()
        served = {ticket.tenant: self._ledger.served(ticket.tenant) for ticket in self._active}
        company: list[Ticket] = []
        used = 0
        for ticket in sorted(self._active, key=lambda each: served[each.tenant]):  # stable: oldest first
            ahead = served[ticket.tenant] - min(served.values())
            fits = used + ticket.spec.cells <= self._max_cells
            if not company or (fits and ahead <= SLACK_CELLS):
                company.append(ticket)
                used += ticket.spec.cells
        return company

    def _ready(self, company: list[Ticket]) -> list[Ticket]:
        """Of these, those that are prepared or can be."""
        return [ticket for ticket in company if ticket.state is not None or self._prepare(ticket)]

    def _prepare(self, ticket: Ticket) -> bool:
        try:
            ticket.state = self._engine.prepare(ticket.spec)
        except Exception as error:  # this task's alone: its worker reports it
            self._end(ticket, error)
            return False
        return True

    def _end(self, ticket: Ticket, result: list[Tensor] | BaseException) -> None:
        ticket.settle(result)
        self._active.remove(ticket)

    def _step(self, company: list[Ticket]) -> None:
        """One step for these; when that fails, each alone, so that one bad render ends only itself."""
        self.largest_batch = max(self.largest_batch, len(company))
        try:
            with metrics.batch("render", len(company)):
                self._engine.step([_state(ticket) for ticket in company])
        except Exception as error:
            log.warning("batched_step_failed", renders=len(company), error=repr(error))
            for ticket in company:
                self._step_alone(ticket)
        for ticket in company:
            self._ledger.add(ticket.tenant, ticket.spec.cells)
        self.steps += 1

    def _step_alone(self, ticket: Ticket) -> None:
        try:
            self._engine.step([_state(ticket)])
        except Exception as error:
            self._end(ticket, error)

    def _hand_out(self) -> None:
        for ticket in [each for each in self._active if each.state is not None]:
            state = _state(ticket)
            try:
                if state.step > ticket.told and time.monotonic() >= ticket.next_tell:
                    previews = self._engine.preview(state) if ticket.previews else ()
                    ticket.tell(state.step, state.steps, previews)
                if state.done:
                    self._end(ticket, self._engine.finish(state))
            except Exception as error:
                self._end(ticket, error)


class _Ledger:
    """What tenants were served of late, in cells times steps."""

    def __init__(self) -> None:
        self._served: dict[str, float] = {}
        self._at = time.monotonic()

    def forget(self) -> None:
        """Let what was served count less, the longer ago it was."""
        now = time.monotonic()
        kept = 0.5 ** ((now - self._at) / HALF_LIFE_SECONDS)
        self._at = now
        self._served = {tenant: cells * kept for tenant, cells in self._served.items() if cells * kept >= 1}

    def served(self, tenant: str) -> float:
        return self._served.get(tenant, 0.0)

    def add(self, tenant: str, cells: int) -> None:
        self._served[tenant] = self.served(tenant) + cells


def _state(ticket: Ticket) -> RenderState:
    assert ticket.state is not None, "only prepared renders become active"
    return ticket.state
