"""What one VAE run is: model, optimiser, data and loss, at the sizes that exist."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

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
    tint: float = 0.0
    """Mean step of colour or opacity across cell borders where the picture is flat."""
    perceptual: float = 0.0
    """Distance of the teacher's features of prediction and target, over a random background."""
    distillation: float = 0.0
    """Alignment of latents with the teacher's features, times the balance of gradients (report 3.2; .1)."""
    cosine_margin: float = 0.5
    """How far from the teacher's direction a latent may point."""
    distance_margin: float = 0.25
    """How much less or more alike than their features two latents may be."""
    adversarial: float = 0.0
    """The critic's verdict, times the balance of gradients."""
    critic_first: int = 200
    """Steps in which the critic learns alone."""
    adapt_every: int = 25
    """Steps between two measurements of the balances."""
    anchor: float = 0.0
    """Mean squared distance to the latents of the VAE that the stage started from, whose statistics stay:
    a visualizer that was trained on those still draws."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures, and how many are kept; a run is a function of these and the seed."""

    pool: int = 6000
    """Pictures rendered once at the start (64 KiB each at 128 px); flips vary them after that."""
    batch: int = 8
    """Pictures of the first shape in a batch; other shapes get as many as have that many pixels."""
    shapes: tuple[tuple[int, int, float], ...] = (
        (128, 128, 0.8),
        (96, 160, 0.05),
        (160, 96, 0.05),
        (64, 256, 0.05),
        (256, 64, 0.05),
    )
    """(height, width, share of the pool); every batch has one shape."""
    sources: tuple[tuple[str, float], ...] = (("core", 1.0),)
    """(name in `data.SOURCES`, share of the pool)."""
    zooms: tuple[tuple[float, float], ...] = ((1.0, 0.85), (2.0, 0.15))
    """(factor, share): a picture is drawn that much larger and cropped, so that large details are seen."""


@dataclass(frozen=True, kw_only=True)
class VaeTraining:
    """One stage of one run."""

    name: str
    """Names the stage's folder and log lines."""
    part: str = "whole"
    """`whole`, or `decoder`: the encoder stays as it was, and so do the latents that others learned."""
    model: VaeConfig
    loop: LoopConfig
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    held_out: int = 64
    """Held-out scenes that are measured at every save."""


MIXED = DataConfig(
    pool=9000,
    batch=16,
    shapes=(
        (128, 128, 0.62),
        (256, 256, 0.22),
        (96, 160, 0.04),
        (160, 96, 0.04),
        (64, 256, 0.02),
        (256, 64, 0.02),
        (64, 512, 0.02),
        (512, 64, 0.02),
    ),
    sources=(("core", 0.2), ("scene", 0.25), ("text", 0.25), ("clipart", 0.25), ("portrait", 0.05)),
    zooms=((1.0, 0.4), (2.0, 0.4), (3.0, 0.2)),
)
"""Scenes, words, clip art and faces, at mixed sizes."""
EVERYTHING = replace(
    MIXED,
    pool=5000,
    sources=(
        ("core", 0.15), ("scene", 0.2), ("text", 0.2), ("clipart", 0.2), ("sticker", 0.14),
        ("portrait", 0.03), ("poster", 0.02), ("chart", 0.02), ("screen", 0.02), ("palette", 0.02),
    ),
)  # fmt: skip
"""Every kind of picture."""
OUTLINED = replace(
    EVERYTHING,
    pool=7000,
    sources=(
        ("core", 0.1), ("scene", 0.14), ("text", 0.15), ("clipart", 0.26), ("sticker", 0.06),
        ("portrait", 0.19), ("poster", 0.03), ("chart", 0.03), ("screen", 0.03), ("palette", 0.01),
    ),
    zooms=((1.0, 0.35), (2.0, 0.5), (3.0, 0.15)),
)  # fmt: skip
"""Every kind, most of what is hardest: faces and clip art, all lines and see-through edges."""
LETTERED = replace(
    OUTLINED,
    sources=(
        ("core", 0.06), ("scene", 0.1), ("text", 0.34), ("clipart", 0.21), ("sticker", 0.05),
        ("portrait", 0.12), ("poster", 0.06), ("chart", 0.02), ("screen", 0.03), ("palette", 0.01),
    ),
)  # fmt: skip
"""Every kind, words most of all."""


