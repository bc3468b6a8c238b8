"""The project's errors. A class exists only where callers act differently on it; each is one gRPC status.

WanError                     (never raised itself)
├── InvalidInput             INVALID_ARGUMENT     the request must change: names field, limit, way out
├── NotFound                 NOT_FOUND            no such session, image, job or blob for this tenant
├── Unauthenticated          UNAUTHENTICATED      no API key, or one that is not known
├── Forbidden                PERMISSION_DENIED    the key is known, its role may not do this
├── FamilyMismatch           FAILED_PRECONDITION  a job or latent of another weight family
├── SchemaMismatch           FAILED_PRECONDITION  a session log written by a newer version
├── Misconfigured            FAILED_PRECONDITION  a setting is wrong: names it and the way out
├── Conflict                 ABORTED              somebody else appended first; read again and retry
├── Overloaded               RESOURCE_EXHAUSTED   queues are full; retry after `retry_after` seconds
├── Cancelled                CANCELLED            the client (or an operator) cancelled the work
├── DeadlineExceeded         DEADLINE_EXCEEDED    the deadline passed; what was committed stays
├── Unavailable              UNAVAILABLE          NATS or S3 does not answer; retrying may help
│   └── StorageFull          RESOURCE_EXHAUSTED   NATS or S3 has no room; an operator must make some
├── DataLoss                 DATA_LOSS            stored bytes are not what their name says
└── JobFailed                INTERNAL             a worker gave up on a job; the reason is its own
"""

from typing import ClassVar

import grpc


class WanError(Exception):
    """Base of all errors that may cross a service boundary."""

    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL

    @property
    def reason(self) -> str:
        """A stable machine-readable name, sent as `google.rpc.ErrorInfo.reason`."""
        return type(self).__name__


class InvalidInput(WanError):
    """The request itself is wrong, and nothing was changed by it."""

    status = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, field: str, problem: str, way_out: str) -> None:
        """`field` is the proto path (`options.size.height`), `problem` gives got and limit."""
        super().__init__(f"{field}: {problem}; {way_out}")
        self.field, self.problem, self.way_out = field, problem, way_out


class NotFound(WanError):
    """The named thing does not exist for this tenant."""

    status = grpc.StatusCode.NOT_FOUND

    def __init__(self, kind: str, name: str, way_out: str) -> None:
        super().__init__(f"no {kind} {name!r}; {way_out}")
        self.kind, self.name, self.way_out = kind, name, way_out


class Unauthenticated(WanError):
    """No usable API key came with the call."""

    status = grpc.StatusCode.UNAUTHENTICATED


class Forbidden(WanError):
    """The caller is known and may not do this."""

    status = grpc.StatusCode.PERMISSION_DENIED


class FamilyMismatch(WanError):
    """Work made for another weight family than the one this service holds."""

    status = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(self, wanted: str, held: str) -> None:
        super().__init__(
            f"made for family {wanted[:12]}, this service holds {held[:12]}; "
            "start all services with the same WAN_WEIGHTS and send the request again"
        )
        self.wanted, self.held = wanted, held


class SchemaMismatch(WanError):
    """A session log, or an export of one, in a schema this version does not know."""

    status = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(self, what: str, found: object, known: int) -> None:
        super().__init__(f"{what} is written in schema {found}, this version reads up to {known}; update it")
        self.found, self.known = found, known


class Misconfigured(WanError):
    """A setting of this service is wrong. Ends a start; trying again without a change helps nobody."""

    status = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(self, setting: str, problem: str, way_out: str) -> None:
        """`setting` is the variable (`WAN_PLANNER_MODEL`)."""
        super().__init__(f"{setting}: {problem}; {way_out}")
        self.setting, self.problem, self.way_out = setting, problem, way_out


class Conflict(WanError):
    """A fenced append lost against another writer."""

    status = grpc.StatusCode.ABORTED


class Overloaded(WanError):
    """Admission refused the request because a queue is full."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, what: str, limit: int, retry_after: float) -> None:
        super().__init__(f"{what} is full (limit {limit}); retry after {retry_after:.0f} s")
        self.what, self.limit, self.retry_after = what, limit, retry_after


class Cancelled(WanError):
    """The work was cancelled before it finished."""

    status = grpc.StatusCode.CANCELLED


class DeadlineExceeded(WanError):
    """The deadline passed before the work finished."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class Unavailable(WanError):
    """A server this service depends on does not answer."""

    status = grpc.StatusCode.UNAVAILABLE

    def __init__(self, what: str, cause: str) -> None:
        super().__init__(f"{what} does not answer ({cause}); retry, or see `wan doctor`")
        self.what, self.cause = what, cause


class StorageFull(Unavailable):
    """A server this service depends on takes no more writes. Who waits out an outage waits this out too."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    retry_after = 10.0
    """Seconds: room does not come as quickly as a server that is started again."""

    def __init__(self, what: str, cause: str) -> None:
        WanError.__init__(self, f"{what} is full ({cause}); nothing was written; make room, then retry")
        self.what, self.cause = what, cause


class DataLoss(WanError):
    """Stored bytes do not match the name or digest they were stored under."""

    status = grpc.StatusCode.DATA_LOSS


class JobFailed(WanError):
    """A worker failed a job for a reason of its own (already logged there)."""


def _tree(base: type[WanError]) -> dict[str, type[WanError]]:
    found = {}
    for kind in base.__subclasses__():
        found[kind.__name__] = kind
        found |= _tree(kind)
    return found


def restore(reason: str, message: str) -> WanError:
    """Rebuild an error that travelled as (`reason`, message) in a result; unknown reasons are `JobFailed`."""
    kind = _tree(WanError).get(reason, JobFailed)
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error
