"""Kills one process after the other, by lot, and starts each again at once, as a supervisor would."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.processes import ServiceProcess
from tests.standins.deployment import Deployment


@dataclass
class Chaos:
    """SIGKILL every `every` seconds to a service, NATS or S3, in an order that follows from the seed."""

    deployment: Deployment
    seed: int
    every: float = 5.0
    kills: list[tuple[float, str]] = field(default_factory=list)
    """(time.time(), victim)"""
    died: list[str] = field(default_factory=list)
    """Services that ended by themselves, with the end of their logs."""

    @property
    def by_victim(self) -> Counter[str]:
        return Counter(victim for _, victim in self.kills)

    async def rage(self, seconds: float) -> None:
        """Kill for so long; every victim is back when this returns."""
        clock, lot = asyncio.get_running_loop().time, random.Random(self.seed)
        start = clock()
        turn = 1
        while turn * self.every <= seconds:
            await asyncio.sleep(max(0.0, start + turn * self.every - clock()))
            victim = lot.choice(["nats", "s3", *self.deployment.services])
            replica = lot.choice(self.deployment.services.get(victim, [None]))
            self._look_after_the_dead()
            self.kills.append((time.time(), victim))
            await asyncio.to_thread(self._strike, victim, replica)
            turn += 1
        await self.deployment.ready()

    def _strike(self, victim: str, replica: ServiceProcess | None) -> None:
        if replica is None:
            server = getattr(self.deployment.stack, victim)
            server.kill()
            server.start()
        else:
            replica.kill()
            replica.start()

    def _look_after_the_dead(self) -> None:
        for each in self.deployment:
            if each.process is not None and each.process.poll() is not None:
                self.died.append(each.tail())
                each.start()
