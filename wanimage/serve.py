"""The life of a service process, the same for all: connect, load, serve, drain.

    sys.exit(serve.main(Service("vae", add_front=..., open_worker=...)))      # services/vae/__main__.py

The gRPC port opens first and reports NOT_SERVING; it turns to SERVING once weights are loaded and NATS and S3
answer, and back whenever one of them stops answering. A stopping process stops taking calls and jobs,
finishes what it holds or hands it back, and only then closes its connections, so that last results can be
committed. Until it is ready it holds nothing, and SIGTERM simply ends it.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, get_args

import grpc
from pydantic import ValidationError

from wanimage import metrics, rpc, telemetry, tls
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.config import PORTS, Role, Settings
from wanimage.errors import Misconfigured, Unavailable
from wanimage.exposition import exposed
from wanimage.jobs import Jobs
from wanimage.v1.jobs_pb2 import Job
from wanimage.weights import Family, WeightsError
from wanimage.worker import Handler, Worker

CONNECT_SECONDS = 60.0
"""How long a starting process waits for NATS and S3, which may be starting too."""
CONNECT_PAUSE_SECONDS = 0.5
ALIVE_SECONDS = 1.0
"""How often an engine is asked whether it lives."""

T = TypeVar("T")
log = telemetry.logger(__name__)


@dataclass(frozen=True)
class Ground:
    """What every part of a process stands on."""

    settings: Settings
    family: Family
    bus: Bus
    blobs: Blobs
    jobs: Jobs


@dataclass(frozen=True)
class Work:
    """A kind of job this process takes."""

    kind: str
    handler: Handler
    slots: int = 1
    """Jobs held at once."""
    cost: Callable[[Job], float] = lambda job: 1.0
    """What a job counts in the fair share of tenants."""


@dataclass(frozen=True)
class Service:
    """What tells one service from another."""

    name: str
    """Key of `config.PORTS`."""
    grpc_name: str
    """Full name of the gRPC service, "wanimage.v1.VaeService"."""
    add_front: Callable[[grpc.aio.Server, Ground], None]
    """Adds the servicer to the server."""
    open_worker: Callable[[Ground], AbstractAsyncContextManager[Sequence[Work]]]
    """Loads the engine; left once every job is settled or handed back."""
    worker_parts: tuple[str, ...] = ()
    """Parts of the family that the worker loads, verified at start."""
    front_parts: tuple[str, ...] = ()
    """Parts that the front needs; most need only the manifest."""


@dataclass(frozen=True)
class Process:
    """A service that is up."""

    ground: Ground
    port: int
    """gRPC port that was bound; a worker alone answers health checks on it."""
    tasks: Sequence[asyncio.Task[None]]
    """Run for ever; one that ends has failed."""


def main(service: Service) -> int:
    """Read the command line and WAN_* settings, run until SIGTERM or SIGINT; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{service.name}")
    parser.add_argument("--role", choices=get_args(Role), help="what this process does (WAN_ROLE)")
    parser.add_argument("--port", type=int, help=f"gRPC port (WAN_PORT, else {PORTS[service.name]}); 0: any")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        parser.error(str(error))
    telemetry.configure(
        service.name,
        level=settings.log_level,
        json=settings.log_format == "json",
        otlp_endpoint=settings.otlp_endpoint,
        trace_ratio=settings.trace_ratio,
    )
    try:
        asyncio.run(_until_stopped(service, settings))
    except (WeightsError, Misconfigured, Unavailable) as error:
        log.error("start_failed", error=str(error))
        return 1
    return 0


