"""What every call of a server goes through; see the package's head."""

import asyncio
import hmac
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2

from wanimage import telemetry
from wanimage.errors import InvalidInput, Unauthenticated, WanError
from wanimage.rpc.details import abort, details_of
from wanimage.rpc.observing import observed

OPEN_TENANT = "default"
"""Whom callers are when no API keys are set."""
DEADLINE_SLACK_SECONDS = 5.0
"""By which a deadline may pass the limit: the way here is counted to it."""

_UNGUARDED = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
log = telemetry.logger(__name__)


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


class Guard(grpc.aio.ServerInterceptor):
    """What every call goes through; see the package's head."""

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

        async def stream(request: Any, context: grpc.aio.ServicerContext) -> None:
            # Not a generator: gRPC leaves one whose client hangs up during a send to the garbage collector,
            # and what it holds would be let go at some time, in another context.
            behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream
            async with self._call(method, context), aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

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
            observed(method, metadata, request_id, context),
        ):
            try:
                tenant = self._tenant(metadata)
                _CALLER.set(Caller(tenant, request_id, self._deadline(context)))
                with telemetry.bound(tenant=tenant):
                    yield
            except WanError as error:
                log.info("call_refused", method=method, reason=error.reason, error=str(error))
                await abort(context, error.status, str(error), details_of(error, request_id))
            except (grpc.RpcError, grpc.aio.AbortError):
                raise
            except Exception:
                # Only the number goes out: the text of an unknown error may hold anything.
                log.exception("call_crashed", method=method)
                message = f"unexpected error; the service's log has it under request {request_id}"
                info = [error_details_pb2.RequestInfo(request_id=request_id)]
                await abort(context, grpc.StatusCode.INTERNAL, message, info)

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
        if remaining > self._max_deadline + DEADLINE_SLACK_SECONDS:
            raise InvalidInput(
                "deadline", f"{remaining:.0f} s, the limit is {self._max_deadline:.0f} s", "ask for less time"
            )
        return asyncio.get_running_loop().time() + remaining
