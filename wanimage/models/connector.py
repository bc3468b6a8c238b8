"""The text connector: what a small causal model did not need to know, added to its keys and values.

A causal language model reads "a fox at the left" without ever telling "fox" that it stands at the left, and a
nano one hardly tells "left" of the fox. The report's 30B branch can bind them in its depth; ours cannot, and
pictures showed the right ground with the wrong objects. So, as token refiners do for video models over causal
encoders (HunyuanVideo), a few blocks read the frozen features of a chapter in both directions and add a
correction to the keys and values of every layer. It starts at zero: the plain mixture of transformers. It
runs once a render, not once a step.

Letters: B batch, L context tokens, H' key heads, D head dimension, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from wanimage.models.attention import Backend
from wanimage.models.blocks import SharedAttention, SwiGlu, Table
from wanimage.models.layout import Kind, Tokens
from wanimage.models.rope import RopeConfig, rope_table


class Connector(nn.Module):
    """Frozen keys and values in, corrected keys and values out; both un-rotated, `[B, H', L, D]` a layer."""

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        kv_heads: int,
        rope: RopeConfig,
        blocks: int,
        backend: Backend,
    ) -> None:
        super().__init__()
        self.depth, self.kv_heads, self.rope = depth, kv_heads, rope
        features = kv_heads * rope.head_dim
        self.embed = nn.Linear(2 * features, width)
        self.blocks = nn.ModuleList(ReaderBlock(width, heads, rope.head_dim, backend) for _ in range(blocks))
        self.add = nn.Linear(width, 2 * depth * features, bias=False)
        nn.init.zeros_(self.add.weight)

    def forward(self, text: Sequence[tuple[Tensor, Tensor]], tokens: Tokens) -> list[tuple[Tensor, Tensor]]:
        """Correct every layer. Values of the first layer say which token it is, those of the last what it
        means here."""
        ends = [text[index][1].transpose(1, 2).flatten(2) for index in (0, -1)]  # [B, L, H'*D] each
        x = self.embed(torch.cat(ends, dim=-1).to(self.embed.weight.dtype))
        table, seen = rope_table(tokens.positions, self.rope), chapter_mask(tokens)
        for block in self.blocks:
            x = block(x, table, seen)
        added = self.add(functional.layer_norm(x, x.shape[-1:]))  # [B, L, 2*depth*H'*D]
        parts = added.unflatten(-1, (self.depth, 2, self.kv_heads, -1)).permute(2, 3, 0, 4, 1, 5)
        return [(k + dk, v + dv) for (k, v), (dk, dv) in zip(text, parts, strict=True)]


class ReaderBlock(nn.Module):
    """Attention in both directions within a chapter, then SwiGLU."""

    def __init__(self, width: int, heads: int, dim: int, backend: Backend) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = SharedAttention(width, heads, heads, dim, backend)
        self.ffn = SwiGlu(width, 2 * width)

    def forward(self, x: Tensor, table: Table, seen: Tensor) -> Tensor:
        """`x` `[B, L, W]`, `seen` `[B, 1, L, L]`."""
        x = x + self.attention(self.norms[0](x), table, seen, None)[0]
        return x + self.ffn(self.norms[1](x))


def chapter_mask(tokens: Tokens) -> Tensor:
    """`[B, 1, L, L]`: context tokens see those of their own chapter; padding sees padding."""
    pad = tokens.kind == Kind.PAD
    place = torch.stack([tokens.sample, tokens.chapter, pad.long()], dim=-1)  # [B, L, 3]
    return (place.unsqueeze(2) == place.unsqueeze(1)).all(-1).unsqueeze(1)
