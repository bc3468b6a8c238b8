"""Logs and traces, set up once a process; nothing happens at import.

Logs are structlog: JSON lines when stderr is not a terminal (or `json=True`), coloured text otherwise.
Records of the standard `logging` module (nats, grpc, vLLM) take the same road, so a process has one format.
Every record carries what `bound(turn=..., job=...)` bound and, inside a span, `trace_id` and `span_id`.

Traces are OpenTelemetry. Without an OTLP endpoint the provider is the API's no-op one: no exporter, no
thread, no cost. Context crosses processes as W3C `traceparent`: in gRPC metadata (see rpc/) and in NATS
headers (`inject_headers` on publish, `continued_span` on receipt).
"""

import logging
import sys
import uuid
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind

TRACER_NAME = "wanimage"
QUIET_LOGGERS = ("nats", "urllib3", "asyncio", "grpc", "openai", "httpx", "httpx2")
"""Libraries whose INFO records only repeat what our own events already say."""


def configure(
    service: str,
    *,
    level: str = "INFO",
    json: bool | None = None,
    otlp_endpoint: str | None = None,
    trace_ratio: float = 1.0,
) -> None:
    """Set up logs and, when `otlp_endpoint` is given (`http://host:4317`), span export, for this process.

    `json=None` chooses by terminal. `trace_ratio` is the share of new traces that is recorded. Raises
    ValueError for a level that logging does not know.
    """
    _configure_logs(service, level, sys.stderr.isatty() is False if json is None else json)
    if otlp_endpoint:
        _configure_export(service, otlp_endpoint, trace_ratio)


def _configure_logs(service: str, level: str, json: bool) -> None:
    number = logging.getLevelName(level.upper())
    if not isinstance(number, int):
        raise ValueError(f"log level {level!r} is not one of DEBUG, INFO, WARNING, ERROR; set WAN_LOG_LEVEL")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _service_adder(service),
        _add_trace,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _service_adder(service: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return add


def _add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    here = trace.get_current_span().get_span_context()
    if here.is_valid:
        event["trace_id"] = trace.format_trace_id(here.trace_id)
        event["span_id"] = trace.format_span_id(here.span_id)
    return event


def _configure_export(service: str, endpoint: str, ratio: float) -> None:
    # Imported here: the SDK and exporter cost 60 ms that a process without an endpoint need not pay.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    # Whoever began a trace decides for all: half a tree explains nothing.
    sampler = ParentBased(TraceIdRatioBased(ratio))
    names = {"service.name": service, "service.instance.id": uuid.uuid4().hex}
    provider = TracerProvider(sampler=sampler, resource=Resource.create(names))
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def logger(name: str) -> Any:
    """A structlog logger: `log.info("job_taken", job=..., attempt=1)`; event names are snake_case verbs."""
    return structlog.get_logger(name)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Attach fields (turn, job, tenant, ...) to every log record of this task inside the block."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


@contextmanager
def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int | float | bool
) -> Iterator[Span]:
    """A span around a block; an exception that leaves the block marks it as failed."""
    with trace.get_tracer(TRACER_NAME).start_as_current_span(
        name, kind=kind, attributes=attributes
    ) as current:
        yield current


@contextmanager
def continued_span(
    name: str,
    headers: Mapping[str, str] | None,
    *,
    kind: SpanKind = SpanKind.CONSUMER,
    **attributes: str | int,
) -> Iterator[Span]:
    """Like `span`, as the child of the trace whose context `headers` carry (none: a new trace)."""
    token = otel_context.attach(propagate.extract(dict(headers or {})))
    try:
        with span(name, kind=kind, **attributes) as current:
            yield current
    finally:
        otel_context.detach(token)


def inject_headers(headers: dict[str, str] | None = None) -> dict[str, str]:
    """`headers` plus `traceparent` of the current span; unchanged outside of a recorded span."""
    carried = dict(headers or {})
    propagate.inject(carried)
    return carried
