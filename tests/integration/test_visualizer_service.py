"""The visualizer and VAE services of the tiny family, in one process, against a real NATS and S3."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

from services.vae.__main__ import SERVICE as VAE
from services.visualizer import engine as engine_module
from services.visualizer.__main__ import SERVICE as VISUALIZER
from services.visualizer.engine import RenderState, VisualizerEngine
from tests.conftest import eventually
from tests.families import build_family
from tests.fronts import SECONDS, calling, for_tenants, picture_of
from wanimage import images, rpc, serve
from wanimage.config import Settings
from wanimage.errors import Cancelled, FamilyMismatch
from wanimage.jobs import make_job
from wanimage.latents import get_latent
from wanimage.subjects import JOBS
from wanimage.v1 import jobs_pb2, types_pb2, visualizer_pb2, visualizer_pb2_grpc
from wanimage.weights import WeightsError

Stub = visualizer_pb2_grpc.VisualizerServiceStub
TENANT = f"t-{uuid.uuid4().hex[:12]}"
STEPS = 6


@dataclass
class Gate:
    """Stands before every step of the engine; open unless a test closes it."""

    steps: int = 0
    """Steps begun."""
    _left: int = 0
    _open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._open.set()

    def close(self, after: int = 0) -> None:
        """Let so many more steps through."""
        self._left = after
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        """Called on the engine thread."""
        self.steps += 1
        if self._left > 0:
            self._left -= 1
            return
        assert self._open.wait(60), "a test left the gate closed"


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
async def visualizer(
    settings: Settings, gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[serve.Process]:
    class GatedEngine(VisualizerEngine):
        def step(self, states: Sequence[RenderState]) -> None:
            gate.pass_through()
            super().step(states)

    family = build_family(tmp_path_factory.mktemp("family"))
    mine = for_tenants(settings, family.path, TENANT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "VisualizerEngine", GatedEngine)
        async with serve.running(VAE, mine), serve.running(VISUALIZER, mine) as process:
            yield process


@pytest.fixture
async def stub(visualizer: serve.Process) -> AsyncIterator[Stub]:
    async with calling(visualizer, TENANT, Stub) as found:
        yield found


def request(*prompts: str, seed: int = 1, steps: int = STEPS, **rest: object) -> visualizer_pb2.RenderRequest:
    sampling = types_pb2.SamplingOptions(seed=seed, steps=steps)
    return visualizer_pb2.RenderRequest(prompts=prompts, sampling=sampling, **rest)


async def drawn(
    stub: Stub, wanted: visualizer_pb2.RenderRequest
) -> tuple[list[jobs_pb2.JobProgress], visualizer_pb2.RenderOutput]:
    """All progress, and the one output that must come last."""
    found = [response async for response in stub.Render(wanted, timeout=SECONDS)]
    assert [response.WhichOneof("kind") for response in found[-1:]] == ["output"]
    assert all(response.HasField("progress") for response in found[:-1])
    return [response.progress for response in found[:-1]], found[-1].output


async def no_job_waits(visualizer: serve.Process) -> bool:
    """Whether every job of this tenant was settled (a settled job leaves the queue)."""
    return not await visualizer.ground.bus.subjects(JOBS, f"wan.jobs.*.{TENANT}")


async def test_a_prompt_becomes_progress_and_then_a_picture(visualizer: serve.Process, stub: Stub) -> None:
    progress, output = await drawn(stub, request("a large fox in the center", seed=11, previews=True))

    steps = [each.step for each in progress]
    assert steps
    assert steps == sorted(set(steps))
    assert {each.steps for each in progress} == {STEPS}
    shown = [images.decode(each.png, "preview") for message in progress for each in message.previews]
    assert {each.shape for each in shown} == {(128, 128, 4)}
    (image,) = output.images
    pixels = await picture_of(visualizer.ground.blobs, TENANT, image.base)
    assert pixels.shape == (128, 128, 4)
    assert (image.seed, image.family) == (11, visualizer.ground.family.digest)
    assert list(image.latent.shape) == [48, 8, 8]
    assert output.usage.images == 1
    assert output.usage.pixel_steps == 128 * 128 * STEPS
    assert {"queue", "render", "decode"} <= set(output.usage.stage_seconds)


async def test_previews_are_decoded_in_full_where_that_is_asked_for(stub: Stub, gate: Gate) -> None:
    rough = await first_preview(stub, gate, request("a large fox in the center", seed=12, previews=True))
    wanted = request("a large fox in the center", seed=12, previews=True, decode_every=1)
    decoded = await first_preview(stub, gate, wanted)

    assert decoded.shape == rough.shape == (128, 128, 4)
    assert not np.array_equal(decoded, rough)


async def first_preview(stub: Stub, gate: Gate, wanted: visualizer_pb2.RenderRequest) -> images.Rgba:
    """What is shown of the first step, while the second waits."""
    gate.close(after=1)
    shown = []
    try:
        async for response in stub.Render(wanted, timeout=SECONDS):
            shown += [each.png for each in response.progress.previews]
            if shown:
                gate.open()
    finally:
        gate.open()
    return images.decode(shown[0], "preview")


async def test_an_equal_request_is_answered_without_work(stub: Stub, gate: Gate) -> None:
    _, first = await drawn(stub, request("a red kite", seed=5))
    steps = gate.steps
    progress, second = await drawn(stub, request("a red kite", seed=5))

    assert second.images == first.images
    assert progress == []
    assert gate.steps == steps


async def test_another_seed_draws_another_picture(stub: Stub) -> None:
    found = [(await drawn(stub, request("a blue ball", seed=seed)))[1].images[0] for seed in (1, 2)]

    assert found[0].base.sha256 != found[1].base.sha256


async def test_without_a_seed_the_answer_names_one_that_repeats_it(stub: Stub) -> None:
    free = request("a star")
    free.sampling.ClearField("seed")
    _, first = await drawn(stub, free)
    _, again = await drawn(stub, request("a star", seed=first.images[0].seed))

    assert again.images == first.images


async def test_several_prompts_are_one_series_with_seeds_in_a_row(
    visualizer: serve.Process, stub: Stub
) -> None:
    _, output = await drawn(stub, request("a fox", "a fox on a boat", "a fox at night", seed=40))

    assert [image.seed for image in output.images] == [40, 41, 42]
    assert [image.index for image in output.images] == [0, 1, 2]
    assert len({image.base.sha256 for image in output.images}) == 3
    assert output.usage.pixel_steps == 3 * 128 * 128 * STEPS


async def test_a_size_and_a_shape_are_kept(visualizer: serve.Process, stub: Stub) -> None:
    exact = types_pb2.SizeHint(size=types_pb2.Size(height=64, width=96))
    wide = types_pb2.SizeHint(aspect=types_pb2.AspectRatio(width=4, height=1))
    _, first = await drawn(stub, request("a boat", size=exact))
    _, second = await drawn(stub, request("a boat", size=wide))

    assert (first.images[0].size.height, first.images[0].size.width) == (64, 96)
    assert (second.images[0].size.height, second.images[0].size.width) == (64, 256)
    assert (await picture_of(visualizer.ground.blobs, TENANT, second.images[0].base)).shape == (64, 256, 4)


async def test_a_reference_changes_the_picture(stub: Stub) -> None:
    pixels = np.full((60, 100, 4), 200, np.uint8)
    reference = types_pb2.ImageInput(data=images.encode(pixels)[0])
    _, plain = await drawn(stub, request("make it night", seed=3))
    _, guided = await drawn(stub, request("make it night", seed=3, references=[reference]))

    assert guided.images[0].base.sha256 != plain.images[0].base.sha256
    assert "encode" in guided.usage.stage_seconds


def pointed_at(cue: "types_pb2.Region.Cue.ValueType", **fields: object) -> types_pb2.Region:
    box = types_pb2.Box(x=0.2, y=0.2, width=0.5, height=0.5)
    return types_pb2.Region(box=box, prompt="a star", reference=0, cue=cue, **fields)


async def test_a_cue_is_drawn_on_its_reference(stub: Stub) -> None:
    grey = types_pb2.ImageInput(data=images.encode(np.full((64, 64, 4), 200, np.uint8))[0])
    found = []
    for cue in (types_pb2.Region.CUE_UNSPECIFIED, types_pb2.Region.CUE_BOX, types_pb2.Region.CUE_ARROW):
        asked = request("put it there", seed=3, references=[grey], regions=[pointed_at(cue)])
        found.append((await drawn(stub, asked))[1].images[0])

    assert len({image.base.sha256 for image in found}) == 3
    assert len({image.prompt for image in found}) == 1


async def test_a_mask_of_another_size_than_its_picture_is_refused_by_name(
    visualizer: serve.Process, stub: Stub
) -> None:
    grey = types_pb2.ImageInput(data=images.encode(np.full((64, 64, 4), 200, np.uint8))[0])
    small, media_type = images.encode(np.full((32, 64, 4), 255, np.uint8))
    mask = await visualizer.ground.blobs.put(TENANT, small, media_type)
    region = pointed_at(types_pb2.Region.CUE_MASK, mask=mask)
    with pytest.raises(grpc.aio.AioRpcError, match="64x32, its picture is 64x64") as caught:
        await drawn(stub, request("put it there", references=[grey], regions=[region]))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_picture_says_what_became_of_its_palette_and_how_clear_it_is(stub: Stub) -> None:
    wanted = types_pb2.Palette(colors=[types_pb2.PaletteColor(hex=h) for h in ("#FF0000", "#808080")])
    _, output = await drawn(stub, request("a kite", palette=wanted))
    report = output.images[0].report

    assert [finding.hex for finding in report.palette] == ["#FF0000", "#808080"]
    assert all(bool(finding.found) == (finding.proportion > 0) for finding in report.palette)
    assert 0 <= report.transparent + report.translucent <= 1


async def test_colours_by_hex_reach_the_picture(stub: Stub) -> None:
    alike = ("#FF0000", "#E02020")  # one word, red, and so one prompt
    drawings = []
    for value in alike:
        behind = types_pb2.Background(kind=types_pb2.Background.KIND_COLOR, hex=value)
        _, output = await drawn(stub, request("a kite", seed=4, background=behind))
        drawings.append(output.images[0])

    assert drawings[0].prompt == drawings[1].prompt
    assert drawings[0].latent.sha256 != drawings[1].latent.sha256


async def test_outside_a_mask_a_picture_stays_as_it_was(visualizer: serve.Process, stub: Stub) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 4), np.uint8)
    noise[..., 3] = 255
    given = types_pb2.ImageInput(data=images.encode(noise)[0])
    left = np.zeros_like(noise)
    left[:, :64] = 255
    mask = await visualizer.ground.blobs.put(TENANT, *images.encode(left))
    region = pointed_at(types_pb2.Region.CUE_MASK, mask=mask)
    latents, ground = [], visualizer.ground
    for seed in (1, 2):
        asked = request("a star", seed=seed, references=[given], regions=[region], latents_only=True)
        _, output = await drawn(stub, asked)
        blob = output.images[0].latent
        latents.append(await get_latent(ground.blobs, TENANT, blob, ground.family.digest, "latent"))

    np.testing.assert_allclose(latents[0][:, :, 4:], latents[1][:, :, 4:], atol=1e-4)
    assert np.abs(latents[0][:, :, :4] - latents[1][:, :, :4]).mean() > 0.1


async def test_conditions_reach_the_prompt(stub: Stub) -> None:
    behind = types_pb2.Background(kind=types_pb2.Background.KIND_TRANSPARENT)
    _, output = await drawn(stub, request("a small owl in the center", background=behind))

    assert output.images[0].prompt == "a small owl in the center, on a transparent background"


async def test_latents_only_skips_decoding(stub: Stub) -> None:
    _, output = await drawn(stub, request("a key", latents_only=True))

    assert not output.images[0].HasField("base")
    assert list(output.images[0].latent.shape) == [48, 8, 8]
    assert "decode" not in output.usage.stage_seconds


async def test_renders_that_wait_together_share_steps(stub: Stub, gate: Gate) -> None:
    before = gate.steps
    await asyncio.gather(*(drawn(stub, request("a mouse", seed=100 + i, steps=40)) for i in range(4)))

    # One after the other they would take 4 * 40.
    assert gate.steps - before < 4 * 40


async def test_a_caller_that_leaves_stops_the_render_within_a_step(
    visualizer: serve.Process, stub: Stub, gate: Gate
) -> None:
    gate.close()
    try:
        before = gate.steps
        call = stub.Render(request("a cat", seed=7, steps=100), timeout=SECONDS)
        reading = asyncio.create_task(anext(aiter(call)))
        await eventually(lambda: gate.steps == before + 1)
        call.cancel()
        await eventually(lambda: no_job_waits(visualizer))
    finally:
        gate.open()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await drawn(stub, request("a cat", seed=8, steps=1))

    assert gate.steps <= before + 2  # the step it stood in, and the one of the render after it


async def test_a_deadline_stops_the_render_within_a_step(
    visualizer: serve.Process, stub: Stub, gate: Gate
) -> None:
    gate.close()
    try:
        before = gate.steps
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.Render(request("a dog", seed=7, steps=100), timeout=3):
                pass
        await eventually(lambda: no_job_waits(visualizer))
    finally:
        gate.open()
    await drawn(stub, request("a dog", seed=8, steps=1))

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gate.steps <= before + 2


async def test_a_cancelled_job_ends_for_whoever_waits(visualizer: serve.Process, gate: Gate) -> None:
    picture = jobs_pb2.RenderPicture(
        prompt="a bear", grid=types_pb2.Grid(height_cells=2, width_cells=2), seed=1
    )
    job = make_job(TENANT, visualizer.ground.family.digest, jobs_pb2.RenderJob(pictures=[picture]), SECONDS)
    gate.close()
    try:
        before = gate.steps
        submission = await visualizer.ground.jobs.submit(job)
        await eventually(lambda: gate.steps == before + 1)
        await visualizer.ground.jobs.cancel(job.id, "not wanted")
        with pytest.raises(Cancelled, match="not wanted"):
            await visualizer.ground.jobs.result(submission)
    finally:
        gate.open()


async def test_a_job_of_another_family_is_refused(visualizer: serve.Process, gate: Gate) -> None:
    before = gate.steps
    picture = jobs_pb2.RenderPicture(prompt="a bear", grid=types_pb2.Grid(height_cells=8, width_cells=8))
    with pytest.raises(FamilyMismatch):
        await visualizer.ground.jobs.run(
            make_job(TENANT, "f" * 64, jobs_pb2.RenderJob(pictures=[picture]), SECONDS)
        )

    assert gate.steps == before


async def test_a_family_that_is_half_there_does_not_start(
    visualizer: serve.Process, settings: Settings, tmp_path: Path
) -> None:
    family = build_family(tmp_path)
    (family.path / "mot.safetensors").unlink()

    with pytest.raises(WeightsError, match=r"mot\.safetensors is missing"):
        async with serve.running(VISUALIZER, for_tenants(settings, tmp_path, TENANT)):
            pass


async def test_an_unknown_key_is_refused(visualizer: serve.Process) -> None:
    async with rpc.channel(f"127.0.0.1:{visualizer.port}", api_key="guess") as channel:
        stub = Stub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(stub.Render(request("a fox"), timeout=SECONDS)))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
