"""The refiner's transformer: from the latent of an enlarged picture to that of a sharp one (report 3.5).

Unusual here:
- The small picture is enlarged in pixels and encoded again; that latent (`low`) is a condition, concatenated
  to the noisy one channel by channel, and also where the path begins. At level `start` the state is
  `(1 - start) * low + start * noise`, from there a straight line leads to the clean latent (`state_at`). So a
  small `start` keeps what is there, and a large one leaves more to the prompt.
- The model answers with the clean latent, as a correction of `low` that begins at zero: an untrained refiner
  is bicubic enlargement.
- Attention is windowed: the cells of a window see their window and a halo of `halo` cells around it. Windows
  overlap by their halos, so no cell lies at a border, and cost is linear in pixels.
- Beside attention, neighbouring cells mix within the SwiGLU, by a depthwise convolution that begins at zero
  (as in SANA, Xie et al. 2024): edges run through cells, and to learn that from attention alone is slow.
- Beside their surroundings cells see the prompt: keys and values of the family's frozen understanding branch,
  un-rotated, as the visualizer takes them (`rope.py`).

Letters: B tiles, h w cells of a tile, W width, H heads, D head dimension, L prompt tokens, Z latent channels,
n windows, q and k cells of a window without and with its halo.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from wanimage.models.attention import Backend, attend
from wanimage.models.blocks import HeadNorm, SwiGlu, Table, TimestepEmbedding, modulate
from wanimage.models.rope import RopeConfig, rope_table, rotate

PLACE_WAVES = 4
"""Octaves of sinusoids that tell a cell where in the whole picture it lies."""
MAX_SCALE = 64.0
"""Enlargement that the scale's embedding takes as 1."""


@dataclass(frozen=True, kw_only=True)
class RefinerConfig:
    """Shape of the refiner. Heads and head dimension are those of the understanding branch."""

    depth: int
    """Blocks; block i reads the prompt from the i-th of the understanding branch's last `depth` layers."""
    width: int
    heads: int
    ffn: int
    """Hidden width of the SwiGLU."""
    latent_channels: int = 48
    window: int = 8
    """Cells a side of a window."""
    halo: int = 4
    """Cells around its window that a cell sees, too."""
    rope: RopeConfig = field(default_factory=RopeConfig)

    def __post_init__(self) -> None:
        if not 0 < self.halo <= self.window:
            raise ValueError(f"halo is {self.halo}, the limits are 1 and the window's {self.window}")

    @staticmethod
    def nano() -> RefinerConfig:
        """The shipped size, 4.0 M parameters."""
        return RefinerConfig(depth=4, width=256, heads=4, ffn=640)

    @staticmethod
    def tiny() -> RefinerConfig:
        """For tests: milliseconds a step, beside the tiny understanding branch."""
        return RefinerConfig(
            depth=2, width=32, heads=2, ffn=48, window=4, halo=1, rope=RopeConfig(axes=(4, 6, 6))
        )

    @staticmethod
    def paper() -> RefinerConfig:
        """Beside Qwen3-VL-8B's heads; the report gives no sizes, the depth is that of a two-billion DiT."""
        rope = RopeConfig(axes=(32, 48, 48), theta=(1_000_000.0, 10_000.0, 10_000.0))
        return RefinerConfig(depth=28, width=2048, heads=16, ffn=5504, window=16, halo=8, rope=rope)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `refiner.json`."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> RefinerConfig:
        """Inverse of `to_json`; unknown or missing names raise TypeError."""
        rope: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["rope"].items()}
        return RefinerConfig(**{**values, "rope": RopeConfig(**rope)})


