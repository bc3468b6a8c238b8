"""What one visualizer run is: model, optimiser and data, at the sizes that exist (report 4.2, table 3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.loop import LoopConfig
from training.visualizer.data import DataConfig
from wanimage.models.mot import MotConfig


@dataclass(frozen=True, kw_only=True)
class VisualizerTraining:
    """One stage of one run."""

    model: MotConfig
    loop: LoopConfig
    data: DataConfig = field(default_factory=DataConfig)
    held_out: int = 200
    """Held-out renders that are sampled and verified at the end."""

    @staticmethod
    def nano() -> VisualizerTraining:
        """The shipped size: 128 px, about two and a half hours on two cores."""
        loop = LoopConfig(steps=8000, lr=1e-3, ema=0.998, decay=0.3, save_every=250, prefetch=False)
        data = DataConfig(singles=36, series=2, references=6, easy_steps=1500)
        return VisualizerTraining(model=MotConfig.nano(), loop=loop, data=data)

    @staticmethod
    def tiny() -> VisualizerTraining:
        """For tests: two steps in a second."""
        loop = LoopConfig(steps=2, lr=1e-3, warmup=1, save_every=2, log_every=1, precision="fp32")
        data = DataConfig(singles=3, series=1, references=2)
        return VisualizerTraining(model=MotConfig.tiny(), loop=loop, data=data, held_out=2)

    @staticmethod
    def paper() -> VisualizerTraining:
        """The first stage of table 3: 713 K steps, T2I to I2I 7 to 3. Resolution is the data's."""
        loop = LoopConfig(
            steps=713_000, lr=1e-4, warmup=5000, ema=0.9999, weight_decay=0.02, clip=0.5, save_every=1000
        )
        data = DataConfig(singles=700, series=0, references=600, drop_text=0.05)
        return VisualizerTraining(model=MotConfig.paper(), loop=loop, data=data)
