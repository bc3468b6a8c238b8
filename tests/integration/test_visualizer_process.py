"""The visualizer as a real process that is told to stop, or is killed, in the middle of a render."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.families import build_family
from tests.processes import ServiceProcess
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.jobs import Jobs, make_job
from wanimage.stack import LocalStack
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.weights import Family

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECONDS = 250.0
STEPS = 100
ACK_WAIT = "2"
"""Seconds until a dead worker's job goes to another."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return build_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
async def jobs(settings: Settings) -> AsyncIterator[Jobs]:
    async with await Bus.connect(settings) as bus:
        yield Jobs(bus)


@pytest.fixture
def visualizer(stack: LocalStack, family: Family, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A worker that hands jobs back at once when it is told to stop."""
    process = worker(stack, family, tmp_path, drain_seconds=0)
    yield process
    process.kill()


def worker(stack: LocalStack, family: Family, folder: Path, drain_seconds: int) -> ServiceProcess:
    environment = {
        **stack.environment,
        "WAN_WEIGHTS": str(family.path),
        "WAN_ROLE": "worker",
        "WAN_ACK_WAIT": ACK_WAIT,
        "WAN_DRAIN_SECONDS": str(drain_seconds),
        "OMP_NUM_THREADS": "1",
    }
    return ServiceProcess("visualizer", environment, folder)


def long_render(tenant: str, family: Family) -> jobs_pb2.Job:
    """A second or more of work, so that there is a middle to be stopped in."""
    grid = types_pb2.Grid(height_cells=16, width_cells=16)
    pictures = [jobs_pb2.RenderPicture(prompt="a fox", grid=grid, seed=seed) for seed in range(4)]
    sampling = types_pb2.SamplingOptions(steps=STEPS)
    return make_job(tenant, family.digest, jobs_pb2.RenderJob(pictures=pictures, sampling=sampling), SECONDS)


async def first_step(jobs: Jobs, job: jobs_pb2.Job) -> asyncio.Task[jobs_pb2.JobProgress]:
    """Resolves at the first progress of `job`; listens from now on."""
    listening = jobs.watch_progress(job.id)
    return asyncio.create_task(anext(listening))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda each: each.name)
async def test_a_render_outlives_its_process_and_is_committed_once(
    visualizer: ServiceProcess, jobs: Jobs, family: Family, tenant: str, number: signal.Signals
) -> None:
    visualizer.start()
    await visualizer.ready()
    job = long_render(tenant, family)
    async with jobs.bus.listen(f"wan.result.{job.id}") as commits:
        progress = await first_step(jobs, job)
        submission = await jobs.submit(job)
        assert (await asyncio.wait_for(progress, 60)).step < STEPS, visualizer.tail()

        assert visualizer.process is not None
        visualizer.process.send_signal(number)
        status = await asyncio.to_thread(visualizer.process.wait, 60)
        assert status == (0 if number is signal.SIGTERM else -number), visualizer.tail()
        assert await jobs.held(job.id) is None, "the render was over before its process was"

        visualizer.start()
        result = await jobs.result(submission)
        assert len(result.render.latents) == 4
        assert result.render.steps == STEPS
        assert await commits.next(5) is not None
        assert await commits.next(3) is None, "the result was committed twice"


async def test_a_stopping_process_finishes_what_it_holds(
    stack: LocalStack, jobs: Jobs, family: Family, tenant: str, tmp_path: Path
) -> None:
    process = worker(stack, family, tmp_path, drain_seconds=60)
    process.start()
    try:
        await process.ready()
        job = long_render(tenant, family)
        progress = await first_step(jobs, job)
        submission = await jobs.submit(job)
        await asyncio.wait_for(progress, 60)
        assert process.process is not None
        process.process.send_signal(signal.SIGTERM)

        result = await jobs.result(submission)
        assert len(result.render.latents) == 4
        assert await asyncio.to_thread(process.process.wait, 60) == 0, process.tail()
    finally:
        process.kill()
