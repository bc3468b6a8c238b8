"""What an error looks like on the wire: `google.rpc` details, packed by servers and read by clients.

InvalidInput            BadRequest (field, what was got, the limit, the way out)
Overloaded, Unavailable RetryInfo (seconds)
all                     ErrorInfo (reason: the class name, domain "wanimage"), RequestInfo (request id)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from wanimage.errors import InvalidInput, Overloaded, Unavailable, WanError

UNAVAILABLE_RETRY_SECONDS = 1.0
MAX_DETAIL_CHARACTERS = 1000
"""Of a message: gRPC limits metadata to 8 KB."""
DOMAIN = "wanimage"
DETAILS_KEY = "grpc-status-details-bin"
FINAL = ("grpc-retry-pushback-ms", "-1")
"""Tells gRPC's own retry that this is an answer, not an accident: callers decide for themselves."""


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


async def abort(
    context: grpc.aio.ServicerContext, code: grpc.StatusCode, message: str, details: Iterable[Message]
) -> NoReturn:
    """End the call with this status, message and details."""
    message = message[:MAX_DETAIL_CHARACTERS]
    packed = []
    for each in details:
        packed.append(AnyMessage())
        packed[-1].Pack(each)
    status = status_pb2.Status(code=code.value[0], message=message, details=packed)
    trailing = ((DETAILS_KEY, status.SerializeToString()), FINAL)
    await context.abort(code, message, trailing_metadata=trailing)
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
