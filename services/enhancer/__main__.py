"""`python -m services.enhancer [--role front|worker|both] [--port N]`."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.enhancer.service import add_front
from wanimage import serve
from wanimage.weights import PLANNERS


@asynccontextmanager
async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    """Load the model; take enhance jobs."""
    # vLLM is slow to import, and a front does without it.
    from services.enhancer.opening import open_engine
    from services.enhancer.worker import SLOTS, EnhanceWorker

    async with open_engine(ground.family) as engine:
        worker = EnhanceWorker(engine, ground.blobs, ground.family.digest)
        yield [serve.Work("enhance", worker.enhance, SLOTS)]


SERVICE = serve.Service(
    name="enhancer",
    grpc_name="wanimage.v1.EnhancerService",
    add_front=add_front,
    open_worker=open_worker,
    worker_parts=(*PLANNERS, "enhancer"),
    front_parts=PLANNERS,
)

if __name__ == "__main__":
    sys.exit(serve.main(SERVICE))