async def _until_stopped(service: Service, settings: Settings) -> None:
    async with running(service, settings) as process:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({stopped, *process.tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in process.tasks:
            if task.done():
                task.result()  # raises what ended it


@asynccontextmanager
async def running(service: Service, settings: Settings) -> AsyncIterator[Process]:
    """A service, ready; leaving the block drains and closes it.

    Raises WeightsError, or Unavailable when NATS or S3 stay away at start.
    """
    works_here, speaks_here = settings.role != "front", settings.role != "worker"
    parts = service.front_parts + (service.worker_parts if works_here else ())
    family = await asyncio.to_thread(Family.load, settings.weights, parts=parts)
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(_connected(service, settings, family))
        await stack.enter_async_context(exposed(settings, ground.bus, service.name))
        keys = rpc.keyring(settings)
        if speaks_here:
            await _patiently(lambda: keys.read(ground.bus))
        server = rpc.server(settings, keys)
        metrics.BUILD.labels(service.name, family.digest[:12], settings.role).set(1)
        health = rpc.Health(server, [service.grpc_name] if speaks_here else [])
        await health.set(False)
        if speaks_here:
            service.add_front(server, ground)
        port = await rpc.listen(server, settings.address(service.name), tls.of_server(settings))
        stack.push_async_callback(server.stop, 0)
        works = await stack.enter_async_context(service.open_worker(ground)) if works_here else ()
        workers = [await stack.enter_async_context(_worker(ground, work)) for work in works]
        taking = [
            asyncio.create_task(worker.run(work.handler), name=f"take {work.kind}")
            for worker, work in zip(workers, works, strict=True)
        ]
        watching = asyncio.create_task(health.watch([ground.bus.check, ground.blobs.check]), name="health")
        following = [asyncio.create_task(keys.follow(ground.bus), name="keys")] if speaks_here else []
        log.info("serving", port=port, role=settings.role, family=family.digest, open=keys.open)
        try:
            yield Process(ground, port, [*taking, watching, *following])
        finally:
            # Nobody is sent here; nothing new is taken; what is held is finished or handed back; then all
            # closes.
            log.info("draining", seconds=settings.drain_seconds)
            watching.cancel()
            await health.shut_down()
            for worker in workers:
                worker.stop_taking()
            ending = (server.stop(settings.drain_seconds), *taking, watching)
            await asyncio.gather(*ending, return_exceptions=True)
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            log.info("drained")


async def load(ground: Ground, build: Callable[[], T]) -> T:
    """Build an engine in a thread, with the number of torch threads the settings ask for."""

    def work() -> T:
        import torch  # slow, and fronts do without it

        if ground.settings.threads:
            torch.set_num_threads(ground.settings.threads)
        return build()

    return await asyncio.to_thread(work)


async def leave_when(dead: Callable[[], bool]) -> None:
    """An engine that died cannot be revived in this process: leave, and be started again. Jobs wait."""
    while not dead():  # noqa: ASYNC110  engines offer no event
        await asyncio.sleep(ALIVE_SECONDS)
    log.error("engine_died")
    os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def _connected(service: Service, settings: Settings, family: Family) -> AsyncIterator[Ground]:
    """NATS and S3, closed last of all."""
    name = f"{service.name}-{os.getpid()}"
    async with (
        await _patiently(lambda: Bus.connect(settings, name=name)) as bus,
        await _patiently(lambda: Blobs.connect(settings)) as blobs,
    ):
        jobs = Jobs(bus, max_pending=settings.max_pending_jobs, max_wait=settings.max_wait, holds=blobs.holds)
        yield Ground(settings, family, bus, blobs, jobs)


async def _patiently(connect: Callable[[], Awaitable[T]]) -> T:
    clock = asyncio.get_running_loop().time
    deadline = clock() + CONNECT_SECONDS
    while True:
        try:
            return await connect()
        except Unavailable as error:
            if clock() > deadline:
                raise
            log.warning("waiting", error=str(error))
        await asyncio.sleep(CONNECT_PAUSE_SECONDS)


def _worker(ground: Ground, work: Work) -> Worker:
    settings = ground.settings
    return Worker(
        ground.jobs,
        work.kind,
        family=ground.family.digest,
        slots=work.slots,
        cost=work.cost,
        ack_wait=settings.ack_wait,
        max_deliver=settings.max_deliver,
        drain_seconds=settings.drain_seconds,
    )
