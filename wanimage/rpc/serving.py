"""A gRPC server behind the guard, and the health it reports."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from wanimage import metrics, telemetry
from wanimage.config import Settings
from wanimage.keys import Keyring
from wanimage.rpc.allowance import Allowance
from wanimage.rpc.guard import Guard
from wanimage.rpc.transport import KEEPALIVE, MAX_RECEIVE_BYTES, MAX_SEND_BYTES

HEALTH_SECONDS = 2.0
"""How often readiness is looked at."""
log = telemetry.logger(__name__)


def server(settings: Settings, keys: Keyring | None = None) -> grpc.aio.Server:
    """A server with the guard. Add servicers and `Health`, then `listen`. `keys` None: those of the settings
    alone."""
    options = [
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        ("grpc.max_send_message_length", MAX_SEND_BYTES),
        *KEEPALIVE,
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.so_reuseport", 0),
    ]
    allowance = Allowance(settings.rate, settings.burst)
    guard = Guard(keys or keyring(settings), allowance, settings.max_deadline)
    return grpc.aio.server(interceptors=[guard], options=options)


def keyring(settings: Settings) -> Keyring:
    """The keys that the settings name."""
    given = {tenant: key.get_secret_value() for tenant, key in settings.api_keys.items()}
    return Keyring(given, needed=settings.auth == "keys")


async def listen(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Start serving on host:port (port 0: any free one), in plain text or as `tls.of_server` says.

    Returns the port. Raises RuntimeError when it is taken.
    """
    try:
        port = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        raise RuntimeError(f"cannot listen on {address}: {error}; set WAN_HOST and WAN_PORT") from error
    await server.start()
    return port


class Health:
    """grpc.health.v1 and reflection for a server; NOT_SERVING until `watch` found everything ready."""

    def __init__(self, server: grpc.aio.Server, services: Sequence[str]) -> None:
        """`services` are full names ("wanimage.v1.VaeService"); "" stands for the whole process as ever."""
        self._servicer = HealthServicer()
        self._names = ("", *services)
        self.ready = False
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        named = (
            *services,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            reflection.SERVICE_NAME,
        )
        reflection.enable_server_reflection(named, server)

    async def set(self, ready: bool) -> None:
        """Report SERVING or NOT_SERVING from now on."""
        self.ready = ready
        metrics.READY.set(ready)
        kinds = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._servicer.set(name, kinds.SERVING if ready else kinds.NOT_SERVING)

    async def watch(
        self, checks: Sequence[Callable[[], Awaitable[object]]], seconds: float = HEALTH_SECONDS
    ) -> None:
        """Run `checks` for ever; ready while none raises. Each is the answer of a part: `bus.check`,
        `blobs.check`."""
        said = ""
        await self.set(self.ready)
        while True:
            outcomes = await asyncio.gather(*(each() for each in checks), return_exceptions=True)
            trouble = "; ".join(
                str(each) or repr(each) for each in outcomes if isinstance(each, BaseException)
            )
            if trouble != said or self.ready == bool(trouble):
                log.info("not_ready", why=trouble) if trouble else log.info("ready")
                said = trouble
                await self.set(not trouble)
            await asyncio.sleep(seconds)

    async def shut_down(self) -> None:
        """NOT_SERVING for good: the first step of stopping, so that balancers send no more calls."""
        self.ready = False
        metrics.READY.set(False)
        await self._servicer.enter_graceful_shutdown()
