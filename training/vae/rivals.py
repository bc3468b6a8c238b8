"""What else could hold a picture in as much space: codecs, a thumbnail, a VAE without opacity.

Each takes premultiplied planes `[N, 4, H, W]` in [-1, 1] and returns what comes back, in the same form.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.vae.evaluate import reconstruct
from wanimage.models.vae import Vae, premultiplied, straight

QUALITIES = range(1, 101)
ALPHA_SHARE = 0.2  # of the bytes of a codec that has no alpha of its own

Rgba = NDArray[np.uint8]


def latent_bytes(model: Vae, height: int, width: int) -> int:
    """Bytes of a picture's latent in fp16."""
    h, w = model.grid(height, width)
    return 2 * model.config.latent_channels * h * w


def webp(pictures: Tensor, size: int) -> Tensor:
    """Lossless WebP where it fits into `size` bytes, else the best lossy quality that does."""

    def through(picture: Rgba) -> Rgba:
        image = Image.fromarray(picture, "RGBA")
        exact = _encode(image, "WEBP", lossless=True)
        data = exact if len(exact) <= size else _best(lambda q: _encode(image, "WEBP", quality=q), size)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))

    return _each(pictures, through)


def jpeg(pictures: Tensor, size: int) -> Tensor:
    """The best JPEG of the colours that fits, and a grey JPEG of the opacity where there is any."""

    def through(picture: Rgba) -> Rgba:
        opaque = bool((picture[..., 3] == 255).all())
        colour = Image.fromarray(np.ascontiguousarray(picture[..., :3]))
        room = size if opaque else round((1 - ALPHA_SHARE) * size)
        data = _best(lambda q: _encode(colour, "JPEG", quality=q), room)
        back = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        if opaque:
            return np.dstack([back, picture[..., 3]])
        grey = Image.fromarray(picture[..., 3])
        data = _best(lambda q: _encode(grey, "JPEG", quality=q), size - room)
        return np.dstack([back, np.asarray(Image.open(io.BytesIO(data)))])

    return _each(pictures, through)


def thumbnail(pictures: Tensor, factor: int = 4) -> Tensor:
    """Bicubic down and up again by `factor` a side; at 4, three planes are as many numbers as the latent."""
    height, width = pictures.shape[2:]
    small = F.interpolate(
        pictures, (height // factor, width // factor), mode="bicubic", antialias=True, align_corners=False
    )
    return F.interpolate(small, (height, width), mode="bicubic", align_corners=False).clamp(-1, 1)


def without_alpha(model: Vae, pictures: Tensor) -> Tensor:
    """A VAE that only knows opaque pictures: the colours in one latent, the opacity as grey in a second."""
    unit = (pictures + 1) / 2
    alpha = unit[:, 3:]
    # Premultiplied colour is what would be seen on black, an opaque picture.
    colour = torch.cat([unit[:, :3], torch.ones_like(alpha)], 1)
    grey = torch.cat([alpha.expand(-1, 3, -1, -1), torch.ones_like(alpha)], 1)
    seen, opacity = (reconstruct(model, 2 * x - 1)[:, :3] for x in (colour, grey))
    return torch.cat([seen, opacity.mean(1, keepdim=True)], 1)


def _each(pictures: Tensor, through: Callable[[Rgba], Rgba]) -> Tensor:
    back = [through(picture) for picture in straight(pictures).numpy()]
    return premultiplied(torch.from_numpy(np.stack(back)))


def _encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _best(encode: Callable[[int], bytes], size: int) -> bytes:
    """The highest quality of at most `size` bytes, by bisection; the lowest where none fits."""
    low, high, best = QUALITIES[0], QUALITIES[-1], encode(QUALITIES[0])
    while low <= high:
        middle = (low + high) // 2
        data = encode(middle)
        if len(data) <= size:
            best, low = data, middle + 1
        else:
            high = middle - 1
    return best
