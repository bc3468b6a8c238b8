"""Takes `encode` and `decode` jobs; those of equal size that wait together are computed together."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from services.vae.engine import VaeEngine
from wanimage import images, metrics, reporting, telemetry
from wanimage.blobs import Blobs
from wanimage.errors import InvalidInput
from wanimage.images import CELL
from wanimage.latents import get_latent, put_latent
from wanimage.limits import check_palette, check_range
from wanimage.markup import MAX_CELLS
from wanimage.takenjob import TakenJob
from wanimage.v1 import jobs_pb2, types_pb2

SLOTS = 16
"""Jobs of each kind held at once; they wait for the engine here, where they can form batches."""

Compute = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass
class _Queue:
    """Items of one key, each with the future that somebody awaits."""

    compute: Compute
    limit: int
    waiting: list[tuple[Any, asyncio.Future[Any]]] = field(default_factory=list)


class Batcher:
    """Runs engine calls in one thread, so the event loop stays free for heartbeats.

    While the engine computes, callers queue by key; then the key that has waited longest goes, as one
    batch. Keys take turns, so a busy size never starves a rare one.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        """Sizes of the last batches, newest last."""
        self._queues: dict[Hashable, _Queue] = {}
        self._thread = ThreadPoolExecutor(1, "engine")
        self._running: asyncio.Task[None] | None = None

    async def run(self, compute: Compute, key: Hashable, item: Any, limit: int) -> Any:
        """This item's part of `compute(items)`; at most `limit` items of equal `key` go together."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, _Queue(compute, limit)).waiting.append((item, result))
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        return await result

    def close(self) -> None:
        """Let go of the thread once its batch is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        try:
            while self._queues:
                key = next(iter(self._queues))
                queue = self._queues.pop(key)
                # Whoever was cancelled meanwhile costs nothing.
                wanted = [entry for entry in queue.waiting if not entry[1].done()]
                batch, rest = wanted[: queue.limit], wanted[queue.limit :]
                if rest:  # to the end of the line
                    self._queues[key] = _Queue(queue.compute, queue.limit, rest)
                if batch:
                    await self._compute(queue.compute, batch)
        finally:
            self._running = None

    async def _compute(self, compute: Compute, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        self.batches = [*self.batches[-99:], len(batch)]
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, compute, [item for item, _ in batch])
        except Exception as error:  # every waiter hears of it; the worker reports it as a crash of the job
            results = [error] * len(batch)
        for (_, waiter), result in zip(batch, results, strict=True):
            if waiter.done():
                continue
            if isinstance(result, Exception):
                waiter.set_exception(result)
            else:
                waiter.set_result(result)


@dataclass(frozen=True)
class VaeWorker:
    """The handlers of both kinds of job."""

    engine: VaeEngine
    blobs: Blobs
    batcher: Batcher
    sign: Callable[[bytes, str], bytes] | None = None
    """Puts a manifest into an encoded picture of a media type (wanimage/provenance.py)."""

    async def encode(self, taken: TakenJob) -> jobs_pb2.EncodeResult:
        """Picture to latent. Raises NotFound or DataLoss for its blob, InvalidInput for what is no
        picture."""
        job = taken.job.encode
        data = await self.blobs.get(taken.tenant, job.image)
        picture = await asyncio.to_thread(images.decode, data, "encode.image")
        height, width = picture.shape[:2]
        if job.HasField("grid"):
            check_range(job.grid.height_cells, 1, MAX_CELLS, "encode.grid.height_cells")
            check_range(job.grid.width_cells, 1, MAX_CELLS, "encode.grid.width_cells")
            height, width = job.grid.height_cells * CELL, job.grid.width_cells * CELL
            picture = await asyncio.to_thread(images.resize, picture, height, width)
        elif height % CELL or width % CELL:
            raise InvalidInput(
                "encode.image", f"{height}x{width} pixels, not multiples of {CELL}", "give a grid"
            )
        grid = (height // CELL, width // CELL)
        limit = self.engine.batch_size(grid)
        with telemetry.span("encode picture"):
            latent = await self.batcher.run(self._encode, ("encode", grid), picture, limit)
        blob = await put_latent(self.blobs, taken.tenant, latent, self.engine.family)
        return jobs_pb2.EncodeResult(latent=blob)

    async def decode(self, taken: TakenJob) -> jobs_pb2.DecodeResult:
        """Latent to picture. Raises NotFound, DataLoss, FamilyMismatch, or InvalidInput for what is no
        latent."""
        job = taken.job.decode
        check_palette(job.palette, "decode.palette")
        latent = await get_latent(self.blobs, taken.tenant, job.latent, self.engine.family, "decode.latent")
        grid = (latent.shape[1], latent.shape[2])
        limit = self.engine.batch_size(grid)
        with telemetry.span("decode latent"):
            picture = await self.batcher.run(self._decode, ("decode", grid), latent, limit)
        encoded, media_type = await asyncio.to_thread(images.encode, picture, job.format)
        found = await asyncio.to_thread(reporting.report, picture, job.palette)
        if self.sign is not None:
            encoded = await asyncio.to_thread(self.sign, encoded, media_type)
        shape = list(picture.shape)
        blob = await self.blobs.put(taken.tenant, encoded, media_type, dtype="uint8", shape=shape)
        return jobs_pb2.DecodeResult(
            image=blob, size=types_pb2.Size(height=picture.shape[0], width=picture.shape[1]), report=found
        )

    def _encode(self, pictures: Sequence[Any]) -> Sequence[Any]:
        with metrics.batch("encode", len(pictures)):
            return self.engine.encode(pictures)

    def _decode(self, latents: Sequence[Any]) -> Sequence[Any]:
        with metrics.batch("decode", len(latents)):
            return self.engine.decode(latents)
