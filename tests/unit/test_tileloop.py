"""Which pictures share a step of the refiner's engine thread, with an engine that only counts."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from services.refiner.engine import RefineSpec, RefineState
from services.refiner.tileloop import MAX_CELLS, TileLoop
from tests.conftest import eventually
from wanimage import refining
from wanimage.images import Rgba
from wanimage.refining import Mode, ModeConfig


@dataclass
class CountingEngine:
    """Every step waits for a permit and writes down who was there, and at which tile."""

    permits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    companies: list[list[str]] = field(default_factory=list)
    waiting: bool = False

    def prepare(self, spec: RefineSpec) -> RefineState:
        return RefineState(spec, spec.tiles, None)  # type: ignore[arg-type]

    def step(self, states: Sequence[RefineState]) -> None:
        assert len({state.next.key for state in states}) == 1
        self.waiting = True
        assert self.permits.acquire(timeout=30), "a test forgot a permit"
        self.waiting = False
        self.companies.append([f"{state.spec.prompt} {state.step}" for state in states])
        for state in states:
            state.step += 1

    def finish(self, state: RefineState) -> Rgba:
        return np.full((1, 1, 4), state.step, np.uint8)


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
async def loop(engine: CountingEngine) -> AsyncIterator[TileLoop]:
    running = TileLoop(engine)  # type: ignore[arg-type]
    running.start()
    yield running
    engine.permits.release(1000)
    await asyncio.to_thread(running.stop)


LARGE = (1024, 1024)
"""Four tiles of 36 by 36 cells, of which three share a step."""
SMALL = (256, 1024)
"""Two tiles of 16 by 36 cells."""


def start(
    loop: TileLoop,
    name: str,
    size: tuple[int, int] = SMALL,
    *,
    mode: Mode = Mode.REPAIR,
    tenant: str = "",
    told: list[tuple[int, int]] | None = None,
) -> asyncio.Task[Rgba]:
    spec = RefineSpec(size=size, mode=mode, prompt=name, seed=0, picture=np.zeros((16, 16, 4), np.uint8))
    reports = [] if told is None else told
    return asyncio.create_task(
        loop.run(spec, lambda step, steps, _: reports.append((step, steps)), tenant=tenant)
    )


async def test_like_tiles_of_two_pictures_share_their_steps(loop: TileLoop, engine: CountingEngine) -> None:
    both = [start(loop, name) for name in ("one", "two")]
    await asyncio.sleep(0)  # lets both reach the inbox
    engine.permits.release(100)
    await asyncio.gather(*both)

    assert engine.companies[-1] == ["one 3", "two 3"]
    assert loop.largest_batch == 2


async def test_tiles_of_another_size_phase_or_count_of_steps_wait_for_their_turn(
    loop: TileLoop, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(refining.MODES, Mode.REPAIR, ModeConfig(start=0.5, steps=4))
    waiting = [
        start(loop, "first"),
        start(loop, "larger", LARGE),
        start(loop, "faster", mode=Mode.HIGH_FIDELITY),
    ]
    await asyncio.sleep(0)
    engine.permits.release(100)
    await asyncio.gather(*waiting)

    # Decoding takes no evaluation, so it does not matter how many denoising took.
    shared = [company for company in engine.companies if len(company) > 1]
    assert all(not each.startswith("larger") for company in shared for each in company)
    assert all(int(each.split()[1]) >= 2 for company in shared for each in company)
    assert sum(map(len, engine.companies)) == 4 + 8 + 4


async def test_a_step_has_room_for_a_few_large_tiles(loop: TileLoop, engine: CountingEngine) -> None:
    many = [start(loop, str(number), LARGE) for number in range(5)]
    await asyncio.sleep(0)
    engine.permits.release(100)
    await asyncio.gather(*many)

    side = refining.tiles_of((64, 64))[0].size[0]
    assert loop.largest_batch == MAX_CELLS // side**2 == 3


async def test_a_cancelled_picture_costs_the_tile_it_stands_in_and_no_other(
    loop: TileLoop, engine: CountingEngine
) -> None:
    leaving = start(loop, "leaving", LARGE)
    await eventually(lambda: engine.waiting)
    staying = start(loop, "staying")
    leaving.cancel()
    await asyncio.wait({leaving})
    engine.permits.release(100)
    await staying

    assert [each for company in engine.companies for each in company if "leaving" in each] == ["leaving 0"]


async def test_a_large_picture_does_not_hold_up_another_tenants_small_one(
    loop: TileLoop, engine: CountingEngine
) -> None:
    large = start(loop, "large", (4096, 4096), tenant="big")
    await eventually(lambda: engine.waiting)
    small = start(loop, "small", tenant="small")
    await asyncio.sleep(0)
    engine.permits.release(1000)
    await asyncio.gather(large, small)

    order = [each.split()[0] for company in engine.companies for each in company]
    assert order.index("small") == 1
    assert (
        len(order) - 1 - order[::-1].index("small") <= 6
    )  # its four tiles are smaller than one of the other


async def test_progress_counts_tiles_twice_and_tells_of_the_first_at_once(
    loop: TileLoop, engine: CountingEngine
) -> None:
    told: list[tuple[int, int]] = []
    picture = start(loop, "slow", LARGE, told=told)
    engine.permits.release()
    await eventually(lambda: told == [(1, 8)])
    engine.permits.release(100)

    assert int((await picture).max()) == 8
    assert all(steps == 8 for _, steps in told)
    assert [step for step, _ in told] == sorted({step for step, _ in told})
