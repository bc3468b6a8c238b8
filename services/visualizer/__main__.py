"""`python -m services.visualizer [--role front|worker|both] [--port N]`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.visualizer.service import add_front
from wanimage import serve


@asynccontextmanager
async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    """Load both branches and start the engine thread; take `render` jobs."""
    # torch is slow to import, and a front does without it.
    from services.visualizer.engine import VisualizerEngine
    from services.visualizer.steploop import StepLoop
    from services.visualizer.worker import SLOTS, RenderWorker, pixel_steps
    from wanimage.prompts import PromptLimit

    engine = await serve.load(ground, lambda: VisualizerEngine(ground.family))
    loop = StepLoop(engine)
    loop.start()
    prompts = PromptLimit.load(ground.family.path / "understanding")
    worker = RenderWorker(loop, ground.blobs, ground.family, prompts, ground.jobs)
    try:
        yield [serve.Work("render", worker.render, SLOTS, cost=lambda job: pixel_steps(job.render))]
    finally:
        await asyncio.to_thread(loop.stop)


SERVICE = serve.Service(
    name="visualizer",
    grpc_name="wanimage.v1.VisualizerService",
    add_front=add_front,
    open_worker=open_worker,
    worker_parts=("mot", "preview", "keeper"),
    front_parts=("understanding",),  # for its tokenizer, which says how long a prompt may be
)

if __name__ == "__main__":
    sys.exit(serve.main(SERVICE))
