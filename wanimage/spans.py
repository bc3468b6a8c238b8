"""The spans of a turn, named and described as OpenTelemetry's semantic conventions say where they say it.

    wanimage.v1.PlannerService/Generate          gRPC, at the front
      send wan.jobs.turn                         messaging, publish
        process wan.jobs.turn                    messaging, at the worker
          chat 1af3c5e0b2d4                      GenAI, once for each stretch of text up to a picture
          job render                             from submission to result
            send wan.jobs.render
              process wan.jobs.render            in the visualizer's process
                generate_content 1af3c5e0b2d4    GenAI, the denoising
                S3/PutObject
                send $KV.RESULTS

The context crosses processes as W3C `traceparent`, in gRPC metadata and in the headers of NATS messages. One
span stands for each thing an operator may wait for; deltas and progress, of which a turn has hundreds, have
none. docs/observability.md lists the attributes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import aws_attributes as aws
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv._incubating.attributes import rpc_attributes as rpc
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.trace import Span, SpanKind, StatusCode

from wanimage import telemetry
from wanimage.errors import WanError
from wanimage.v1.types_pb2 import Usage

PROVIDER = "wanimage"
"""`gen_ai.provider.name`: the model runs in our own process."""
TENANT = "wan.tenant"
JOB = "wan.job.id"
DELIVERY = "wan.job.delivery"
"""1, or more when earlier workers died or put the job back."""
PIXEL_STEPS = "wan.pixel_steps"


@contextmanager
def served(method: str, metadata: Mapping[str, str], request_id: str) -> Iterator[Span]:
    """A gRPC call at its server; `method` is "/package.Service/Method"."""
    attributes = {rpc.RPC_SYSTEM: "grpc", rpc.RPC_METHOD: method.lstrip("/"), "wan.request.id": request_id}
    with telemetry.continued_span(
        method.lstrip("/"), metadata, kind=SpanKind.SERVER, **attributes
    ) as current:
        yield current


@contextmanager
def sending(subject: str, size: int) -> Iterator[None]:
    """A message on its way into a stream. Events of sessions get no span: a turn has hundreds."""
    first, second, *rest = subject.split(".")
    where = f"{first}.{second}" if first == "$KV" else f"{first}.{second}.{rest[0]}"
    if second == "session":
        yield
        return
    attributes: dict[str, Any] = {
        messaging.MESSAGING_SYSTEM: "nats",
        messaging.MESSAGING_OPERATION_NAME: "send",
        messaging.MESSAGING_OPERATION_TYPE: "send",
        messaging.MESSAGING_DESTINATION_NAME: subject,
        messaging.MESSAGING_MESSAGE_BODY_SIZE: size,
    }
    with telemetry.span(f"send {where}", kind=SpanKind.PRODUCER, **attributes):
        yield


@contextmanager
def wanted(kind: str, tenant: str, job: str) -> Iterator[None]:
    """A job from its submission to its result, at whoever wants it."""
    attributes: dict[str, Any] = {TENANT: tenant, JOB: job}
    with telemetry.span(f"job {kind}", **attributes):
        yield


@contextmanager
def processing(kind: str, tenant: str, headers: Mapping[str, str], job: str, delivery: int) -> Iterator[Span]:
    """A job in the hands of a worker, as the child of the span that sent it; once a delivery."""
    attributes: dict[str, Any] = {
        messaging.MESSAGING_SYSTEM: "nats",
        messaging.MESSAGING_OPERATION_NAME: "process",
        messaging.MESSAGING_OPERATION_TYPE: "process",
        messaging.MESSAGING_DESTINATION_NAME: f"wan.jobs.{kind}.{tenant}",
        messaging.MESSAGING_CONSUMER_GROUP_NAME: f"{kind}-{tenant}",
        TENANT: tenant,
        JOB: job,
        DELIVERY: delivery,
    }
    with telemetry.continued_span(f"process wan.jobs.{kind}", headers, **attributes) as current:
        yield current


@contextmanager
def object_store(operation: str, bucket: str, key: str) -> Iterator[Span]:
    """One exchange with S3: `operation` is its API's name, such as "PutObject"."""
    attributes = {rpc.RPC_SYSTEM: "aws-api", rpc.RPC_METHOD: f"S3/{operation}"}
    attributes |= {aws.AWS_S3_BUCKET: bucket, aws.AWS_S3_KEY: key}
    with telemetry.span(f"S3/{operation}", kind=SpanKind.CLIENT, **attributes) as current:
        yield current


@contextmanager
def generation(operation: str, model: str, output: str, **attributes: Any) -> Iterator[Span]:
    """A model at work in this process: `chat` writes "text", `generate_content` an "image".

    `model` is the family's digest, of which 12 digits name it; `attributes` describe the request further.
    """
    model = model[:12]
    described: dict[str, Any] = {
        gen_ai.GEN_AI_OPERATION_NAME: operation,
        gen_ai.GEN_AI_PROVIDER_NAME: PROVIDER,
        gen_ai.GEN_AI_REQUEST_MODEL: model,
        gen_ai.GEN_AI_OUTPUT_TYPE: output,
    }
    described |= {name: value for name, value in attributes.items() if value is not None}
    with telemetry.span(f"{operation} {model}", **described) as current:
        yield current


def failed(error: WanError) -> None:
    """Mark the current span as failed with a known error that is settled here and raised no further."""
    current = trace.get_current_span()
    current.set_attribute(error_attributes.ERROR_TYPE, error.reason)
    current.set_status(StatusCode.ERROR, str(error))


def generated(usage: Usage, finish: str) -> None:
    """What the current `chat` span came to: tokens read, cached of them, and written; why it stopped."""
    trace.get_current_span().set_attributes(
        {
            gen_ai.GEN_AI_USAGE_INPUT_TOKENS: usage.prompt_tokens,
            gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_tokens,
            gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: usage.generated_tokens,
            gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: (finish or "aborted",),
        }
    )
