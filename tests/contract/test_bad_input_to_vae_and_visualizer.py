"""Bad input is refused with the field's name, and leaves nothing behind: no blob, no job, no result."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

from services.vae.__main__ import SERVICE as VAE
from services.visualizer.__main__ import SERVICE as VISUALIZER
from tests.families import build_family
from tests.fronts import SECONDS, Stored, bomb, calling, for_tenants
from wanimage import images, rpc, serve
from wanimage.blobs import SAFETENSORS
from wanimage.config import Settings
from wanimage.latents import latent_bytes
from wanimage.v1 import types_pb2, vae_pb2, vae_pb2_grpc, visualizer_pb2, visualizer_pb2_grpc

TENANT = f"t-{uuid.uuid4().hex[:12]}"
GOOD = types_pb2.ImageInput(data=images.encode(np.zeros((16, 16, 4), np.uint8))[0])
MISSING = types_pb2.BlobRef(sha256="0" * 64, size=1, media_type="image/png")


@pytest.fixture(scope="module")
async def fronts(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, serve.Process]]:
    """Both fronts, without workers: nothing here may get as far as one."""
    family = build_family(tmp_path_factory.mktemp("family"))
    mine = for_tenants(settings, family.path, TENANT, role="front")
    async with serve.running(VAE, mine) as vae, serve.running(VISUALIZER, mine) as visualizer:
        yield {"vae": vae, "visualizer": visualizer}


async def refusal(process: serve.Process, settings: Settings, request: Message) -> rpc.ErrorDetails:
    """How the service refuses `request`, having changed nothing."""
    ground = process.ground
    before = await Stored.now(settings, ground.bus, TENANT)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(process, request)
    assert await Stored.now(settings, ground.bus, TENANT) == before
    return rpc.error_details(caught.value)


async def call(process: serve.Process, request: Message, timeout: float | None = SECONDS) -> Any:
    if isinstance(request, visualizer_pb2.RenderRequest):
        async with calling(process, TENANT, visualizer_pb2_grpc.VisualizerServiceStub) as stub:
            return [each async for each in stub.Render(request, timeout=timeout)]
    async with calling(process, TENANT, vae_pb2_grpc.VaeServiceStub) as stub:
        method = stub.Encode if isinstance(request, vae_pb2.EncodeRequest) else stub.Decode
        return await method(request, timeout=timeout)


def render(**fields: Any) -> visualizer_pb2.RenderRequest:
    return visualizer_pb2.RenderRequest(**{"prompts": ["a fox"], **fields})


def sampling(**fields: Any) -> visualizer_pb2.RenderRequest:
    return render(sampling=types_pb2.SamplingOptions(**fields))


def size(height: int, width: int) -> types_pb2.SizeHint:
    return types_pb2.SizeHint(size=types_pb2.Size(height=height, width=width))


def palette(*colors: tuple[str, float | None]) -> visualizer_pb2.RenderRequest:
    return render(palette=types_pb2.Palette(colors=[{"hex": h, "proportion": p} for h, p in colors]))


def region(**fields: Any) -> visualizer_pb2.RenderRequest:
    box = {"x": 0.1, "y": 0.1, "width": 0.2, "height": 0.2}
    return render(regions=[types_pb2.Region(**{"prompt": "a key", "box": box, **fields})])


RENDERS = {
    "no prompt": (visualizer_pb2.RenderRequest(), "prompts"),
    "too many prompts": (render(prompts=["a fox"] * 13), "prompts"),
    "blank prompt": (render(prompts=["a fox", " "]), "prompts[1]"),
    "long prompt": (render(prompts=["x" * 16_001]), "prompts[0]"),
    "more tokens than the family reads": (render(prompts=["x" * 300]), "prompts[0]"),
    "odd side": (render(size=size(130, 128)), "size.height"),
    "small side": (render(size=size(128, 32)), "size.width"),
    "beyond 1:8": (render(size=size(48, 512)), "size"),
    "beyond the family": (render(size=size(1024, 1024)), "size.size"),
    "empty size": (render(size=types_pb2.SizeHint()), "size"),
    "aspect of zero": (render(size={"aspect": {"width": 0, "height": 1}}), "size.aspect.width"),
    "too many references": (render(references=[GOOD] * 10), "references"),
    "reference without source": (render(references=[GOOD, types_pb2.ImageInput()]), "references[1]"),
    "reference into a session": (
        render(references=[types_pb2.ImageInput(session_image=0)]), "references[0].session_image",
    ),
    "no picture": (render(references=[types_pb2.ImageInput(data=b"GIF89a")]), "references[0].data"),
    "cut picture": (render(references=[types_pb2.ImageInput(data=GOOD.data[:40])]), "references[0].data"),
    "bomb": (render(references=[types_pb2.ImageInput(data=bomb())]), "references[0].data"),
    "good before bad": (render(references=[GOOD, types_pb2.ImageInput(data=b"x")]), "references[1].data"),
    "colour word": (palette(("red", None)), "palette.colors[0].hex"),
    "nine colours": (palette(*[("#000000", None)] * 9), "palette.colors"),
    "some proportions": (palette(("#000000", 0.5), ("#ffffff", None)), "palette.colors"),
    "proportions of 0.9": (palette(("#000000", 0.5), ("#ffffff", 0.4)), "palette.colors"),
    "colour without kind": (render(background=types_pb2.Background(hex="#ffffff")), "background.hex"),
    "kind without colour": (
        render(background=types_pb2.Background(kind=types_pb2.Background.KIND_COLOR)), "background.hex",
    ),
    "region outside": (region(box={"x": 0.9, "y": 0, "width": 0.2, "height": 0.2}), "regions[0].box"),
    "region without text": (region(prompt=""), "regions[0].prompt"),
    "region on no reference": (region(reference=0), "regions[0].reference"),
    "cue on no reference": (region(cue=types_pb2.Region.CUE_BOX), "regions[0].cue"),
    "mask for another cue": (
        region(reference=0, cue=types_pb2.Region.CUE_BOX, mask=MISSING), "regions[0].mask",
    ),
    "no steps": (sampling(steps=0), "sampling.steps"),
    "too many steps": (sampling(steps=101), "sampling.steps"),
    "guidance below 1": (sampling(guidance_scale=0.5), "sampling.guidance_scale"),
    "guidance not a number": (sampling(guidance_scale=float("nan")), "sampling.guidance_scale"),
    "image guidance of 11": (sampling(image_guidance_scale=11), "sampling.image_guidance_scale"),
    "shift of zero": (sampling(shift=0), "sampling.shift"),
    "seed beyond 2^53": (sampling(seed=2**53), "sampling.seed"),
    "unknown sampler": (sampling(sampler=99), "sampling.sampler"),
    "unknown format": (render(format=99), "format"),
    "jpeg of a sticker": (
        render(
            format=types_pb2.IMAGE_FORMAT_JPEG,
            background=types_pb2.Background(kind=types_pb2.Background.KIND_TRANSPARENT),
        ),
        "format",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RENDERS)
async def test_render_names_the_bad_field_and_changes_nothing(
    fronts: dict[str, serve.Process], settings: Settings, case: str
) -> None:
    request, field = RENDERS[case]
    found = await refusal(fronts["visualizer"], settings, request)

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(found.fields) == [field]


ENCODES = {
    "no picture": (vae_pb2.EncodeRequest(), "image"),
    "text": (vae_pb2.EncodeRequest(image=types_pb2.ImageInput(data=b"hello")), "image.data"),
    "session": (vae_pb2.EncodeRequest(image=types_pb2.ImageInput(session_image=3)), "image.session_image"),
    "odd size": (vae_pb2.EncodeRequest(image=GOOD, size=types_pb2.Size(height=50, width=64)), "size.height"),
    "no size": (vae_pb2.EncodeRequest(image=GOOD, size=types_pb2.Size()), "size.height"),
}


@pytest.mark.parametrize("case", ENCODES)
async def test_encode_names_the_bad_field_and_changes_nothing(
    fronts: dict[str, serve.Process], settings: Settings, case: str
) -> None:
    request, field = ENCODES[case]
    found = await refusal(fronts["vae"], settings, request)

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(found.fields) == [field]


@pytest.mark.parametrize(
    "request_",
    [
        vae_pb2.EncodeRequest(image=types_pb2.ImageInput(blob=MISSING)),
        vae_pb2.DecodeRequest(latent=MISSING),
        render(references=[types_pb2.ImageInput(blob=MISSING)]),
    ],
    ids=["encode", "decode", "render"],
)
async def test_a_blob_that_is_not_there_is_not_found(
    fronts: dict[str, serve.Process], settings: Settings, request_: Message
) -> None:
    name = "visualizer" if isinstance(request_, visualizer_pb2.RenderRequest) else "vae"
    found = await refusal(fronts[name], settings, request_)

    assert found.code is grpc.StatusCode.NOT_FOUND


def latents_gone_wrong(family: str) -> dict[str, bytes]:
    """Files that are no latent of this family's shape."""
    good = latent_bytes(np.zeros((48, 2, 2), np.float32), family)
    unfit = np.zeros((48, 2, 2), np.float32)
    unfit[0, 0, 0] = 1.5
    not_finite = latent_bytes(unfit, family).replace(np.float32(1.5).tobytes(), np.float32("nan").tobytes())
    return {
        "text": b"hello",
        "cut": good[:-1],
        "longer": good + b"\0",
        "header of 2^60 bytes": (2**60).to_bytes(8, "little") + good[8:],
        "not json": (4).to_bytes(8, "little") + b"{{{{",
        "16 channels": latent_bytes(np.zeros((16, 2, 2), np.float32), family),
        "1:9": latent_bytes(np.zeros((48, 1, 9), np.float32), family),
        "300 cells": latent_bytes(np.zeros((48, 300, 60), np.float32), family),
        "not finite": not_finite,
        "other name": good.replace(b'"latent"', b'"latemt"'),
        "no family": good.replace(b'"family"', b'"fanily"'),
    }


@pytest.mark.parametrize("case", latents_gone_wrong(""))
async def test_decode_refuses_what_is_no_latent(
    fronts: dict[str, serve.Process], settings: Settings, case: str
) -> None:
    ground = fronts["vae"].ground
    data = latents_gone_wrong(ground.family.digest)[case]
    ref = await ground.blobs.put(TENANT, data, SAFETENSORS)
    found = await refusal(fronts["vae"], settings, vae_pb2.DecodeRequest(latent=ref))

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(found.fields) == ["latent"]


async def test_a_call_without_deadline_is_refused(fronts: dict[str, serve.Process]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(fronts["visualizer"], render(), timeout=None)

    assert list(rpc.error_details(caught.value).fields) == ["deadline"]
