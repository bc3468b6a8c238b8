"""What the VAE's service costs: Encode and Decode through it, and the same work called in one process.

    python benchmarks/vae_service.py [--repeats 7] [--whole]

Both sides take the same bytes, give the same bytes, and alternate in one run. `--whole` adds 4096 x 4096 and
the peak memory of a process that decodes it. Starts a stack of its own. Prints a table, then one JSON line.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from services.vae.engine import VaeEngine
from training.vae.data import draw_core
from wanimage import images
from wanimage.cli import background
from wanimage.cli.stackfile import Stack
from wanimage.config import Settings
from wanimage.latents import Latent, latent_bytes, read_latent
from wanimage.rpc import channel
from wanimage.v1 import types_pb2, vae_pb2, vae_pb2_grpc
from wanimage.weights import Family

SIZES = ((128, 128), (256, 256), (128, 1024), (512, 512), (1024, 1024), (2048, 1536))
SECONDS = 600


def encode_here(engine: VaeEngine, png: bytes) -> Latent:
    """What the service does with a picture, without bus and blobs."""
    (latent,) = engine.encode([images.decode(png, "image")])
    latent_bytes(latent, engine.family)
    return latent


def decode_here(engine: VaeEngine, latent: Latent) -> bytes:
    """What the service does with a latent, without bus and blobs."""
    read = read_latent(latent_bytes(latent, engine.family), engine.family, "latent")
    return images.encode(engine.decode([read])[0])[0]


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def compare(
    stub: vae_pb2_grpc.VaeServiceStub, engine: VaeEngine, size: tuple[int, int], repeats: int
) -> dict[str, float]:
    """Median seconds of both sides, and the median of their ratios, for one size."""
    taken: dict[str, list[float]] = {name: [] for name in ("encode", "encode_here", "decode", "decode_here")}
    for number in range(repeats + 1):  # the first warms up
        # Another picture every time: a job that was done before is answered from its result.
        png = images.encode(draw_core(np.random.default_rng(number), *size))[0]
        latent = encode_here(engine, png)
        request = vae_pb2.EncodeRequest(image=types_pb2.ImageInput(data=png))
        stored: list[vae_pb2.EncodeResponse] = []

        async def encode(request: vae_pb2.EncodeRequest = request, stored: list[Any] = stored) -> None:
            stored.append(await stub.Encode(request, timeout=SECONDS))

        taken["encode"].append(await seconds(encode))
        taken["encode_here"].append(
            await seconds(lambda png=png: asyncio.to_thread(encode_here, engine, png))
        )
        wanted = vae_pb2.DecodeRequest(latent=stored[0].latent, inline=True)
        taken["decode"].append(await seconds(lambda wanted=wanted: stub.Decode(wanted, timeout=SECONDS)))
        here = lambda latent=latent: asyncio.to_thread(decode_here, engine, latent)  # noqa: E731
        taken["decode_here"].append(await seconds(here))
    taken = {name: values[1:] for name, values in taken.items()}
    found = {f"{name}_s": statistics.median(values) for name, values in taken.items()}
    for name in ("encode", "decode"):
        pairs = zip(taken[name], taken[f"{name}_here"], strict=True)
        found[f"{name}_ratio"] = statistics.median(a / b for a, b in pairs)
    return found


def decode_whole(weights: Path) -> dict[str, float]:
    """Seconds and peak memory of a fresh process that decodes 4096 x 4096."""
    engine = VaeEngine.load(Family.load(weights))
    latent = np.random.default_rng(0).standard_normal((48, 256, 256)).astype(np.float32)
    began = time.perf_counter()
    (picture,) = engine.decode([latent])
    assert picture.shape == (4096, 4096, 4), picture.shape
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"decode_4096_s": time.perf_counter() - began, "decode_4096_peak_gib": peak}


async def measure(stack: Stack, weights: Path, repeats: int) -> dict[str, object]:
    """All sizes."""
    engine = VaeEngine.load(Family.load(weights))
    found: dict[str, object] = {"dtype": str(engine.dtype)}
    async with channel(stack.parts["vae"].address) as connected:
        stub = vae_pb2_grpc.VaeServiceStub(connected)
        for size in SIZES:
            found["x".join(map(str, size))] = await compare(stub, engine, size, repeats)
    return found


def main() -> None:
    """Start a stack, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--whole", action="store_true", help="also decode 4096 x 4096")
    options = parser.parse_args()
    weights = Settings().weights
    with tempfile.TemporaryDirectory() as folder:
        names = ["nats", "s3", "vae"]
        stack = background.start(Path(folder), names, Console(stderr=True), with_us=True)
        try:
            found = asyncio.run(measure(stack, weights, options.repeats))
        finally:
            background.stop(Path(folder), stack)
    if options.whole:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            found |= fresh.submit(decode_whole, weights).result()
    print("| size | Encode | in one process | | Decode | in one process | |\n|---|---|---|---|---|---|---|")
    for size, row in found.items():
        if isinstance(row, dict):
            cells = [f"{row[name]:.3f}" for name in ("encode_s", "encode_here_s", "encode_ratio")]
            cells += [f"{row[name]:.3f}" for name in ("decode_s", "decode_here_s", "decode_ratio")]
            print(f"| {size} | {' | '.join(cells)} |")
    print(json.dumps({"benchmark": "vae_service", **found}))


if __name__ == "__main__":
    main()
