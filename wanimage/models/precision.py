"""Which precision is faster on this machine: asked once at start, answered by measuring.

On a CPU the answer depends on the chip: with AVX512-BF16 or AMX autocast to bfloat16 is up to three times
faster, elsewhere it is slower. Weights stay float32 either way.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

ROUNDS = 3
GAIN = 1.25
"""bfloat16 must be this much faster, so that noise does not change the choice (and the pictures) between
starts."""


def faster_dtype(work: Callable[[], object]) -> torch.dtype:
    """torch.bfloat16 when autocast makes `work` clearly faster here, else torch.float32. Runs `work` eight
    times."""
    seconds = {dtype: _best_seconds(work, dtype) for dtype in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if seconds[torch.float32] > GAIN * seconds[torch.bfloat16] else torch.float32


def computing_in(dtype: torch.dtype) -> AbstractContextManager[object]:
    """Inference on the CPU in `dtype`, over float32 weights."""
    return torch.autocast("cpu", dtype=dtype) if dtype != torch.float32 else nullcontext()


@torch.inference_mode()
def _best_seconds(work: Callable[[], object], dtype: torch.dtype) -> float:
    best = float("inf")
    for _ in range(ROUNDS + 1):  # the first one only warms up
        started = time.perf_counter()
        with computing_in(dtype):
            work()
        best = min(best, time.perf_counter() - started)
    return best
