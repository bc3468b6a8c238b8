"""What the visualizer is given of a picture that the session drew: the latent it was decoded from."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from tests.scripted import ScriptedEngine
from tests.turns import FAMILY, Bench, open_bench
from wanimage import images
from wanimage.config import Settings
from wanimage.images import CELL
from wanimage.latents import latent_bytes, put_latent
from wanimage.stack import LocalStack
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2

BLUE = "<imagine>a blue fox</imagine><size>8*8</size><BOI>"


@pytest.fixture
async def bench(stack: LocalStack, settings: Settings, tenant: str) -> AsyncIterator[Bench]:
    async with open_bench(settings, tenant) as opened:
        yield opened


async def edited(bench: Bench, latent: types_pb2.BlobRef, side: int = 8) -> jobs_pb2.RenderReference:
    """The reference of an edit of a picture of `side` cells that the session drew with this `latent`."""
    log, _ = await bench.start("a fox")
    grid = types_pb2.Grid(height_cells=side, width_cells=side)
    pixels = np.full((side * CELL, side * CELL, 4), 90, np.uint8)
    image = types_pb2.Image(
        base=await bench.blobs.put(bench.tenant, *images.encode(pixels)), latent=latent,
        size=types_pb2.Size(height=side * CELL, width=side * CELL), prompt="a fox", family=FAMILY,
    )  # fmt: skip
    for event in (
        ev.Event(image_planned=ev.ImagePlanned(prompt="a fox", grid=grid)),
        ev.Event(image_ready=ev.ImageReady(image=image)),
        ev.Event(turn_finished=ev.TurnFinished()),
    ):
        event.turn_id = "turn"
        await log.append(event)
    edit = await bench.go_on(log, "Make it blue.", "edit")
    await bench.finish(ScriptedEngine(BLUE), edit)
    (reference,) = bench.drawing.rendered[-1].references
    assert reference.image == image.base
    return reference


def latent(side: int = 8) -> np.ndarray:
    return np.zeros((48, side, side), np.float32)


async def test_an_edit_of_the_sessions_own_picture_starts_from_its_latent_and_encodes_nothing(
    bench: Bench,
) -> None:
    stored = await put_latent(bench.blobs, bench.tenant, latent(), FAMILY)
    assert (await edited(bench, stored)).latent == stored
    assert not bench.drawing.encoded


async def test_a_picture_whose_latent_is_gone_is_encoded(bench: Bench) -> None:
    data = latent_bytes(latent(), FAMILY)
    stored = await bench.blobs.put(f"{bench.tenant}-other", data, "application/x-safetensors")
    reference = await edited(bench, stored)
    assert [job.image for job in bench.drawing.encoded] == [reference.image]
    assert reference.latent != stored


async def test_a_picture_whose_latent_is_of_another_family_is_encoded(bench: Bench) -> None:
    stored = await put_latent(bench.blobs, bench.tenant, latent(), "e" * 64)
    assert (await edited(bench, stored)).latent != stored
    assert len(bench.drawing.encoded) == 1


async def test_a_picture_larger_than_references_are_read_at_is_encoded_at_their_size(bench: Bench) -> None:
    stored = await put_latent(bench.blobs, bench.tenant, latent(16), FAMILY)
    assert (await edited(bench, stored, side=16)).latent != stored
    assert [job.grid for job in bench.drawing.encoded] == [types_pb2.Grid(height_cells=8, width_cells=8)]
