"""What every service process does: start, report its health, stop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import eventually
from tests.families import build_family
from wanimage import serve
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.errors import Unavailable
from wanimage.jobs import Jobs, make_job
from wanimage.stack import NatsServer
from wanimage.takenjob import TakenJob
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.weights import WeightsError

SECONDS = 60.0
JOB = jobs_pb2.DecodeJob(latent=types_pb2.BlobRef(sha256="0" * 64))


class Handler:
    """Takes `decode` jobs and keeps them until it is told to go on."""

    def __init__(self) -> None:
        self.taken = asyncio.Event()
        self.go_on = asyncio.Event()
        self.closed_with_job = False
        self.open_jobs = 0

    async def __call__(self, job: TakenJob) -> jobs_pb2.DecodeResult:
        self.open_jobs += 1
        self.taken.set()
        try:
            await self.go_on.wait()
        finally:
            self.open_jobs -= 1
        return jobs_pb2.DecodeResult(size=types_pb2.Size(height=16, width=16))


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def service(handler: Handler) -> serve.Service:
    @asynccontextmanager
    async def open_worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
        yield [serve.Work("decode", handler)]
        handler.closed_with_job = handler.open_jobs > 0

    return serve.Service("vae", "wanimage.v1.VaeService", lambda server, ground: None, open_worker)


@pytest.fixture
def mine(settings: Settings, nats_server: NatsServer, tmp_path: Path) -> Settings:
    """The shared S3, and a NATS of this test's own."""
    family = build_family(tmp_path / "family")
    return settings.model_copy(
        update={"nats_url": nats_server.url, "weights": family.path, "drain_seconds": 30.0}
    )


async def status(process: serve.Process, name: str = "") -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.port}") as channel:
        request = health_pb2.HealthCheckRequest(service=name)
        return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)).status


async def is_serving(process: serve.Process) -> bool:
    return await status(process) == health_pb2.HealthCheckResponse.SERVING


async def test_health_follows_nats(service: serve.Service, mine: Settings, nats_server: NatsServer) -> None:
    async def is_down() -> bool:
        return not await is_serving(process)

    async with serve.running(service, mine) as process:
        await eventually(lambda: is_serving(process))
        nats_server.kill()
        await eventually(is_down)
        nats_server.start()
        await eventually(lambda: is_serving(process))
        named = await status(process, "wanimage.v1.VaeService")
    assert named == health_pb2.HealthCheckResponse.SERVING


async def test_a_stopping_service_finishes_what_it_holds(
    service: serve.Service, mine: Settings, handler: Handler, tenant: str
) -> None:
    async with await Bus.connect(mine) as bus:  # the submitter's own: the service's closes with it
        jobs = Jobs(bus)
        async with serve.running(service, mine) as process:
            submission = await jobs.submit(make_job(tenant, process.ground.family.digest, JOB, SECONDS))
            await handler.taken.wait()
            # Told to stop now; the job ends a moment later, with connections still open.
            asyncio.get_running_loop().call_later(0.2, handler.go_on.set)
        assert (await jobs.result(submission)).decode.size.height == 16
    assert not handler.closed_with_job


async def test_a_service_out_of_patience_hands_its_job_back(
    service: serve.Service, mine: Settings, handler: Handler, tenant: str
) -> None:
    hasty = mine.model_copy(update={"drain_seconds": 0.0})
    async with serve.running(service, hasty) as process:
        job = make_job(tenant, process.ground.family.digest, JOB, SECONDS)
        submission = await process.ground.jobs.submit(job)
        await handler.taken.wait()
    assert not handler.closed_with_job

    handler.go_on.set()
    async with serve.running(service, mine) as process:
        result = await process.ground.jobs.result(submission)
    assert result.decode.size.height == 16


async def test_a_damaged_family_does_not_start(service: serve.Service, mine: Settings) -> None:
    manifest = mine.weights / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"tiny"', '"other"'))

    with pytest.raises(WeightsError, match="digest differs"):
        async with serve.running(service, mine):
            pass


async def test_a_service_gives_up_on_servers_that_stay_away(
    service: serve.Service, mine: Settings, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nats_server.kill()
    monkeypatch.setattr(serve, "CONNECT_SECONDS", 0.1)

    with pytest.raises(Unavailable, match="NATS"):
        async with serve.running(service, mine):
            pass


async def test_a_worker_alone_answers_health_but_no_calls(service: serve.Service, mine: Settings) -> None:
    async with serve.running(service, mine.model_copy(update={"role": "worker"})) as process:
        await eventually(lambda: is_serving(process))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await status(process, "wanimage.v1.VaeService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
