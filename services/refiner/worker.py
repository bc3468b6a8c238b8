"""Takes `refine` jobs: reads their picture, has the engine thread refine it, stores the result."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from services.refiner.checks import check, check_alpha
from services.refiner.engine import RefineSpec
from services.refiner.tileloop import TileLoop
from wanimage import images, metrics, spans
from wanimage.blobs import Blobs
from wanimage.errors import InvalidInput
from wanimage.images import CELL, Rgba
from wanimage.latents import Latent, get_latent
from wanimage.limits import check_aspect, target_size
from wanimage.prompts import PromptLimit
from wanimage.refining import MODES, Mode
from wanimage.takenjob import Reporter, TakenJob
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.weights import Family

SLOTS = 4
"""Pictures held at once. Beside the result, of 16 megapixels at most, each holds its source as float32."""


def mode_of(options: types_pb2.RefineOptions) -> Mode:
    """What may change; where nobody says, little."""
    return Mode.REPAIR if options.mode == types_pb2.REFINE_MODE_REPAIR else Mode.HIGH_FIDELITY


def largest_cost(job: jobs_pb2.RefineJob) -> int:
    """Height * width * model evaluations of a square picture: what a job may cost, before its own is read."""
    return job.options.target_long_edge**2 * MODES[mode_of(job.options)].steps


@dataclass(frozen=True)
class RefineWorker:
    """The handler of `refine` jobs."""

    loop: TileLoop
    blobs: Blobs
    family: Family
    prompts: PromptLimit
    sign: Callable[[bytes, str], bytes] | None = None
    """Puts a manifest into an encoded picture of a media type (wanimage/provenance.py)."""

    async def refine(self, taken: TakenJob) -> jobs_pb2.RefineResult:
        """Refine a job's picture. Raises InvalidInput, NotFound, DataLoss, FamilyMismatch, Unavailable.

        At cancel or deadline the worker cancels this coroutine, which frees its place at the next tile.
        """
        job = taken.job.refine
        spec = await self._spec(taken.tenant, job)
        height, width = spec.size
        cost = height * width * MODES[spec.mode].steps
        reporter = Reporter(taken)

        def on_tile(step: int, steps: int, _: object) -> None:
            reporter.report(lambda: jobs_pb2.JobProgress(step=step, steps=steps))

        with spans.generation("generate_content", self.family.digest, "image", **{spans.PIXEL_STEPS: cost}):
            picture = await self.loop.run(spec, on_tile, tenant=taken.tenant)
        metrics.PIXEL_STEPS.labels(metrics.tenant(taken.tenant)).inc(cost)
        encoded, media_type = await asyncio.to_thread(images.encode, picture, job.format)
        if self.sign is not None:
            encoded = await asyncio.to_thread(self.sign, encoded, media_type)
        shape = list(picture.shape)
        blob = await self.blobs.put(taken.tenant, encoded, media_type, dtype="uint8", shape=shape)
        size = types_pb2.Size(height=height, width=width)
        return jobs_pb2.RefineResult(image=blob, size=size, pixel_steps=cost)

    async def _spec(self, tenant: str, job: jobs_pb2.RefineJob) -> RefineSpec:
        """The job as the engine takes it; checked again, since a job may come from anybody on the bus."""
        check(job, self.prompts, "refine.")
        if job.HasField("latent") == job.HasField("image"):
            which = "both" if job.HasField("image") else "neither"
            raise InvalidInput("refine", f"{which} of latent and image", "give exactly one")
        picture: Rgba | None = None
        latent: Latent | None = None
        if job.HasField("latent"):
            latent = await get_latent(self.blobs, tenant, job.latent, self.family.digest, "refine.latent")
            source = (latent.shape[1] * CELL, latent.shape[2] * CELL)
        else:
            data = await self.blobs.get(tenant, job.image)
            picture = await asyncio.to_thread(images.decode, data, "refine.image")
            source = (picture.shape[0], picture.shape[1])
            check_aspect(source[1], source[0], "refine.image")
        return RefineSpec(
            size=target_size(source, job.options.target_long_edge, "refine.options.target_long_edge"),
            mode=mode_of(job.options),
            prompt=job.prompt,
            seed=job.seed,
            picture=picture,
            latent=latent,
            accept=lambda seen: check_alpha(images.is_opaque(seen), job.format, "refine.format"),
        )
