"""More than can be done: a deployment of stand-ins sheds, goes on at full pace, and stays fair.

`benchmarks/overload.py` measures the same for longer, on a machine of its own.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.standins.deployment import Deployment, deployed
from tests.standins.load import DONE, counted, goodput, keys, offer, quantile, resident
from wanimage.stack import LocalStack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SEED = 20261124
TURN_SECONDS = 2.1
"""About what a turn of one picture takes alone: ten steps of STEP_MS, and its words."""
STEP_MS, MAX_PENDING, MAX_WAIT = 200, 64, 4.0
PEAK = 5.2
"""Turns a second that twelve of the planner's sixteen slots can do; a tenant alone has no more of them."""


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Fast enough to reach its limit, slow enough to leave the processor alone."""
    folder = tmp_path_factory.mktemp("overload")
    own = LocalStack(folder / "stack")
    own.start()
    try:
        async with deployed(
            own, folder,
            STANDIN_STEP_MS=STEP_MS, WAN_MAX_PENDING_JOBS=MAX_PENDING, WAN_MAX_WAIT=MAX_WAIT,
            WAN_API_KEYS=keys("one", "big", "small"),
        ) as running:  # fmt: skip
            yield running
    finally:
        own.stop()


async def test_five_times_too_much_is_shed_and_what_is_let_in_is_done(
    deployment: Deployment, scale: str
) -> None:
    seconds = 40.0 if scale == "full" else 12.0
    target = deployment.target("planner")
    alone = await offer(target, "one", PEAK, seconds, seed=SEED)
    peak = goodput(alone, seconds / 4, seconds, TURN_SECONDS)

    watching = asyncio.create_task(resident(list(deployment)))
    calls = await offer(target, "one", 5 * PEAK, seconds, seed=SEED + 1)
    watching.cancel()
    memory = await watching

    outcomes = counted(calls)
    assert set(outcomes) == {DONE, "RESOURCE_EXHAUSTED"}, outcomes
    assert outcomes["RESOURCE_EXHAUSTED"] > outcomes[DONE]
    assert all(call.retry_after for call in calls if call.outcome != DONE)
    assert goodput(calls, seconds / 4, seconds, TURN_SECONDS) >= 0.9 * peak, (peak, outcomes)
    # A tenant alone holds half the queue; its turns wait for no more than that, and are then done.
    bound = MAX_PENDING / 2 / peak + 2 * TURN_SECONDS
    assert quantile(calls, 0.99) <= bound, (quantile(calls, 0.99), bound)
    for name, noted in memory.items():
        assert noted[-1] <= 1.25 * noted[len(noted) // 4], (name, noted)


async def test_who_sends_a_hundred_times_more_does_not_slow_the_other_down(
    deployment: Deployment, scale: str
) -> None:
    seconds, rate = (60.0, 0.8) if scale == "full" else (8.0, 0.5)
    target = deployment.target("planner")
    alone = await offer(target, "small", rate, seconds, seed=SEED + 2)
    beside, flood = await asyncio.gather(
        offer(target, "small", rate, seconds, seed=SEED + 2),
        offer(target, "big", 100 * rate, seconds, seed=SEED + 3, pictures=2),
    )

    assert counted(alone) == {DONE: len(alone)}
    assert counted(beside) == {DONE: len(alone)}
    assert set(counted(flood)) == {DONE, "RESOURCE_EXHAUSTED"}
    assert quantile(beside, 0.95) <= 2 * quantile(alone, 0.95), (
        quantile(alone, 0.95), quantile(beside, 0.95),
    )  # fmt: skip
