"""The parts that the generation branch, its connector and the refiner are built of (report 3.1, 3.5).

Letters: B batch, N tokens, W width, H heads, H' key and value heads, D head dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from wanimage.models.attention import Backend, attend
from wanimage.models.rope import rotate

Table = tuple[Tensor, Tensor]
"""Cosines and sines of `rope_table`."""


class SharedAttention(nn.Module):
    """Queries of the generation branch over its own keys and those of others."""

    def __init__(self, width: int, heads: int, kv_heads: int, dim: int, backend: Backend) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.backend = heads, kv_heads, backend
        self.q = nn.Linear(width, heads * dim, bias=False)
        self.k = nn.Linear(width, kv_heads * dim, bias=False)
        self.v = nn.Linear(width, kv_heads * dim, bias=False)
        self.o = nn.Linear(heads * dim, width, bias=False)
        self.q_norm = HeadNorm(dim)
        self.k_norm = HeadNorm(dim)

    def forward(
        self, x: Tensor, table: Table, seen: Tensor, others: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Mixed values `[B, N, W]` and the own rotated keys and values `[B, H', N, D]`."""
        split = lambda y, heads: y.unflatten(-1, (heads, -1)).transpose(1, 2)  # noqa: E731  [B, N, H*D] -> [B, H, N, D]
        v = split(self.v(x), self.kv_heads)
        q = rotate(self.q_norm(split(self.q(x), self.heads)), table).to(v.dtype)
        k = rotate(self.k_norm(split(self.k(x), self.kv_heads)), table).to(v.dtype)
        own = (k, v)
        if others is not None:
            k, v = torch.cat([others[0].to(k.dtype), k], 2), torch.cat([others[1].to(v.dtype), v], 2)
        if self.kv_heads != self.heads:
            k, v = (y.repeat_interleave(self.heads // self.kv_heads, dim=1) for y in (k, v))
        mixed = attend(q, k, v, seen, self.backend)
        return self.o(mixed.transpose(1, 2).flatten(2)), own


class HeadNorm(nn.Module):
    """RMSNorm over a head, in the dtype of its input (torch's own falls off its fused path under
    autocast)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), eps=1e-6)


class SwiGlu(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)


class TimestepEmbedding(nn.Module):
    """Times `[B, N]` in [0, 1] to features `[B, N, W]`: sinusoids of 1000 t, then an MLP, then SiLU."""

    def __init__(self, width: int, sinusoids: int = 256) -> None:
        super().__init__()
        self.sinusoids = sinusoids
        self.mlp = nn.Sequential(nn.Linear(sinusoids, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, t: Tensor) -> Tensor:
        half = self.sinusoids // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angles = 1000 * t.float().unsqueeze(-1) * rates
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm without weights, then AdaLN's scale and shift; all broadcast over `x` `[..., W]`."""
    return functional.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