@dataclass(frozen=True)
class Prompt:
    """What the understanding branch made of the prompts of a batch, ready to be attended to."""

    pairs: Sequence[tuple[Tensor, Tensor]]
    """Per block, rotated keys and values `[B, H, L, D]`."""
    seen: Tensor
    """Real tokens `[B, L]`, bool."""

    def rows(self, index: Tensor) -> Prompt:
        """The prompts of other rows, such as one for each tile."""
        return Prompt([(k[index], v[index]) for k, v in self.pairs], self.seen[index])

    @staticmethod
    def stack(prompts: Sequence[Prompt]) -> Prompt:
        """The rows of several as one batch, padded on the right to the longest."""
        if len(prompts) == 1:
            return prompts[0]
        length = max(prompt.seen.shape[1] for prompt in prompts)
        pads = [length - prompt.seen.shape[1] for prompt in prompts]
        pairs = [
            tuple(
                torch.cat([functional.pad(x, (0, 0, 0, pad)) for x, pad in zip(same, pads, strict=True)])
                for same in zip(*block, strict=True)
            )
            for block in zip(*(prompt.pairs for prompt in prompts), strict=True)
        ]
        seen = [functional.pad(each.seen, (0, pad)) for each, pad in zip(prompts, pads, strict=True)]
        return Prompt([(k, v) for k, v in pairs], torch.cat(seen))


@dataclass(frozen=True)
class Place:
    """Where tiles lie in their pictures; every field `[B]`, float32."""

    top: Tensor
    """First row of cells."""
    left: Tensor
    rows: Tensor
    """Rows of cells of the whole picture."""
    columns: Tensor
    scale: Tensor
    """How many times larger a side is than in the picture that is refined."""


class Refiner(nn.Module):
    """Clean latents of sharp pictures, from noisy ones and from those of enlarged pictures."""

    def __init__(self, config: RefinerConfig, backend: Backend = Backend.MATMUL) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv2d(2 * config.latent_channels, config.width, 3, padding=1)
        self.place = nn.Linear(4 * PLACE_WAVES, config.width)
        self.timestep = TimestepEmbedding(config.width)
        self.levels = nn.Linear(3 * config.width, config.width)
        self.modulation = nn.Linear(config.width, 6 * config.width)
        self.blocks = nn.ModuleList(Block(config, backend) for _ in range(config.depth))
        self.final = nn.Linear(config.width, 2 * config.width)
        self.project = nn.Linear(config.width, config.latent_channels)
        for layer in (self.place, self.modulation, self.final, self.project):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @staticmethod
    def load(folder: Path) -> Refiner:
        """Read `refiner.json` and `refiner.safetensors` of a family, strictly, into float32."""
        config = json.loads((folder / "refiner.json").read_text())["config"]
        refiner = Refiner(RefinerConfig.from_json(config))
        tensors = load_file(folder / "refiner.safetensors")
        refiner.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)
        return refiner.eval().requires_grad_(False)

    def read(self, text: Sequence[tuple[Tensor, Tensor]], seen: Tensor) -> Prompt:
        """Rotate the un-rotated keys of all understanding layers `[B, H, L, D]`; `seen` `[B, L]` are real
        tokens. Made once a picture, used by all its tiles and steps."""
        assert len(text) >= self.config.depth, (len(text), self.config.depth)
        # The picture stands at t = 0, and the prompt ends `offset` before it.
        ends = seen.sum(1, keepdim=True) + self.config.rope.offset
        t = torch.arange(seen.shape[1], device=seen.device) - ends
        table = rope_table(functional.pad(t.float().unsqueeze(-1), (0, 2)), self.config.rope)
        return Prompt([(rotate(k, table), v) for k, v in text[-self.config.depth :]], seen)

    def clean(
        self, x: Tensor, low: Tensor, level: Tensor, start: Tensor, place: Place, prompt: Prompt
    ) -> Tensor:
        """The clean latents `[B, Z, h, w]` that `x` at noise `level` `[B]` leads to, float32.

        `x` and `low` `[B, Z, h, w]`; `start` `[B]` is the level at which the path of `x` began.
        """
        size = (x.shape[2], x.shape[3])
        table, waves = _positions(place, size, self.config.rope)
        levels = torch.stack([level, start, place.scale.log() / torch.tensor(MAX_SCALE).log()], 1)
        features = functional.silu(self.levels(self.timestep(levels).flatten(1)))[:, None, None]
        shifts = self.modulation(features).unflatten(-1, (6, -1))  # [B, 1, 1, 6, W]
        h = self.embed(torch.cat([x, low], 1)).permute(0, 2, 3, 1) + self.place(waves)  # [B, h, w, W]
        for block, pair in zip(self.blocks, prompt.pairs, strict=True):
            h = block(h, shifts, table, pair, prompt.seen)
        shift, scale = self.final(features).chunk(2, dim=-1)
        return low + self.project(modulate(h, shift, scale)).permute(0, 3, 1, 2).float()

    def flops(self, rows: int, columns: int, tokens: int) -> int:
        """Floating-point operations of one evaluation of a tile with a prompt of so many tokens."""
        c = self.config
        cell = 2 * c.depth * (4 * c.width**2 + 3 * c.width * c.ffn + 9 * c.ffn)
        seen = (c.window + 2 * c.halo) ** 2 + tokens
        ends = 2 * c.width * c.latent_channels * (2 * 9 + 1)
        return rows * columns * (cell + ends + 4 * c.depth * c.width * seen)


