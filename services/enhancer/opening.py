"""The enhancer's checkpoint, made at start of the family's planner and the adapter, and vLLM on it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.enhancer.engine import EnhancerEngine
from wanimage import serve
from wanimage.adapters import write_merged
from wanimage.decoding import Decoder, DecodingConfig
from wanimage.errors import Misconfigured
from wanimage.weights import Family, part_digest

PART = "enhancer"


@asynccontextmanager
async def open_engine(family: Family) -> AsyncIterator[EnhancerEngine]:
    """The engine, ready and warm. Raises Misconfigured where the family has no adapter, or one of another
    planner."""
    if PART not in family.parts:
        way_out = "use a family that has one, or train it with `python -m training.enhancer`"
        raise Misconfigured("WAN_WEIGHTS", f"the family {family.digest[:12]} has no part {PART!r}", way_out)
    with tempfile.TemporaryDirectory(prefix="wan-enhancer-") as made:
        folder = Path(made) / "checkpoint"
        base = await asyncio.to_thread(part_digest, family.path, family.planner.name)
        await asyncio.to_thread(write_merged, family.planner, family.path / PART, folder, base)
        decoder = await Decoder.load(DecodingConfig(model=folder, images_per_prompt=9))
        watching = asyncio.create_task(serve.leave_when(lambda: not decoder.alive))
        try:
            yield EnhancerEngine(decoder)
        finally:
            watching.cancel()
            decoder.close()
