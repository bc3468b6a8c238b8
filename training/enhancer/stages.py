"""The enhancer's stages: SFT of an adapter on the planner, then GRPO on the samples of what SFT made.

The nano model is one adapter for both variants. At paper scale the fast variant is a 2B model and the
reasoning one a 30B-A3B (section 3.4); their learning rates are not given there, these are ours.
"""

from dataclasses import dataclass, field, replace

from training.enhancer.adapter import AdapterConfig
from training.loop import LoopConfig
from training.understanding.architecture import UnderstandingConfig
from training.understanding.batches import BatchConfig


@dataclass(frozen=True, kw_only=True)
class SftStage:
    """Supervised, on rows of `training.enhancer.data`."""

    loop: LoopConfig
    batch: BatchConfig = field(default_factory=BatchConfig)
    quality_share: float = 0.45
    """Rows that keep their reasoning; the others learn the result alone."""


@dataclass(frozen=True, kw_only=True)
class GrpoStage:
    """Group-relative policy optimisation; `beta` is 0, so no reference model is kept."""

    loop: LoopConfig
    prompts: int = 8
    """In a step."""
    group: int = 8
    """Answers sampled to each prompt."""
    epsilon: float = 0.2
    """How far the ratio to the sampling policy counts."""
    most_tokens: int = 256
    temperature: float = 1.0
    quality_share: float = 0.25


Stage = SftStage | GrpoStage


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that the adapter depends on beside its base."""

    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    stages: dict[str, Stage]


def _loop(steps: int, lr: float, **more: object) -> LoopConfig:
    return LoopConfig(steps=steps, lr=lr, weight_decay=0.0, clip=1.0, **more)  # type: ignore[arg-type]


NANO = Recipe(
    stages={
        "sft": SftStage(
            loop=_loop(900, 4e-3, warmup=20, decay=0.5, ema=0.98, save_every=50, log_every=10),
        ),
        "again": SftStage(
            loop=_loop(300, 3e-3, warmup=10, decay=1.0, ema=0.98, save_every=50, log_every=10, seed=1),
        ),
        "grpo": GrpoStage(
            loop=_loop(100, 3e-4, warmup=5, decay=0.6, ema=0.9, save_every=20, log_every=5), prompts=24,
        ),
    }
)  # fmt: skip
"""`again` goes on from the shipped adapter on a planner that was trained further: ten minutes of a core."""
TINY = Recipe(
    adapter=AdapterConfig(rank=2, alpha=4),
    stages={
        "sft": SftStage(
            loop=_loop(2, 4e-3, warmup=1, save_every=2, log_every=1, precision="fp32"),
            batch=BatchConfig(tokens=512, pieces=1),
        ),
        "grpo": GrpoStage(
            loop=_loop(2, 4e-4, warmup=1, save_every=2, log_every=1, precision="fp32"),
            prompts=2, group=2, most_tokens=24,
        ),
    },
)  # fmt: skip
QWEN3_VL_2B = UnderstandingConfig(
    hidden=2048, layers=28, heads=16, kv_heads=8, head_dim=128, feed_forward=6144, context=262144,
    rope_theta=5_000_000.0, rope_sections=(24, 20, 20), vision_hidden=1024, vision_layers=24, vision_heads=16,
    vision_feed_forward=4096, vision_positions=2304, deepstack=(5, 11, 17),
)  # fmt: skip
"""The fast variant's size."""
PAPER_FAST = Recipe(
    adapter=AdapterConfig(rank=64, alpha=128),
    stages={
        "sft": SftStage(
            loop=replace(_loop(4000, 1e-4, warmup=100, decay=1.0, ema=0.0), accumulate=16),
            batch=BatchConfig(tokens=131_072, pieces=32), quality_share=0.0,
        ),
        "grpo": GrpoStage(
            loop=_loop(500, 1e-5, warmup=10, decay=1.0, ema=0.0), prompts=64, most_tokens=600,
            quality_share=0.0,
        ),
    },
)  # fmt: skip
PAPER_QUALITY = replace(
    PAPER_FAST,
    stages={
        "sft": replace(PAPER_FAST.stages["sft"], quality_share=1.0),
        "grpo": replace(PAPER_FAST.stages["grpo"], quality_share=1.0, most_tokens=2000),
    },
)
"""Reasons in 1,500 to 2,000 tokens, on a mixture of experts (30B, 3B of them active) from elsewhere."""
RECIPES = {"tiny": TINY, "nano": NANO, "paper-fast": PAPER_FAST, "paper-quality": PAPER_QUALITY}
