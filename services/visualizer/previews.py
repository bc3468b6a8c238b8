"""Previews of a render under way: rough ones of the visualizer's own, or decoded by the VAE's service.

Small enough for a message: PNG, one a picture, halved until all of a job fit.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from wanimage import images, telemetry
from wanimage.blobs import Blobs
from wanimage.errors import WanError
from wanimage.images import Rgba
from wanimage.jobs import Jobs, make_job
from wanimage.latents import put_latent
from wanimage.takenjob import Reporter
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

    reporter: Reporter
    jobs: Jobs
    blobs: Blobs
    family: str
    _step: tuple[int, int] = (0, 0)
    _ready: Sequence[bytes] = ()
    _decoding: asyncio.Task[None] | None = None

    def on_step(self, step: int, steps: int, latents: Sequence[Tensor]) -> None:
        """Report a step; have the latents `[Z, gh, gw]` decoded, if it shows some."""
        self._step = (step, steps)
        if latents and self._decoding is None:
            self._decoding = asyncio.create_task(self._decode(latents))
        self.reporter.report(self._progress)

    def stop(self) -> None:
        """Let go of what is still being decoded: the picture itself is there, or nobody wants it."""
        if self._decoding is not None:
            self._decoding.cancel()

    async def _decode(self, latents: Sequence[Tensor]) -> None:
        try:
            self._ready = await asyncio.gather(*map(self._picture, latents))
            self.reporter.report(self._progress)
        except WanError as error:
            log.warning("preview_not_decoded", job=self.reporter.taken.job.id, error=str(error))
        finally:
            self._decoding = None

    async def _picture(self, latent: Tensor) -> bytes:
        taken = self.reporter.taken
        stored = await put_latent(self.blobs, taken.tenant, latent.numpy(), self.family)
        job = make_job(taken.tenant, self.family, jobs_pb2.DecodeJob(latent=stored), taken.seconds_left)
        decoded = (await self.jobs.run(job)).decode
        return await self.blobs.get(taken.tenant, decoded.image)

    def _progress(self) -> jobs_pb2.JobProgress:
        """The newest step, with a preview that nobody was told of yet."""
        ready, self._ready = self._ready, ()
        step, steps = self._step
        return jobs_pb2.JobProgress(step=step, steps=steps, previews=fitted(ready))


def encode_previews(pictures: Sequence[Rgba]) -> list[jobs_pb2.Preview]:
    """PNGs of straight RGBA pictures `[H, W, 4]` uint8, scaled down where they would be too large."""
    return fitted([images.encode(picture)[0] for picture in pictures])


def fitted(pngs: Sequence[bytes]) -> list[jobs_pb2.Preview]:
    """Encoded pictures as previews, scaled down where they would be too large."""
    limit = min(MAX_PREVIEW_BYTES, MAX_PREVIEWS_BYTES // max(1, len(pngs)))
    return [jobs_pb2.Preview(index=index, png=_shrunk(png, limit)) for index, png in enumerate(pngs)]


def _shrunk(png: bytes, limit: int) -> bytes:
    while len(png) > limit:
        picture = images.decode(png, "preview")
        height, width = picture.shape[:2]
        png, _ = images.encode(images.resize(picture, math.ceil(height / 2), math.ceil(width / 2)))
    return png
