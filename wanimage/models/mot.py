"""The visualizer's transformer: a DiT that shares attention with a frozen understanding branch (report 3.1).

Unusual here:
- Mixture of transformers: block i of the generation branch attends to the keys and values that layer i of the
  frozen understanding branch made for the prompt, beside its own. The keys arrive un-rotated and are rotated
  in the frame of the pictures (`rope.py`); who sees whom is `layout.py`'s.
- Clean reference latents go through the same blocks at t = 0. They see neither prompt nor noise, so they,
  too, become keys and values that are made once a render (`Mot.context`) and used at every step
  (`Mot.velocity`). `Mot.velocity_jointly` is the slow, obvious version: one stream, one mask, nothing cached.
- AdaLN per token, from one modulation MLP shared by all blocks plus a table a block. Gates are biased so that
  a block starts as a residual; the last layer starts at zero, so the first velocity is zero.
- Attention starts from the understanding branch's own weights (`init_from_understanding`); QK-norm; SwiGLU.
- Small causal models leave "what" and "where" of a prompt in different tokens; an optional connector reads
  the frozen features in both directions and adds to the keys and values (`connector.py`).
- Conventions: x_t = (1 - t) * x0 + t * noise; velocity = noise - x0; t = 1 is noise, t = 0 is clean.

Letters: B batch, L context tokens, C clean tokens, N noisy tokens, W width, H heads, D head dimension, Z
latent channels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from wanimage.models.attention import Backend
from wanimage.models.blocks import SharedAttention, SwiGlu, Table, TimestepEmbedding, modulate
from wanimage.models.connector import Connector
from wanimage.models.layout import Grid, Layout, TextScope, Tokens, mask
from wanimage.models.rope import RopeConfig, rope_table, rotate

KeysValues = Sequence[tuple[Tensor, Tensor]]
"""Per layer (keys, values), each `[B, H, L, D]`."""
CELL_PIXELS = 256
"""Pixels of one latent cell, 16 * 16."""


@dataclass(frozen=True, kw_only=True)
class MotConfig:
    """Shape of the generation branch. Depth, heads and head dimension are those of the understanding
    branch."""

    depth: int
    width: int
    heads: int
    kv_heads: int
    """Key and value heads (grouped-query attention where fewer than `heads`)."""
    ffn: int
    """Hidden width of the SwiGLU, the generation branch's own."""
    latent_channels: int = 48
    rope: RopeConfig = field(default_factory=RopeConfig)
    text_scope: TextScope = TextScope.OWN
    connector: int = 0
    """Blocks of the text connector; 0, as in the report, attends to the frozen keys and values as they
    are."""

    @property
    def head_dim(self) -> int:
        return self.rope.head_dim

    @staticmethod
    def nano() -> MotConfig:
        """The shipped size: beside a 6-layer, 256-wide understanding branch."""
        return MotConfig(depth=6, width=256, heads=4, kv_heads=4, ffn=1024, connector=2)

    @staticmethod
    def tiny() -> MotConfig:
        """For tests: milliseconds a step, beside the tiny understanding branch."""
        return MotConfig(
            depth=2, width=32, heads=2, kv_heads=2, ffn=48, rope=RopeConfig(axes=(4, 6, 6)), connector=1
        )

    @staticmethod
    def paper() -> MotConfig:
        """Beside Qwen3-VL-8B's shape, the scale the report builds on; the report gives no widths."""
        rope = RopeConfig(axes=(32, 48, 48), theta=(1_000_000.0, 10_000.0, 10_000.0))
        shape: dict[str, int] = {"depth": 36, "width": 4096, "heads": 32, "kv_heads": 8, "ffn": 12288}
        return MotConfig(**shape, rope=rope, text_scope=TextScope.CAUSAL)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `mot.json`."""
        return {**asdict(self), "text_scope": self.text_scope.value}

    @staticmethod
    def from_json(values: dict[str, Any]) -> MotConfig:
        """Inverse of `to_json`; unknown or missing names raise TypeError."""
        rope: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["rope"].items()}
        return MotConfig(
            **{**values, "rope": RopeConfig(**rope), "text_scope": TextScope(values["text_scope"])}
        )


@dataclass
class Context:
    """What noisy tokens attend to, made once a render and reused at every step."""

    keys_values: list[tuple[Tensor, Tensor]]
    """Per block, rotated keys and values `[B, H', L + C, D]` (H' key heads)."""
    mask: Tensor
    """`[B, 1, N, L + C + N]`."""
    table: Table
    """Rotation of the noisy tokens."""


class Mot(nn.Module):
    """The generation branch."""

    def __init__(self, config: MotConfig, backend: Backend = Backend.SDPA) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.latent_channels, config.width)
        self.timestep = TimestepEmbedding(config.width)
        self.modulation = nn.Linear(config.width, 6 * config.width)
        self.blocks = nn.ModuleList(Block(config, backend) for _ in range(config.depth))
        self.final = FinalLayer(config)
        shape = (config.depth, config.width, config.heads, config.kv_heads)
        self.connector = (
            Connector(*shape, config.rope, config.connector, backend) if config.connector else None
        )
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    @staticmethod
    def load(folder: Path, name: str = "mot") -> Mot:
        """Read `<name>.json` and `<name>.safetensors` from a family, strictly, into float32."""
        config = MotConfig.from_json(json.loads((folder / f"{name}.json").read_text())["config"])
        mot = Mot(config)
        tensors = load_file(folder / f"{name}.safetensors")
        mot.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)
        return mot.eval().requires_grad_(False)

    def context(self, text: KeysValues, layout: Layout, clean: Tensor | None = None) -> Context:
        """Everything noisy tokens will attend to.

        `text`: un-rotated keys and values of every understanding layer, `[B, H', L, D]`; `clean`: reference
        latents `[B, C, Z]`, needed iff the layout has clean tokens.
        """
        assert len(text) == self.config.depth, (len(text), self.config.depth)
        # Not of a linear layer, which may be held in another (precision.py).
        dtype = next(self.blocks[0].parameters(recurse=False)).dtype
        text = self._connected(text, layout)
        table = rope_table(layout.context.positions, self.config.rope)
        pairs = [(rotate(k.to(dtype), table), v.to(dtype)) for k, v in text]
        keys = layout.context
        if layout.clean.kind.shape[1]:
            assert clean is not None, "the layout has clean tokens but no latents came"
            own = self._clean_keys_values(clean, layout)
            pairs = [
                (torch.cat([k, a], 2), torch.cat([v, b], 2))
                for (k, v), (a, b) in zip(pairs, own, strict=True)
            ]
            keys = _joined(keys, layout.clean)
        seen = mask(layout.noisy, _joined(keys, layout.noisy), layout.scope)
        return Context(pairs, seen, rope_table(layout.noisy.positions, self.config.rope))

    def velocity(self, x: Tensor, t: Tensor, context: Context, states: list[Tensor] | None = None) -> Tensor:
        """Velocity `[B, N, Z]` of noisy latents `x` `[B, N, Z]` at times `t` `[B]` or, per token, `[B,
        N]`. `states`, if given, gets the hidden states `[B, N, W]` after each block."""
        h, shifts, final = self._enter(x, t)
        for block, seen in zip(self.blocks, context.keys_values, strict=True):
            h, _ = block(h, shifts, context.table, context.mask, seen)
            if states is not None:
                states.append(h)
        return self.final(h, final)

    def velocity_jointly(
        self, x: Tensor, t: Tensor, text: KeysValues, layout: Layout, clean: Tensor
    ) -> Tensor:
        """`velocity(x, t, context(text, layout, clean))` as one stream of clean and noisy tokens under one
        mask."""
        tokens = _joined(layout.clean, layout.noisy)
        seen = mask(tokens, _joined(layout.context, tokens), layout.scope)
        table = rope_table(tokens.positions, self.config.rope)
        times = torch.cat([torch.zeros_like(clean[..., 0]), t[:, None].expand(x.shape[:2])], dim=1)
        h, shifts, final = self._enter(torch.cat([clean, x], dim=1), times)
        text_table = rope_table(layout.context.positions, self.config.rope)
        for block, (k, v) in zip(self.blocks, self._connected(text, layout), strict=True):
            h, _ = block(h, shifts, table, seen, (rotate(k, text_table), v))
        return self.final(h, final)[:, clean.shape[1] :]

    def flops(self, context: int, clean: int, noisy: int, steps: int = 1) -> int:
        """Floating-point operations of a render: clean tokens once, noisy tokens at each of `steps`
        evaluations."""
        c = self.config
        attention = 2 * c.width * c.head_dim * (c.heads + c.kv_heads)
        per_token = 2 * c.depth * (attention + 3 * c.width * c.ffn) + 4 * c.latent_channels * c.width
        per_pair = 4 * c.depth * c.heads * c.head_dim
        reading = 2 * c.connector * (attention + 3 * c.width * 2 * c.width)
        once = clean * per_token + clean * clean * per_pair + context * reading
        return once + steps * noisy * (per_token + (context + clean + noisy) * per_pair)

    @staticmethod
    def pixel_steps(grids: Sequence[Grid], steps: int, references: Sequence[Grid] = ()) -> int:
        """The scheduler's unit of cost: pixels of the pictures times evaluations, references once."""
        area = lambda some: sum(rows * columns for rows, columns in some) * CELL_PIXELS  # noqa: E731
        return area(grids) * steps + area(references)

    def _connected(self, text: KeysValues, layout: Layout) -> KeysValues:
        return text if self.connector is None else self.connector(text, layout.context)

    def _clean_keys_values(self, clean: Tensor, layout: Layout) -> list[tuple[Tensor, Tensor]]:
        table = rope_table(layout.clean.positions, self.config.rope)
        seen = mask(layout.clean, layout.clean, layout.scope)
        h, shifts, _ = self._enter(clean, clean.new_zeros(clean.shape[0]))
        pairs = []
        for block in self.blocks:
            h, pair = block(h, shifts, table, seen, None)
            pairs.append(pair)
        return pairs

    def _enter(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embedded tokens `[B, N, W]`, block modulation `[B, N or 1, 6, W]`, time features `[B, N or 1,
        W]`."""
        t = t[:, None] if t.ndim == 1 else t
        features = self.timestep(t)
        return self.embed(x), self.modulation(features).unflatten(-1, (6, -1)), features


class Block(nn.Module):
    """Attention shared with the understanding branch, then SwiGLU, both modulated by AdaLN."""

    def __init__(self, config: MotConfig, backend: Backend) -> None:
        super().__init__()
        self.width = config.width
        self.table = nn.Parameter(torch.zeros(6, config.width))
        shape = (config.width, config.heads, config.kv_heads, config.head_dim)
        self.attention = SharedAttention(*shape, backend)
        self.ffn = SwiGlu(config.width, config.ffn)
        with torch.no_grad():  # order: shift, scale, gate of attention; shift, scale, gate of the SwiGLU
            self.table[2] = self.table[5] = 0.5

    def forward(
        self, x: Tensor, shifts: Tensor, table: Table, seen: Tensor, others: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`x` `[B, N, W]`, `shifts` `[B, N or 1, 6, W]`, `seen` `[B, 1, N, L + N]`; returns x and its own
        keys, values."""
        s1, c1, g1, s2, c2, g2 = (shifts + self.table).unbind(-2)
        mixed, own = self.attention(modulate(x, s1, c1), table, seen, others)
        x = x + g1 * mixed
        return x + g2 * self.ffn(modulate(x, s2, c2)), own


class FinalLayer(nn.Module):
    """Modulated LayerNorm and a projection to latent channels that starts at zero."""

    def __init__(self, config: MotConfig) -> None:
        super().__init__()
        self.modulation = nn.Linear(config.width, 2 * config.width)
        self.project = nn.Linear(config.width, config.latent_channels)
        for layer in (self.modulation, self.project):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        shift, scale = self.modulation(features).chunk(2, dim=-1)
        return self.project(modulate(x, shift, scale))


def stack(contexts: Sequence[Context]) -> Context:
    """Several renders' contexts as one batch: padded, with padding hidden from all but padding."""
    sizes = [(c.mask.shape[2], c.mask.shape[3] - c.mask.shape[2]) for c in contexts]  # (N, L + C) of each
    noisy, others = max(n for n, _ in sizes), max(m for _, m in sizes)
    seen = torch.zeros(sum(len(c.mask) for c in contexts), 1, noisy, others + noisy, dtype=torch.bool)
    first = 0
    for context, (n, m) in zip(contexts, sizes, strict=True):
        rows = seen[first : first + len(context.mask)]
        rows[:, :, :n, :m], rows[:, :, :n, others : others + n] = context.mask[..., :m], context.mask[..., m:]
        rows[:, :, n:, others + n :] = True
        first += len(context.mask)
    pad = lambda parts, width: torch.cat([functional.pad(x, (0, 0, 0, width - x.shape[2])) for x in parts])  # noqa: E731
    pairs = []
    for layer in zip(*(context.keys_values for context in contexts), strict=True):
        pairs.append((pad([k for k, _ in layer], others), pad([v for _, v in layer], others)))
    cos, sin = (pad([c.table[i] for c in contexts], noisy) for i in (0, 1))
    return Context(pairs, seen.to(contexts[0].mask.device), (cos, sin))


def init_from_understanding(mot: Mot, model: Any) -> None:
    """Start attention from a transformers Qwen3-VL (report 3.1): q, k, v, o and their norms, layer by layer.

    The understanding branch scales its input by an RMSNorm weight that the generation branch does not have,
    so that weight is folded into q, k and v. Raises ValueError when the shapes of the two branches differ.
    """
    layers = model.model.language_model.layers
    if len(layers) != mot.config.depth:
        raise ValueError(
            f"the understanding branch has {len(layers)} layers, the generation branch {mot.config.depth}"
        )
    with torch.no_grad():
        for block, layer in zip(mot.blocks, layers, strict=True):
            ours: Any = block.attention
            if ours.q.weight.shape != layer.self_attn.q_proj.weight.shape:
                got, want = list(ours.q.weight.shape), list(layer.self_attn.q_proj.weight.shape)
                raise ValueError(
                    f"queries are {got} here and {want} in the understanding branch; make them alike"
                )
            theirs, scale = layer.self_attn, layer.input_layernorm.weight
            for name in ("q", "k", "v"):
                getattr(ours, name).weight.copy_(getattr(theirs, f"{name}_proj").weight * scale)
            ours.o.weight.copy_(theirs.o_proj.weight)
            ours.q_norm.weight.copy_(theirs.q_norm.weight)
            ours.k_norm.weight.copy_(theirs.k_norm.weight)


def _joined(first: Tokens, second: Tokens) -> Tokens:
    names = ("kind", "sample", "order", "chapter", "series", "positions")
    return replace(
        first, **{name: torch.cat([getattr(first, name), getattr(second, name)], 1) for name in names}
    )
