"""The visualizer's engine thread: renders join and leave between denoising steps (`wanimage/engineloop.py`).

More than `MAX_CELLS` in a step would gain nothing (benchmarks/README.md), and everybody would finish last.
"""

from collections.abc import Callable, Hashable, Sequence

from torch import Tensor

from services.visualizer.engine import RenderSpec, RenderState, VisualizerEngine
from wanimage.engineloop import EngineLoop, Ticket, nothing
from wanimage.images import Rgba

MAX_CELLS = 512
"""Cells denoised in one step: 8 base pictures, each twice for guidance. A larger render runs alone."""

OnStep = Callable[[int, int, Sequence[Rgba]], None]
"""Called on the event loop after the first step and some later ones: step, steps, previews (none unless asked
for)."""


class StepLoop(EngineLoop[RenderSpec, RenderState, list[Tensor]]):
    """The thread. Use from one event loop: `start`, any number of `render`s, `stop`."""

    def __init__(self, engine: VisualizerEngine, max_cells: int = MAX_CELLS) -> None:
        super().__init__(engine, max_cells, "render")
        self._preview = engine.preview

    async def render(
        self, spec: RenderSpec, on_step: OnStep, *, tenant: str = "", previews: bool = False
    ) -> list[Tensor]:
        """Denoise `spec`; returns the latents `[Z, h, w]` of its pictures. Cancelling the caller frees its
        place at the next step boundary.

        Raises what the engine raised for this task alone.
        """
        look = self._preview if previews else nothing
        return await self.run(spec, on_step, tenant=tenant, look=look)

    def _share(self, ticket: Ticket[RenderSpec, RenderState, list[Tensor]]) -> tuple[Hashable, int]:
        return None, ticket.spec.cells  # renders of any size and step share one
