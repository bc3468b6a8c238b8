"""What may have happened to a picture before it is refined: a seeded pipeline of degradations (report 3.5).

Each takes a straight RGBA picture and gives one of the same size. Colour is degraded as it is seen,
premultiplied, and alpha with it, so that no colour comes out of what is transparent. After Real-ESRGAN
(Wang et al. 2021) the classical ones run twice, each time in an order of their own; what only models do to
pictures comes after them: our VAE, our visualizer, letters it misspells.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from training.world.kinds import Pixels
from training.world.pixels import canvas_of, straight

Degradation = Callable[[np.random.Generator, Pixels, float], Pixels]
"""`(rng, picture, strength) -> picture`; strength 0 to 1 is how bad it may get."""
FILTERS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.BOX,
    Image.Resampling.LANCZOS,
)


def blur(rng: np.random.Generator, picture: Pixels, strength: float) -> Pixels:
    """Gaussian, of another width across than down; sigma to 1.6 pixels."""
    sigma = rng.uniform(0.1, 0.2 + 1.4 * strength, 2)
    seen = canvas_of(picture)
    return straight(ndimage.gaussian_filter(seen, (*sigma, 0), mode="nearest"))


def resample(rng: np.random.Generator, picture: Pixels, strength: float) -> Pixels:
    """To a smaller (or some larger) size and back, by filters drawn by lot."""
    height, width = picture.shape[:2]
    factor = rng.uniform(1 - 0.5 * strength, 1.2)
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    image = Image.fromarray(picture, "RGBA").convert("RGBa")
    there = image.resize(small, FILTERS[rng.integers(len(FILTERS))])
    back = there.resize((width, height), FILTERS[rng.integers(len(FILTERS))])
    return np.asarray(back.convert("RGBA"))


def noise(rng: np.random.Generator, picture: Pixels, strength: float) -> Pixels:
    """Gaussian, grey or coloured, to 20 of 255, where something is visible."""
    seen = canvas_of(picture)
    planes = 1 if rng.random() < 0.4 else 3
    grain = rng.normal(0, rng.uniform(1, 2 + 18 * strength), (*picture.shape[:2], planes))
    seen[..., :3] += (grain * seen[..., 3:]).astype(np.float32)
    return straight(seen)


def compress(rng: np.random.Generator, picture: Pixels, strength: float) -> Pixels:
    """JPEG or WebP at a quality down to 30; alpha is kept, as those who cut out a compressed picture do."""
    buffer = io.BytesIO()
    name = "JPEG" if rng.random() < 0.6 else "WEBP"
    quality = int(rng.uniform(95 - 65 * strength, 96))
    # Under what is transparent lies white, not the colour that nobody sees.
    flat = Image.alpha_composite(Image.new("RGBA", picture.shape[1::-1], "white"), Image.fromarray(picture))
    flat.convert("RGB").save(buffer, name, quality=quality)
    alpha = picture[..., 3:].astype(np.float32) / 255
    seen = np.asarray(Image.open(buffer).convert("RGB")).astype(np.float32)
    colour = np.where(alpha > 0, (seen - 255 * (1 - alpha)) / np.maximum(alpha, 1 / 255), 0).clip(0, 255)
    return np.concatenate([colour.round().astype(np.uint8), picture[..., 3:]], -1)


def smear(rng: np.random.Generator, picture: Pixels, strength: float) -> Pixels:
    """Move pixels a little, by a smooth random field: strokes of letters bend, close up and break."""
    shifts = rng.normal(0, 1, (2, *picture.shape[:2]))
    width = rng.uniform(1.5, 4)
    shifts = np.stack([ndimage.gaussian_filter(each, width) for each in shifts])
    shifts *= rng.uniform(0.3, 0.5 + 1.5 * strength) / max(1e-6, shifts.std())
    at = np.indices(picture.shape[:2]) + shifts
    seen = canvas_of(picture)
    planes = [ndimage.map_coordinates(seen[..., i], at, order=1, mode="nearest") for i in range(4)]
    return straight(np.stack(planes, -1))


def median(rng: np.random.Generator, picture: Pixels, strength: float) -> Pixels:
    """Thin strokes drowned in their surroundings, as small models draw letters."""
    size = 3 if strength < 0.7 or rng.random() < 0.6 else 5
    return straight(ndimage.median_filter(canvas_of(picture), (size, size, 1), mode="nearest"))


CLASSICAL: dict[str, Degradation] = {"blur": blur, "resample": resample, "noise": noise, "compress": compress}
"""What happens to files."""
TEXT: dict[str, Degradation] = {"smear": smear, "median": median}
"""What happens to letters; for repair."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """How badly pictures are treated."""

    strength: float
    """0 to 1."""
    rounds: int = 2
    likely: float = 0.6
    """Probability of each classical degradation in each round."""
    text: float = 0.0
    """Probability of each degradation of letters."""

    def __call__(self, rng: np.random.Generator, picture: Pixels) -> Pixels:
        """The picture after all that was drawn by lot for it; same size."""
        for name in self.drawn(rng):
            picture = (CLASSICAL | TEXT)[name](rng, picture, self.strength)
        return picture

    def drawn(self, rng: np.random.Generator) -> Sequence[str]:
        """Names of what happens, in order."""
        names = [name for name in TEXT if rng.random() < self.text]
        for _ in range(self.rounds):
            order = [list(CLASSICAL)[i] for i in rng.permutation(len(CLASSICAL))]
            names += [name for name in order if rng.random() < self.likely]
        return names
