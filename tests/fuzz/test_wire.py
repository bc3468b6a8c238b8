"""Damaged protobuf messages through the code that reads them: typed errors, or work that can be done.

Jobs come through a worker's door and on to the handlers; events through the fold to the planner's context;
results and requests to those who read them.
"""

import asyncio
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import strategies as st

from services.enhancer.engine import Ask
from services.enhancer.service import EnhancerService
from services.enhancer.worker import EnhanceWorker
from services.planner.context import assemble
from services.planner.drawing import Drawer
from services.planner.history import fold
from services.planner.intake import Intake
from services.refiner.service import RefinerService
from services.refiner.worker import RefineWorker, largest_cost
from services.vae.service import _grid
from services.vae.worker import VaeWorker
from services.visualizer.service import check_request, joined_prompts, render_job
from services.visualizer.worker import RenderWorker, pixel_steps
from tests.conftest import SHIPPED, SHIPPED_PLANNER
from tests.fuzz import originals
from tests.fuzz.campaign import campaign
from tests.fuzz.mutation import mutated, mutations
from tests.fuzz.stand_ins import CountingJobs, memory_blobs, message
from wanimage import limits
from wanimage.bus import Stored
from wanimage.enhancejobs import SERIES, SINGLE
from wanimage.enhancing import MOST_ENTRIES, grammar
from wanimage.errors import WanError
from wanimage.jobs import Held, error_of
from wanimage.literals import spelt
from wanimage.models.understanding import vision_tokens
from wanimage.prompts import PromptLimit
from wanimage.sessions import read_event
from wanimage.subjects import ATTEMPT_HEADER
from wanimage.tokens import Vocabulary
from wanimage.uploads import check_uploads
from wanimage.v1 import enhancer_pb2, events_pb2, jobs_pb2, planner_pb2, refiner_pb2, vae_pb2, visualizer_pb2
from wanimage.worker import Worker

TENANT = originals.TENANT
KINDS = ("turn", "enhance", "render", "encode", "decode", "refine")
COSTS = {"render": lambda job: pixel_steps(job.render), "refine": lambda job: largest_cost(job.refine)}


@dataclass(frozen=True)
class Ground:
    """Fronts and workers of the shipped family, without weights, servers or models."""

    blobs: Any
    vae: VaeWorker
    visualizer: RenderWorker
    refiner: RefineWorker
    intake: Intake
    engine: Any
    enhancer: Any
    """What its front stands on."""


