"""Every metric of the system, declared once; docs/observability.md explains each.

Call sites are one line, in the module that owns the event: `metrics.JOBS_SHED.labels(kind, why, who).inc()`.
Counting costs about a microsecond and needs no exporter; `exposition.py` serves what was counted.

Names are `wan_<what>_<unit>`, in base units; a counter ends in `_total`. Labels hold only values from a
fixed set: kinds, stages, methods, error classes. The one that comes from outside is `tenant`, on the metrics
an operator shares out capacity by; `tenant()` folds whoever comes after the first `MAX_TENANTS` into one.

The process's own numbers (`process_resident_memory_bytes`, `process_cpu_seconds_total`, ...) come from
prometheus-client under their usual names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from wanimage.errors import WanError
from wanimage.v1.types_pb2 import Usage

MAX_TENANTS = 50
"""Tenants a process names in its metrics; all others together are `OTHER`."""
OTHER = "other"

REGISTRY = CollectorRegistry(auto_describe=True)
"""Ours alone: vLLM registers its own metrics in the default one."""
ProcessCollector(registry=REGISTRY)

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Seconds of one operation on NATS, S3 or an engine."""
SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 80, 160, 320, 640)
"""Seconds of calls, jobs and turns, which may wait in queues."""
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(name, meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, meaning, labels, registry=REGISTRY, buckets=buckets)


# The process. --------------------------------------------------------------------------------------------

BUILD = _gauge("wan_build_info", "1, with what runs here.", "service", "family", "role")
READY = _gauge("wan_ready", "1 while weights are loaded and NATS and S3 answer.")
NATS_RECONNECTS = _counter("wan_nats_reconnects_total", "Connections to NATS made again.")
NATS_STORE_SECONDS = _histogram(
    "wan_nats_store_seconds", "Until JetStream has acknowledged a message.", FAST, "stream"
)

# Calls. --------------------------------------------------------------------------------------------------

GRPC_CALLS = _counter("wan_grpc_calls_total", "Calls ended, by status code.", "method", "code")
GRPC_SECONDS = _histogram("wan_grpc_call_seconds", "From a call's arrival to its end.", SLOW, "method")
GRPC_RUNNING = _gauge("wan_grpc_calls_running", "Calls in progress.", "method")

# Jobs, at who submits them. ------------------------------------------------------------------------------

JOBS_SUBMITTED = _counter("wan_jobs_submitted_total", "Jobs put on the queue.", "kind")
JOB_RESULT_HITS = _counter("wan_job_result_hits_total", "Jobs answered by an earlier result.", "kind")
JOBS_SHED = _counter("wan_jobs_shed_total", "Jobs refused for want of room.", "kind", "reason", "tenant")

# Jobs, at who does them. ---------------------------------------------------------------------------------

JOB_SLOTS = _gauge("wan_job_slots", "Jobs this worker may hold.", "kind")
JOBS_HELD = _gauge("wan_jobs_held", "Jobs this worker holds.", "kind")
JOB_QUEUE_SECONDS = _histogram("wan_job_queue_seconds", "From submission to a worker.", SLOW, "kind")
JOB_WORK_SECONDS = _histogram("wan_job_work_seconds", "From taking a job to settling it.", SLOW, "kind")
JOBS_SETTLED = _counter("wan_jobs_settled_total", 'Outcomes: "ok" or the error\'s class.', "kind", "outcome")
JOBS_REDELIVERED = _counter("wan_jobs_redelivered_total", "Jobs taken that were taken before.", "kind")
JOBS_PUT_BACK = _counter("wan_jobs_put_back_total", "Jobs given back to the queue.", "kind")
DEAD_LETTERS = _counter("wan_dead_letters_total", "Jobs this worker dead-lettered.", "kind")

# Turns. --------------------------------------------------------------------------------------------------

