"""gRPC as all services speak it: who calls, how long they wait, what an error looks like, who is healthy.

`server(settings)` makes a server whose calls pass one guard. It finds the tenant from the API key, refuses
calls without a deadline, continues the caller's trace, and turns `WanError`s into their status with
`google.rpc` details:

    InvalidInput            BadRequest (field, what was got, the limit, the way out)
    Overloaded, Unavailable RetryInfo (seconds)
    all                     ErrorInfo (reason: the class name, domain "wanimage"), RequestInfo (request id)

Anything else becomes INTERNAL with the request id alone; the traceback stays in the log under that id. A
servicer asks `caller(context)` for the tenant and the time left. `channel` and `error_details` are the
client's side.
"""

import asyncio
import hmac
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from opentelemetry.trace import SpanKind

from wanimage import telemetry
from wanimage.config import Settings
from wanimage.errors import InvalidInput, Overloaded, Unauthenticated, Unavailable, WanError

MAX_RECEIVE_BYTES = 192 * 1024 * 1024
"""9 pictures of 20 MB and some room."""
MAX_SEND_BYTES = 64 * 1024 * 1024
"""A decoded 4K picture inline; larger things go in chunks."""
OPEN_TENANT = "default"
"""Whom callers are when no API keys are set."""
UNAVAILABLE_RETRY_SECONDS = 1.0
MAX_DETAIL_CHARACTERS = 1000
"""Of a message: gRPC limits metadata to 8 KB."""
DOMAIN = "wanimage"
DETAILS_KEY = "grpc-status-details-bin"
HEALTH_SECONDS = 2.0
"""How often readiness is looked at."""
CLOSE_SECONDS = 5.0

_UNGUARDED = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
_KEEPALIVE = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
_LENGTHS = [
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    ("grpc.max_send_message_length", MAX_SEND_BYTES),
]
log = telemetry.logger(__name__)


# Serving. ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caller:
    """Who made the running call."""

    tenant: str
    request_id: str
    """Names the call in logs and errors; the client's `x-request-id`, or new."""
    _deadline: float = field(repr=False)

    def seconds_left(self) -> float:
        """Until the caller's deadline; never negative."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())


_CALLER: ContextVar[Caller] = ContextVar("caller")


def caller(context: grpc.aio.ServicerContext) -> Caller:
    """Who made this call. Only inside a servicer of a server made by `server`."""
    found = _CALLER.get(None)
    assert found is not None, (
        f"{context.peer()} was not let in by the guard; make the server with rpc.server()"
    )
    return found


def server(settings: Settings) -> grpc.aio.Server:
    """A server with the guard. Add servicers and `Health`, then `listen`."""
    keys = {tenant: key.get_secret_value() for tenant, key in settings.api_keys.items()}
    options = [
        *_LENGTHS,
        *_KEEPALIVE,
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),
    ]
    return grpc.aio.server(interceptors=[_Guard(keys, settings.max_deadline)], options=options)


async def listen(server: grpc.aio.Server, address: str) -> int:
    """Start serving on host:port (port 0: any free one); returns the port. Raises RuntimeError when it is
    taken."""
    try:
        port = server.add_insecure_port(address)
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
        await self._servicer.enter_graceful_shutdown()


class _Guard(grpc.aio.ServerInterceptor):
    """What every call goes through; see the module's head."""

    def __init__(self, keys: dict[str, str], max_deadline: float) -> None:
        self._keys = {tenant: key.encode() for tenant, key in keys.items()}
        self._max_deadline = max_deadline

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(details)
        if handler is None or details.method.startswith(_UNGUARDED):
            return handler
        return self._guarded(handler, details.method)

    def _guarded(self, handler: Any, method: str) -> grpc.RpcMethodHandler:
        async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
            behavior = handler.stream_unary if handler.request_streaming else handler.unary_unary
            async with self._call(method, context):
                return await behavior(request, context)

        async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncGenerator[Any, None]:
            behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream
            async with self._call(method, context), aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    yield response

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        return make(
            stream if handler.response_streaming else unary,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @asynccontextmanager
    async def _call(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        metadata = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        request_id = metadata.get("x-request-id", "")[:64] or uuid.uuid4().hex[:16]
        with (
            telemetry.bound(request=request_id),
            telemetry.continued_span(method.lstrip("/"), metadata, kind=SpanKind.SERVER, request=request_id),
        ):
            try:
                tenant = self._tenant(metadata)
                _CALLER.set(Caller(tenant, request_id, self._deadline(context)))
                with telemetry.bound(tenant=tenant):
                    yield
            except WanError as error:
                log.info("call_refused", method=method, reason=error.reason, error=str(error))
                await _abort(context, error.status, str(error), details_of(error, request_id))
            except (grpc.RpcError, grpc.aio.AbortError):
                raise
            except Exception:
                # Only the number goes out: the text of an unknown error may hold anything.
                log.exception("call_crashed", method=method)
                message = f"unexpected error; the service's log has it under request {request_id}"
                info = [error_details_pb2.RequestInfo(request_id=request_id)]
                await _abort(context, grpc.StatusCode.INTERNAL, message, info)

    def _tenant(self, metadata: dict[str, str]) -> str:
        if not self._keys:
            return OPEN_TENANT
        scheme, _, bearer = metadata.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else metadata.get("x-api-key", "")
        # Every key is compared, in constant time: how long it takes tells nothing.
        matches = [tenant for tenant, key in self._keys.items() if hmac.compare_digest(key, given.encode())]
        if not matches:
            what = "this API key is not known" if given else "no API key came with the call"
            raise Unauthenticated(
                f"{what}; send metadata `authorization: Bearer <key>` or `x-api-key: <key>`"
            )
        return matches[0]

    def _deadline(self, context: grpc.aio.ServicerContext) -> float:
        remaining = context.time_remaining()
        if remaining is None:
            raise InvalidInput("deadline", "none was set", "set the call's timeout, e.g. 600 s")
        if remaining > self._max_deadline + CLOSE_SECONDS:
            raise InvalidInput(
                "deadline", f"{remaining:.0f} s, the limit is {self._max_deadline:.0f} s", "ask for less time"
            )
        return asyncio.get_running_loop().time() + remaining


# Errors. -------------------------------------------------------------------------------------------------


def details_of(error: WanError, request_id: str) -> list[Message]:
    """The `google.rpc` details of an error. Errors restored from a job's result may lack their attributes."""
    found: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if isinstance(error, InvalidInput) and hasattr(error, "field"):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=f"{error.problem}; {error.way_out}"
        )
        found.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Overloaded | Unavailable):
        delay = Duration()
        delay.FromMilliseconds(int(getattr(error, "retry_after", UNAVAILABLE_RETRY_SECONDS) * 1000))
        found.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return found