class Block(nn.Module):
    """Windowed attention over surroundings and prompt, then SwiGLU, both modulated by AdaLN."""

    def __init__(self, config: RefinerConfig, backend: Backend) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(6, config.width))
        self.attention = WindowAttention(config, backend)
        self.ffn = LocalSwiGlu(config.width, config.ffn)
        with torch.no_grad():  # order: shift, scale, gate of attention; shift, scale, gate of the SwiGLU
            self.table[2] = self.table[5] = 0.5

    def forward(
        self, x: Tensor, shifts: Tensor, table: Table, text: tuple[Tensor, Tensor], seen: Tensor
    ) -> Tensor:
        """`x` `[B, h, w, W]`, `shifts` `[B, 1, 1, 6, W]`; the same shape as `x`."""
        s1, c1, g1, s2, c2, g2 = (shifts + self.table).unbind(-2)
        x = x + g1 * self.attention(modulate(x, s1, c1), table, text, seen)
        return x + g2 * self.ffn(modulate(x, s2, c2))


class LocalSwiGlu(SwiGlu):
    """SwiGLU whose hidden features are those of a cell and, by a convolution, of the eight around it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden)
        self.near = skip_init(nn.Conv2d, hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        nn.init.zeros_(self.near.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, h, w, W]` to the same."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        hidden = functional.silu(gate) * up
        near = self.near(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.down(hidden + near)


class WindowAttention(nn.Module):
    """Cells attend to their window and its halo, and, in a softmax of its own, to the prompt."""

    def __init__(self, config: RefinerConfig, backend: Backend) -> None:
        super().__init__()
        self.heads, self.window, self.halo, self.backend = config.heads, config.window, config.halo, backend
        dim = config.rope.head_dim
        self.qkv = nn.Linear(config.width, 3 * config.heads * dim, bias=False)
        self.o = nn.Linear(config.heads * dim, config.width, bias=False)
        self.q_norm, self.k_norm = HeadNorm(dim), HeadNorm(dim)

    def forward(self, x: Tensor, table: Table, text: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """`x` `[B, h, w, W]`, `table` over its `h * w` cells, `text` `[B, H, L, D]`, `seen` `[B, L]`."""
        size = (x.shape[1], x.shape[2])
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = rotate(self.q_norm(q), table).to(v.dtype)  # [B, H, h * w, D]
        k = rotate(self.k_norm(k), table).to(v.dtype)
        prompt_k, prompt_v = (each.to(v.dtype) for each in text)
        told = attend(q, prompt_k, prompt_v, seen[:, None, None], self.backend)
        # [B * H, h', w', D], whole windows of it
        q, k, v = (self._padded(each.unflatten(2, size).flatten(0, 1)) for each in (q, k, v))
        windows = (q.shape[1] // self.window, q.shape[2] // self.window)
        q = _cut(q, self.window)  # [B * H, n, q, D]
        k, v = (_cut_with_halo(each, self.window, self.halo) for each in (k, v))  # [B * H, n, k, D]
        near = attend(q, k, v, None, self.backend)
        near = near.unflatten(1, windows).unflatten(3, (self.window, self.window))  # [B * H, nh, nw, m, m, D]
        near = near.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, : size[0], : size[1]]  # [B * H, h, w, D]
        mixed = told.unflatten(2, size) + near.unflatten(0, (len(x), self.heads))  # [B, H, h, w, D]
        return self.o(mixed.permute(0, 2, 3, 1, 4).flatten(3))

    def _padded(self, x: Tensor) -> Tensor:
        """`[*, h, w, D]` with zeros up to whole windows: keys and values of zero are what lies outside."""
        rows, columns = (-side % self.window for side in x.shape[1:3])
        return functional.pad(x, (0, 0, 0, columns, 0, rows)) if rows or columns else x


def _cut(x: Tensor, window: int) -> Tensor:
    """`[*, h, w, D]` -> `[*, n, window^2, D]`."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # [*, nh, m, nw, m, D]
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _cut_with_halo(x: Tensor, window: int, halo: int) -> Tensor:
    """`[*, h, w, D]` -> `[*, n, (window + 2 halo)^2, D]`; zeros beyond the edges."""
    for axis in (1, 3):  # after the first pass rows are [*, nh, m + 2 halo, w, D]
        own = x.unflatten(axis, (-1, window))
        count = own.shape[axis]
        before = own.narrow(axis, 0, count - 1).narrow(axis + 1, window - halo, halo)
        after = own.narrow(axis, 1, count - 1).narrow(axis + 1, 0, halo)
        nothing = torch.zeros_like(own.narrow(axis, 0, 1).narrow(axis + 1, 0, halo))
        around = [torch.cat([nothing, before], axis), own, torch.cat([after, nothing], axis)]
        x = torch.cat(around, axis + 1)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # of [*, nh, k, nw, k, D]


