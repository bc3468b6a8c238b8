"""A whole system of stand-ins on one NATS and one S3, several replicas of a service if wanted."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import SHIPPED, stack_settings
from tests.processes import ServiceProcess
from wanimage.config import Settings
from wanimage.stack import LocalStack

ONE_EACH = {"planner": 1, "visualizer": 1, "vae": 1}


@dataclass(frozen=True)
class Deployment:
    """Running stand-ins, to be called, killed and started again."""

    stack: LocalStack
    services: dict[str, list[ServiceProcess]]

    @property
    def settings(self) -> Settings:
        """Settings of whoever wants to look at the bus and the blobs the stand-ins use."""
        return stack_settings(self.stack)

    def __iter__(self) -> Iterator[ServiceProcess]:
        return (process for replicas in self.services.values() for process in replicas)

    def target(self, service: str, first: int = 0) -> str:
        """A gRPC target that names every replica, number `first` before the others: a channel to it stays
        with one that answers and moves on when that is gone."""
        replicas = self.services[service]
        first %= len(replicas)
        return "ipv4:" + ",".join(each.address for each in (*replicas[first:], *replicas[:first]))

    async def ready(self) -> None:
        """Wait until every process says SERVING."""
        await asyncio.gather(*(process.ready() for process in self))


@asynccontextmanager
async def deployed(
    stack: LocalStack,
    folder: Path,
    *,
    replicas: Mapping[str, int] = ONE_EACH,
    **environment: object,
) -> AsyncIterator[Deployment]:
    """Start stand-ins on `stack`, ready; kill them in the end. Logs go into `folder`.

    `environment` adds to what each process gets: `WAN_ACK_WAIT=2`, `STANDIN_STEPS=40`. They take every
    tenant's jobs and refuse those of other families, so nothing else may work on `stack` meanwhile.
    """
    given = {name: str(value) for name, value in environment.items()}
    shared = {**stack.environment, "WAN_WEIGHTS": str(SHIPPED), **given}
    services = {
        name: [
            ServiceProcess(name, shared, folder, command=("-m", "tests.standins", name)) for _ in range(count)
        ]
        for name, count in replicas.items()
    }
    deployment = Deployment(stack, services)
    try:
        for process in deployment:
            process.start()
        await deployment.ready()
        yield deployment
    finally:
        for process in deployment:
            process.kill()
