"""A small servicer behind the real guard, and its callers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from wanimage import rpc, telemetry, tls
from wanimage.config import Settings
from wanimage.keys import Keyring
from wanimage.v1 import vae_pb2, vae_pb2_grpc, visualizer_pb2, visualizer_pb2_grpc
from wanimage.v1.jobs_pb2 import JobProgress
from wanimage.v1.types_pb2 import BlobRef

SERVICES = ("wanimage.v1.VaeService", "wanimage.v1.VisualizerService")


class Echo(vae_pb2_grpc.VaeServiceServicer, visualizer_pb2_grpc.VisualizerServiceServicer):
    """Tells its caller's tenant, or raises what the test put there."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.left = asyncio.Event()
        self.blocked = asyncio.Event()
        self.release = asyncio.Event()
        self.release.set()
        self.traceparent = ""

    async def Encode(self, request: vae_pb2.EncodeRequest, context) -> vae_pb2.EncodeResponse:
        self.calls += 1
        self.traceparent = telemetry.inject_headers().get("traceparent", "")
        if self.error:
            raise self.error
        self.blocked.set()
        await self.release.wait()
        caller = rpc.caller(context)
        return vae_pb2.EncodeResponse(latent=BlobRef(sha256=caller.tenant, size=int(caller.seconds_left())))

    async def Render(self, request, context) -> AsyncIterator[visualizer_pb2.RenderResponse]:
        try:
            for step in range(len(request.prompts)):
                yield visualizer_pb2.RenderResponse(
                    progress=JobProgress(job_id=rpc.caller(context).tenant, step=step)
                )
            if self.error:
                raise self.error
            await self.release.wait()
        finally:
            self.left.set()


@asynccontextmanager
async def serving(
    echo: Echo, keys: Keyring | None = None, **settings
) -> AsyncIterator[tuple[str, rpc.Health, grpc.aio.Server]]:
    """(address, health, server) of `echo` behind the guard of these settings."""
    chosen = Settings(_env_file=None, **settings)
    server = rpc.server(chosen, keys)
    vae_pb2_grpc.add_VaeServiceServicer_to_server(echo, server)
    visualizer_pb2_grpc.add_VisualizerServiceServicer_to_server(echo, server)
    health = rpc.Health(server, SERVICES)
    port = await rpc.listen(server, "127.0.0.1:0", tls.of_server(chosen))
    try:
        yield f"127.0.0.1:{port}", health, server
    finally:
        await server.stop(0)


async def encode(
    address: str,
    *,
    key: str | None = None,
    timeout: float | None = 60,
    credentials: grpc.ChannelCredentials | None = None,
    metadata: tuple[tuple[str, str], ...] = (),
    **options,
):
    """Call Encode; the answer's `latent.sha256` is the tenant, its `size` the seconds left."""
    async with rpc.channel(address, key, credentials) as channel:
        return await vae_pb2_grpc.VaeServiceStub(channel).Encode(
            vae_pb2.EncodeRequest(**options), timeout=timeout, metadata=metadata
        )


async def refused(call) -> rpc.ErrorDetails:
    """How a call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return rpc.error_details(caught.value)