def state_at(clean: Tensor, low: Tensor, noise: Tensor, level: Tensor, start: Tensor) -> Tensor:
    """The state at noise `level` `[B]` of the path that began at `start` `[B]`; tensors `[B, Z, h, w]`.

    At `start` it is `(1 - start) * low + start * noise`, at 0 it is `clean`, and it holds `level * noise`
    throughout.
    """
    level, start = (each.view(-1, 1, 1, 1) for each in (level, start))
    share = level / start
    return (1 - share) * clean + share * (1 - start) * low + level * noise


def step(x: Tensor, clean: Tensor, level: Tensor, following: Tensor) -> Tensor:
    """Move `x` `[B, Z, h, w]` along the straight line to `clean`, from noise `level` `[B]` to `following`."""
    return clean + (following / level).view(-1, 1, 1, 1) * (x - clean)


def _positions(place: Place, size: tuple[int, int], rope: RopeConfig) -> tuple[Table, Tensor]:
    """Rotations of the cells `[B, 1, h * w, D/2]`, and sinusoids of where in its picture each lies `[B, h, w,
    4 * PLACE_WAVES]`."""
    device = place.top.device
    row = place.top[:, None] + torch.arange(size[0], device=device) + 0.5  # [B, h]
    column = place.left[:, None] + torch.arange(size[1], device=device) + 0.5
    grid = torch.stack(
        torch.broadcast_tensors(
            (row - place.rows[:, None] / 2)[:, :, None], (column - place.columns[:, None] / 2)[:, None, :]
        ),
        -1,
    )
    table = rope_table(functional.pad(grid.flatten(1, 2), (1, 0)), rope)
    octaves = torch.pi * 2.0 ** torch.arange(PLACE_WAVES, device=device)
    share = torch.stack(
        torch.broadcast_tensors(
            (row / place.rows[:, None])[:, :, None], (column / place.columns[:, None])[:, None, :]
        ),
        -1,
    )
    angles = (share.unsqueeze(-1) * octaves).flatten(3)
    return table, torch.cat([angles.sin(), angles.cos()], -1)
