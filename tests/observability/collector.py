"""An OpenTelemetry collector of a test's own: takes spans over OTLP/gRPC, answers for their tree."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Collected:
    """A span as it arrived."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    """Empty for the first of a trace."""
    failed: bool
    attributes: dict[str, Any]


@dataclass
class Trace:
    """The spans of one trace, all processes together."""

    spans: list[Collected]

    @property
    def orphans(self) -> list[Collected]:
        """Spans whose parent did not arrive."""
        known = {span.id for span in self.spans}
        return [span for span in self.spans if span.parent not in known]

    @property
    def edges(self) -> set[tuple[str, str]]:
        """Pairs of names, parent and child."""
        names = {span.id: span.name for span in self.spans}
        return {(names[span.parent], span.name) for span in self.spans if span.parent in names}

    def named(self, name: str) -> list[Collected]:
        """The spans whose name begins so."""
        return [span for span in self.spans if span.name.startswith(name)]


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps whatever comes."""

    spans: list[Collected] = field(default_factory=list)
    port: int = 0

    async def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        """As the protocol says."""
        for of_process in request.resource_spans:
            service = _plain(of_process.resource.attributes)["service.name"]
            for scope in of_process.scope_spans:
                self.spans += [_collected(service, span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace(self, trace_id: int) -> Trace:
        """What has arrived of a trace."""
        return Trace([span for span in self.spans if span.trace == f"{trace_id:032x}"])


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    server, collector = grpc.aio.server(), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


def _collected(service: str, span: Any) -> Collected:
    return Collected(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.status.code == 2,
        _plain(span.attributes),
    )


def _plain(attributes: Any) -> dict[str, Any]:
    found = {}
    for each in attributes:
        value = getattr(each.value, each.value.WhichOneof("value"))
        found[each.key] = [one.string_value for one in value.values] if hasattr(value, "values") else value
    return found
