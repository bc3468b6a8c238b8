"""What goes wrong with jobs is counted where it goes wrong."""

import pytest

from wanimage import metrics
from wanimage.bus import Bus
from wanimage.errors import JobFailed, Overloaded, Unavailable
from wanimage.jobs import Jobs, make_job
from wanimage.v1.jobs_pb2 import DecodeJob, DecodeResult, Job
from wanimage.v1.types_pb2 import BlobRef
from wanimage.worker import Worker

FAMILY = "f" * 64


def job(digit: str, tenant: str = "acme") -> Job:
    return make_job(tenant, FAMILY, DecodeJob(latent=BlobRef(sha256=digit * 64)), 60)


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, {"kind": "decode", **labels}) or 0.0


async def test_a_refused_job_is_counted_for_its_tenant(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_tenants", set())  # other tests may have named as many as have labels
    jobs = Jobs(bus, max_pending=2)
    with pytest.raises(Overloaded):
        for digit in "ab":
            async with jobs.place("decode", "crowd"):
                await jobs.submit(job(digit, "crowd"))
    assert (
        sum(
            sample.value
            for family in metrics.JOBS_SHED.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["tenant"] == "crowd"
        )
        == 1
    )


async def test_a_job_put_back_counts_as_redelivered_and_settles_once(bus: Bus) -> None:
    names = ("wan_jobs_redelivered_total", "wan_jobs_put_back_total")
    before = [value(name) for name in names] + [value("wan_jobs_settled_total", outcome="ok")]
    jobs = Jobs(bus)
    async with Worker(jobs, "decode", family=FAMILY) as worker:
        await jobs.submit(job("c"))
        first = await worker.take(10.0)
        assert first is not None
        assert value("wan_jobs_held") == 1
        await worker.put_back(first, 0)
        again = await worker.take(10.0)
        assert again is not None
        await again.commit(DecodeResult())
    after = [value(name) for name in names] + [value("wan_jobs_settled_total", outcome="ok")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 1]
    assert value("wan_jobs_held") == 0


async def test_a_failed_job_is_counted_by_its_error(bus: Bus) -> None:
    before = value("wan_jobs_settled_total", outcome="JobFailed")
    dead = value("wan_dead_letters_total")
    jobs = Jobs(bus)
    async with Worker(jobs, "decode", family=FAMILY, max_deliver=1) as worker:
        await jobs.submit(job("d"))
        taken = await worker.take(10.0)
        assert taken is not None
        await taken.fail(Unavailable("S3", "away"))
        assert value("wan_jobs_settled_total", outcome="Unavailable") >= 1
        submission = await jobs.submit(
            make_job("acme", FAMILY, DecodeJob(latent=BlobRef(sha256="e" * 64)), 60)
        )
        given_up = await worker.take(10.0)
        assert given_up is not None
        await worker.put_back(given_up, 0)
        assert await worker.take(1.0) is None
        with pytest.raises(JobFailed):
            await jobs.result(submission)
    assert value("wan_jobs_settled_total", outcome="JobFailed") == before + 1
    assert value("wan_dead_letters_total") == dead + 1
