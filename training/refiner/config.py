"""What a refiner run is: its stages, at the sizes that exist (report 3.5, 4.4).

`flow` learns the path from an enlargement to a sharp picture, `distil` to walk it in a few steps, and
`reward` to please the verifiers (`reward.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from training.loop import LoopConfig
from training.refiner.pairs import DataConfig
from wanimage.models.refiner import RefinerConfig


@dataclass(frozen=True, kw_only=True)
class RefinerTraining:
    """One stage of one run."""

    name: str
    """Of its folder under `--out`, and what it does: `flow`, `distil` or `reward`."""
    model: RefinerConfig
    loop: LoopConfig
    data: DataConfig = field(default_factory=DataConfig)
    pictures: int = 16
    """Pictures of a batch."""
    crops: int = 1
    """Crops of each."""


def nano() -> tuple[RefinerTraining, ...]:
    """The shipped size, about two hours on two cores."""
    model = RefinerConfig.nano()
    loop = lambda steps, lr, **more: LoopConfig(  # noqa: E731
        steps=steps, lr=lr, optimizer="muon", prefetch=False, **({"ema": 0.998, "save_every": 100} | more)
    )
    return (
        RefinerTraining(name="flow", model=model, loop=loop(1500, 1.5e-3, decay=0.5)),
        RefinerTraining(name="distil", model=model, loop=loop(120, 4e-4, warmup=10, decay=1.0, ema=0.98)),
        RefinerTraining(name="reward", model=model, loop=loop(50, 1e-4, warmup=5, decay=1.0, ema=0.95)),
    )


def tiny() -> tuple[RefinerTraining, ...]:
    """For tests: two steps a stage."""
    loop = LoopConfig(steps=2, lr=1e-3, warmup=1, save_every=2, log_every=1, precision="fp32", prefetch=False)
    data = DataConfig(
        pool=2, crops=2, crop=8, sources={"palette": 1.0}, cells=(16,), larger=0, edges=(256,), square=1.0
    )
    return tuple(
        RefinerTraining(name=name, model=RefinerConfig.tiny(), loop=loop, data=data, pictures=2, crops=2)
        for name in ("flow", "distil", "reward")
    )


def paper() -> tuple[RefinerTraining, ...]:
    """Full size; the report says what is trained and not for how long."""
    loop = lambda steps, lr: LoopConfig(  # noqa: E731
        steps=steps, lr=lr, warmup=5000, ema=0.9999, weight_decay=0.02, clip=0.5, save_every=1000
    )
    model, data = RefinerConfig.paper(), DataConfig(pool=10_000_000, crop=64, edges=(4096,))
    return (
        RefinerTraining(name="flow", model=model, loop=loop(200_000, 1e-4), data=data, pictures=256),
        RefinerTraining(name="distil", model=model, loop=loop(20_000, 2e-5), data=data, pictures=256),
        RefinerTraining(name="reward", model=model, loop=loop(2_000, 1e-6), data=data, pictures=256),
    )


SIZES = {"nano": nano, "tiny": tiny, "paper": paper}
