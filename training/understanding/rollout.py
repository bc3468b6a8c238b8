"""The student's own answers: fast batched sampling from the torch model, for on-policy distillation.

What is unusual here:
- A row's cache column is not its position. Prompts are padded on the right and stand in the first columns;
  what a row writes at step t stands in column `prompts + t` of every row, so that all rows write one slice,
  and the gap between is masked. Rotation uses each row's own position.
- Keys are cached transposed: a product of one query with them is then twice as fast on the CPU.
- Norm weights are folded into the matrices that follow; q, k and v are one product, gate and up another.
- Rows that have finished leave the batch when a quarter of it has.
- Pictures stand in the prompt only: answers are written as with `feedback=text`. The student's own pictures
  are not drawn at this point of training, and the dialogue's would show it what it did not ask for.

`decode` of `wanimage/models/qwen3vl.py` is the slow version; a test demands equal logits.

Letters: B rows, L tokens, D width, N heads, K heads of keys and values, G = N/K, C head dim, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wanimage import tokens
from wanimage.models.qwen3vl import KeysValues, decode, mrope_positions, rotate, text_rotation
from wanimage.models.understanding import VisionInput, pad_batch

NEVER_WRITTEN = (
    tokens.END_OF_TEXT, tokens.IM_START, tokens.VISION_START, tokens.VISION_END, tokens.IMAGE_PAD,
    tokens.VIDEO_PAD,
)  # fmt: skip
"""Tokens that only the service places; a student that has not learnt that yet may not sample them."""
_MASKED = -1e4
_ROOM = 64  # columns
_DROP_AT = 0.75  # share of rows still writing at which the others are dropped: a drop copies the cache


@dataclass(frozen=True)
class Prompt:
    """A context that ends where the assistant begins to write."""

    ids: list[int]
    pictures: tuple[VisionInput, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How answers are sampled."""

    most_tokens: int = 320
    """Longest answer; a longer one is cut, and what it has is learnt from."""
    temperature: float = 1.0
    """1 samples the student's own distribution: the loss is on-policy. 0 takes the likeliest token."""
    rows: int = 64
    """Most answers written at once. More are slower: their caches outgrow what the allocator keeps."""


def roll_out(
    model: Any,
    prompts: Sequence[Prompt],
    control: dict[str, int],
    config: RolloutConfig,
    generator: torch.Generator,
) -> list[list[int]]:
    """An answer a prompt, up to and with `<|im_end|>` (without it where the answer was cut).

    Equal generators give equal answers, however rows finish and leave: a row's random numbers are its own.
    """
    uniforms = torch.rand(len(prompts), config.most_tokens, generator=generator)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].ids))
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), config.rows):
        chosen = order[start : start + config.rows]
        written = _write(model, [prompts[i] for i in chosen], control, config, uniforms[chosen])
        for index, ids in zip(chosen, written, strict=True):
            answers[index] = ids
    return answers


@torch.inference_mode()
def _write(
    model: Any, prompts: Sequence[Prompt], control: dict[str, int], config: RolloutConfig, uniforms: Tensor
) -> list[list[int]]:
    stop, never = control[tokens.IM_END], [control[name] for name in NEVER_WRITTEN]
    decoder = CachedDecoder(model, prompts)
    logits = decoder.logits
    written = torch.full((len(prompts), config.most_tokens), stop)
    rows = torch.arange(len(prompts))  # which prompt each row of the batch is
    alive = torch.ones(len(prompts), dtype=torch.bool)
    for step in range(config.most_tokens):
        logits[:, never] = -torch.inf
        chosen = draw(logits, config.temperature, uniforms[rows, step])
        written[rows[alive], step] = chosen[alive]
        alive &= chosen != stop
        left = int(alive.sum())
        if left == 0 or step + 1 == config.most_tokens:
            break
        if left <= _DROP_AT * len(alive):
            decoder.keep(alive)
            rows, chosen = rows[alive], chosen[alive]
            alive = torch.ones(left, dtype=torch.bool)
        logits = decoder.step(chosen)
    return [_until(ids, stop) for ids in written.tolist()]


