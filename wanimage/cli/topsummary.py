"""What `wan top` knows: readings of the processes' metrics put into what people ask."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from wanimage.cli import stackfile
from wanimage.cli.readings import Reading

HALF, MOST = 0.5, 0.95
"""The quantiles that are told."""


@dataclass
class Top:
    """Everything `wan top` knows. Latencies are seconds; None where nothing happened."""

    where: str
    state: str
    window: float | None
    """Seconds that counts, rates and latencies cover; None: since each process's start."""
    services: list[dict[str, Any]] = field(default_factory=list)
    queues: list[dict[str, Any]] = field(default_factory=list)
    """Jobs waiting or being worked on, by kind and tenant."""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    turns: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    caches: dict[str, float | None] = field(default_factory=dict)
    """Share of hits, 0 to 1."""
    tenants: list[dict[str, Any]] = field(default_factory=list)
    shed: float = 0.0
    dead_letters: float = 0.0
    """In the stream DLQ now."""


def summary(where: Path, stack: stackfile.Stack, now: Reading, before: Reading | None) -> Top:
    """Put a reading into what people ask; `before` opens the window that counts and latencies cover."""
    gained = now.since(before) if before else now
    seconds = now.at - before.at if before else None
    top = Top(str(where), stack.state, seconds)
    top.services = [_service(part, now) for part in stack.parts.values()]
    top.queues = [
        {"kind": kind, "tenant": tenant, "jobs": jobs}
        for (kind, tenant), jobs in sorted(now.largest("wan_queue_jobs", ("kind", "tenant")).items())
    ]
    dead = now.largest("wan_dlq_jobs", ("kind",))
    top.jobs = [_job(kind, now, gained, dead) for kind in now.values("wan_job_slots", "kind")]
    outcomes = ("finished", "failed", "cancelled")
    top.turns = {
        **{outcome: gained.total("wan_turns_total", outcome=outcome) for outcome in outcomes},
        "pictures": gained.total("wan_pictures_total"),
        "tokens": gained.total("wan_generated_tokens_total"),
        **_quantiles(gained, "seconds", "wan_turn_seconds"),
        **_quantiles(gained, "first_token", "wan_turn_first_token_seconds"),
    }
    top.stages = [
        {"stage": stage, **_quantiles(gained, "seconds", "wan_turn_stage_seconds", stage=stage)}
        for stage in now.values("wan_turn_stage_seconds_count", "stage")
    ]
    top.batches = [
        {
            "kind": kind,
            "batches": gained.total("wan_batch_size_count", kind=kind),
            "mean_size": gained.mean("wan_batch_size", kind=kind),
            **_quantiles(gained, "seconds", "wan_batch_seconds", kind=kind),
        }
        for kind in now.values("wan_batch_size_count", "kind")
    ]
    top.caches = _caches(gained)
    top.tenants = [
        {
            "tenant": tenant,
            "pixel_steps": gained.total("wan_pixel_steps_total", tenant=tenant),
            "turns": gained.total("wan_turns_total", tenant=tenant),
            "shed": gained.total("wan_jobs_shed_total", tenant=tenant),
            "queued": sum(each["jobs"] for each in top.queues if each["tenant"] == tenant),
        }
        for tenant in sorted(
            {*now.values("wan_turns_total", "tenant"), *now.values("wan_jobs_shed_total", "tenant")}
            | {*now.values("wan_pixel_steps_total", "tenant"), *(each["tenant"] for each in top.queues)}
        )
    ]
    top.shed = gained.total("wan_jobs_shed_total")
    top.dead_letters = sum(dead.values())
    return top


def _service(part: stackfile.Part, now: Reading) -> dict[str, Any]:
    mine = Reading(now.at, {part.name: now.processes.get(part.name, {})})
    answers, cost = part.name in now.processes, _cost(part.pid) if part.pid else None
    return {
        "name": part.name,
        "state": part.state,
        "ready": mine.total("wan_ready") == 1 if answers else None,
        "family": next(iter(mine.values("wan_build_info", "family")), ""),
        "address": part.address,
        "memory_bytes": cost[0] if cost else None,
        "cpu_seconds": cost[1] if cost else None,
        "restarts": part.restarts,
        "calls": mine.total("wan_grpc_calls_running"),
        "reconnects": mine.total("wan_nats_reconnects_total"),
    }


def _cost(pid: int) -> tuple[int, float] | None:
    """Resident bytes and CPU seconds of a part with all it started: vLLM runs in a process of its own."""
    with suppress(psutil.Error):
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        times = [process.cpu_times() for process in processes]
        return sum(each.memory_info().rss for each in processes), sum(
            each.user + each.system for each in times
        )
    return None


def _job(kind: str, now: Reading, gained: Reading, dead: dict[tuple[str, ...], float]) -> dict[str, Any]:
    done = gained.total("wan_jobs_settled_total", kind=kind)
    return {
        "kind": kind,
        "held": now.total("wan_jobs_held", kind=kind),
        "slots": now.total("wan_job_slots", kind=kind),
        "settled": done,
        "failed": done - gained.total("wan_jobs_settled_total", kind=kind, outcome="ok"),
        "redelivered": gained.total("wan_jobs_redelivered_total", kind=kind),
        "shed": gained.total("wan_jobs_shed_total", kind=kind),
        "dead_letters": dead.get((kind,), 0.0),
        **_quantiles(gained, "queue", "wan_job_queue_seconds", kind=kind),
        **_quantiles(gained, "work", "wan_job_work_seconds", kind=kind),
    }


def _caches(gained: Reading) -> dict[str, float | None]:
    hits = gained.total("wan_job_result_hits_total")
    read = gained.total("wan_prompt_tokens_total")
    return {
        "prefix": gained.share(gained.total("wan_cached_tokens_total"), read),
        "blobs": gained.share(
            gained.total("wan_blobs_total", operation="get", answered_by="cache"),
            gained.total("wan_blobs_total", operation="get"),
        ),
        "results": gained.share(hits, hits + gained.total("wan_jobs_submitted_total")),
    }


def _quantiles(reading: Reading, called: str, name: str, **labels: str) -> dict[str, float | None]:
    return {
        f"{called}_p50": reading.quantile(HALF, name, **labels),
        f"{called}_p95": reading.quantile(MOST, name, **labels),
    }
