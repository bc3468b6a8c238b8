"""What every call of a server goes through; see the package's head."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from wanimage import telemetry
from wanimage.errors import Forbidden, InvalidInput, Unauthenticated, WanError
from wanimage.keys import Keyring, Role
from wanimage.rpc.allowance import Allowance
from wanimage.rpc.details import abort, details_of
from wanimage.rpc.observing import observed
from wanimage.rpc.rights import NEEDED, OPEN_SERVICES
from wanimage.subjects import token

OPEN_TENANT = "default"
"""Whom callers are when no API keys are set."""
TENANT_KEY = "x-wan-tenant"
"""Metadata with which an admin names the tenant to act for."""
DEADLINE_SLACK_SECONDS = 5.0
"""By which a deadline may pass the limit: the way here is counted to it."""

_UNGUARDED = tuple(f"/{name}/" for name in OPEN_SERVICES)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
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

    def __init__(self, keys: Keyring, allowance: Allowance, max_deadline: float) -> None:
        self._keys, self._allowance = keys, allowance
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
            request_deserializer=_known(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    @asynccontextmanager
    async def _call(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        metadata = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        given = metadata.get("x-request-id", "")
        # What a client sends goes into logs and traces: a name there, never a line of its own.
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex[:16]
        with (
            telemetry.bound(request=request_id),
            observed(method, metadata, request_id, context),
        ):
            try:
                tenant = self._tenant(method, metadata)
                await self._allowance.spend(tenant)
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

    def _tenant(self, method: str, metadata: dict[str, str]) -> str:
        """Whom the call is for. Raises Unauthenticated, Forbidden, InvalidInput."""
        wanted = metadata.get(TENANT_KEY, "")
        if self._keys.open:
            if wanted not in ("", OPEN_TENANT):
                raise Forbidden(
                    f"without API keys there is only tenant {OPEN_TENANT!r}; leave {TENANT_KEY} out"
                )
            return OPEN_TENANT
        key = self._keys.find(_given_key(metadata))
        role, needed = Role[key.role.upper()], NEEDED.get(method.lstrip("/"))
        if needed is None:
            raise Forbidden(f"no role may call {method.lstrip('/')}: it is missing in the table of rights")
        if role < needed:
            raise Forbidden(
                f"a key of role {key.role} may not call {method.rpartition('/')[2]}; "
                f"use one of role {needed.name.lower()}"
            )
        if not wanted or wanted == key.tenant:
            return key.tenant
        if role < Role.ADMIN:
            raise Forbidden(f"this key speaks for tenant {key.tenant} alone; leave {TENANT_KEY} out")
        log.info("acting_for", key=key.id, tenant=token(TENANT_KEY, wanted), method=method)
        return wanted

    def _deadline(self, context: grpc.aio.ServicerContext) -> float:
        remaining = context.time_remaining()
        if remaining is None:
            raise InvalidInput("deadline", "none was set", "set the call's timeout, e.g. 600 s")
        if remaining > self._max_deadline + DEADLINE_SLACK_SECONDS:
            raise InvalidInput(
                "deadline", f"{remaining:.0f} s, the limit is {self._max_deadline:.0f} s", "ask for less time"
            )
        return asyncio.get_running_loop().time() + remaining


def _known(deserialize: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    """Without fields that this version does not know: in a log or a job they might name blobs, so that nobody
    could tell any more which of the tenant's to keep."""

    def read(data: bytes) -> Message:
        request = deserialize(data)
        request.DiscardUnknownFields()
        return request

    return read


def _given_key(metadata: dict[str, str]) -> str:
    scheme, _, bearer = metadata.get("authorization", "").partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else metadata.get("x-api-key", "")
    if not given:
        raise Unauthenticated(
            "no API key came with the call; send metadata `authorization: Bearer <key>` or `x-api-key: <key>`"
        )
    return given
