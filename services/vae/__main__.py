"""`python -m services.vae [--role front|worker|both] [--port N]`."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.vae.service import add_front
from wanimage import serve


@asynccontextmanager
async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    """Load the VAE; take both kinds of job."""
    # torch is slow to import, and a front does without it.
    from services.vae.engine import VaeEngine
    from services.vae.worker import SLOTS, Batcher, VaeWorker
    from wanimage.provenance import Signer

    engine = await serve.load(ground, lambda: VaeEngine.load(ground.family))
    batcher = Batcher()
    signer = Signer.of(ground.settings, ground.family.digest)
    worker = VaeWorker(engine, ground.blobs, batcher, signer.sign if signer is not None else None)
    try:
        yield [serve.Work("encode", worker.encode, SLOTS), serve.Work("decode", worker.decode, SLOTS)]
    finally:
        batcher.close()


SERVICE = serve.Service(
    name="vae",
    grpc_name="wanimage.v1.VaeService",
    add_front=add_front,
    open_worker=open_worker,
    worker_parts=("vae",),
)

if __name__ == "__main__":
    sys.exit(serve.main(SERVICE))
