"""The stage of on-policy distillation as a config: what the report says of it, and what the nano model does.

`distil.py` prepares it, `distillation.py` holds its loss.
"""

from dataclasses import dataclass, field

from training.loop import LoopConfig
from training.understanding.batches import BatchConfig
from training.understanding.rollout import RolloutConfig

SPECIALISTS: dict[str, dict[str, float]] = {
    "seeing": {"I2T": 1},
    "drawing": {"T2I": 1, "I2I": 1},
    "telling": {"interleaved": 2, "T2T": 1},
}
"""The categories, weighted, that each specialist is taught and teaches."""


@dataclass(frozen=True, kw_only=True)
class DistillStage:
    """One of the recipe's stages."""

    loop: LoopConfig
    queries: int = 64
    """In a batch, of which `loop.accumulate` make a step."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    piece_tokens: int = 2048
    """Padded tokens of queries and answers that go through a model at once."""
    mix: str = "sft"
    """Where queries come from, one of `training.understanding.data.mixes`."""
    specialists: dict[str, dict[str, float]] = field(default_factory=lambda: SPECIALISTS)
    """Categories by specialist."""
    teaching: LoopConfig | None = None
    """How a specialist is made from the student; None where `teachers` are given."""
    teaching_batch: BatchConfig = field(default_factory=lambda: BatchConfig(item_level=True))
    judged_tokens: int = 12_000
    """Validation tokens a specialist has to be better on than the student, before it teaches."""
    teachers: dict[str, str] = field(default_factory=dict)
    """Model folders by category: teachers from elsewhere, in place of specialists."""

    def __post_init__(self) -> None:
        if (self.teaching is None) == (not self.teachers):
            raise ValueError(
                "give either `teaching`, to make specialists, or `teachers`, folders by category"
            )
        taught = [category for categories in self.specialists.values() for category in categories]
        if len(taught) != len(set(taught)):
            raise ValueError(f"a category has one teacher; the specialists teach {sorted(taught)}")


NANO_OPD = DistillStage(
    loop=LoopConfig(
        steps=60, lr=3e-4, warmup=5, decay=0.5, weight_decay=0.01, clip=0.2, ema=0.9, save_every=10,
        log_every=2,
    ),
    teaching=LoopConfig(
        steps=150, lr=5e-4, warmup=10, decay=1.0, weight_decay=0.05, clip=1.0, ema=0.98, optimizer="muon",
        save_every=50,
    ),
)  # fmt: skip
"""About twenty minutes of one core: four for each specialist, eight for the student. In a trial of 16 steps
of 32 queries the reverse KL to a specialist fell from .033 to .005."""
PAPER_OPD = DistillStage(
    loop=LoopConfig(
        steps=400, lr=1e-6, warmup=20, decay=1.0, weight_decay=0.01, clip=0.2, ema=0.0, accumulate=64
    ),
    queries=4,
    rollout=RolloutConfig(most_tokens=8192),
    piece_tokens=32_768,
    teachers={category: f"teachers/{category}" for category in ("T2T", "I2T", "T2I", "I2I", "interleaved")},
)
"""Table 3: 400 steps of 256 queries, AdamW, weight decay .01, clip .2, no averaging; 1.6 G tokens, which
is 15.6 k a query. The rate is not legible there, nor are the teachers named."""
