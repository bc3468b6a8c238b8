"""`python -m services.planner [--role front|worker|both] [--port N]`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.planner.service import add_front
from wanimage import serve
from wanimage.weights import PLANNERS

SLOTS = 24
"""Turns held at once. vLLM decodes 16 together, but one that waits for its picture decodes nothing, and a
quarter of the slots is kept for tenants that hold none."""


@asynccontextmanager
async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    """Load the model; take turns."""
    # vLLM is slow to import, and a front does without it.
    from services.planner.opening import open_engine
    from services.planner.turn import TurnRunner
    from wanimage.sessions import Sessions

    async with open_engine(ground.family, ground.settings) as engine:
        runner = TurnRunner(engine, Sessions(ground.bus), ground.jobs, ground.blobs, ground.family.digest)
        watching = asyncio.create_task(serve.leave_when(lambda: not engine.alive))
        try:
            yield [serve.Work("turn", runner.run, SLOTS)]
        finally:
            watching.cancel()


SERVICE = serve.Service(
    "planner",
    "wanimage.v1.PlannerService",
    add_front,
    open_worker,
    worker_parts=PLANNERS,
    front_parts=PLANNERS,
)

if __name__ == "__main__":
    sys.exit(serve.main(SERVICE))
