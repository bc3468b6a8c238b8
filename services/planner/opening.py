"""Which model plans, and in which dialect it is spoken to: chosen once, at start, by what is set and there.

WAN_PLANNER_ENDPOINT     a server elsewhere, in plain text
WAN_PLANNER_MODEL        a checkpoint in this process: in control tokens where its tokenizer has them, else in
                         plain text
neither                  the family's own planner
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.planner.adapted import Adapted
from services.planner.engine import Model, PlannerEngine
from services.planner.templated import TemplatedDecoder, vocabulary_of
from wanimage.config import Settings
from wanimage.decoding import DecodingConfig
from wanimage.weights import Family


@asynccontextmanager
async def open_engine(family: Family, settings: Settings) -> AsyncIterator[PlannerEngine]:
    """The engine that the settings ask for, ready and warm. Raises Misconfigured, Unavailable."""
    if settings.planner_endpoint:
        from services.planner.endpoint import Endpoint  # its client is slow to import, and most do without

        dialect = Adapted(family.base_cells)
        async with Endpoint.connected(settings, dialect) as endpoint:
            yield _engine(endpoint, dialect, family)
        return
    engine = await _loaded(family, settings.planner_model)
    try:
        yield engine
    finally:
        engine.close()


async def _loaded(family: Family, checkpoint: str) -> PlannerEngine:
    """vLLM in this process."""
    if not checkpoint:
        return await PlannerEngine.load(family)
    folder = Path(checkpoint)
    if vocabulary_of(folder).has_markup:
        return await PlannerEngine.load(family, DecodingConfig(model=folder))
    return _engine(await TemplatedDecoder.load(folder), Adapted(family.base_cells), family)


def _engine(model: Model, dialect: Adapted, family: Family) -> PlannerEngine:
    return PlannerEngine(model, dialect, base_cells=family.base_cells, max_cells=family.max_cells)
