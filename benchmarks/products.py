"""What bare matrix products of the nano family's shapes reach on this machine: the ceiling of its steps.

    python benchmarks/products.py

Prints GFLOP/s by precision and rows, then one JSON line; other benchmarks hold their steps against them.
"""

import json
import time
from collections.abc import Callable

import torch

SHAPES = ((256, 256), (256, 2048), (1024, 256))
"""Inputs and outputs of the linear layers: attention, SwiGLU in, SwiGLU out."""
TIMES = (4, 1, 1)
"""How often a block has each."""
TRIES = 12
ROWS = (128, 512, 2048)


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


@torch.inference_mode()
def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    found = {
        precision: {str(rows): round(flops_a_second(precision, rows) / 1e9, 1) for rows in ROWS}
        for precision in ("fp32", "bf16")
    }
    for precision, by_rows in found.items():
        print(precision, "  ".join(f"{rows} rows {reached}" for rows, reached in by_rows.items()), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
