"""VaeService: checks what a client sends, hands the work to the bus, answers with what came back."""

from dataclasses import dataclass

import grpc

from wanimage import latents, limits, rpc
from wanimage.errors import InvalidInput
from wanimage.images import CELL
from wanimage.jobs import make_job
from wanimage.serve import Ground
from wanimage.uploads import Upload, check_upload, store_upload
from wanimage.v1 import jobs_pb2, types_pb2, vae_pb2, vae_pb2_grpc


def add_front(server: grpc.aio.Server, ground: Ground) -> None:
    """Serve VaeService on `server`."""
    vae_pb2_grpc.add_VaeServiceServicer_to_server(VaeService(ground), server)


@dataclass(frozen=True)
class VaeService(vae_pb2_grpc.VaeServiceServicer):
    """The front. Holds no model."""

    ground: Ground

    async def Encode(
        self, request: vae_pb2.EncodeRequest, context: grpc.aio.ServicerContext
    ) -> vae_pb2.EncodeResponse:
        """Picture to latent. Nothing is stored unless every field is good."""
        caller = rpc.caller(context)
        async with self.ground.jobs.place("encode", caller.tenant):
            grid, job = await self._encode_job(request, caller)
        result = await self.ground.jobs.run(job)
        return vae_pb2.EncodeResponse(latent=result.encode.latent, grid=grid)

    async def _encode_job(
        self, request: vae_pb2.EncodeRequest, caller: rpc.Caller
    ) -> tuple[types_pb2.Grid, jobs_pb2.Job]:
        upload = await check_upload(self.ground.blobs, caller.tenant, request.image, "image")
        grid = _grid(request, upload)
        image = await store_upload(self.ground.blobs, caller.tenant, upload)
        payload = jobs_pb2.EncodeJob(image=image, grid=grid)
        return grid, make_job(caller.tenant, self.ground.family.digest, payload, caller.seconds_left())

    async def Decode(
        self, request: vae_pb2.DecodeRequest, context: grpc.aio.ServicerContext
    ) -> vae_pb2.DecodeResponse:
        """Latent to picture. A latent is read and checked before a job is made of it."""
        caller = rpc.caller(context)
        limits.check_format(request.format, types_pb2.Background(), "format")
        family = self.ground.family.digest
        async with self.ground.jobs.place("decode", caller.tenant):
            latent, _ = await latents.named_latent(
                self.ground.blobs, caller.tenant, request.latent, family, "latent"
            )
        payload = jobs_pb2.DecodeJob(latent=latent, format=request.format)
        result = await self.ground.jobs.run(make_job(caller.tenant, family, payload, caller.seconds_left()))
        decoded = result.decode
        data = await self.ground.blobs.get(caller.tenant, decoded.image) if request.inline else b""
        return vae_pb2.DecodeResponse(image=decoded.image, size=decoded.size, data=data)


def _grid(request: vae_pb2.EncodeRequest, upload: Upload) -> types_pb2.Grid:
    """Cells to encode at: the size asked for, or the picture's own, rounded to cells."""
    if request.HasField("size"):
        limits.check_size_hint(types_pb2.SizeHint(size=request.size), "size")
        height, width = request.size.height, request.size.width
    else:
        height, width = (max(CELL, round(side / CELL) * CELL) for side in (upload.height, upload.width))
        if max(height, width) > limits.MAX_SIDE:
            problem = f"{upload.width}x{upload.height} pixels, the limit is {limits.MAX_SIDE} a side"
            raise InvalidInput("image", problem, "give a smaller size")
        # Rounding may push a picture of 1:8 beyond it.
        height, width = min(height, limits.MAX_ASPECT * width), min(width, limits.MAX_ASPECT * height)
    return types_pb2.Grid(height_cells=height // CELL, width_cells=width // CELL)
