"""The refiner's engine thread: pictures join and leave between tiles (`wanimage/engineloop.py`)."""

from collections.abc import Hashable

from services.refiner.engine import RefinerEngine, RefineSpec, RefineState, unit_of
from wanimage.engineloop import EngineLoop, Ticket
from wanimage.images import Rgba

MAX_CELLS = 4608
"""Cells of one step: two tiles of the largest size without overlap. So small tiles share a step, and a
cancelled picture waits for little more than one large one."""


class TileLoop(EngineLoop[RefineSpec, RefineState, Rgba]):
    """The thread. Use from one event loop: `start`, any number of `run`s, `stop`."""

    def __init__(self, engine: RefinerEngine, max_cells: int = MAX_CELLS) -> None:
        super().__init__(engine, max_cells, "refine")

    def _share(self, ticket: Ticket[RefineSpec, RefineState, Rgba]) -> tuple[Hashable, int]:
        state, spec = ticket.state, ticket.spec
        unit = state.next if state is not None else unit_of(spec, spec.tiles, 0)
        return unit.key, unit.cells
