"""Every process is restarted in its turn while clients go on: no call fails."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from tests.standins.deployment import Deployment, deployed
from wanimage import rpc
from wanimage.stack import LocalStack
from wanimage.v1 import (
    planner_pb2,
    planner_pb2_grpc,
    types_pb2,
    vae_pb2,
    vae_pb2_grpc,
    visualizer_pb2,
    visualizer_pb2_grpc,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 5
CLIENTS = {"slice": 4, "full": 16}
ROUNDS = {"slice": [1], "full": [2, 2, 2]}
"""How many of a service's two replicas are restarted, one after the other, in each round."""
SECONDS = 60.0
TWO_EACH = {"planner": 2, "visualizer": 2, "vae": 2}


@dataclass
class Client:
    """Makes one call after the other, of every method, and notes what fails."""

    number: int
    planner: planner_pb2_grpc.PlannerServiceStub
    visualizer: visualizer_pb2_grpc.VisualizerServiceStub
    vae: vae_pb2_grpc.VaeServiceStub
    calls: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    asked_again: int = 0
    """Turns whose call was turned away before it began."""

    async def work(self, stop: asyncio.Event) -> None:
        """Until `stop`; the call under way is finished."""
        lot = random.Random(f"{SEED}/{self.number}")
        session, image = "", types_pb2.Image()
        while not stop.is_set():
            name = lot.choice(["Generate", "GetSession", "Watch", "FetchBlob", "Render", "Decode"])
            name = name if session else "Generate"
            self.calls[name] += 1
            try:
                if name == "Generate":
                    session, image = await self._story(self.calls.total())
                else:
                    await getattr(self, f"_{name}")(session, image)
            except (grpc.aio.AioRpcError, AssertionError) as error:
                self.failures.append(f"{name}: {error!r}")

    async def _story(self, number: int) -> tuple[str, types_pb2.Image]:
        user = types_pb2.UserMessage(text=f"2 pictures for {self.number} in turn {number}")
        request = planner_pb2.GenerateRequest(user=user)
        try:
            events = [each.event async for each in self.planner.Generate(request, timeout=SECONDS)]
        except grpc.aio.AioRpcError as error:
            # The channel does not ask for a turn twice by itself; a person does, until it begins.
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise
            self.asked_again += 1
            return await self._story(number)
        assert events[-1].HasField("turn_finished"), events[-1]
        image = next(event.image_ready.image for event in events if event.HasField("image_ready"))
        return events[0].session_id, image

    async def _GetSession(self, session: str, image: types_pb2.Image) -> None:
        request = planner_pb2.GetSessionRequest(session_id=session)
        found = await self.planner.GetSession(request, timeout=SECONDS)
        assert len(found.session.images) == 2

    async def _Watch(self, session: str, image: types_pb2.Image) -> None:
        request = planner_pb2.WatchRequest(session_id=session, until_idle=True)
        events = [each.event async for each in self.planner.Watch(request, timeout=SECONDS)]
        assert events[-1].HasField("turn_finished"), events[-1]

    async def _FetchBlob(self, session: str, image: types_pb2.Image) -> None:
        request = planner_pb2.FetchBlobRequest(blob=image.base)
        chunks = [each.chunk async for each in self.planner.FetchBlob(request, timeout=SECONDS)]
        assert len(b"".join(chunks)) == image.base.size

    async def _Render(self, session: str, image: types_pb2.Image) -> None:
        prompt = f"{self.number}, {self.calls.total()}"
        request = visualizer_pb2.RenderRequest(prompts=[prompt])
        answers = [each async for each in self.visualizer.Render(request, timeout=SECONDS)]
        assert answers[-1].HasField("output")

    async def _Decode(self, session: str, image: types_pb2.Image) -> None:
        request = vae_pb2.DecodeRequest(latent=image.latent, inline=True)
        assert (await self.vae.Decode(request, timeout=SECONDS)).data


async def test_no_call_fails_while_every_process_is_restarted(
    breakable: LocalStack, tmp_path: Path, scale: str
) -> None:
    async with deployed(breakable, tmp_path, replicas=TWO_EACH) as deployment, AsyncExitStack() as exits:
        clients = [client async for client in _clients(deployment, exits, CLIENTS[scale])]
        stop = asyncio.Event()
        working = asyncio.gather(*(client.work(stop) for client in clients))
        restarted = [
            process
            for count in ROUNDS[scale]
            for replicas in deployment.services.values()
            for process in replicas[:count]
        ]
        for process in restarted:
            child = process.process
            assert child is not None
            await asyncio.to_thread(process.stop)
            assert child.returncode == 0, process.tail()
            process.start()
            await process.ready()
        stop.set()
        await working
        logs = "\n".join(process.tail() for process in deployment)
    calls: Counter[str] = sum((client.calls for client in clients), Counter())
    failures = [failure for client in clients for failure in client.failures]
    again = sum(client.asked_again for client in clients)
    print(
        f"\n{len(restarted)} restarts, {calls.total()} calls {dict(calls)}, {len(failures)} failed, "
        f"{again} turns asked for again"
    )
    assert not failures, logs


async def _clients(deployment: Deployment, exits: AsyncExitStack, count: int) -> AsyncIterator[Client]:
    """Half of them prefer the first replica, half the second."""
    for number in range(count):
        channels = [
            await exits.enter_async_context(rpc.channel(deployment.target(service, number)))
            for service in ("planner", "visualizer", "vae")
        ]
        yield Client(
            number,
            planner_pb2_grpc.PlannerServiceStub(channels[0]),
            visualizer_pb2_grpc.VisualizerServiceStub(channels[1]),
            vae_pb2_grpc.VaeServiceStub(channels[2]),
        )