TURNS = _counter("wan_turns_total", "Turns ended: finished, failed or cancelled.", "outcome", "tenant")
TURN_SECONDS = _histogram("wan_turn_seconds", "Work on a turn, by the worker that ended it.", SLOW)
STAGE_SECONDS = _histogram("wan_turn_stage_seconds", "Seconds a stage took of a turn.", SLOW, "stage")
FIRST_TOKEN_SECONDS = _histogram(
    "wan_turn_first_token_seconds", "From a turn's start in the log to its first token.", SLOW
)
PICTURES = _counter("wan_pictures_total", "Pictures drawn for turns.")
PROMPT_TOKENS = _counter("wan_prompt_tokens_total", "Tokens of contexts, pictures included.")
CACHED_TOKENS = _counter("wan_cached_tokens_total", "Of them, those from the prefix cache.")
GENERATED_TOKENS = _counter("wan_generated_tokens_total", "Tokens written.")

ENHANCED = _counter("wan_enhanced_total", "Requests enhanced, by what came of them.", "outcome", "category")

# Engines. ------------------------------------------------------------------------------------------------

BATCH_SIZE = _histogram(
    "wan_batch_size", "Items of one batch: render steps, encodes, decodes, tiles.", SIZES, "kind"
)
BATCH_SECONDS = _histogram("wan_batch_seconds", "Computing one batch.", FAST, "kind")
PIXEL_STEPS = _counter(
    "wan_pixel_steps_total", "Height x width x evaluations of finished renders and refinements.", "tenant"
)

# Blobs. --------------------------------------------------------------------------------------------------

BLOBS = _counter("wan_blobs_total", "Blobs put and got, by who answered.", "operation", "answered_by")
BLOB_BYTES = _counter("wan_blob_bytes_total", "Bytes exchanged with S3.", "operation")
BLOB_SECONDS = _histogram("wan_blob_seconds", "One exchange with S3.", FAST, "operation")
BLOB_ERRORS = _counter("wan_blob_errors_total", "Exchanges with S3 that failed.", "operation", "error")

_tenants: set[str] = set()


def tenant(name: str) -> str:
    """The label value of a tenant: its name, or `OTHER` once `MAX_TENANTS` have been named."""
    if name not in _tenants:
        if len(_tenants) >= MAX_TENANTS:
            return OTHER
        _tenants.add(name)
    return name


def worker_opens(kind: str, slots: int) -> None:
    """Show a worker's counters from zero on: a rate needs a value before the first event."""
    JOB_SLOTS.labels(kind).set(slots)
    JOBS_HELD.labels(kind).set(0)
    JOBS_SETTLED.labels(kind, "ok")
    for counter in (JOBS_REDELIVERED, JOBS_PUT_BACK, DEAD_LETTERS):
        counter.labels(kind)


def turn_ended(outcome: str, tenant_name: str, usage: Usage) -> None:
    """Count a turn by its outcome ("finished", "failed", "cancelled") and its seconds by stage."""
    TURNS.labels(outcome, tenant(tenant_name)).inc()
    TURN_SECONDS.observe(usage.seconds)
    for stage, seconds in usage.stage_seconds.items():
        STAGE_SECONDS.labels(stage).observe(seconds)


def tokens(usage: Usage) -> None:
    """Count what the planner read, found in its prefix cache, and wrote."""
    PROMPT_TOKENS.inc(usage.prompt_tokens)
    CACHED_TOKENS.inc(usage.cached_tokens)
    GENERATED_TOKENS.inc(usage.generated_tokens)


@contextmanager
def batch(kind: str, size: int) -> Iterator[None]:
    """One batch of `size` items, computed by the block."""
    BATCH_SIZE.labels(kind).observe(size)
    with timed(BATCH_SECONDS.labels(kind)):
        yield


@contextmanager
def exchange(operation: str) -> Iterator[None]:
    """One put or get that goes to S3, made by the block."""
    BLOBS.labels(operation, "s3").inc()
    with timed(BLOB_SECONDS.labels(operation)):
        try:
            yield
        except WanError as error:
            BLOB_ERRORS.labels(operation, error.reason).inc()
            raise


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe how long the block takes, however it ends."""
    began = perf_counter()
    try:
        yield
    finally:
        histogram.observe(perf_counter() - began)
