"""What attention costs a step of the visualizer, by backend: does a packed batch pay?

    python benchmarks/visualizer_attention.py [--tries 30]

The tokens of a step of guided renders, with keys and values of prompts, heads as the nano family has them,
float32. The same attention

- padded: in groups of like lengths under a mask, as the service runs it, by SDPA or as two matrix products;
- packed: all renders in one row, none padded, by FlexAttention under a block mask, compiled (left out
  without a C++ compiler), and by SDPA, which computes what the mask then hides.

All must agree. Prints a table, then one JSON line.
"""

import argparse
import json
import os
import shutil
import statistics
from collections.abc import Callable

import torch
from products import seconds_of
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from services.visualizer.grouping import group
from wanimage.models.attention import Backend, attend
from wanimage.models.mot import Context, MotConfig, stack

CASES = {
    "eight of 64 cells": (64,) * 8,
    "mixed, 64 to 256": (64, 64, 64, 64, 128, 128, 128, 256),
    "one of 64, one of 1,024": (64, 1024),
}
"""Cells of the renders of a step."""
PROMPT = 40
"""Context tokens of a render."""
BRANCHES = 2
"""With the prompt and without: guidance."""
Part = tuple[Tensor, Tensor, Tensor]
"""Of one row: queries `[H, Q, D]`, keys and values `[H, K, D]`."""


@torch.inference_mode()
def measure(cells: tuple[int, ...], tries: int) -> dict[str, float]:
    """Milliseconds of each way, and the largest difference to the first."""
    heads, width = MotConfig.nano().heads, MotConfig.nano().head_dim
    draw = lambda length: torch.randn(heads, length, width)  # noqa: E731
    parts = [(draw(n), draw(PROMPT + n), draw(PROMPT + n)) for n in cells for _ in range(BRANCHES)]
    ways = {
        "padded, SDPA": padded(parts, Backend.SDPA),
        "padded, two products": padded(parts, Backend.MATMUL),
        "packed, SDPA": packed(parts),
    }
    if shutil.which(os.environ.get("CXX", "g++")):
        ways["packed, FlexAttention"] = flexible(parts)
    answers = {name: torch.cat(way(), dim=1) for name, way in ways.items()}  # compiles, warms
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(tries):  # by turns, so that a slow moment hits all
        for name, way in ways.items():
            seconds[name].append(seconds_of(way))
    first = next(iter(answers.values()))
    off = max(float((each - first).abs().max()) for each in answers.values())
    return {name: 1e3 * statistics.median(some) for name, some in seconds.items()} | {"off": off}


def padded(parts: list[Part], backend: Backend) -> Callable[[], list[Tensor]]:
    """Rows in the service's groups, each padded to its longest; padding queries see padding keys."""
    lengths = [q.shape[1] for q, _, _ in parts[::BRANCHES]]
    groups = [
        [BRANCHES * i + b for i in some for b in range(BRANCHES)]
        for some in group(lengths, [BRANCHES] * len(lengths))
    ]
    batches = []
    for rows in groups:
        most = max(parts[i][0].shape[1] for i in rows)
        fill = lambda x, length: torch.nn.functional.pad(x, (0, 0, 0, length - x.shape[1]))  # noqa: E731
        q, k, v = (
            torch.stack([fill(parts[i][n], most + (PROMPT if n else 0)) for i in rows]) for n in range(3)
        )
        batches.append((rows, q, k, v, stack([context_of(parts[i]) for i in rows]).mask))

    def run() -> list[Tensor]:
        found: dict[int, Tensor] = {}
        for rows, q, k, v, seen in batches:
            out = attend(q, k, v, seen, backend)
            found |= {i: out[row, :, : parts[i][0].shape[1]] for row, i in enumerate(rows)}
        return [found[i] for i in range(len(parts))]

    return run


def context_of(part: Part) -> Context:
    """A row alone, as far as its mask goes: every query sees every key."""
    queries, keys = part[0].shape[1], part[1].shape[1]
    nowhere = torch.zeros(1, 1, queries, 1)
    return Context([], torch.ones(1, 1, queries, keys, dtype=torch.bool), (nowhere, nowhere))


def packed(parts: list[Part]) -> Callable[[], list[Tensor]]:
    """One row under a block-diagonal mask."""
    q, k, v = (torch.cat([part[n] for part in parts], 1)[None] for n in range(3))
    seen = (owners(parts, 0)[:, None] == owners(parts, 1))[None, None]
    return lambda: list(attend(q, k, v, seen)[0].split([part[0].shape[1] for part in parts], 1))


def flexible(parts: list[Part]) -> Callable[[], list[Tensor]]:
    """One row under a block mask, which lets whole blocks be left out."""
    q, k, v = (torch.cat([part[n] for part in parts], 1)[None] for n in range(3))
    of_query, of_key = owners(parts, 0), owners(parts, 1)
    own = lambda b, h, i, j: of_query[i] == of_key[j]  # noqa: E731
    blocks = create_block_mask(own, None, None, q.shape[2], k.shape[2], device="cpu")
    compiled = torch.compile(flex_attention)
    lengths = [part[0].shape[1] for part in parts]
    return lambda: list(compiled(q, k, v, block_mask=blocks)[0].split(lengths, 1))


def owners(parts: list[Part], of: int) -> Tensor:
    """The render's row that each packed query (0) or key (1) belongs to."""
    lengths = [part[of].shape[1] for part in parts]
    return torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(lengths))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tries", type=int, default=30)
    tries = parser.parse_args().tries
    torch.manual_seed(0)
    found = {}
    for name, cells in CASES.items():
        found[name] = measure(cells, tries)
        print(name, "  ".join(f"{way} {value:.3g}" for way, value in found[name].items()), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
