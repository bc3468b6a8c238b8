"""An engine on a thread of its own: tasks join and leave between its steps.

One thread owns the engine and does nothing but steps; the event loop talks to it through `Ticket`s. At every
step boundary the loop drops tickets whose caller left, chooses who takes part in the next step, and hands
out what is finished. So a cancelled task costs at most one step more.

Who takes part: tasks of the tenants that were served least of late, the oldest first, as many as can share a
step and as there is room for. A tenant far ahead of the others sits out until they have caught up; so
somebody who sends one small picture does not share every step with somebody who sends a hundred large ones.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from wanimage import metrics, telemetry
from wanimage.errors import Cancelled

TELL_SECONDS = 0.1
"""Least time between two reports of one task. Each report wakes five processes, and on two cores that
interrupts the step; a small render's dozen steps take 0.2 s."""
SLACK_CELLS = 4096
"""How far a tenant may be ahead of another, in cells times steps, before it sits out: about five base
pictures, or one or two tiles of a large one. Within it all share their steps, which is what makes batching
pay."""
HALF_LIFE_SECONDS = 10.0
"""What a tenant was served is forgotten by half in this time."""

log = telemetry.logger(__name__)


class Stepped(Protocol):
    """A task between `prepare` and `finish`."""

    @property
    def step(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def done(self) -> bool: ...


Spec = TypeVar("Spec")
State = TypeVar("State", bound=Stepped)
Result = TypeVar("Result")
SpecTaken = TypeVar("SpecTaken", contravariant=True)
ResultGiven = TypeVar("ResultGiven", covariant=True)


class Engine(Protocol[SpecTaken, State, ResultGiven]):
    """What the thread drives."""

    def prepare(self, spec: SpecTaken) -> State: ...

    def step(self, states: Sequence[State]) -> None:
        """All advance by one step, or, when this raises, none."""

    def finish(self, state: State) -> ResultGiven: ...


OnStep = Callable[[int, int, Any], None]
"""Called on the event loop after the first step and some later ones: step, steps, what was looked at."""


def nothing(state: object) -> tuple[()]:
    """A task of which only its steps are told."""
    return ()


@dataclass(eq=False)
class Ticket(Generic[Spec, State, Result]):
    """One task on its way through the engine thread."""

    spec: Spec
    tenant: str
    on_step: OnStep
    look: Callable[[State], Any]
    """Called on the engine thread before a report: what it shows of the state."""
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Result]
    left: bool = False
    """Set by the event loop when nobody wants the result any more; the thread looks at every step."""
    state: State | None = field(default=None, repr=False)
    told: int = 0
    """The last step told of; a step may take two evaluations and is told once."""
    next_tell: float = 0.0
    """When the next step may be told of, by `time.monotonic`."""

    @property
    def prepared(self) -> State:
        """Its state, where it must have one."""
        assert self.state is not None, "only prepared tasks take part in steps"
        return self.state

    def settle(self, result: Result | BaseException) -> None:
        """Called on the engine thread."""
        self._call(self._settle, result)

    def tell(self) -> None:
        """Report the state, unless it was told or the last report was just now. Called on the engine
        thread."""
        state, now = self.prepared, time.monotonic()
        if state.step > self.told and now >= self.next_tell:
            seen = self.look(state)
            self.told, self.next_tell = state.step, time.monotonic() + TELL_SECONDS
            self._call(self.on_step, state.step, state.steps, seen)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the event loop is gone, and everybody who waited with it
            self.left = True

    def _settle(self, result: Result | BaseException) -> None:
        if self.done.done():
            return
        if isinstance(result, BaseException):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


