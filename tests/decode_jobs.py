"""The smallest real jobs, for tests: kind "decode", handled by whatever the test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wanimage.bus import Bus
from wanimage.jobs import Jobs, make_job
from wanimage.subjects import DEAD_LETTERS, REASON_HEADER
from wanimage.v1.jobs_pb2 import DecodeJob, DecodeResult, Job
from wanimage.v1.types_pb2 import BlobRef, Size
from wanimage.worker import Worker

FAMILY = "f" * 64
ACK_WAIT = 1.5
"""Seconds; NATS allows shorter, but heartbeats must fit in on a loaded machine."""


def decode_job(name: str = "a", *, tenant: str = "acme", family: str = FAMILY, seconds: float = 60) -> Job:
    return make_job(tenant, family, DecodeJob(latent=BlobRef(sha256=name * 64)), seconds)


def decoded(height: int = 128) -> DecodeResult:
    return DecodeResult(size=Size(height=height, width=128))


@asynccontextmanager
async def running(jobs: Jobs, handler, **options) -> AsyncIterator[Worker]:
    """A worker of kind "decode" with `handler` in the background."""
    options = {"family": FAMILY, "ack_wait": ACK_WAIT, "drain_seconds": 5} | options
    async with Worker(jobs, "decode", **options) as worker:
        task = asyncio.create_task(worker.run(handler))
        yield worker
        worker.stop_taking()
        await task


async def dead_letters(bus: Bus) -> list[tuple[bytes, str]]:
    held = (
        await bus.read(DEAD_LETTERS, "wan.dlq.decode.acme", 1)
        if await bus.subjects(DEAD_LETTERS, ">")
        else []
    )
    return [(each.data, each.headers[REASON_HEADER]) for each in held]
