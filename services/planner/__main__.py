"""`python -m services.planner [--role front|worker|both] [--port N]`."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.planner.service import add_front
from wanimage import serve

SLOTS = 16
"""Turns held at once; vLLM decodes as many together."""


@asynccontextmanager
async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    """Load vLLM; take turns."""
    # vLLM is slow to import, and a front does without it.
    from services.planner.engine import PlannerEngine
    from services.planner.turn import TurnRunner
    from wanimage.sessions import Sessions

    engine = await PlannerEngine.load(ground.family)
    runner = TurnRunner(engine, Sessions(ground.bus), ground.jobs, ground.blobs, ground.family.digest)
    try:
        yield [serve.Work("turn", runner.run, SLOTS)]
    finally:
        engine.close()


SERVICE = serve.Service(
    "planner",
    "wanimage.v1.PlannerService",
    add_front,
    open_worker,
    worker_parts=("understanding",),
    front_parts=("understanding",),
)

if __name__ == "__main__":
    sys.exit(serve.main(SERVICE))
