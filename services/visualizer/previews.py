"""Previews of a render under way: rough ones of the visualizer's own, or decoded by the VAE's service.

Small enough for a message: PNG, one a picture, halved until all of a job fit.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from wanimage import images, telemetry
from wanimage.blobs import Blobs
from wanimage.errors import WanError
from wanimage.images import Rgba
from wanimage.jobs import Jobs, make_job
from wanimage.latents import put_latent
from wanimage.takenjob import Reporter, TakenJob
from wanimage.v1 import jobs_pb2

MAX_PREVIEW_BYTES = 256_000
"""Largest preview of one picture."""
MAX_PREVIEWS_BYTES = 768_000
"""All previews of a job together; a NATS message holds 1 MiB."""

log = telemetry.logger(__name__)


@dataclass
class Decoded:
    """Has what a render is expected to come to decoded, one look at a time, and reports it when it is there.

    A look that comes while another is under way is left out; so is one whose decoding fails, since a preview
    is no reason to lose a picture.
    """

    taken: TakenJob
    jobs: Jobs
    blobs: Blobs
    family: str
    _reporter: Reporter = field(init=False)
    _step: tuple[int, int] = (0, 0)
    _ready: Sequence[Rgba] = ()
    _decoding: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._reporter = Reporter(self.taken)

    def on_step(self, step: int, steps: int, latents: Sequence[Tensor]) -> None:
        """Report a step; have the latents `[Z, gh, gw]` decoded, if it shows some."""
        self._step = (step, steps)
        if latents and self._decoding is None:
            self._decoding = asyncio.create_task(self._decode(latents))
        self._reporter.report(self._progress)

    def stop(self) -> None:
        """Let go of what is still being decoded: the picture itself is there, or nobody wants it."""
        if self._decoding is not None:
            self._decoding.cancel()

    async def _decode(self, latents: Sequence[Tensor]) -> None:
        try:
            self._ready = await asyncio.gather(*map(self._picture, latents))
            self._reporter.report(self._progress)
        except WanError as error:
            log.warning("preview_not_decoded", job=self.taken.job.id, error=str(error))
        finally:
            self._decoding = None

    async def _picture(self, latent: Tensor) -> Rgba:
        tenant = self.taken.tenant
        stored = await put_latent(self.blobs, tenant, latent.numpy(), self.family)
        job = make_job(tenant, self.family, jobs_pb2.DecodeJob(latent=stored), self.taken.seconds_left)
        decoded = (await self.jobs.run(job)).decode
        data = await self.blobs.get(tenant, decoded.image)
        return await asyncio.to_thread(images.decode, data, "preview")

    def _progress(self) -> jobs_pb2.JobProgress:
        """The newest step, with a preview that nobody was told of yet."""
        ready, self._ready = self._ready, ()
        step, steps = self._step
        return jobs_pb2.JobProgress(step=step, steps=steps, previews=encode_previews(ready))


def encode_previews(pictures: Sequence[Rgba]) -> list[jobs_pb2.Preview]:
    """PNGs of straight RGBA pictures `[H, W, 4]` uint8, scaled down where they would be too large."""
    limit = min(MAX_PREVIEW_BYTES, MAX_PREVIEWS_BYTES // max(1, len(pictures)))
    return [
        jobs_pb2.Preview(index=index, png=_fitted(picture, limit)) for index, picture in enumerate(pictures)
    ]


def _fitted(picture: Rgba, limit: int) -> bytes:
    png, _ = images.encode(picture)
    while len(png) > limit:
        height, width = picture.shape[:2]
        picture = images.resize(picture, math.ceil(height / 2), math.ceil(width / 2))
        png, _ = images.encode(picture)
    return png
