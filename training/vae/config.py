"""What one VAE run is: model, optimiser, data and loss, at the sizes that exist."""

from dataclasses import dataclass, field

from training.loop import LoopConfig
from wanimage.models.vae import VaeConfig


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms; every error is in units of full scale (0 to 1), so the weights compare."""

    composite: float = 10.0
    """Mean squared error of the composite over a random background, in closed form."""
    absolute: float = 1.0
    """L1 of the premultiplied planes."""
    alpha: float = 0.5
    """Further L1 of the alpha plane."""
    gradient: float = 0.5
    """L1 of the differences between neighbouring pixels, all planes."""
    band: float = 2.0
    """Further weight of pixels within `band_radius` of a change of alpha."""
    band_radius: int = 2
    """Pixels."""
    divergence: float = 0.05
    """KL of the pooled latents of each channel from the standard normal."""
    noise: float = 0.2
    """Each picture's latents get noise of a deviation drawn from [0, noise] before decoding."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures, and how many are kept; a run is a function of these and the seed."""

    pool: int = 6000
    """Pictures rendered once at the start (64 KiB each at 128 px); flips and crops vary them after that."""
    batch: int = 8
    shapes: tuple[tuple[int, int, float], ...] = (
        (128, 128, 0.8),
        (96, 160, 0.05),
        (160, 96, 0.05),
        (64, 256, 0.05),
        (256, 64, 0.05),
    )
    """(height, width, share of the pool); every batch has one shape."""
    zoom: float = 0.15
    """Share of pictures rendered at twice the size and cropped, so that large sprites are seen too."""


@dataclass(frozen=True, kw_only=True)
class VaeTraining:
    """One stage of one run."""

    stage: str = "whole"
    """`whole`, or `decoder`: the encoder stays as exported, and so do the latents others were trained on."""
    model: VaeConfig
    loop: LoopConfig
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    held_out: int = 64
    """Scenes of the held-out split that are measured."""

    @classmethod
    def nano(cls, steps: int = 3400) -> "VaeTraining":
        """The shipped run: 128 px, about 20 minutes on one core with avx512_bf16."""
        loop = LoopConfig(
            steps=steps,
            lr=1.5e-3,
            warmup=100,
            decay=0.5,
            weight_decay=0.0,
            betas=(0.9, 0.95),
            ema=0.998,
            save_every=1133,
        )
        return cls(model=VaeConfig.nano(), loop=loop)

    @classmethod
    def nano_decoder(cls, steps: int = 3000) -> "VaeTraining":
        """Sharpens the shipped decoder; may follow `nano` at any time."""
        loop = LoopConfig(
            steps=steps,
            lr=1e-3,
            warmup=100,
            decay=0.6,
            weight_decay=0.0,
            betas=(0.9, 0.95),
            ema=0.998,
            save_every=1000,
        )
        return cls(stage="decoder", model=VaeConfig.nano(), loop=loop, data=DataConfig(batch=12))

    @classmethod
    def tiny(cls) -> "VaeTraining":
        """For tests: seconds."""
        loop = LoopConfig(
            steps=8, lr=3e-3, warmup=1, decay=0.2, weight_decay=0.0, ema=0.5, precision="fp32", log_every=1
        )
        data = DataConfig(pool=12, batch=4, shapes=((64, 64, 0.8), (32, 96, 0.2)))
        return cls(model=VaeConfig.tiny(), loop=loop, data=data, held_out=4)

    @classmethod
    def paper(cls) -> "VaeTraining":
        """The report's first stage (256 px); it gives no steps, rate or batch, these are ours."""
        loop = LoopConfig(steps=300_000, lr=1e-4, warmup=2000, decay=0.2, weight_decay=0.0, ema=0.9999)
        data = DataConfig(pool=200_000, batch=256, shapes=((256, 256, 1.0),))
        return cls(model=VaeConfig.paper(), loop=loop, data=data, held_out=5000)
