"""What a run of the keeper is: rounds of watching edits being painted, each with what is learned from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.keeper.watching import WatchConfig
from training.loop import LoopConfig
from wanimage.models.keeper import KeeperConfig


@dataclass(frozen=True, kw_only=True)
class KeeperTraining:
    """One round."""

    name: str
    """Of its folder under `--out`, and for `--stage`."""
    loop: LoopConfig
    watch: WatchConfig
    model: KeeperConfig = field(default_factory=KeeperConfig)


def nano() -> tuple[KeeperTraining, ...]:
    """The shipped size: 1,600 edits, half an hour of one core."""
    loop = LoopConfig(
        steps=2500, lr=3e-3, ema=0.99, precision="fp32", prefetch=False, save_every=2500, log_every=250
    )
    return (
        KeeperTraining(name="truth", loop=loop, watch=WatchConfig(edits=800, seed=1)),
        KeeperTraining(name="own", loop=loop, watch=WatchConfig(edits=800, seed=2, own=True)),
    )


def tiny() -> tuple[KeeperTraining, ...]:
    """For tests: a few edits and steps a round."""
    loop = LoopConfig(steps=4, lr=1e-3, warmup=1, precision="fp32", prefetch=False, save_every=4, log_every=2)
    model = KeeperConfig(width=8, depth=1)
    return (
        KeeperTraining(name="truth", loop=loop, watch=WatchConfig(edits=2, steps=2, seed=1), model=model),
        KeeperTraining(
            name="own", loop=loop, watch=WatchConfig(edits=2, steps=2, seed=2, own=True), model=model
        ),
    )


SIZES = {"nano": nano, "tiny": tiny}
