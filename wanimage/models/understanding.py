"""The understanding branch: a frozen Qwen3-VL, read as per-layer keys and values (report 3.1, 4.1).

What is unusual here:
- The weights are transformers' `Qwen3VLForConditionalGeneration` and vLLM serves the same files; this module
  only runs them without a cache, in right-padded batches, which needs no attention mask at all.
- Keys are handed out *un-rotated* (after k_norm, before RoPE), because the visualizer rotates them again in
  the joint 3D frame of text and latents (report 3.1).
- `keys_values_by_hooks` is the slow, obvious version through transformers' own forward; a test demands
  equal output.

Letters: B batch, L tokens, D width, N heads, C head dim, I images, P vision patches, H and W patch grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wanimage.errors import InvalidInput
from wanimage.models.qwen3vl import KeysValues, decode
from wanimage.tokens import (
    BOI,
    END_IMAGINE,
    END_SIZE,
    IMAGE_PAD,
    IMAGINE,
    SIZE,
    VISION_END,
    VISION_START,
    Vocabulary,
)

_CHECKER_PX = 8
_CHECKER_LIGHT, _CHECKER_DARK = 255, 208


@dataclass(frozen=True)
class VisionInput:
    """One picture as the vision tower takes it."""

    patches: Tensor
    """`[H*W, 3*2*16*16]` fp32 in [-1, 1], merge-block order (transformers' `pixel_values`)."""
    height: int
    """Rows of patches, a multiple of the merge size."""
    width: int

    def tokens(self, merge: int = 2) -> int:
        """How many `<|image_pad|>` tokens stand for the picture."""
        return self.height * self.width // merge**2


def vision_view(pixels: np.ndarray) -> np.ndarray:
    """What the planner sees of a picture: uint8 `[H, W, 3]`, transparent parts as a grey checkerboard.

    `pixels` is uint8 straight RGBA `[H, W, 4]` or RGB `[H, W, 3]`. The checkerboard (8 px) keeps transparency
    visible to a tower that has three input channels; on white it would be lost.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise InvalidInput("image", f"got {pixels.dtype} {pixels.shape}", "pass uint8 [H, W, 3 or 4]")
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.uint16)
    if int(alpha.min()) == 255:
        return np.ascontiguousarray(pixels[..., :3])
    rows, columns = np.indices(pixels.shape[:2]) // _CHECKER_PX
    board = np.where((rows + columns) % 2 == 0, _CHECKER_LIGHT, _CHECKER_DARK).astype(np.uint16)[..., None]
    mixed = (pixels[..., :3].astype(np.uint16) * alpha + board * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)


def seen_size(height: int, width: int, preprocessor: dict[str, Any]) -> tuple[int, int]:
    """(height, width) in pixels to which the tower's preprocessing brings a picture."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    size, factor = preprocessor["size"], preprocessor["patch_size"] * preprocessor["merge_size"]
    found = smart_resize(
        height, width, factor, min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"]
    )
    return int(found[0]), int(found[1])


def vision_tokens(height: int, width: int, preprocessor: dict[str, Any]) -> int:
    """`<|image_pad|>` tokens of a picture of `height` x `width` pixels."""
    seen = seen_size(height, width, preprocessor)
    return seen[0] * seen[1] // (preprocessor["patch_size"] * preprocessor["merge_size"]) ** 2


def pixel_patches(rgb: np.ndarray, preprocessor: dict[str, Any]) -> VisionInput:
    """Resize, normalise and patchify like transformers' Qwen2-VL image processor (bicubic, mean = std = .5).

    `rgb` is uint8 `[H, W, 3]`; `preprocessor` is the family's `preprocessor_config.json`.
    """
    patch, merge = preprocessor["patch_size"], preprocessor["merge_size"]
    height, width = seen_size(rgb.shape[0], rgb.shape[1], preprocessor)
    if (height, width) != rgb.shape[:2]:
        rgb = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))
    x = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).float().div_(127.5).sub_(1.0)
    h, w = height // patch, width // patch
    # [3, h/m, m, p, w/m, m, p] -> [h/m, w/m, m, m, 3, p, p]; the time axis repeats the still picture
    x = x.reshape(3, h // merge, merge, patch, w // merge, merge, patch).permute(1, 4, 2, 5, 0, 3, 6)
    x = x.unsqueeze(5).expand(-1, -1, -1, -1, -1, preprocessor["temporal_patch_size"], -1, -1)
    return VisionInput(x.reshape(h * w, -1), h, w)


class Understanding(nn.Module):
    """A frozen Qwen3-VL with its vocabulary and preprocessing."""

    model: Any
    """transformers' `Qwen3VLForConditionalGeneration`."""

    def __init__(self, model: nn.Module, vocabulary: Vocabulary, preprocessor: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.vocabulary = vocabulary
        self.preprocessor = preprocessor

    @classmethod
    def load(cls, folder: Path) -> "Understanding":
        """Load `folder` (a Hugging Face model folder) in fp32, frozen, in eval mode."""
        import json

        from transformers import Qwen3VLForConditionalGeneration

        model = Qwen3VLForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float32)
        model.eval().requires_grad_(False)
        preprocessor = json.loads((Path(folder) / "preprocessor_config.json").read_text())
        return cls(model, Vocabulary.load(folder), preprocessor)

    @property
    def num_layers(self) -> int:
        """Decoder layers, the length of what `keys_values` returns."""
        return int(self.model.config.text_config.num_hidden_layers)

    def look(self, pixels: np.ndarray) -> VisionInput:
        """Prepare one picture (uint8 RGB or straight RGBA `[H, W, 3|4]`) for the vision tower."""
        return pixel_patches(vision_view(pixels), self.preprocessor)

    def condition_ids(
        self, prompt: str, grid: tuple[int, int], references: Sequence[VisionInput] = ()
    ) -> list[int]:
        """Ids the visualizer is conditioned on: references, then the picture's own markup.

        `<|vision_start|><|image_pad|>*k<|vision_end|>` per reference, then
        `<imagine>PROMPT</imagine><size>gh*gw</size><BOI>`. An empty prompt is the unconditional
        input of guidance. The prompt is text from outside.
        """
        control = self.vocabulary.control
        ids: list[int] = []
        for reference in references:
            ids += [control[VISION_START], *[control[IMAGE_PAD]] * reference.tokens(), control[VISION_END]]
        size = self.vocabulary.encode_user_text(f"{grid[0]}*{grid[1]}")
        ids += [control[IMAGINE], *self.vocabulary.encode_user_text(prompt), control[END_IMAGINE]]
        return [*ids, control[SIZE], *size, control[END_SIZE], control[BOI]]

    @torch.no_grad()
    def keys_values(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
    ) -> KeysValues:
        """Un-rotated keys and values of every layer, each `[B, N, L, C]` fp32.

        `input_ids` `[B, L]` int64; `attention_mask` `[B, L]`, ones then zeros (right padding; what
        stands at padded places means nothing). `pixel_values` `[P, 1536]` and `image_grid_thw` `[I, 3]` list
        the pictures in the order of their tokens, row by row. Raises `InvalidInput` for left padding.
        """
        _require_right_padding(attention_mask)
        found: KeysValues = []
        decode(self.model, input_ids, attention_mask, pixel_values, image_grid_thw, found)
        return found

    @torch.no_grad()
    def keys_values_by_hooks(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
    ) -> KeysValues:
        """The same as `keys_values`, through transformers' forward and hooks on `k_norm` and `v_proj`."""
        keys: dict[int, Tensor] = {}
        values: dict[int, Tensor] = {}
        handles = []
        for index, layer in enumerate(self.model.model.language_model.layers):
            keep_k = lambda _m, _i, out, index=index: keys.__setitem__(index, out)  # noqa: E731
            keep_v = lambda _m, _i, out, index=index: values.__setitem__(index, out)  # noqa: E731
            handles.append(layer.self_attn.k_norm.register_forward_hook(keep_k))
            handles.append(layer.self_attn.v_proj.register_forward_hook(keep_v))
        try:
            is_image = torch.eq(input_ids, self.model.config.image_token_id).int()
            kinds = is_image if pixel_values is not None else None
            self.model(
                input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values,
                image_grid_thw=image_grid_thw, mm_token_type_ids=kinds,
                use_cache=False,
            )  # fmt: skip
        finally:
            for handle in handles:
                handle.remove()
        head_dim = keys[0].shape[-1]
        split = lambda v: v.unflatten(-1, (-1, head_dim)).transpose(1, 2)  # noqa: E731
        return [(keys[i].transpose(1, 2), split(values[i])) for i in range(len(keys))]


def pad_batch(rows: Sequence[list[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Right-pad id lists to `input_ids`, `attention_mask`, both `[B, L]` int64."""
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.int64)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids, mask


def _require_right_padding(attention_mask: Tensor) -> None:
    if bool((attention_mask[:, 1:] > attention_mask[:, :-1]).any()):
        raise InvalidInput("attention_mask", "rows are not padded on the right", "use `pad_batch`")
