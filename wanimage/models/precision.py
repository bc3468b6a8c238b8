"""Which precision is faster on this machine: asked once at start, answered by measuring.

On a CPU the answer depends on the chip: with AVX512-BF16 or AMX autocast to bfloat16 is up to three times
faster, elsewhere it is slower. Weights stay float32 either way.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

ROUNDS = 3
"""How often each is timed."""
GAIN = 1.25
"""bfloat16 must be this much faster, so that noise does not change the choice (and the pictures) between
starts."""


def faster_dtype(work: Callable[[], object]) -> torch.dtype:
    """torch.bfloat16 when autocast makes `work` clearly faster here, else torch.float32. Runs `work` eight
    times, by turns: beside services that start, one of the two alone would be held up."""
    seconds = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
    for _ in range(ROUNDS + 1):  # the first one only warms up
        for dtype in seconds:
            seconds[dtype] = min(seconds[dtype], _seconds(work, dtype))
    return torch.bfloat16 if seconds[torch.float32] > GAIN * seconds[torch.bfloat16] else torch.float32


def computing_in(dtype: torch.dtype) -> AbstractContextManager[object]:
    """Inference on the CPU in `dtype`, over float32 weights."""
    return torch.autocast("cpu", dtype=dtype) if dtype != torch.float32 else nullcontext()


def hold_linears(model: nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of all linear layers of a frozen model in `dtype`, in place.

    Autocast makes the same numbers anew from float32 weights at every call, whatever the size of the batch.
    All else stays as it is (also an embedding tied to a linear layer), and so do results, to the bit.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.to(dtype), requires_grad=False)
            if module.bias is not None:
                module.bias = nn.Parameter(module.bias.to(dtype), requires_grad=False)


@torch.inference_mode()
def _seconds(work: Callable[[], object], dtype: torch.dtype) -> float:
    started = time.perf_counter()
    with computing_in(dtype):
        work()
    return time.perf_counter() - started
