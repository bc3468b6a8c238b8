"""VisualizerService: checks what a client sends, hands the work to the bus, relays progress, answers with
pictures."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message

from wanimage import limits, rpc
from wanimage.cues import changeable, mark_uploads
from wanimage.errors import InvalidInput
from wanimage.images import CELL
from wanimage.jobs import make_job
from wanimage.prompts import PromptLimit
from wanimage.rpc.relaying import responses
from wanimage.serve import Ground
from wanimage.uploads import Upload, check_uploads, encode_job, store_upload
from wanimage.v1 import jobs_pb2, types_pb2, visualizer_pb2, visualizer_pb2_grpc
from wanimage.weights import Family

OnProgress = Callable[[jobs_pb2.JobProgress], Awaitable[None]]


def add_front(server: grpc.aio.Server, ground: Ground) -> None:
    """Serve VisualizerService on `server`."""
    service = VisualizerService(ground, PromptLimit.load(ground.family.path / "understanding"))
    visualizer_pb2_grpc.add_VisualizerServiceServicer_to_server(service, server)


@dataclass(frozen=True)
class VisualizerService(visualizer_pb2_grpc.VisualizerServiceServicer):
    """The front. Holds no model."""

    ground: Ground
    prompts: PromptLimit

    async def Render(
        self, request: visualizer_pb2.RenderRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[visualizer_pb2.RenderResponse]:
        """Draw. Nothing is stored unless every field is good; a caller that leaves cancels its jobs."""
        caller = rpc.caller(context)
        call = _Call(self.ground, caller.tenant, caller.seconds_left)
        grid = check_request(request, self.ground.family, self.prompts)
        drawing = responses(visualizer_pb2.RenderResponse, lambda keep: call.draw(request, grid, keep))
        async with aclosing(drawing) as answers:
            async for answer in answers:
                yield answer


def check_request(
    request: visualizer_pb2.RenderRequest, family: Family, prompts: PromptLimit
) -> tuple[int, int]:
    """Check every field but the references; returns the grid (height, width) of all pictures."""
    if not 1 <= len(request.prompts) <= limits.MAX_OUTPUT_IMAGES:
        problem = f"{len(request.prompts)} prompts, the limits are 1 to {limits.MAX_OUTPUT_IMAGES}"
        raise InvalidInput("prompts", problem, "give one a picture")
    for index, prompt in enumerate(request.prompts):
        prompts.check(prompt, f"prompts[{index}]")
    hint = request.size if request.HasField("size") else None
    if hint is not None:
        limits.check_size_hint(hint, "size")
    limits.check_images(request.references, "references")
    limits.check_palette(request.palette, "palette")
    limits.check_background(request.background, "background")
    limits.check_regions(request.regions, "regions")
    for index, region in enumerate(request.regions):
        if region.HasField("reference") and region.reference >= len(request.references):
            problem = f"picture {region.reference} of {len(request.references)}"
            raise InvalidInput(f"regions[{index}].reference", problem, "use an index into references")
    for index, prompt in enumerate(joined_prompts(request)):
        prompts.check(prompt, f"prompts[{index}]")  # again: conditions may have made it too long
    limits.check_sampling(request.sampling, "sampling")
    limits.check_format(request.format, request.background, "format")
    if request.HasField("decode_every"):
        limits.check_decode_every(request.decode_every, request.previews, "decode_every")
    return limits.grid_for(hint, family.base_cells, family.max_cells, "size")


@dataclass
class _Call:
    """One Render call on its way through encode, render and decode jobs."""

    ground: Ground
    tenant: str
    seconds_left: Callable[[], float]
    started: float = field(default_factory=time.monotonic)
    usage: types_pb2.Usage = field(default_factory=types_pb2.Usage)

    async def draw(
        self,
        request: visualizer_pb2.RenderRequest,
        grid: tuple[int, int],
        on_progress: OnProgress,
    ) -> visualizer_pb2.RenderOutput:
        """Raise what is wrong with the references, Overloaded, or the error of the job that failed;
        cancelling cancels the jobs under way."""
        async with self.ground.jobs.place("render", self.tenant):
            uploads = await check_uploads(self.ground.blobs, self.tenant, request.references, "references")
            uploads = await mark_uploads(self.ground.blobs, self.tenant, uploads, request.regions, "regions")
            references = await asyncio.gather(
                *(self._reference(index, upload, request.regions) for index, upload in enumerate(uploads))
            )
        job = render_job(request, grid, references)
        rendered = (await self._run(job, "render", on_progress)).render
        decoded: Sequence[jobs_pb2.DecodeResult | None] = [None] * len(rendered.latents)
        if not request.latents_only:
            decoded = await asyncio.gather(*(self._decode(latent, request) for latent in rendered.latents))
        self.usage.images = len(decoded)
        self.usage.pixel_steps = rendered.pixel_steps
        self.usage.seconds = time.monotonic() - self.started
        pictures = zip(job.pictures, rendered.latents, decoded, strict=True)
        return visualizer_pb2.RenderOutput(
            images=[
                types_pb2.Image(
                    index=index,
                    base=result.image if result else None,
                    report=result.report if result else None,
                    latent=latent,
                    size=types_pb2.Size(height=grid[0] * CELL, width=grid[1] * CELL),
                    prompt=picture.prompt,
                    seed=picture.seed,
                    family=self.ground.family.digest,
                )
                for index, (picture, latent, result) in enumerate(pictures)
            ],
            usage=self.usage,
        )

    async def _reference(
        self, index: int, upload: Upload, regions: Sequence[types_pb2.Region]
    ) -> jobs_pb2.RenderReference:
        job = await self._encode_job(upload)
        size = (upload.height, upload.width)
        found = jobs_pb2.RenderReference(
            image=job.image,
            latent=(await self._run(job, "encode")).encode.latent,
            changeable=await changeable(
                self.ground.blobs, self.tenant, size, regions, index, job.grid, "regions"
            ),
        )
        if upload.bare:
            bare = await self._run(await self._encode_job(upload.bare), "encode")
            found.kept.CopyFrom(bare.encode.latent)
        return found

    async def _encode_job(self, upload: Upload) -> jobs_pb2.EncodeJob:
        image = await store_upload(self.ground.blobs, self.tenant, upload)
        return encode_job(image, upload.height, upload.width, self.ground.family.base_cells)

    async def _decode(
        self, latent: types_pb2.BlobRef, request: visualizer_pb2.RenderRequest
    ) -> jobs_pb2.DecodeResult:
        job = jobs_pb2.DecodeJob(latent=latent, format=request.format, palette=request.palette)
        return (await self._run(job, "decode")).decode

    async def _run(
        self, payload: Message, stage: str, on_progress: OnProgress | None = None
    ) -> jobs_pb2.JobResult:
        job = make_job(self.tenant, self.ground.family.digest, payload, self.seconds_left())
        result = await self.ground.jobs.run(job, on_progress)
        # Jobs of one stage run side by side: the longest counts.
        seconds = self.usage.stage_seconds
        seconds[stage] = max(seconds[stage], result.work_seconds)
        seconds["queue"] = max(seconds["queue"], result.queue_seconds)
        return result


def render_job(
    request: visualizer_pb2.RenderRequest,
    grid: tuple[int, int],
    references: Sequence[jobs_pb2.RenderReference],
) -> jobs_pb2.RenderJob:
    """The job of a checked request. Without a seed one is drawn by lot; the answer names it."""
    sampling = types_pb2.SamplingOptions()
    sampling.CopyFrom(request.sampling)
    seed = sampling.seed if sampling.HasField("seed") else secrets.randbelow(limits.MAX_SEED + 1)
    sampling.ClearField("seed")  # each picture carries its own
    cells = types_pb2.Grid(height_cells=grid[0], width_cells=grid[1])
    return jobs_pb2.RenderJob(
        pictures=[
            jobs_pb2.RenderPicture(prompt=prompt, grid=cells, seed=(seed + index) % (limits.MAX_SEED + 1))
            for index, prompt in enumerate(joined_prompts(request))
        ],
        references=references,
        sampling=sampling,
        previews=request.previews,
        palette=request.palette,
        background=request.background,
        decode_every=request.decode_every,
    )


def joined_prompts(request: visualizer_pb2.RenderRequest) -> list[str]:
    """The prompts with palette, background and regions in their words."""
    return [
        limits.joined_prompt(prompt, request.palette, request.background, request.regions)
        for prompt in request.prompts
    ]
