"""What a visualizer run is: stages of model, optimiser and data, at the sizes that exist (report 4.2).

Pre-training learns to draw from words, and after pictures, on the base grid; continual pre-training adds
finer and longer grids and series, and then the whole catalogue; fine-tuning takes what the VAE itself shows
well, at a lower rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from training.loop import LoopConfig
from training.visualizer.data import DataConfig, Turn
from training.visualizer.tasks import Shares
from wanimage.models.mot import MotConfig


@dataclass(frozen=True, kw_only=True)
class VisualizerTraining:
    """One stage of one run."""

    name: str
    """Of its folder under `--out`, and for `--stage`."""
    model: MotConfig
    loop: LoopConfig
    data: DataConfig = field(default_factory=DataConfig)
    naming: float = 0.1
    """What a nat of the cells' nouns costs beside the flow-matching loss (`naming.py`); 0 does not ask."""


_BREADTH = Shares(
    kinds={
        "core": 0.04, "packed": 0.16, "arranged": 0.22, "rich": 0.12, "crowd": 0.25, "sticker": 0.06,
        "portrait": 0.12, "palette": 0.03,
    },
    edits={
        "edit_add": 0.1, "edit_remove": 0.04, "edit_replace": 0.1, "edit_recolor": 0.1, "edit_move": 0.12,
        "edit_background": 0.1, "edit_restyle": 0.06, "edit_portrait": 0.04, "extract": 0.12, "compose": 0.16,
        "next": 0.06,
    },
)  # fmt: skip
"""Where the whole catalogue is learned, 1,800 drawings of which each is to be seen often, and what is copied
from references of them."""
_BREADTH_TURNS: tuple[Turn, ...] = (
    "references", "references", "wide", "wide", "references", "references",
    "references", "references", "series", "series",
)  # fmt: skip
"""Each twice, for the two batches of a step."""


def nano() -> tuple[VisualizerTraining, ...]:
    """The shipped size: 128 px, posters and their like at 256; about five hours on two cores."""
    loop = lambda steps, lr, **more: LoopConfig(  # noqa: E731
        steps=steps, lr=lr, optimizer="muon", prefetch=False, **({"ema": 0.998, "save_every": 200} | more)
    )
    return (
        VisualizerTraining(
            name="pt",
            model=MotConfig.nano(),
            loop=loop(5000, 1e-3, decay=0.2),
            data=DataConfig(singles=40, references=24, fine=0, wide=0, series=0, easy_steps=1000),
        ),
        VisualizerTraining(
            name="ct",
            model=MotConfig.nano(),
            loop=loop(4200, 1e-3, decay=0.6),
            data=DataConfig(singles=36, references=14, fine=2, distinct_steps=640, seed=3),
        ),
        VisualizerTraining(
            name="breadth",
            model=MotConfig.nano(),
            loop=loop(1000, 1e-3, decay=0.6, accumulate=2),
            data=DataConfig(
                singles=18,
                others=0.5,
                references=8,
                wide=8,
                series=1,
                turns=_BREADTH_TURNS,
                shares=_BREADTH,
                strangers=0.15,
                distinct_steps=2000,
                seed=2,
            ),
        ),
        VisualizerTraining(
            name="sft",
            model=MotConfig.nano(),
            loop=loop(400, 4e-4, warmup=20, decay=1.0, ema=0.99, save_every=50),
            data=DataConfig(
                singles=24,
                references=12,
                fine=0,
                wide=14,
                series=1,
                turns=("references", "series", "series", "series"),
                least_db=26.0,
                distinct_steps=220,
                seed=1,
            ),
            naming=0.0,
        ),
    )


def tiny() -> tuple[VisualizerTraining, ...]:
    """For tests: two steps a stage, in a second."""
    loop = LoopConfig(steps=2, lr=1e-3, warmup=1, save_every=2, log_every=1, precision="fp32", accumulate=2)
    data = DataConfig(singles=3, series=1, references=2, fine=1, wide=1)
    return tuple(
        VisualizerTraining(name=name, model=MotConfig.tiny(), loop=loop, data=data) for name in ("pt", "ct")
    )


def paper() -> tuple[VisualizerTraining, ...]:
    """Table 3's stages. T2I : I2I : T2S : TI2S of 7:3, then 7:2:.5:.5; resolution is the data's."""
    loop = lambda steps, lr: LoopConfig(  # noqa: E731
        steps=steps, lr=lr, warmup=5000, ema=0.9999, weight_decay=0.02, clip=0.5, save_every=1000
    )
    few = {"singles": 700, "drop_text": 0.05, "fine": 0, "wide": 0}
    later = DataConfig(**few, references=400, series=400)
    return (
        VisualizerTraining(
            name="pt",
            model=MotConfig.paper(),
            loop=loop(713_000, 1e-4),
            data=DataConfig(**few, references=600, series=0),
            naming=0.0,
        ),
        VisualizerTraining(
            name="ct", model=MotConfig.paper(), loop=loop(223_000, 1e-4), data=later, naming=0.0
        ),
        VisualizerTraining(
            name="sft", model=MotConfig.paper(), loop=loop(13_000, 1e-5), data=later, naming=0.0
        ),
    )


SIZES = {"nano": nano, "tiny": tiny, "paper": paper}
