"""Labels stay few, and what is counted is what happened."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from wanimage import metrics
from wanimage.cli.readings import Reading, _parsed
from wanimage.errors import Unavailable
from wanimage.v1.types_pb2 import Usage


def test_tenants_beyond_the_limit_share_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_tenants", set())
    named = [metrics.tenant(f"t{number}") for number in range(metrics.MAX_TENANTS + 2)]
    assert named[: metrics.MAX_TENANTS] == [f"t{number}" for number in range(metrics.MAX_TENANTS)]
    assert named[metrics.MAX_TENANTS :] == [metrics.OTHER] * 2
    assert metrics.tenant("t0") == "t0"


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_turn_counts_by_outcome_and_by_stage() -> None:
    before = value("wan_turns_total", outcome="finished", tenant="acme")
    seconds = value("wan_turn_stage_seconds_sum", stage="plan")
    metrics.turn_ended("finished", "acme", Usage(seconds=3, stage_seconds={"plan": 2.5}))
    assert value("wan_turns_total", outcome="finished", tenant="acme") == before + 1
    assert value("wan_turn_stage_seconds_sum", stage="plan") == seconds + 2.5


def test_an_exchange_that_fails_is_counted_by_its_error() -> None:
    before = value("wan_blob_errors_total", operation="get", error="Unavailable")
    timed = value("wan_blob_seconds_count", operation="get")
    with pytest.raises(Unavailable), metrics.exchange("get"):
        raise Unavailable("S3", "away")
    assert value("wan_blob_errors_total", operation="get", error="Unavailable") == before + 1
    assert value("wan_blob_seconds_count", operation="get") == timed + 1


@pytest.fixture
def readings() -> tuple[Reading, Reading]:
    """A process at two moments, as text of the exposition format tells it."""
    registry = CollectorRegistry()
    seconds = Histogram("seconds", "S.", ("stage",), registry=registry, buckets=(1, 2, 4))
    done = Counter("done_total", "D.", ("kind",), registry=registry)
    seconds.labels("plan").observe(3)
    done.labels("a").inc(2)
    first = _parsed(generate_latest(registry).decode())
    for value in (0.5, 1.5, 1.5, 3.0):
        seconds.labels("plan").observe(value)
    done.labels("a").inc(3)
    done.labels("b").inc(4)
    second = _parsed(generate_latest(registry).decode())
    return Reading(0.0, {"x": first}), Reading(10.0, {"x": second})


def test_gains_between_readings_are_counted_from_the_first(readings: tuple[Reading, Reading]) -> None:
    gained = readings[1].since(readings[0])
    assert gained.total("done_total") == 7
    assert gained.total("done_total", kind="a") == 3
    assert gained.values("done_total", "kind") == ["a", "b"]


def test_a_process_started_again_counts_from_its_start(readings: tuple[Reading, Reading]) -> None:
    assert readings[0].since(readings[1]).total("done_total", kind="a") == 2


def test_quantiles_lie_within_their_bucket_in_proportion(readings: tuple[Reading, Reading]) -> None:
    gained = readings[1].since(readings[0])
    assert gained.quantile(0.5, "seconds", stage="plan") == 1.5
    assert gained.quantile(1.0, "seconds") == 4
    assert gained.quantile(0.5, "seconds", stage="none") is None
    assert gained.mean("seconds") == 6.5 / 4


def test_queues_that_all_processes_report_count_once() -> None:
    text = 'wan_queue_jobs{kind="turn",tenant="a"} 3\n'
    reading = Reading(0.0, {"x": _parsed(text), "y": _parsed(text.replace("3", "2"))})
    assert reading.largest("wan_queue_jobs", ("kind", "tenant")) == {("turn", "a"): 3}
    assert [family.name for family in text_string_to_metric_families(text)] == ["wan_queue_jobs"]