async def _abort(
    context: grpc.aio.ServicerContext, code: grpc.StatusCode, message: str, details: Iterable[Message]
) -> NoReturn:
    message = message[:MAX_DETAIL_CHARACTERS]
    packed = []
    for each in details:
        packed.append(AnyMessage())
        packed[-1].Pack(each)
    status = status_pb2.Status(code=code.value[0], message=message, details=packed)
    await context.abort(code, message, trailing_metadata=((DETAILS_KEY, status.SerializeToString()),))
    raise AssertionError("abort returned")


@dataclass(frozen=True)
class ErrorDetails:
    """What a failed call says, as plain values."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    """Name of the error's class in `errors.py`, e.g. "InvalidInput"."""
    request_id: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    """Field path to what is wrong with it."""
    retry_after: float | None = None
    """Seconds to wait before trying again, when the service said so."""


def error_details(error: grpc.RpcError) -> ErrorDetails:
    """Read a failed call's status and `google.rpc` details; works for calls of other servers too."""
    found: dict[str, Any] = {"code": error.code(), "message": error.details() or ""}
    metadata: Any = error.trailing_metadata() or ()
    trailing: dict[str, Any] = dict(metadata)
    for packed in status_pb2.Status.FromString(trailing.get(DETAILS_KEY, b"")).details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.RequestInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
        ):
            if packed.Is(kind.DESCRIPTOR):
                found |= _plain(kind.FromString(packed.value))
    return ErrorDetails(**found)


def _plain(detail: Any) -> dict[str, Any]:
    match detail:
        case error_details_pb2.ErrorInfo():
            return {"reason": detail.reason}
        case error_details_pb2.RequestInfo():
            return {"request_id": detail.request_id}
        case error_details_pb2.BadRequest():
            return {"fields": {each.field: each.description for each in detail.field_violations}}
        case _:
            return {"retry_after": detail.retry_delay.ToMilliseconds() / 1000}


# Calling. ------------------------------------------------------------------------------------------------


def channel(address: str, api_key: str | None = None) -> grpc.aio.Channel:
    """A channel to host:port that sends the API key and the running trace with every call.

    `http://` and `https://` before the address choose plain text (the default) or TLS.
    """
    scheme, _, rest = address.rpartition("://")
    options = [*_LENGTHS_OF_CLIENT, *_KEEPALIVE]
    interceptors: list[Any] = [each(api_key) for each in _CLIENT_INTERCEPTORS]
    if scheme == "https":
        credentials = grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(rest, credentials, options=options, interceptors=interceptors)
    return grpc.aio.insecure_channel(rest, options=options, interceptors=interceptors)


_LENGTHS_OF_CLIENT = [(name, MAX_RECEIVE_BYTES) for name, _ in _LENGTHS]


class _Sender:
    """Adds our metadata to a call."""

    def __init__(self, api_key: str | None) -> None:
        self._key = api_key

    def _with_metadata(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        sent = list(details.metadata or ())
        if self._key:
            sent.append(("authorization", f"Bearer {self._key}"))
        sent += telemetry.inject_headers().items()
        return grpc.aio.ClientCallDetails(
            details.method,
            details.timeout,
            grpc.aio.Metadata(*sent),
            details.credentials,
            details.wait_for_ready,
        )


class _UnaryUnary(_Sender, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._with_metadata(client_call_details), request)


class _UnaryStream(_Sender, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._with_metadata(client_call_details), request)


class _StreamUnary(_Sender, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(self._with_metadata(client_call_details), request_iterator)


class _StreamStream(_Sender, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(self._with_metadata(client_call_details), request_iterator)


_CLIENT_INTERCEPTORS = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
