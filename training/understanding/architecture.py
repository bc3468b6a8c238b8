"""Sizes of the understanding branch: `tiny` (tests), `nano` (shipped), `paper` (a released Qwen3-VL)."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from wanimage import tokens


@dataclass(frozen=True, kw_only=True)
class UnderstandingConfig:
    """What varies between sizes; everything else is Qwen3-VL's."""

    hidden: int = 256
    """Width D of the decoder."""
    layers: int = 6
    heads: int = 4
    kv_heads: int = 4
    head_dim: int = 64
    feed_forward: int = 512
    """Inner width of the SwiGLU."""
    context: int = 4096
    """Most positions a sequence may have."""
    rope_theta: float = 10_000.0
    rope_sections: tuple[int, int, int] = (12, 10, 10)
    """Rotary frequencies given to time, row and column; they sum to head_dim / 2."""
    vision_hidden: int = 96
    vision_layers: int = 6
    vision_heads: int = 3
    vision_feed_forward: int = 384
    vision_positions: int = 64
    """Learned positions, a square grid that is interpolated to each picture's."""
    deepstack: tuple[int, ...] = (2,)
    """Vision layers whose features are added to the first decoder layers."""


TINY = UnderstandingConfig(
    hidden=32, layers=2, heads=2, kv_heads=2, head_dim=16, feed_forward=48, context=512,
    rope_sections=(4, 2, 2), vision_hidden=32, vision_layers=2, vision_heads=2,
    vision_feed_forward=48, vision_positions=16, deepstack=(0,),
)  # fmt: skip
NANO = UnderstandingConfig()
PAPER = UnderstandingConfig(
    hidden=4096, layers=36, heads=32, kv_heads=8, head_dim=128, feed_forward=12288, context=262144,
    rope_theta=5_000_000.0, rope_sections=(24, 20, 20), vision_hidden=1152, vision_layers=27, vision_heads=16,
    vision_feed_forward=4304, vision_positions=2304, deepstack=(8, 16, 24),
)  # fmt: skip
"""Qwen3-VL-8B, the scale the report builds on (4.1)."""


def hugging_face_config(
    config: UnderstandingConfig, vocabulary_size: int, control: dict[str, int]
) -> Qwen3VLConfig:
    """The `config.json` that transformers and vLLM read."""
    rope = {
        "rope_type": "default", "rope_theta": config.rope_theta, "mrope_interleaved": True,
        "mrope_section": list(config.rope_sections),
    }  # fmt: skip
    text = {
        "vocab_size": vocabulary_size, "hidden_size": config.hidden, "intermediate_size": config.feed_forward,
        "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads, "head_dim": config.head_dim,
        "max_position_embeddings": config.context, "rope_parameters": rope, "tie_word_embeddings": True,
        "bos_token_id": None, "eos_token_id": control[tokens.IM_END],
        "pad_token_id": control[tokens.END_OF_TEXT],
    }  # fmt: skip
    vision = {
        "depth": config.vision_layers, "hidden_size": config.vision_hidden, "num_heads": config.vision_heads,
        "intermediate_size": config.vision_feed_forward, "out_hidden_size": config.hidden, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3,
        "num_position_embeddings": config.vision_positions,
        "deepstack_visual_indexes": list(config.deepstack),
    }  # fmt: skip
    return Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True,
        image_token_id=control[tokens.IMAGE_PAD], video_token_id=control[tokens.VIDEO_PAD],
        vision_start_token_id=control[tokens.VISION_START], vision_end_token_id=control[tokens.VISION_END],
    )  # fmt: skip


def build(
    config: UnderstandingConfig, vocabulary_size: int, control: dict[str, int], seed: int = 0
) -> nn.Module:
    """A freshly initialised `Qwen3VLForConditionalGeneration` in fp32.

    Matrices start at std 1/sqrt(fan_in), those that end a residual branch smaller by sqrt(2 * layers),
    embeddings at .02: transformers' flat .02 is made for widths twenty times this one.
    """
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(hugging_face_config(config, vocabulary_size, control))
    for name, parameter in model.named_parameters():
        if "embed" in name and "patch_embed" not in name:
            nn.init.normal_(parameter, std=0.02)
        elif parameter.ndim >= 2:
            depth = config.vision_layers if "visual" in name else config.layers
            ends_branch = name.endswith(
                ("o_proj.weight", "down_proj.weight", "attn.proj.weight", "mlp.linear_fc2.weight")
            )
            scale = 1 / math.sqrt(2 * depth) if ends_branch else 1.0
            nn.init.normal_(parameter, std=scale / math.sqrt(parameter[0].numel()))
    return model


def lineage(config: UnderstandingConfig) -> dict[str, object]:
    """The config as JSON-ready numbers for the manifest."""
    return asdict(config)
