"""RefinerService: checks what a client sends, hands the work to the bus, relays progress, answers with a
picture."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from services.refiner.checks import check, check_alpha
from wanimage import limits, rpc
from wanimage.errors import InvalidInput
from wanimage.images import CELL
from wanimage.jobs import make_job
from wanimage.latents import named_latent
from wanimage.prompts import PromptLimit
from wanimage.rpc.relaying import responses
from wanimage.serve import Ground
from wanimage.uploads import check_upload, store_upload
from wanimage.v1 import jobs_pb2, refiner_pb2, refiner_pb2_grpc, types_pb2

EDGE = "options.target_long_edge"


def add_front(server: grpc.aio.Server, ground: Ground) -> None:
    """Serve RefinerService on `server`."""
    service = RefinerService(ground, PromptLimit.load(ground.family.path / "understanding"))
    refiner_pb2_grpc.add_RefinerServiceServicer_to_server(service, server)


@dataclass(frozen=True)
class RefinerService(refiner_pb2_grpc.RefinerServiceServicer):
    """The front. Holds no model."""

    ground: Ground
    prompts: PromptLimit

    async def Refine(
        self, request: refiner_pb2.RefineRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[refiner_pb2.RefineResponse]:
        """Refine. Nothing is stored unless every field is good; a caller that leaves cancels its job."""
        caller = rpc.caller(context)
        self._check(request)
        refining = responses(refiner_pb2.RefineResponse, lambda keep: self._refine(request, caller, keep))
        async with aclosing(refining) as answers:
            async for answer in answers:
                yield answer

    def _check(self, request: refiner_pb2.RefineRequest) -> None:
        """Every field but the picture."""
        if request.WhichOneof("source") is None:
            raise InvalidInput("source", "neither a latent nor an image", "give one")
        check(request, self.prompts)

    async def _refine(
        self,
        request: refiner_pb2.RefineRequest,
        caller: rpc.Caller,
        on_progress: Callable[[jobs_pb2.JobProgress], Awaitable[None]],
    ) -> refiner_pb2.RefineOutput:
        """Raise what is wrong with the picture, Overloaded, or what the job failed with; cancelling cancels
        it."""
        started = time.monotonic()
        async with self.ground.jobs.place("refine", caller.tenant):
            payload = await self._job(request, caller.tenant)
        job = make_job(caller.tenant, self.ground.family.digest, payload, caller.seconds_left())
        result = await self.ground.jobs.run(job, on_progress)
        usage = types_pb2.Usage(
            images=1,
            pixel_steps=result.refine.pixel_steps,
            stage_seconds={"queue": result.queue_seconds, "refine": result.work_seconds},
            seconds=time.monotonic() - started,
        )
        return refiner_pb2.RefineOutput(image=result.refine.image, size=result.refine.size, usage=usage)

    async def _job(self, request: refiner_pb2.RefineRequest, tenant: str) -> jobs_pb2.RefineJob:
        """The job of a checked request, its picture read, checked and stored."""
        job = jobs_pb2.RefineJob(
            prompt=request.prompt, options=request.options, seed=request.seed, format=request.format
        )
        job.options.mode = limits.refine_mode(request.options)  # so that equal requests are equal jobs
        long_edge = request.options.target_long_edge
        if request.WhichOneof("source") == "latent":
            digest = self.ground.family.digest
            named, latent = await named_latent(self.ground.blobs, tenant, request.latent, digest, "latent")
            limits.target_size((latent.shape[1] * CELL, latent.shape[2] * CELL), long_edge, EDGE)
            job.latent.CopyFrom(named)
            return job
        upload = await check_upload(self.ground.blobs, tenant, request.image, "image")
        limits.target_size((upload.height, upload.width), long_edge, EDGE)
        check_alpha(upload.opaque, request.format, "format")
        job.image.CopyFrom(await store_upload(self.ground.blobs, tenant, upload))
        return job
