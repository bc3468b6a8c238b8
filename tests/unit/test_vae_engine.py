"""The VAE's engine and batcher, with the tiny model."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from services.vae import engine as engine_module
from services.vae.engine import VaeEngine, halo_cells
from services.vae.worker import Batcher
from tests.conftest import eventually
from wanimage.models.vae import Vae, VaeConfig

FAMILY = "f" * 64


@pytest.fixture(scope="module")
def engine() -> VaeEngine:
    torch.manual_seed(0)
    vae = Vae(VaeConfig.tiny())
    for head in (vae.encoder.head, vae.decoder.head):  # they start at zero and would hide the deep path
        nn.init.normal_(head.weight, std=0.5)
    return VaeEngine(vae, FAMILY, torch.float32)


def test_tiles_give_what_the_whole_gives(engine: VaeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    latent = np.random.default_rng(0).standard_normal((48, 37, 20), dtype=np.float32)
    (picture,) = engine.decode([latent])
    (again,) = engine.encode([picture])
    monkeypatch.setattr(engine_module, "WHOLE_CELLS", 8)
    monkeypatch.setattr(engine_module, "TILE_CELLS", 7)

    np.testing.assert_allclose(engine.decode([latent])[0].astype(int), picture.astype(int), atol=1)
    np.testing.assert_allclose(engine.encode([picture])[0], again, atol=1e-4)


def test_the_halo_is_no_smaller_than_what_a_cell_sees(engine: VaeEngine) -> None:
    latent = np.random.default_rng(0).standard_normal((48, 1, 48), dtype=np.float32)
    changed = latent.copy()
    changed[:, 0, 24] += 5
    differs = np.abs(engine.decode([latent])[0].astype(int) - engine.decode([changed])[0].astype(int)).max(
        (0, 2)
    )
    cells = np.flatnonzero(differs.reshape(48, 16).max(1))

    assert len(cells) > 1, "one cell changed only itself: the convolutions did not run"
    assert np.abs(cells - 24).max() <= halo_cells(VaeConfig.tiny())


def test_a_batch_gives_what_each_gives_alone(engine: VaeEngine) -> None:
    latents = list(np.random.default_rng(1).standard_normal((5, 48, 4, 6), dtype=np.float32))
    together = engine.decode(latents)

    for latent, picture in zip(latents, together, strict=True):
        np.testing.assert_allclose(engine.decode([latent])[0].astype(int), picture.astype(int), atol=1)


class Machine:
    """Doubles numbers, one batch at a time, when it is let to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.busy = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.busy.set()
        assert self.gate.wait(30), "a test left the gate closed"
        if -1 in items:
            raise ValueError("minus one")
        return [2 * item for item in items]


async def test_equal_keys_that_wait_together_go_together() -> None:
    batcher, machine = Batcher(), Machine()
    first = asyncio.create_task(batcher.run(machine, "small", 0, 3))
    await eventually(machine.busy.is_set)
    small = [asyncio.create_task(batcher.run(machine, "small", item, 3)) for item in (1, 2, 3, 4)]
    large = asyncio.create_task(batcher.run(machine, "large", 10, 3))
    await asyncio.sleep(0)  # lets them queue
    machine.gate.set()

    assert [await each for each in (first, *small, large)] == [0, 2, 4, 6, 8, 20]
    # Three of the small ones, then the large one, which waited longer than the fourth.
    assert batcher.batches == [1, 3, 1, 1]
    batcher.close()


async def test_a_failing_batch_tells_each_of_its_callers() -> None:
    batcher, machine = Batcher(), Machine()
    machine.gate.set()
    found = await asyncio.gather(
        *(batcher.run(machine, "k", -1, 2) for _ in range(2)), return_exceptions=True
    )

    assert [type(each) for each in found] == [ValueError, ValueError]
    assert await batcher.run(machine, "k", 4, 2) == 8
    batcher.close()


async def test_a_cancelled_caller_costs_nothing() -> None:
    batcher, machine = Batcher(), Machine()
    first = asyncio.create_task(batcher.run(machine, "k", 0, 9))
    await eventually(machine.busy.is_set)
    left, stayed = (asyncio.create_task(batcher.run(machine, "k", item, 9)) for item in (1, 2))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait({left})
    machine.gate.set()

    assert (await first, await stayed) == (0, 4)
    assert batcher.batches == [1, 1]
    batcher.close()
