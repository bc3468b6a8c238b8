"""Takes `render` jobs: reads what they refer to, has the engine thread denoise them, stores the latents."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from services.visualizer.engine import PictureSpec, Reference, RenderSpec
from services.visualizer.previews import Decoded, encode_previews
from services.visualizer.steploop import StepLoop
from wanimage import images, metrics, spans
from wanimage.blobs import Blobs
from wanimage.coloring import meant
from wanimage.errors import InvalidInput
from wanimage.images import Rgba
from wanimage.jobs import Jobs
from wanimage.latents import get_latent, put_latent
from wanimage.limits import (
    MAX_INPUT_IMAGES,
    MAX_OUTPUT_IMAGES,
    MAX_SEED,
    MAX_STEPS,
    check_background,
    check_grid,
    check_palette,
    check_range,
    check_sampling,
)
from wanimage.models.mot import Mot
from wanimage.prompts import PromptLimit
from wanimage.sampling import SamplerConfig, Solver, evaluations
from wanimage.takenjob import Reporter, TakenJob
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.weights import Family

SLOTS = 16
"""Renders held at once; as many as may share a step."""

_SOLVERS = {types_pb2.SAMPLER_EULER: Solver.EULER, types_pb2.SAMPLER_HEUN: Solver.HEUN}


def sampler_config(options: types_pb2.SamplingOptions) -> SamplerConfig:
    """The client's numbers over the defaults of `wanimage.sampling`."""
    names = {
        "steps": "steps", "guidance_scale": "guidance",
        "image_guidance_scale": "image_guidance", "shift": "shift", "keep_unchanged": "keep",
    }  # fmt: skip
    given = {ours: getattr(options, theirs) for theirs, ours in names.items() if options.HasField(theirs)}
    if options.sampler in _SOLVERS:
        given["solver"] = _SOLVERS[options.sampler]
    return SamplerConfig(**given)


def pixel_steps(job: jobs_pb2.RenderJob) -> int:
    """Sum over pictures of height * width * model evaluations: what a render costs, and what its result
    says."""
    grids = [(picture.grid.height_cells, picture.grid.width_cells) for picture in job.pictures]
    return Mot.pixel_steps(grids, evaluations(sampler_config(job.sampling)))


@dataclass(frozen=True)
class RenderWorker:
    """The handler of `render` jobs."""

    loop: StepLoop
    blobs: Blobs
    family: Family
    prompts: PromptLimit
    jobs: Jobs
    """For previews that the VAE's service decodes."""

    async def render(self, taken: TakenJob) -> jobs_pb2.RenderResult:
        """Draw a job's pictures. Raises InvalidInput, NotFound, DataLoss, FamilyMismatch, Unavailable.

        At cancel or deadline the worker cancels this coroutine, which frees its place at the next step.
        """
        job = taken.job.render
        spec = await self._spec(taken.tenant, job)
        cost = {spans.PIXEL_STEPS: pixel_steps(job)}
        with spans.generation("generate_content", self.family.digest, "image", **cost):
            latents = await self._denoised(taken, spec)
        metrics.PIXEL_STEPS.labels(metrics.tenant(taken.tenant)).inc(pixel_steps(job))
        stored = [
            await put_latent(self.blobs, taken.tenant, latent.numpy(), self.family.digest)
            for latent in latents
        ]
        return jobs_pb2.RenderResult(latents=stored, steps=spec.sampler.steps, pixel_steps=pixel_steps(job))

    async def _denoised(self, taken: TakenJob, spec: RenderSpec) -> list[Tensor]:
        """The latents of a job's pictures; tells of steps and shows previews on the way."""
        job, reporter = taken.job.render, Reporter(taken)
        decoded = Decoded(reporter, self.jobs, self.blobs, self.family.digest)

        def rough(step: int, steps: int, previews: Sequence[Rgba]) -> None:
            reporter.report(
                lambda: jobs_pb2.JobProgress(step=step, steps=steps, previews=encode_previews(previews))
            )

        try:
            return await self.loop.render(
                spec,
                decoded.on_step if job.decode_every else rough,
                tenant=taken.tenant,
                previews=job.previews,
                decode_every=job.decode_every,
            )
        finally:
            decoded.stop()

    async def _spec(self, tenant: str, job: jobs_pb2.RenderJob) -> RenderSpec:
        """The job as the engine takes it; checked again, since a job may come from anybody on the bus."""
        check_sampling(job.sampling, "render.sampling")
        check_range(len(job.pictures), 1, MAX_OUTPUT_IMAGES, "render.pictures")
        check_range(len(job.references), 0, MAX_INPUT_IMAGES, "render.references")
        check_palette(job.palette, "render.palette")
        check_background(job.background, "render.background")
        check_range(job.decode_every, 0, MAX_STEPS, "render.decode_every")
        pictures = []
        for index, picture in enumerate(job.pictures):
            name = f"render.pictures[{index}]"
            self.prompts.check(picture.prompt, f"{name}.prompt", picture.prompt_ids)
            grid = (picture.grid.height_cells, picture.grid.width_cells)
            check_grid(grid, self.family.max_cells, f"{name}.grid")
            check_range(picture.seed, 0, MAX_SEED, f"{name}.seed")
            pictures.append(PictureSpec(prompt=picture.prompt, grid=grid, seed=picture.seed))
        references = await asyncio.gather(
            *(
                self._reference(tenant, each, f"render.references[{i}]")
                for i, each in enumerate(job.references)
            )
        )
        return RenderSpec(
            pictures=tuple(pictures),
            references=tuple(references),
            sampler=sampler_config(job.sampling),
            palette=meant(job.palette, job.background),
        )

    async def _reference(self, tenant: str, reference: jobs_pb2.RenderReference, field: str) -> Reference:
        data = await self.blobs.get(tenant, reference.image)
        latent = await get_latent(self.blobs, tenant, reference.latent, self.family.digest, f"{field}.latent")
        pixels = await asyncio.to_thread(images.decode, data, f"{field}.image")
        # The understanding branch sees the picture at the size it was encoded at.
        height, width = (cells * images.CELL for cells in latent.shape[1:])
        pixels = await asyncio.to_thread(images.resize, pixels, height, width)
        cells = reference.changeable
        if cells and len(cells) != latent[0].size:
            problem = f"{len(cells)} bytes for {latent.shape[1]}*{latent.shape[2]} cells"
            raise InvalidInput(f"{field}.changeable", problem, "send one a cell, or none")
        where = torch.tensor(list(cells)).bool().view(latent.shape[1:]) if cells else None
        kept = None
        if reference.HasField("kept"):
            kept = await get_latent(self.blobs, tenant, reference.kept, self.family.digest, f"{field}.kept")
            if kept.shape != latent.shape:
                problem = f"shape {list(kept.shape)}, the latent's is {list(latent.shape)}"
                raise InvalidInput(f"{field}.kept", problem, "encode both at one grid")
        return Reference(
            pixels=pixels,
            latents=torch.from_numpy(latent.copy()),
            changeable=where,
            kept=None if kept is None else torch.from_numpy(kept.copy()),
        )
