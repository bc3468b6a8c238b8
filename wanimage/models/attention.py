"""Scaled dot-product attention behind one function; the only place where a backend is chosen.

SDPA is the default and the reference. xformers is CUDA-only, so it is imported only when a CUDA device is
present and asked for. `attend_slowly` is the definition, written out; tests hold every backend to it.

Letters: B batch, H heads, Q queries, K keys, D head dimension.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from enum import Enum
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

log = logging.getLogger(__name__)

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""`(q [B, H, Q, D], k [B, H, K, D], v [B, H, K, D], mask [B, 1, Q, K] bool or None) -> [B, H, Q, D]`; True
may be seen."""


class Backend(Enum):
    """Implementations of attention."""

    SDPA = "sdpa"
    MATMUL = "matmul"
    """Two matrix products. Trains twice as fast as SDPA's CPU kernel at a hundred keys (bf16); quadratic
    memory."""
    XFORMERS = "xformers"


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, backend: Backend = Backend.SDPA) -> Tensor:
    """Attention with the chosen backend.

    A query that may see nothing (padding) is defined by no backend: masks let padding queries see themselves.

    Raises:
        RuntimeError: the backend is not usable here (xformers without CUDA or not installed).
    """
    return _implementation(backend)(q, k, v, mask)


def attend_slowly(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The definition of attention, in float32, without any kernel. Shapes as `Attention`."""
    scores = q.float() @ k.float().transpose(-1, -2) / math.sqrt(q.shape[-1])  # [B, H, Q, K]
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return (scores.softmax(dim=-1) @ v.float()).to(q.dtype)


@cache
def _implementation(backend: Backend) -> Attention:
    if backend is Backend.SDPA:
        return _sdpa
    if backend is Backend.MATMUL:
        return _matmul
    if not torch.cuda.is_available():
        raise RuntimeError("the xformers backend needs a CUDA device; use Backend.SDPA on this machine")
    log.info("attention backend: %s", backend.value)
    return _xformers()


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _matmul(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B, H, Q, K]
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1) @ v


def _xformers() -> Attention:
    try:
        from xformers.ops import memory_efficient_attention  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise RuntimeError("xformers is not installed; `pip install xformers` or use Backend.SDPA") from error

    def run(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        bias = None if mask is None else _aligned_bias(mask, q)
        # xformers wants [B, N, H, D].
        out = memory_efficient_attention(*(x.transpose(1, 2).contiguous() for x in (q, k, v)), attn_bias=bias)
        return out.transpose(1, 2)

    return run


def _aligned_bias(mask: Tensor, q: Tensor) -> Tensor:
    """An additive bias `[B, H, Q, K]` whose rows start on multiples of 8 elements, as xformers' kernels
    demand."""
    batch, _, queries, keys = mask.shape
    padded = torch.zeros(batch, 1, queries, math.ceil(keys / 8) * 8, dtype=q.dtype, device=q.device)
    padded[..., :keys].masked_fill_(~mask, -math.inf)
    return padded[..., :keys].expand(-1, q.shape[1], -1, -1)
