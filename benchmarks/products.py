"""What bare matrix products of the nano family's shapes reach on this machine: the ceiling of its steps."""

import time
from collections.abc import Callable

import torch

SHAPES = ((256, 256), (256, 2048), (1024, 256))
"""Inputs and outputs of the linear layers: attention, SwiGLU in, SwiGLU out."""
TIMES = (4, 1, 1)
"""How often a block has each."""
TRIES = 12


@torch.inference_mode()
def flops_a_second(precision: str, tokens: int) -> float:
    """Of linear layers over `tokens` rows, weighed by how often a step has them; the best of TRIES."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    seconds = flops = 0.0
    for (width, out), times in zip(SHAPES, TIMES, strict=True):
        x, w = torch.randn(tokens, width).to(dtype), torch.randn(out, width).to(dtype)
        work = lambda x=x, w=w: torch.nn.functional.linear(x, w)  # noqa: E731
        work()
        seconds += times * min(seconds_of(work) for _ in range(TRIES))
        flops += times * 2 * tokens * width * out
    return flops / seconds


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