@pytest.fixture(scope="module")
def ground() -> Ground:
    blobs, _ = memory_blobs(TENANT, originals.CONTENTS)
    family = SimpleNamespace(digest=originals.FAMILY, base_cells=64, max_cells=256, path=SHIPPED)
    engine = SimpleNamespace(
        family=originals.FAMILY,
        batch_size=lambda grid: 1,
        encode=lambda pictures: [
            np.zeros((48, p.shape[0] // 16, p.shape[1] // 16), np.float32) for p in pictures
        ],
        decode=lambda latents: [np.zeros((z.shape[1], z.shape[2], 4), np.uint8) for z in latents],
    )

    async def at_once(compute: Any, key: Any, item: Any, limit: int) -> Any:
        return compute([item])[0]

    prompts = PromptLimit.load(SHIPPED / "understanding")
    vocabulary = Vocabulary.load(SHIPPED_PLANNER)
    preprocessor = json.loads((SHIPPED_PLANNER / "preprocessor_config.json").read_text())
    window = SimpleNamespace(
        max_tokens=4096,
        count=lambda parts: sum(len(p) for p in parts if isinstance(p, str)),
        max_images=24,
        picture_tokens=lambda size: vision_tokens(size.height, size.width, preprocessor) + 2,
    )
    return Ground(
        blobs,
        VaeWorker(engine, blobs, SimpleNamespace(run=at_once)),  # type: ignore[arg-type]
        RenderWorker(None, blobs, family, prompts, None),  # type: ignore[arg-type]
        RefineWorker(None, blobs, family, prompts),  # type: ignore[arg-type]
        Intake(None, None, blobs, family, vocabulary),  # type: ignore[arg-type]
        window,
        SimpleNamespace(family=family),
    )


@campaign(
    "jobs, through the worker's door and its handlers",
    st.tuples(
        mutations(originals.GOOD_JOBS), st.sampled_from(KINDS),
        st.sampled_from(["1", "2", "x", "", "-1", "9" * 30]), st.integers(1, 7),
    ),
    few=500,
    full=35_000,
    corpus=[
        *(((0, []), "turn", attempt, 1) for attempt in ("x", "", "-1", "9" * 30)),
        *(((index, []), "turn", "1", 1) for index in range(len(originals.JOBS))),
        *(((index, []), "encode", "2", 1) for index in range(len(originals.JOBS))),
    ],
)  # fmt: skip
def test_a_damaged_job_is_buried_refused_or_done(case: Any, ground: Ground) -> None:
    damage, kind, attempt, delivery = case
    data = mutated(originals.JOBS, damage)
    kind = originals.KINDS_OF_JOBS[damage[0]] if attempt != "2" else kind  # mostly the queue it belongs to

    async def work() -> None:
        jobs = CountingJobs()
        cost = COSTS.get(kind, lambda job: 1.0)
        worker = Worker(jobs, kind, family=originals.FAMILY, cost=cost)  # type: ignore[arg-type]
        taken = await worker._accept(
            message(data, f"wan.jobs.{kind}.{TENANT}", {ATTEMPT_HEADER: attempt}, delivery)
        )
        if taken is None:
            assert jobs.committed or jobs.bus.stored
            return
        assert (taken.kind, taken.tenant) == (kind, TENANT)
        try:
            if kind == "encode":
                await ground.vae.encode(taken)
            elif kind == "decode":
                await ground.vae.decode(taken)
            elif kind == "render":
                can_be_drawn(await ground.visualizer._spec(taken.tenant, taken.job.render))
            elif kind == "refine":
                can_be_refined(await ground.refiner._spec(taken.tenant, taken.job.refine))
            elif kind == "enhance":
                ask = await EnhanceWorker(None, ground.blobs, originals.FAMILY)._ask(taken)  # type: ignore[arg-type]
                can_be_asked(ask, ground)
        except WanError:
            return

    asyncio.run(work())


def can_be_asked(ask: Ask, ground: Ground) -> None:
    """What the enhancer's engine takes for granted; the grammar refuses other tasks and counts."""
    assert ask.prompt
    assert len(ask.references) <= limits.MAX_INPUT_IMAGES
    assert ground.intake.vocabulary is not None
    grammar(ask.task, ask.count, ground.intake.vocabulary.control, verbatim=spelt(ask.prompt))


def can_be_drawn(spec: Any) -> None:
    """What the engine takes for granted."""
    assert 1 <= len(spec.pictures) <= limits.MAX_OUTPUT_IMAGES
    assert len(spec.references) <= limits.MAX_INPUT_IMAGES
    for picture in spec.pictures:
        assert min(picture.grid) >= 1
        assert max(picture.grid) <= 8 * min(picture.grid)
        assert picture.grid[0] * picture.grid[1] <= 256
        assert 0 <= picture.seed <= limits.MAX_SEED
    for reference in spec.references:
        assert reference.pixels.shape[:2] == tuple(16 * side for side in reference.latents.shape[1:])


def can_be_refined(spec: Any) -> None:
    """What the engine takes for granted."""
    assert (spec.picture is None) != (spec.latent is None)
    assert 2048 <= max(spec.size) <= 4096 <= 16 * min(spec.size)
    assert 0 <= spec.seed <= limits.MAX_SEED


@campaign(
    "events, through the fold to a context",
    st.tuples(
        st.integers(0, originals.GOOD_LOGS - 1),
        st.lists(st.tuples(st.integers(0, 99), mutations(1)), min_size=1, max_size=2),
    ),
    few=600,
    full=30_000,
    corpus=[(index, []) for index in range(len(originals.LOGS))],
)
def test_a_damaged_log_is_a_history_or_data_loss(case: Any, ground: Ground) -> None:
    which, damages = case
    log = list(originals.LOGS[which])
    for at, (_, steps) in damages:
        log[at % len(log)] = mutated([log[at % len(log)]], (0, steps))

    async def read() -> None:
        try:
            history = fold("s1", [read_event(data) for data in log])
            history.summary(with_images=True)
            if history.turns:
                await assemble(ground.engine, ground.blobs, TENANT, history, see=True)
        except WanError:
            return

    asyncio.run(read())


@campaign(
    "results",
    st.tuples(mutations(len(originals.RESULTS)), st.sampled_from(["1", "7", "x", ""])),
    few=300,
    full=15_000,
    corpus=[((index, []), attempt) for index in range(len(originals.RESULTS)) for attempt in ("1", "x")],
)
def test_a_damaged_result_is_read_or_refused(case: Any, ground: Ground) -> None:
    damage, attempt = case
    data, headers = mutated(originals.RESULTS, damage), {ATTEMPT_HEADER: attempt}
    try:
        held = Held.from_stored(Stored("$KV.RESULTS.x", 1, data, headers))
    except WanError:
        return
    error = error_of(held.result)
    assert error is None or isinstance(error, WanError)
    assert held.settles(1) in (True, False)


@campaign("requests", mutations(len(originals.REQUESTS)), few=600, full=20_000)
def test_a_damaged_request_is_refused_naming_a_field_or_can_be_served(case: Any, ground: Ground) -> None:
    kind, _ = originals.REQUESTS[case[0]]
    try:
        request = kind.FromString(mutated([data for _, data in originals.REQUESTS], case))
    except DecodeError:
        return  # gRPC answers that itself

    async def serve() -> None:
        try:
            if isinstance(request, planner_pb2.GenerateRequest):
                await generate(ground, request)
            elif isinstance(request, visualizer_pb2.RenderRequest):
                grid = check_request(request, ground.visualizer.family, ground.visualizer.prompts)
                await check_uploads(ground.blobs, TENANT, request.references, "references")
                job = render_job(request, grid, [])
                can_be_drawn(await ground.visualizer._spec(TENANT, job))
                assert len(joined_prompts(request)) == len(request.prompts)
            elif isinstance(request, vae_pb2.EncodeRequest):
                (upload,) = await check_uploads(ground.blobs, TENANT, [request.image], "image")
                grid = _grid(request, upload)
                assert (
                    1
                    <= min(grid.height_cells, grid.width_cells)
                    <= max(grid.height_cells, grid.width_cells)
                    <= 256
                )
            elif isinstance(request, enhancer_pb2.EnhanceRequest):
                front = EnhancerService(ground.enhancer, ground.intake.vocabulary)  # type: ignore[arg-type]
                task, count = front._check(request)
                await check_uploads(ground.blobs, TENANT, request.references, "references")
                assert bool(request.references) == (task in (SINGLE[1], SERIES[1]))
                assert 1 <= count <= MOST_ENTRIES
                assert count == 1 or task in SERIES
            elif isinstance(request, refiner_pb2.RefineRequest):
                refiner = RefinerService(ground.refiner, ground.refiner.prompts)  # type: ignore[arg-type]
                refiner._check(request)
                job = await refiner._job(request, TENANT)
                can_be_refined(await ground.refiner._spec(TENANT, job))
        except WanError:
            return

    asyncio.run(serve())


async def generate(ground: Ground, request: planner_pb2.GenerateRequest) -> None:
    """As far as a turn's first event, and as its first picture's job."""
    options = request.options
    ground.intake._check(request.user, options)
    await ground.intake._uploads(TENANT, request.user, None)
    settled = ground.intake._settled(options, "s", "t")
    drawer = Drawer(None, TENANT, originals.FAMILY, 64, settled, (), None, lambda: 1.0)  # type: ignore[arg-type]
    plan = events_pb2.ImagePlanned(prompt="a fox", grid=originals.GRID, seed=settled.sampling.seed)
    job = jobs_pb2.RenderJob(pictures=[drawer._picture(plan)], sampling=settled.sampling)
    can_be_drawn(await ground.visualizer._spec(TENANT, job))
