"""The refiner service of the tiny family, in one process, against a real NATS and S3."""

import asyncio
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from services.refiner import engine as engine_module
from services.refiner.__main__ import SERVICE
from services.refiner.engine import RefinerEngine, RefineState
from services.refiner.worker import RefineWorker
from tests.conftest import eventually
from tests.families import build_family
from tests.fronts import SECONDS, Stored, bomb, calling, for_tenants, picture_of
from wanimage import images, metrics, rpc, serve
from wanimage.config import ROOT, Settings
from wanimage.errors import Cancelled, FamilyMismatch, InvalidInput
from wanimage.jobs import make_job
from wanimage.latents import put_latent
from wanimage.prompts import PromptLimit
from wanimage.subjects import JOBS
from wanimage.v1 import jobs_pb2, refiner_pb2, refiner_pb2_grpc, types_pb2

TENANT = f"t-{uuid.uuid4().hex[:12]}"
EDGE = 2048
REPAIR, FIDELITY = types_pb2.REFINE_MODE_REPAIR, types_pb2.REFINE_MODE_HIGH_FIDELITY
JPEG = types_pb2.IMAGE_FORMAT_JPEG
Stub = refiner_pb2_grpc.RefinerServiceStub


@dataclass
class Gate:
    """Stands before every tile of the engine; open unless a test closes it."""

    tiles: int = 0
    """Tiles begun."""
    _open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def pass_through(self) -> None:
        """Called on the engine thread."""
        self.tiles += 1
        assert self._open.wait(60), "a test left the gate closed"


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
async def refiner(
    settings: Settings, gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[serve.Process]:
    class GatedEngine(RefinerEngine):
        def step(self, states: Sequence[RefineState]) -> None:
            gate.pass_through()
            super().step(states)

    family = build_family(tmp_path_factory.mktemp("family"), refiner=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "RefinerEngine", GatedEngine)
        async with serve.running(SERVICE, for_tenants(settings, family.path, TENANT)) as process:
            yield process


@pytest.fixture
async def stub(refiner: serve.Process) -> AsyncIterator[Stub]:
    async with calling(refiner, TENANT, Stub) as found:
        yield found


def picture(height: int = 24, width: int = 192, *, alpha: int = 255, seed: int = 0) -> bytes:
    """Noise of 1:8, which makes the smallest pictures of 2048 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[..., 3] = alpha
    return images.encode(pixels)[0]


PLAIN = types_pb2.ImageInput(data=picture())


def options(edge: int = EDGE, mode: int = FIDELITY) -> types_pb2.RefineOptions:
    return types_pb2.RefineOptions(target_long_edge=edge, mode=mode)  # type: ignore[arg-type]


def request(**fields: Any) -> refiner_pb2.RefineRequest:
    source = {} if {"latent", "image"} & fields.keys() else {"image": PLAIN}
    return refiner_pb2.RefineRequest(**{"options": options(), **source, **fields})


async def refined(
    stub: Stub, wanted: refiner_pb2.RefineRequest
) -> tuple[list[jobs_pb2.JobProgress], refiner_pb2.RefineOutput]:
    """All progress, and the one output that must come last."""
    found = [response async for response in stub.Refine(wanted, timeout=SECONDS)]
    assert [response.WhichOneof("kind") for response in found[-1:]] == ["output"]
    assert all(response.HasField("progress") for response in found[:-1])
    return [response.progress for response in found[:-1]], found[-1].output


async def no_job_waits(refiner: serve.Process) -> bool:
    """Whether every job of this tenant was settled (a settled job leaves the queue)."""
    return not await refiner.ground.bus.subjects(JOBS, f"wan.jobs.*.{TENANT}")


async def test_a_picture_becomes_progress_and_then_a_large_one(refiner: serve.Process, stub: Stub) -> None:
    counted = metrics.PIXEL_STEPS.labels(metrics.tenant(TENANT))
    before = counted._value.get()
    progress, output = await refined(stub, request(seed=11))

    steps = [each.step for each in progress]
    assert steps
    assert steps == sorted(set(steps))
    assert {each.steps for each in progress} == {2 * 3}  # 128 cells are three tiles
    assert (output.size.height, output.size.width) == (256, 2048)
    assert output.image.media_type == "image/png"
    assert (await picture_of(refiner.ground.blobs, TENANT, output.image)).shape == (256, 2048, 4)
    assert output.usage.images == 1
    assert output.usage.pixel_steps == 256 * 2048
    assert counted._value.get() - before == output.usage.pixel_steps
    assert {"queue", "refine"} <= set(output.usage.stage_seconds)


async def test_a_latent_is_refined_too(refiner: serve.Process, stub: Stub) -> None:
    latent = np.random.default_rng(0).standard_normal((48, 1, 8), dtype=np.float32)
    ref = await put_latent(refiner.ground.blobs, TENANT, latent, refiner.ground.family.digest)
    _, output = await refined(stub, request(latent=ref, prompt="a fox", options=options(mode=REPAIR)))

    assert (output.size.height, output.size.width) == (256, 2048)
    assert output.usage.pixel_steps == 256 * 2048  # one step


async def test_aspect_is_kept_to_the_pixel(refiner: serve.Process, stub: Stub) -> None:
    image = types_pb2.ImageInput(data=picture(50, 301))
    _, output = await refined(stub, request(image=image))

    assert (output.size.height, output.size.width) == (340, 2048)
    assert (await picture_of(refiner.ground.blobs, TENANT, output.image)).shape == (340, 2048, 4)


async def test_an_equal_request_is_answered_without_work(stub: Stub, gate: Gate) -> None:
    _, first = await refined(stub, request(seed=5))
    tiles = gate.tiles
    unnamed = request(seed=5, options=types_pb2.RefineOptions(target_long_edge=EDGE))  # fidelity all the same
    progress, second = await refined(stub, unnamed)

    assert second.image == first.image
    assert progress == []
    assert gate.tiles == tiles


async def test_seed_mode_and_prompt_make_other_pictures(stub: Stub) -> None:
    asked = [
        request(), request(seed=2), request(prompt="a fox"),
        request(prompt="a fox", options=options(mode=REPAIR)),
    ]  # fmt: skip
    found = [(await refined(stub, each))[1].image.sha256 for each in asked]

    assert len(set(found)) == len(asked)


@pytest.mark.parametrize(("wanted", "name"), [(types_pb2.IMAGE_FORMAT_WEBP, "webp"), (JPEG, "jpeg")])
async def test_the_format_asked_for_is_made(stub: Stub, wanted: "types_pb2.ImageFormat", name: str) -> None:
    _, output = await refined(stub, request(format=wanted))

    assert output.image.media_type == f"image/{name}"


async def test_pictures_that_wait_together_share_tiles(stub: Stub, gate: Gate) -> None:
    before = gate.tiles
    await asyncio.gather(*(refined(stub, request(seed=100 + number)) for number in range(3)))

    assert gate.tiles - before < 3 * 6  # so many it is one after the other


async def test_a_caller_that_leaves_stops_the_work_within_a_tile(
    refiner: serve.Process, stub: Stub, gate: Gate
) -> None:
    gate.close()
    try:
        before = gate.tiles
        call = stub.Refine(request(seed=7), timeout=SECONDS)
        reading = asyncio.create_task(anext(aiter(call)))
        await eventually(lambda: gate.tiles == before + 1)
        call.cancel()
        await eventually(lambda: no_job_waits(refiner))
    finally:
        gate.open()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await refined(stub, request(seed=8))

    assert gate.tiles == before + 1 + 6  # the tile it stood in, and those of the picture after it


async def test_a_deadline_stops_the_work_within_a_tile(
    refiner: serve.Process, stub: Stub, gate: Gate
) -> None:
    gate.close()
    try:
        before = gate.tiles
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.Refine(request(seed=9), timeout=2):
                pass
        await eventually(lambda: no_job_waits(refiner))
    finally:
        gate.open()
    await refined(stub, request(seed=10))

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gate.tiles == before + 1 + 6


async def test_a_cancelled_job_ends_for_whoever_waits(refiner: serve.Process, stub: Stub, gate: Gate) -> None:
    job = await a_job(refiner, seed=1)
    gate.close()
    try:
        before = gate.tiles
        submission = await refiner.ground.jobs.submit(job)
        await eventually(lambda: gate.tiles == before + 1)
        await refiner.ground.jobs.cancel(job.id, "not wanted")
        with pytest.raises(Cancelled, match="not wanted"):
            await refiner.ground.jobs.result(submission)
    finally:
        gate.open()


async def a_job(refiner: serve.Process, family: str = "", **fields: Any) -> jobs_pb2.Job:
    """A job of a picture that no front checked."""
    image = await refiner.ground.blobs.put(TENANT, picture(seed=99), "image/png")
    payload = jobs_pb2.RefineJob(**{"image": image, "options": options(), **fields})
    return make_job(TENANT, family or refiner.ground.family.digest, payload, SECONDS)


LONG = "x" * 16_001
BAD = {
    "repair without a prompt": ({"options": options(mode=REPAIR)}, "prompt"),
    "a long prompt": ({"prompt": LONG}, "prompt"),
    "more tokens than the family reads": ({"prompt": "x" * 300}, "prompt"),
    "no options": ({"options": types_pb2.RefineOptions()}, "options.target_long_edge"),
    "too small": ({"options": options(2047)}, "options.target_long_edge"),
    "too large": ({"options": options(4097)}, "options.target_long_edge"),
    "an unknown mode": ({"options": options(mode=7)}, "options.mode"),
    "a seed beyond JSON": ({"seed": 2**53}, "seed"),
    "an unknown format": ({"format": 99}, "format"),
}
"""What front and worker refuse alike, and the field that they name."""
PICTURES = {
    "no picture": (b"GIF89a", "image"),
    "a cut picture": (picture()[:-400], "image"),
    "a bomb": (bomb(), "image"),
    "beyond 1:8": (picture(10, 90), "image"),
    "larger than asked for": (picture(300, 2060), "options.target_long_edge"),
}


async def refusal(refiner: serve.Process, settings: Settings, wanted: refiner_pb2.RefineRequest) -> str:
    """The field the front names, having changed nothing."""
    before = await Stored.now(settings, refiner.ground.bus, TENANT)
    async with calling(refiner, TENANT, Stub) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await refined(stub, wanted)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await Stored.now(settings, refiner.ground.bus, TENANT) == before
    (named,) = rpc.error_details(caught.value).fields
    return named


@pytest.mark.parametrize("case", BAD)
async def test_the_front_names_the_bad_field_and_stores_nothing(
    refiner: serve.Process, settings: Settings, case: str
) -> None:
    fields, named = BAD[case]
    assert await refusal(refiner, settings, request(**fields)) == named


@pytest.mark.parametrize("case", BAD)
async def test_the_worker_names_the_bad_field(refiner: serve.Process, gate: Gate, case: str) -> None:
    fields, named = BAD[case]
    before = gate.tiles
    with pytest.raises(InvalidInput, match=rf"^refine\.{named}: "):
        await refiner.ground.jobs.run(await a_job(refiner, **fields))
    assert gate.tiles == before


@pytest.mark.parametrize("case", PICTURES)
async def test_the_front_refuses_a_bad_picture_and_stores_nothing(
    refiner: serve.Process, settings: Settings, case: str
) -> None:
    data, named = PICTURES[case]
    found = await refusal(refiner, settings, request(image=types_pb2.ImageInput(data=data)))
    assert found == (named if named.startswith("options") else f"{named}.data")


@pytest.mark.parametrize("case", PICTURES)
async def test_the_worker_refuses_a_bad_picture(refiner: serve.Process, gate: Gate, case: str) -> None:
    data, named = PICTURES[case]
    before = gate.tiles
    image = await refiner.ground.blobs.put(TENANT, data, "image/png")
    with pytest.raises(InvalidInput, match=rf"^refine\.{named}: "):
        await refiner.ground.jobs.run(await a_job(refiner, image=image))
    assert gate.tiles == before


async def test_a_request_without_a_picture_is_refused(refiner: serve.Process, settings: Settings) -> None:
    empty = refiner_pb2.RefineRequest(options=options())
    assert await refusal(refiner, settings, empty) == "source"


async def test_a_job_needs_a_latent_or_an_image_and_not_both(refiner: serve.Process) -> None:
    blob = types_pb2.BlobRef(sha256="0" * 64, size=1)
    with pytest.raises(InvalidInput, match="both of latent and image"):
        await refiner.ground.jobs.run(await a_job(refiner, latent=blob))
    with pytest.raises(InvalidInput, match="neither of latent and image"):
        await refiner.ground.jobs.run(await a_job(refiner, image=None))


async def test_jpeg_is_refused_for_a_picture_that_is_not_opaque(
    refiner: serve.Process, settings: Settings, gate: Gate
) -> None:
    clear = picture(alpha=128)
    before = gate.tiles
    image = types_pb2.ImageInput(data=clear)
    assert await refusal(refiner, settings, request(image=image, format=JPEG)) == "format"
    image = await refiner.ground.blobs.put(TENANT, clear, "image/png")
    with pytest.raises(InvalidInput, match=r"^refine\.format: JPEG has no alpha channel.*PNG or WebP"):
        await refiner.ground.jobs.run(await a_job(refiner, image=image, format=JPEG))
    assert gate.tiles == before


async def test_jpeg_is_refused_for_a_latent_of_a_transparent_picture(
    refiner: serve.Process, stub: Stub, gate: Gate
) -> None:
    latent = np.random.default_rng(0).standard_normal((48, 1, 8), dtype=np.float32)  # decodes to anything
    ref = await put_latent(refiner.ground.blobs, TENANT, latent, refiner.ground.family.digest)
    before = gate.tiles
    with pytest.raises(grpc.aio.AioRpcError, match="JPEG has no alpha channel"):
        await refined(stub, request(latent=ref, format=JPEG))
    assert gate.tiles == before


async def test_a_latent_of_another_family_is_refused(refiner: serve.Process, stub: Stub) -> None:
    foreign = await put_latent(refiner.ground.blobs, TENANT, np.zeros((48, 1, 8), np.float32), "0" * 64)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await refined(stub, request(latent=foreign))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(FamilyMismatch):
        await refiner.ground.jobs.run(await a_job(refiner, latent=foreign, image=None))


async def test_a_job_of_another_family_is_refused(refiner: serve.Process, gate: Gate) -> None:
    before = gate.tiles
    with pytest.raises(FamilyMismatch):
        await refiner.ground.jobs.run(await a_job(refiner, family="f" * 64))
    assert gate.tiles == before


async def test_a_picture_is_signed_before_it_is_stored(refiner: serve.Process) -> None:
    async def drawn(*_: object, **__: object) -> images.Rgba:
        return np.zeros((16, 16, 4), np.uint8)

    ground, loop = refiner.ground, SimpleNamespace(run=drawn)
    prompts = PromptLimit.load(ground.family.path / "understanding")
    sign = lambda data, kind: data + kind.encode()  # noqa: E731
    worker = RefineWorker(loop, ground.blobs, ground.family, prompts, sign)  # type: ignore[arg-type]
    taken = SimpleNamespace(job=await a_job(refiner), tenant=TENANT)
    result = await worker.refine(taken)  # type: ignore[arg-type]

    assert (await ground.blobs.get(TENANT, result.image)).endswith(b"image/png")


def test_the_front_needs_no_torch() -> None:
    code = "import sys, services.refiner.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


async def test_a_blob_that_is_not_there_is_missing(refiner: serve.Process, stub: Stub) -> None:
    absent = types_pb2.BlobRef(sha256="0" * 64, size=1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await refined(stub, request(latent=absent))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
