"""The visualizer's engine thread: renders join and leave between denoising steps (`wanimage/engineloop.py`).

More than `MAX_CELLS` in a step would gain nothing (benchmarks/README.md), and everybody would finish last.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from services.visualizer.engine import RenderSpec, RenderState, VisualizerEngine
from wanimage.engineloop import EngineLoop, OnStep, Ticket, nothing

MAX_CELLS = 512
"""Cells denoised in one step: 8 base pictures, each twice for guidance. A larger render runs alone."""


class StepLoop(EngineLoop[RenderSpec, RenderState, list[Tensor]]):
    """The thread. Use from one event loop: `start`, any number of `render`s, `stop`."""

    def __init__(self, engine: VisualizerEngine, max_cells: int = MAX_CELLS) -> None:
        super().__init__(engine, max_cells, "render")
        self._preview, self._estimate = engine.preview, engine.estimate

    async def render(
        self,
        spec: RenderSpec,
        on_step: OnStep,
        *,
        tenant: str = "",
        previews: bool = False,
        decode_every: int = 0,
    ) -> list[Tensor]:
        """Denoise `spec`; returns the latents `[Z, h, w]` of its pictures. Cancelling the caller frees its
        place at the next step boundary.

        With `previews`, `on_step` gets rough pictures; with `decode_every`, too, the latents that they would
        be of, every so many steps. Raises what the engine raised for this task alone.
        """
        look: Callable[[RenderState], Sequence[Any]] = self._preview if previews else nothing
        if previews and decode_every:
            look = _Every(decode_every, self._estimate)
        return await self.run(spec, on_step, tenant=tenant, look=look)

    def _share(self, ticket: Ticket[RenderSpec, RenderState, list[Tensor]]) -> tuple[Hashable, int]:
        return None, ticket.spec.cells  # renders of any size and step share one


@dataclass
class _Every:
    """Looks at one render every so many steps, or at the next one that is told of; not at its end."""

    steps: int
    look: Callable[[RenderState], Sequence[Tensor]]
    last: int = 0

    def __call__(self, state: RenderState) -> Sequence[Tensor]:
        if state.done or state.step - self.last < self.steps:
            return ()
        self.last = state.step
        return self.look(state)
