"""The planner's stages, in the report's order (4.1), and what each is trained on.

| stage | learns | loss |
|---|---|---|
| `vision` | the tower to name what its tokens show, without the decoder | classification a token |
| `uct` | the whole branch to understand and to plan (U-CT) | next token, averaged over tokens |
| `sft` | the same on the balanced mix (U&M-SFT) | next token, averaged over items first |
| `opd` | from specialists, on its own answers | reverse KL over the vocabulary |

Each is a config of the shared loop (`training/loop.py`). A stage starts from the averaged weights of the one
before.
"""

from dataclasses import dataclass, field, replace

from training.loop import LoopConfig
from training.understanding.architecture import NANO, PAPER, TINY, UnderstandingConfig
from training.understanding.batches import BatchConfig
from training.understanding.opd import NANO_OPD, PAPER_OPD, DistillStage
from training.understanding.rollout import RolloutConfig


@dataclass(frozen=True, kw_only=True)
class VisionStage:
    """The tower alone."""

    loop: LoopConfig
    pictures: int = 64
    """In a step."""


@dataclass(frozen=True, kw_only=True)
class TextStage:
    """The branch on conversations of a mix."""

    loop: LoopConfig
    batch: BatchConfig = field(default_factory=BatchConfig)
    mix: str = "uct"
    """One of `training.understanding.data.mixes`."""
    seen_share: float = 0.8
    """Fraction of conversations in which the planner sees its own pictures (else it runs ahead on text)."""


Stage = VisionStage | TextStage | DistillStage


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything the planner's training depends on; each stage's part goes into the manifest's lineage."""

    model: UnderstandingConfig
    tokenizer_records: int
    """Conversations that the tokenizer is trained on."""
    stages: dict[str, Stage]

    def seeded(self, seed: int) -> "Recipe":
        """The same with another seed, which decides what every stage is shown."""
        again = lambda stage: replace(stage, loop=replace(stage.loop, seed=seed))  # noqa: E731
        return replace(self, stages={name: again(stage) for name, stage in self.stages.items()})


def _loop(steps: int, lr: float, *, weight_decay: float = 0.05, **more: object) -> LoopConfig:
    return LoopConfig(steps=steps, lr=lr, weight_decay=weight_decay, clip=1.0, **more)  # type: ignore[arg-type]


NANO_RECIPE = Recipe(
    model=NANO,
    tokenizer_records=8_000,
    stages={
        "vision": VisionStage(loop=_loop(3800, 2e-3, warmup=50, decay=0.4, ema=0.99, optimizer="muon")),
        "uct": TextStage(
            loop=_loop(3700, 2e-3, warmup=60, decay=0.0, ema=0.995, optimizer="muon", save_every=100)
        ),
        "sft": TextStage(
            loop=_loop(1800, 2e-3, warmup=10, decay=1.0, ema=0.995, optimizer="muon", save_every=100),
            batch=BatchConfig(item_level=True), mix="sft",
        ),
        "opd": NANO_OPD,
    },
)  # fmt: skip


def _short(stage: Stage) -> Stage:
    """The stage in two steps, to try it out."""
    loop = replace(stage.loop, steps=2, warmup=1, save_every=2, log_every=1, precision="fp32")
    if isinstance(stage, VisionStage):
        return replace(stage, loop=loop, pictures=4)
    if isinstance(stage, DistillStage):
        teaching = replace(loop, lr=5e-3, clip=1.0)  # enough for two steps to be better than none
        return replace(
            stage, loop=loop, queries=4, rollout=RolloutConfig(most_tokens=8), teaching=teaching,
            specialists={"telling": {"T2T": 1}}, teaching_batch=BatchConfig(tokens=512, pieces=1),
            judged_tokens=512,
        )  # fmt: skip
    return replace(stage, loop=loop, batch=replace(stage.batch, tokens=512, pieces=2))


TINY_RECIPE = Recipe(
    model=TINY,
    tokenizer_records=60,
    stages={name: _short(stage) for name, stage in NANO_RECIPE.stages.items()},
)
PAPER_RECIPE = Recipe(
    model=PAPER,
    tokenizer_records=0,
    stages={
        "uct": TextStage(
            loop=_loop(46_000, 1e-5, warmup=500, decay=1.0, ema=0.0),
            batch=BatchConfig(tokens=2_170_000, pieces=1024), mix="paper-uct",
        ),
        "sft": TextStage(
            loop=_loop(10_000, 5e-6, warmup=100, decay=1.0, ema=0.9998, weight_decay=0.1),
            batch=BatchConfig(tokens=3_300_000, pieces=1600, item_level=True), mix="sft",
        ),
        "opd": PAPER_OPD,
    },
)  # fmt: skip
"""Table 3: steps, tokens and rows of a step, data ratios, weight decay, clip and averaging. Its learning
rates are not legible; these are ours. Its tower and tokenizer are a released Qwen3-VL's."""
RECIPES = {"tiny": TINY_RECIPE, "nano": NANO_RECIPE, "paper": PAPER_RECIPE}
