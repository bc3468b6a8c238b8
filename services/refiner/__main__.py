"""`python -m services.refiner [--role front|worker|both] [--port N]`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.refiner.service import add_front
from wanimage import serve
from wanimage.prompts import PromptLimit


@asynccontextmanager
async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    """Load the refiner with what it stands on, and start the engine thread; take `refine` jobs."""
    # torch is slow to import, and a front does without it.
    from services.refiner.engine import RefinerEngine
    from services.refiner.tileloop import TileLoop
    from services.refiner.worker import SLOTS, RefineWorker, largest_cost
    from wanimage.provenance import Signer

    engine = await serve.load(ground, lambda: RefinerEngine.load(ground.family))
    loop = TileLoop(engine)
    loop.start()
    prompts = PromptLimit.load(ground.family.path / "understanding")
    signer = Signer.of(ground.settings, ground.family.digest)
    sign = signer.sign if signer is not None else None
    worker = RefineWorker(loop, ground.blobs, ground.family, prompts, sign)
    try:
        yield [serve.Work("refine", worker.refine, SLOTS, cost=lambda job: largest_cost(job.refine))]
    finally:
        await asyncio.to_thread(loop.stop)


SERVICE = serve.Service(
    name="refiner",
    grpc_name="wanimage.v1.RefinerService",
    add_front=add_front,
    open_worker=open_worker,
    worker_parts=("vae", "refiner"),
    front_parts=("understanding",),  # for its tokenizer, which says how long a prompt may be
)

if __name__ == "__main__":
    sys.exit(serve.main(SERVICE))
