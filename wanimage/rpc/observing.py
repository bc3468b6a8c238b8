"""What is measured of a call: its span, its duration, its status code."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import grpc

from wanimage import metrics, spans


@contextmanager
def observed(
    method: str, metadata: Mapping[str, str], request_id: str, context: grpc.aio.ServicerContext
) -> Iterator[None]:
    """The block serves a call of `method` ("/package.Service/Method"); the caller's trace goes on in it."""
    name, code, began = method.lstrip("/"), grpc.StatusCode.OK, perf_counter()
    metrics.GRPC_RUNNING.labels(name).inc()
    try:
        with spans.served(method, metadata, request_id):
            yield
    except (asyncio.CancelledError, GeneratorExit):
        code = grpc.StatusCode.CANCELLED
        raise
    except BaseException:
        code = _status(context)
        raise
    finally:
        metrics.GRPC_RUNNING.labels(name).dec()
        metrics.GRPC_SECONDS.labels(name).observe(perf_counter() - began)
        metrics.GRPC_CALLS.labels(name, code.name).inc()


def _status(context: grpc.aio.ServicerContext) -> grpc.StatusCode:
    """What the call was aborted with; gRPC answers UNKNOWN for an error that aborted nothing."""
    number: object = context.code()
    known = (each for each in grpc.StatusCode if number and number in (each, each.value[0]))
    return next(known, grpc.StatusCode.UNKNOWN)
