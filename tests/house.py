"""A tenant's sessions and blobs, and their keeper, for tests of what is kept, moved and removed."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wanimage.blobs import Blobs
from wanimage.bucket import Bucket
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.retention import Account, Collector
from wanimage.sessions import Sessions, new_session_id
from wanimage.stack import NatsServer
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import types_pb2

FAMILY = "f" * 64
DAY = 86400.0


@dataclass
class House:
    """A tenant's sessions and blobs, and their keeper, over one NATS and S3."""

    settings: Settings
    tenant: str
    bus: Bus
    blobs: Blobs
    bucket: Bucket

    async def session(self, *blobs: types_pb2.BlobRef) -> str:
        """A session with a finished turn that shows these blobs."""
        session_id = new_session_id()
        log = await Sessions(self.bus).create(self.tenant, session_id, FAMILY)
        size = types_pb2.Size(height=128, width=128)
        images = [types_pb2.Image(index=i, base=blob, size=size) for i, blob in enumerate(blobs)]
        await log.append(ev.Event(turn_id="t", turn_started=ev.TurnStarted(text="hello", images=images)))
        await log.append(ev.Event(turn_id="t", turn_finished=ev.TurnFinished()))
        return session_id

    async def put(self, data: bytes) -> types_pb2.BlobRef:
        return await self.blobs.put(self.tenant, data, "image/png")

    async def collect(self, *, days: float = 0, **options: object) -> Account:
        """A run `days` from now."""
        collector = Collector(self.bus, self.bucket, now=lambda: time.time() + days * DAY, **options)
        (account,) = await collector.run(self.tenant)
        return account

    async def read(self, ref: types_pb2.BlobRef) -> bytes:
        """Past every cache."""
        async with await Blobs.connect(self.settings) as fresh:
            return await fresh.get(self.tenant, ref)

    def stored(self, prefix: str = "") -> list[str]:
        return [held.key for held in self.bucket.objects(f"{prefix}{self.tenant}/")]


@asynccontextmanager
async def open_house(settings: Settings, nats_server: NatsServer, tenant: str) -> AsyncIterator[House]:
    """A house over the run's S3 and a test's own NATS."""
    mine = settings.model_copy(update={"nats_url": nats_server.url})
    async with await Bus.connect(mine) as bus, await Blobs.connect(mine) as blobs:
        yield House(mine, tenant, bus, blobs, Bucket(mine))
