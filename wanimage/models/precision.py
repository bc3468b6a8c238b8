"""Which precision is faster on this machine: asked once at start, answered by measuring.

On a CPU the answer depends on the chip: with AVX512-BF16 or AMX autocast to bfloat16 is up to three times
faster, elsewhere it is slower. Weights stay float32 either way.
"""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import nn

Name = TypeVar("Name", bound=Hashable)
ROUNDS = 3
"""How often each is timed."""
GAIN = 1.25
"""bfloat16 must be this much faster, so that noise does not change the choice (and the pictures) between
starts."""


def by_turns(timed: Mapping[Name, Callable[[], float]], rounds: int = ROUNDS) -> dict[Name, float]:
    """The least seconds of each of several ways, timed by turns: beside services that start, one of them
    alone would be held up."""
    seconds = dict.fromkeys(timed, math.inf)
    for _ in range(rounds):
        for name, time_once in timed.items():
            seconds[name] = min(seconds[name], time_once())
    return seconds


def faster_dtype(work: Callable[[], object]) -> torch.dtype:
    """torch.bfloat16 when autocast makes `work` clearly faster here, else torch.float32. Runs `work` eight
    times."""
    timed = {dtype: partial(_seconds, work, dtype) for dtype in (torch.float32, torch.bfloat16)}
    seconds = by_turns(timed, ROUNDS + 1)  # the first one only warms up
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
