"""A deployment that is asked for five times what it can do, and a small tenant beside a flood.

    python benchmarks/overload.py [--seconds 60] [--seed 1]

Real processes, NATS and S3; stand-ins for the models, so that the queues are measured and not the processor.
The sustainable rate is the highest offered at which all were done; peak is the most that was done a second at
any rate. Then: five times the sustainable rate, open loop; then one tenant alone, and beside
another that asks a hundred times as often for twice as much. Prints tables, then one JSON line.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the stand-ins are part of the tests

from tests.standins.deployment import Deployment, deployed
from tests.standins.load import Call, counted, goodput, keys, offer, quantile, resident
from wanimage.stack import LocalStack

STEP_MS, TURN_SECONDS = 100, 1.1
"""Ten steps a turn, and its words."""
MAX_WAIT = 10.0
RATES = (6, 8, 9, 10, 11, 13)
RAMP_SECONDS = 8.0
SETTLING = 12.0
"""Seconds of the overload that are left out: after ten the fronts know the rate."""


def summary(calls: list[Call], first: float, last: float) -> dict[str, object]:
    """Goodput between two times, quantiles of what was done, and how the calls ended."""
    waits = [call.retry_after for call in calls if call.retry_after is not None]
    return {
        "goodput": goodput(calls, first, last, TURN_SECONDS),
        "p50": quantile(calls, 0.5),
        "p95": quantile(calls, 0.95),
        "p99": quantile(calls, 0.99),
        "outcomes": counted(calls),
        "retry_after": [min(waits), max(waits)] if waits else [],
    }


async def ramp(target: str, seed: int) -> tuple[float, float]:
    """The sustainable rate and the peak."""
    sustainable = peak = 0.0
    for rate in RATES:
        calls = await offer(target, "one", rate, RAMP_SECONDS, seed=seed + rate)
        offered = len(calls) / RAMP_SECONDS
        done = goodput(calls, 2, RAMP_SECONDS, TURN_SECONDS)
        outcomes = counted(calls)
        print(f"offered {offered:5.1f}/s  done {done:5.1f}/s  p99 {quantile(calls, 0.99):5.2f} s  {outcomes}")
        peak = max(peak, done)
        if set(outcomes) == {"done"}:
            sustainable = max(sustainable, offered)
    return sustainable, peak


async def overload(deployment: Deployment, rate: float, seconds: float, seed: int) -> dict[str, object]:
    """Offer `rate` for `seconds`, watching memory."""
    watching = asyncio.create_task(resident(list(deployment)))
    calls = await offer(deployment.target("planner"), "one", rate, seconds, seed=seed)
    watching.cancel()
    memory = await watching
    found = summary(calls, SETTLING, seconds)
    late = [call for call in calls if call.due >= SETTLING]
    found |= {"p50_settled": quantile(late, 0.5), "p99_settled": quantile(late, 0.99)}
    found["resident_mib"] = {
        name: [round(noted[len(noted) * part // 4 - (part == 4)], 1) for part in range(5)]
        for name, noted in memory.items()
    }
    return found


async def fairness(target: str, seconds: float, seed: int) -> dict[str, object]:
    """A tenant alone, then the same beside one that asks a hundred times as often for twice as much."""
    alone = await offer(target, "small", 0.8, seconds, seed=seed)
    beside, flood = await asyncio.gather(
        offer(target, "small", 0.8, seconds, seed=seed),
        offer(target, "big", 80, seconds, seed=seed, pictures=2),
    )
    found = {"alone": summary(alone, 0, seconds), "beside": summary(beside, 0, seconds)}
    return {
        **found,
        "flood": counted(flood),
        "p95_ratio": quantile(beside, 0.95) / quantile(alone, 0.95),
    }


async def measure(folder: Path, seconds: float, seed: int) -> dict[str, object]:
    """Everything, on one deployment."""
    stack = LocalStack(folder / "stack")
    stack.start()
    try:
        names = keys("one", "small", "big")
        async with deployed(
            stack, folder, STANDIN_STEP_MS=STEP_MS, WAN_MAX_WAIT=MAX_WAIT, WAN_API_KEYS=names
        ) as deployment:
            target = deployment.target("planner")
            sustainable, peak = await ramp(target, seed)
            print(f"sustainable {sustainable:.1f}/s, peak {peak:.1f}/s", flush=True)
            found: dict[str, object] = {"seed": seed, "sustainable": sustainable, "peak": peak}
            found["overload"] = await overload(deployment, 5 * sustainable, seconds, seed)
            print(json.dumps(found["overload"], indent=1), flush=True)
            found["fairness"] = await fairness(target, seconds, seed)
            print(json.dumps(found["fairness"], indent=1), flush=True)
            return found
    finally:
        stack.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of the long loads")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), given.seconds, given.seed))
    print(json.dumps({"benchmark": "overload", **found}))


if __name__ == "__main__":
    main()
