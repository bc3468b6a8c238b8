"""An open-loop load on a deployment: calls go out when they are due, whatever became of those before."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np
import psutil

from tests.processes import ServiceProcess
from wanimage import rpc
from wanimage.v1 import planner_pb2, planner_pb2_grpc, types_pb2

KEY = "key-of-"
"""A tenant's API key is this and its name; see `keys`."""
DONE = "done"


def keys(*tenants: str) -> str:
    """WAN_API_KEYS of a deployment that knows `tenants`."""
    return ",".join(f"{tenant}={KEY}{tenant}" for tenant in tenants)


@dataclass(frozen=True)
class Call:
    """One turn that was asked for."""

    due: float
    """Seconds after the start of the load."""
    seconds: float
    """From due to the end of the stream."""
    outcome: str
    """`done`, the name of the gRPC status, or the last event's kind."""
    retry_after: float | None = None

    @property
    def ended(self) -> float:
        """Seconds after the start of the load."""
        return self.due + self.seconds


async def offer(
    target: str,
    tenant: str,
    rate: float,
    seconds: float,
    *,
    seed: int,
    pictures: int = 1,
    timeout: float = 60,
) -> list[Call]:
    """Ask for turns of `pictures` pictures, Poisson at `rate` a second for `seconds`; wait for their ends."""
    draw, began = random.Random(f"{seed} {tenant}"), time.monotonic()
    async with rpc.channel(target, api_key=KEY + tenant) as channel:
        stub = planner_pb2_grpc.PlannerServiceStub(channel)
        due, calls = draw.expovariate(rate), []
        while due < seconds:
            await asyncio.sleep(began + due - time.monotonic())
            text = f"Draw {pictures} of {tenant} {seed} {len(calls)}"
            calls.append(asyncio.create_task(_turn(stub, text, began, due, timeout)))
            due += draw.expovariate(rate)
        return list(await asyncio.gather(*calls))


async def _turn(
    stub: planner_pb2_grpc.PlannerServiceStub, text: str, began: float, due: float, timeout: float
) -> Call:
    request = planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text=text))
    outcome, retry_after = "", None
    try:
        async for response in stub.Generate(request, timeout=timeout):
            outcome = response.event.WhichOneof("kind")
    except grpc.aio.AioRpcError as error:
        details = rpc.error_details(error)
        outcome, retry_after = details.code.name, details.retry_after
    ended = DONE if outcome == "turn_finished" else outcome
    return Call(due, time.monotonic() - began - due, ended, retry_after)


def goodput(calls: Sequence[Call], first: float, last: float, turn: float) -> float:
    """Turns done a second between two times of the load.

    A turn counts by the part of its last `turn` seconds that lies between them: slots that were filled
    together end together, so counting ends alone would tell where the last such wave fell.
    """
    overlaps = (
        min(call.ended, last) - max(call.ended - turn, first) for call in calls if call.outcome == DONE
    )
    return sum(max(0.0, each) for each in overlaps) / turn / (last - first)


def quantile(calls: Sequence[Call], share: float) -> float:
    """Seconds that `share` of the finished turns took at most."""
    return float(np.quantile([call.seconds for call in calls if call.outcome == DONE], share))


def counted(calls: Sequence[Call]) -> dict[str, int]:
    """How many calls ended how."""
    return {
        outcome: sum(c.outcome == outcome for c in calls) for outcome in sorted({c.outcome for c in calls})
    }


async def resident(processes: Sequence[ServiceProcess], every: float = 1.0) -> dict[str, list[float]]:
    """Resident MiB of each process, noted until cancelled; then what was noted."""
    noted: dict[str, list[float]] = {}
    alive = [
        (f"{each.name}:{each.port}", psutil.Process(each.process.pid)) for each in processes if each.process
    ]
    try:
        while True:
            for name, process in alive:
                noted.setdefault(name, []).append(process.memory_info().rss / 2**20)
            await asyncio.sleep(every)
    except asyncio.CancelledError:
        return noted