def draw(logits: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
    """A token a row `[B]` of `logits` `[B, V]`, where cumulated probabilities pass `uniforms` `[B]`."""
    if temperature == 0:
        return logits.argmax(-1)
    mass = (logits.float() / temperature).softmax(-1).cumsum(-1)
    # Against its own last value: fp32 sums end a little beside 1. `right` never picks a token without mass.
    return torch.searchsorted(mass, uniforms[:, None] * mass[:, -1:] * (1 - 1e-6), right=True).squeeze(1)


class CachedDecoder:
    """Some prompts' keys and values, and one more token a row at a time.

    `logits` `[B, V]` are the prompts' own: of the first token to write. bf16 under autocast, else fp32.
    """

    def __init__(self, model: Any, prompts: Sequence[Prompt]) -> None:
        text = model.model.language_model
        self.dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        self.layers = [_Layer(layer, self.dtype) for layer in text.layers]
        self.embedding = text.embed_tokens.weight
        self.head = (model.lm_head.weight * text.norm.weight).to(self.dtype)
        self.epsilon = text.norm.variance_epsilon
        self.frequencies = text.rotary_emb.inv_freq.float()
        ids, mask = pad_batch([prompt.ids for prompt in prompts])
        self.columns = ids.shape[1]
        hidden, positions = self._prefill(model, prompts, ids, mask)
        self.position = positions
        """`[B]` of the next token."""
        gap = (mask[:, None, None] == 0).to(self.dtype) * _MASKED
        self.bias = gap.repeat(1, self.layers[0].kv_heads, 1, 1)  # [B, K, 1, columns]
        self._lay_out(torch.arange(len(prompts)))
        self.logits = F.linear(hidden.to(self.dtype), model.lm_head.weight.to(self.dtype)).float()

    def _prefill(
        self, model: Any, prompts: Sequence[Prompt], ids: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fill the cache with the prompts; (last hidden states `[B, D]`, next positions `[B]`)."""
        pictures = [picture for prompt in prompts for picture in prompt.pictures]
        patches = torch.cat([p.patches for p in pictures]) if pictures else None
        grids = torch.tensor([[1, p.height, p.width] for p in pictures]) if pictures else None
        found: KeysValues = []
        hidden = decode(model, ids, mask, patches, grids, found)
        sizes = [(p.height, p.width) for p in pictures]
        image, merge = model.config.image_token_id, model.config.vision_config.spatial_merge_size
        # One column more, so that the longest prompt has a next position too.
        wide, wide_mask = F.pad(ids, (0, 1)).numpy(), F.pad(mask, (0, 1)).numpy()
        positions = torch.from_numpy(mrope_positions(wide, wide_mask, sizes, image, merge))
        cos, sin = text_rotation(model.model.language_model, positions[..., :-1])
        for layer, (keys, values) in zip(self.layers, found, strict=True):
            layer.keys = rotate(keys, cos, sin).to(self.dtype).transpose(2, 3)
            layer.values = values.to(self.dtype)
        lengths, rows = mask.sum(1), torch.arange(len(ids))
        return hidden[rows, lengths - 1], positions[0][rows, lengths]

    def step(self, chosen: Tensor) -> Tensor:
        """Logits `[B, V]` fp32 after one more token a row, `chosen` `[B]`."""
        x = F.embedding(chosen, self.embedding)  # [B, D], fp32 as under autocast
        angles = self.position[:, None].float() * self.frequencies
        cos, sin = (t.to(self.dtype)[:, None] for t in (angles.cos(), angles.sin()))  # [B, 1, C/2]
        if self.columns == self.bias.shape[-1]:
            self._lay_out(torch.arange(len(x)))
        stop = self.columns + 1
        with torch.autocast("cpu", enabled=False):  # it would cast the cache anew at every token
            for layer in self.layers:
                x = layer.forward(x, cos, sin, self.bias[..., :stop], self.columns)
            normed = F.rms_norm(x, x.shape[-1:], eps=self.epsilon).to(self.dtype)
            logits = F.linear(normed, self.head).float()
        self.columns, self.position = stop, self.position + 1
        return logits

    def keep(self, alive: Tensor) -> None:
        """Drop the rows where `alive` `[B]` is false."""
        self.position = self.position[alive]
        self._lay_out(alive.nonzero().squeeze(1))

    def _lay_out(self, rows: Tensor) -> None:
        """Copy the cache of `rows`, with room for `_ROOM` more columns: what is read lies close together."""
        for layer in self.layers:
            layer.keys = F.pad(layer.keys[..., : self.columns].index_select(0, rows), (0, _ROOM))
            values = layer.values[:, :, : self.columns].index_select(0, rows)
            layer.values = F.pad(values, (0, 0, 0, _ROOM))
        self.bias = F.pad(self.bias[..., : self.columns].index_select(0, rows), (0, _ROOM))


class _Layer:
    """One decoder layer's folded weights and its cache."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        attn, mlp = layer.self_attn, layer.mlp
        before, between = layer.input_layernorm, layer.post_attention_layernorm
        projections = (attn.q_proj.weight, attn.k_proj.weight, attn.v_proj.weight)
        self.qkv = (torch.cat(projections) * before.weight).to(dtype)
        self.out = attn.o_proj.weight.to(dtype)
        self.gate_up = (torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)) * between.weight).to(dtype)
        self.down = mlp.down_proj.weight.to(dtype)
        self.head_dim, self.epsilon = attn.head_dim, before.variance_epsilon
        self.kv_heads = len(attn.k_proj.weight) // self.head_dim
        self.heads = len(attn.q_proj.weight) // self.head_dim
        scaled = attn.q_norm.weight * self.head_dim**-0.5
        both = (scaled.expand(self.heads, -1), attn.k_norm.weight.expand(self.kv_heads, -1))
        self.qk_weight = torch.cat(both).to(dtype)  # [N+K, C]
        self.keys = self.values = torch.empty(0)  # [B, K, C, columns], [B, K, columns, C]

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, column: int) -> Tensor:
        """`x` `[B, D]` through the layer; its keys and values go to `column`, `bias` covers all up to it."""
        normed = F.rms_norm(x, x.shape[-1:], eps=self.epsilon).to(self.qkv.dtype)
        mixed = F.linear(normed, self.qkv).unflatten(1, (-1, self.head_dim))  # [B, N+2K, C]
        both = self.heads + self.kv_heads
        qk = F.rms_norm(mixed[:, :both], (self.head_dim,), eps=self.epsilon) * self.qk_weight
        qk = rotate(qk, cos, sin)
        self.keys[..., column], self.values[:, :, column] = qk[:, self.heads :], mixed[:, both:]
        q = qk[:, : self.heads].reshape(len(x) * self.kv_heads, -1, self.head_dim)  # [B*K, G, C]
        keys, values = self.keys[..., : column + 1], self.values[:, :, : column + 1]
        scores = torch.baddbmm(bias.flatten(0, 1), q, keys.flatten(0, 1))
        seen = torch.bmm(scores.softmax(-1), values.flatten(0, 1)).view(len(x), -1)
        x = x + F.linear(seen, self.out)
        normed = F.rms_norm(x, x.shape[-1:], eps=self.epsilon).to(self.gate_up.dtype)
        gate, up = F.linear(normed, self.gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.down)


def _until(ids: list[int], stop: int) -> list[int]:
    """The ids up to and with the first `stop`."""
    return ids[: ids.index(stop) + 1] if stop in ids else ids