def nano() -> tuple[VaeTraining, ...]:
    """The shipped size in the report's three stages (here 128 px, mixed sizes, mixed sizes with a critic),
    and two more for the decoder alone, on what the others leave worst."""
    model = VaeConfig.nano()
    loop = LoopConfig(
        steps=3400, lr=1.5e-3, warmup=100, decay=0.5, weight_decay=0.0, betas=(0.9, 0.95), ema=0.998,
        save_every=1133,
    )  # fmt: skip
    base = VaeTraining(name="base", model=model, loop=loop)
    mixed = VaeTraining(
        name="mixed",
        model=model,
        loop=replace(loop, steps=4500, lr=1e-3, decay=0.6, save_every=300, seed=1),
        data=MIXED,
        loss=LossConfig(perceptual=0.1, distillation=0.1, anchor=0.01, divergence=0.0),
    )
    critic = VaeTraining(
        name="critic",
        part="decoder",
        model=model,
        loop=replace(loop, steps=900, lr=2e-4, decay=0.5, save_every=300, seed=2),
        data=EVERYTHING,
        loss=LossConfig(perceptual=0.1, adversarial=0.05, tint=1.0, divergence=0.0),
    )
    lines = VaeTraining(
        name="lines",
        part="decoder",
        model=model,
        loop=replace(loop, steps=2100, lr=6e-4, warmup=50, decay=0.9, save_every=210, seed=3),
        data=OUTLINED,
        loss=LossConfig(composite=20.0, tint=3.0, divergence=0.0),
    )
    words = replace(lines, name="words", loop=replace(lines.loop, seed=4), data=LETTERED)
    return base, mixed, critic, lines, words


def tiny() -> tuple[VaeTraining, ...]:
    """For tests: the same three stages in seconds."""
    loop = LoopConfig(
        steps=8, lr=3e-3, warmup=1, decay=0.2, weight_decay=0.0, ema=0.5, precision="fp32", log_every=1
    )
    data = DataConfig(pool=12, batch=4, shapes=((64, 64, 0.8), (32, 96, 0.2)))
    base = VaeTraining(name="base", model=VaeConfig.tiny(), loop=loop, data=data, held_out=4)
    mixed = replace(base, name="mixed", loss=LossConfig(perceptual=0.02, distillation=0.1, anchor=0.02))
    judged = LossConfig(perceptual=0.02, adversarial=0.05, tint=1.0, critic_first=2)
    return base, mixed, replace(base, name="critic", part="decoder", loss=judged)


def paper() -> tuple[VaeTraining, ...]:
    """The report's stages at 256 px, at mixed sizes, and up to 2K with a critic; it gives no steps, rates or
    batches, these are ours."""
    model = VaeConfig.paper()
    loop = LoopConfig(steps=300_000, lr=1e-4, warmup=2000, decay=0.2, weight_decay=0.0, ema=0.9999)
    base = VaeTraining(
        name="base",
        model=model,
        loop=loop,
        data=DataConfig(pool=200_000, batch=256, shapes=((256, 256, 1.0),)),
        loss=LossConfig(perceptual=0.02, distillation=0.1),
        held_out=5000,
    )
    wide = ((512, 512, 0.4), (256, 256, 0.2), (384, 640, 0.2), (640, 384, 0.2))
    huge = ((1024, 1024, 0.6), (2048, 2048, 0.1), (768, 1280, 0.15), (1280, 768, 0.15))
    mixed = replace(base, name="mixed", data=replace(MIXED, pool=200_000, batch=64, shapes=wide))
    critic = replace(
        base,
        name="critic",
        part="decoder",
        data=replace(EVERYTHING, pool=50_000, batch=16, shapes=huge),
        loss=LossConfig(perceptual=0.02, adversarial=0.1, critic_first=2000),
    )
    return base, mixed, critic


SIZES: dict[str, Callable[[], tuple[VaeTraining, ...]]] = {"nano": nano, "tiny": tiny, "paper": paper}
