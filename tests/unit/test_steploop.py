"""The engine thread's rules, with an engine that only counts."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from services.visualizer.engine import PictureSpec, RenderSpec
from services.visualizer.previews import MAX_PREVIEWS_BYTES, encode_previews
from services.visualizer.steploop import StepLoop
from tests.conftest import eventually
from wanimage import engineloop, images
from wanimage.errors import Cancelled, InvalidInput
from wanimage.sampling import SamplerConfig

POISON = "poison"


@dataclass
class State:
    spec: RenderSpec
    step: int = 0

    @property
    def steps(self) -> int:
        return self.spec.sampler.steps

    @property
    def done(self) -> bool:
        return self.step == self.steps


@dataclass
class CountingEngine:
    """Every step waits for a permit and writes down who was there."""

    permits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    companies: list[list[str]] = field(default_factory=list)
    waiting: bool = False

    def prepare(self, spec: RenderSpec) -> State:
        if spec.pictures[0].prompt == "refused":
            raise InvalidInput("prompt", "refused", "write another")
        return State(spec)

    def step(self, states: Sequence[State]) -> None:
        self.waiting = True
        assert self.permits.acquire(timeout=30), "a test forgot a permit"
        self.waiting = False
        names = [state.spec.pictures[0].prompt for state in states]
        if POISON in names:
            raise ValueError("poisoned")
        self.companies.append(names)
        for state in states:
            state.step += 1

    def preview(self, state: State) -> list[np.ndarray]:
        return [np.zeros((16, 16, 4), np.uint8)]

    def estimate(self, state: State) -> list[torch.Tensor]:
        return [torch.full((48, 1, 1), float(state.step))]

    finish = estimate


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
async def loop(engine: CountingEngine) -> AsyncIterator[StepLoop]:
    running = StepLoop(engine, max_cells=3)  # type: ignore[arg-type]
    running.start()
    yield running
    engine.permits.release(100)
    await asyncio.to_thread(running.stop)


def start(
    loop: StepLoop, prompt: str, *, steps: int = 3, cells: int = 1, tenant: str = ""
) -> asyncio.Task[list[torch.Tensor]]:
    picture = PictureSpec(prompt=prompt, grid=(1, cells), seed=0)
    spec = RenderSpec(pictures=(picture,), sampler=SamplerConfig(steps=steps))
    return asyncio.create_task(loop.render(spec, lambda *_: None, tenant=tenant))


async def test_a_late_render_joins_between_two_steps(loop: StepLoop, engine: CountingEngine) -> None:
    first = start(loop, "first")
    await eventually(lambda: engine.waiting)
    second = start(loop, "second")
    await asyncio.sleep(0)  # lets it reach the inbox
    engine.permits.release(10)
    await asyncio.gather(first, second)

    assert engine.companies == [["first"], ["first", "second"], ["first", "second"], ["second"]]


async def test_estimates_are_looked_at_every_so_many_steps_but_not_at_the_end(
    loop: StepLoop, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engineloop, "TELL_SECONDS", 0.0)
    engine.permits.release(10)
    told: list[tuple[int, list[float]]] = []
    spec = RenderSpec(pictures=(PictureSpec(prompt="", grid=(1, 1), seed=0),), sampler=SamplerConfig(steps=6))
    await loop.render(
        spec,
        lambda step, steps, seen: told.append((step, [float(each[0, 0, 0]) for each in seen])),
        previews=True,
        decode_every=2,
    )

    assert told == [(1, []), (2, [2.0]), (3, []), (4, [4.0]), (5, []), (6, [])]


async def test_a_render_waits_while_there_is_no_room(loop: StepLoop, engine: CountingEngine) -> None:
    first = start(loop, "first", steps=2, cells=2)
    await eventually(lambda: engine.waiting)
    second = start(loop, "second", steps=1, cells=2)
    await asyncio.sleep(0)
    engine.permits.release(10)
    await asyncio.gather(first, second)

    assert engine.companies == [["first"], ["first"], ["second"]]


async def test_a_render_larger_than_the_room_runs_alone(loop: StepLoop, engine: CountingEngine) -> None:
    engine.permits.release(10)
    (latent,) = await start(loop, "large", steps=2, cells=8)

    assert float(latent.max()) == 2
    assert engine.companies == [["large"], ["large"]]


async def test_a_tenant_far_ahead_sits_out_until_the_other_has_caught_up(
    loop: StepLoop, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engineloop, "SLACK_CELLS", 2)
    flood = [start(loop, f"big {number}", steps=6, tenant="big") for number in range(4)]
    await eventually(lambda: engine.waiting)
    engine.permits.release()
    await eventually(lambda: len(engine.companies) == 1 and engine.waiting)  # big was served 3 cells of 6
    small = start(loop, "small", steps=3, tenant="small")
    await asyncio.sleep(0)
    engine.permits.release(100)
    await asyncio.gather(small, *flood)

    joined = [company for company in engine.companies if "small" in company]
    assert joined[:2] == [["small"]] * 2  # big is 6 cells ahead, then 5
    assert max(len(company) for company in engine.companies) == 3


async def test_tenants_that_were_served_alike_share_their_steps(
    loop: StepLoop, engine: CountingEngine
) -> None:
    both = [start(loop, name, tenant=name) for name in ("one", "two")]
    await asyncio.sleep(0)
    engine.permits.release(10)
    await asyncio.gather(*both)

    assert ["one", "two"] in engine.companies


def test_what_a_tenant_was_served_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(engineloop, "time", SimpleNamespace(monotonic=lambda: clock))
    ledger = engineloop.Ledger()
    ledger.add("big", 1000)
    clock = engineloop.HALF_LIFE_SECONDS
    ledger.forget()
    assert ledger.served("big") == pytest.approx(500)
    clock *= 20
    ledger.forget()
    assert ledger._served == {}


async def test_a_left_render_takes_no_further_step(loop: StepLoop, engine: CountingEngine) -> None:
    leaving, staying = start(loop, "leaving"), start(loop, "staying")
    await eventually(lambda: engine.waiting)
    leaving.cancel()
    await asyncio.wait({leaving})
    engine.permits.release(10)
    await staying

    assert sum("leaving" in company for company in engine.companies) <= 1


async def test_a_failing_render_ends_only_itself(loop: StepLoop, engine: CountingEngine) -> None:
    engine.permits.release(20)
    good, bad = start(loop, "good"), start(loop, POISON)
    found = await asyncio.gather(good, bad, return_exceptions=True)

    assert float(found[0][0].max()) == 3
    assert isinstance(found[1], ValueError)


async def test_a_refused_render_leaves_the_others_alone(loop: StepLoop, engine: CountingEngine) -> None:
    engine.permits.release(10)
    good, bad = start(loop, "good"), start(loop, "refused")

    with pytest.raises(InvalidInput):
        await bad
    assert float((await good)[0].max()) == 3


async def test_stopping_cancels_whoever_waits(engine: CountingEngine) -> None:
    loop = StepLoop(engine)  # type: ignore[arg-type]
    loop.start()
    waiting = start(loop, "waiting", steps=50)
    await eventually(lambda: engine.waiting)
    stopping = asyncio.create_task(asyncio.to_thread(loop.stop))
    await eventually(lambda: loop._stopping)
    engine.permits.release(100)
    await stopping

    with pytest.raises(Cancelled):
        await waiting


async def test_steps_are_reported_at_once_and_then_seldom(
    loop: StepLoop, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = clock = time.monotonic()  # not behind what the loop has already read from the real clock
    monkeypatch.setattr(engineloop, "time", SimpleNamespace(monotonic=lambda: clock))
    steps: list[int] = []
    picture = PictureSpec(prompt="slow", grid=(1, 1), seed=0)
    spec = RenderSpec(pictures=(picture,), sampler=SamplerConfig(steps=20))
    render = asyncio.create_task(loop.render(spec, lambda step, *_: steps.append(step)))
    for done in range(20):
        await eventually(lambda: len(engine.companies) == done and engine.waiting)  # noqa: B023
        clock = start + 0.03 * done
        engine.permits.release()
    await render

    assert steps == [1, 5, 9, 13, 17]


def test_previews_of_the_largest_series_fit_a_message() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 4), dtype=np.uint8)
    previews = encode_previews([noise] * 12)

    assert [each.index for each in previews] == list(range(12))
    assert sum(len(each.png) for each in previews) <= MAX_PREVIEWS_BYTES
    assert images.decode(previews[0].png, "preview").shape == (128, 128, 4)