class EngineLoop(Generic[Spec, State, Result]):
    """The thread. Use from one event loop: `start`, any number of `run`s, `stop`."""

    def __init__(self, engine: Engine[Spec, State, Result], max_cells: int, kind: str) -> None:
        """`max_cells`: room of one step; a larger task runs alone. `kind` names its batches in metrics."""
        self._engine, self._max_cells, self._kind = engine, max_cells, kind
        self._inbox: deque[Ticket[Spec, State, Result]] = deque()
        self._active: list[Ticket[Spec, State, Result]] = []
        self._ledger = Ledger()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.steps = 0
        """Batched steps so far."""
        self.largest_batch = 0
        """Most tasks that shared a step."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its step; whoever still waits hears Cancelled. Blocks for at most one step."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    async def run(
        self, spec: Spec, on_step: OnStep, *, tenant: str = "", look: Callable[[State], Any] = nothing
    ) -> Result:
        """Take `spec` through the engine. Cancelling the caller frees its place at the next step boundary.

        Raises what the engine raised for this task alone.
        """
        loop = asyncio.get_running_loop()
        ticket = Ticket(spec, tenant, on_step, look, loop, loop.create_future())
        with self._changed:
            self._inbox.append(ticket)
            self._changed.notify()
        try:
            return await ticket.done
        finally:
            ticket.left = True

    # ---- On the thread ------------------------------------------------------------------------------------

    def _share(self, ticket: Ticket[Spec, State, Result]) -> tuple[Hashable, int]:
        """Of a ticket's next step: what all who take part must have in common, and its cells."""
        raise NotImplementedError

    def _run(self) -> None:
        while self._wait_for_work():
            self._drop_left()
            self._admit()
            if company := self._ready(self._choose()):
                self._step(company)
                self._hand_out()
        for ticket in [*self._active, *self._inbox]:
            ticket.settle(Cancelled(f"the engine of {self._kind} jobs is stopping"))

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

    def _choose(self) -> list[Ticket[Spec, State, Result]]:
        """Who takes part in the next step, in the order of the module's head."""
        self._ledger.forget()
        served = {ticket.tenant: self._ledger.served(ticket.tenant) for ticket in self._active}
        company: list[Ticket[Spec, State, Result]] = []
        common: Hashable = None
        used = 0
        for ticket in sorted(self._active, key=lambda each: served[each.tenant]):  # stable: oldest first
            key, cells = self._share(ticket)
            ahead = served[ticket.tenant] - min(served.values())
            fits = key == common and used + cells <= self._max_cells
            if not company or (fits and ahead <= SLACK_CELLS):
                company.append(ticket)
                common = key
                used += cells
        return company

    def _ready(self, company: list[Ticket[Spec, State, Result]]) -> list[Ticket[Spec, State, Result]]:
        """Of these, those that are prepared or can be."""
        return [ticket for ticket in company if ticket.state is not None or self._prepare(ticket)]

    def _prepare(self, ticket: Ticket[Spec, State, Result]) -> bool:
        try:
            ticket.state = self._engine.prepare(ticket.spec)
        except Exception as error:  # this task's alone: its worker reports it
            self._end(ticket, error)
            return False
        return True

    def _end(self, ticket: Ticket[Spec, State, Result], result: Result | BaseException) -> None:
        ticket.settle(result)
        self._active.remove(ticket)

    def _step(self, company: list[Ticket[Spec, State, Result]]) -> None:
        """One step for these; when that fails, each alone, so that one bad task ends only itself."""
        self.largest_batch = max(self.largest_batch, len(company))
        served = [(ticket.tenant, self._share(ticket)[1]) for ticket in company]
        try:
            with metrics.batch(self._kind, len(company)):
                self._engine.step([ticket.prepared for ticket in company])
        except Exception as error:
            log.warning("batched_step_failed", kind=self._kind, tasks=len(company), error=repr(error))
            for ticket in company:
                self._step_alone(ticket)
        for tenant, cells in served:
            self._ledger.add(tenant, cells)
        self.steps += 1

    def _step_alone(self, ticket: Ticket[Spec, State, Result]) -> None:
        try:
            self._engine.step([ticket.prepared])
        except Exception as error:
            self._end(ticket, error)

    def _hand_out(self) -> None:
        for ticket in [each for each in self._active if each.state is not None]:
            try:
                ticket.tell()
                if ticket.prepared.done:
                    self._end(ticket, self._engine.finish(ticket.prepared))
            except Exception as error:
                self._end(ticket, error)


class Ledger:
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
