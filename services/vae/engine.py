"""The RGBA VAE at work: lists of pictures to latents and back. Knows neither bus nor gRPC.

Unusual here: a picture too large to be held whole is computed in overlapping tiles. The VAE has no
normalisation, so every output depends on its neighbourhood alone, and tiles with a wide enough halo give
what the whole would (a test compares them).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from wanimage import telemetry
from wanimage.images import CELL, Rgba, defringed
from wanimage.latents import Latent
from wanimage.models.precision import computing_in, faster_dtype
from wanimage.models.vae import PLANES, Vae, VaeConfig, premultiplied, straight
from wanimage.tiling import TILE_CELLS, tiles_of
from wanimage.weights import Family

WHOLE_CELLS = 80
"""Pictures up to this many cells a side are computed whole."""
BATCH_CELLS = 1024
"""Cells a batch may hold: 16 base pictures of 64 cells; more gains nothing on a CPU."""

log = telemetry.logger(__name__)


class VaeEngine:
    """A loaded VAE. Not to be called from two threads at once."""

    def __init__(self, vae: Vae, family: str, dtype: torch.dtype | None = None) -> None:
        """`family` is the digest; `dtype` None measures which is faster here."""
        self.vae = vae.eval().requires_grad_(False)
        self.vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.family = family
        self.channels = vae.config.latent_channels
        self.dtype = faster_dtype(self._rehearse) if dtype is None else dtype
        self._halo = halo_cells(vae.config)
        log.info("vae_loaded", family=family[:12], dtype=str(self.dtype).removeprefix("torch."))

    @classmethod
    def load(cls, family: Family, dtype: torch.dtype | None = None) -> "VaeEngine":
        """Read `vae.json` and `vae.safetensors` of a verified family, strictly."""
        return cls(Vae.load(family.path), family.digest, dtype)

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Rgba]) -> list[Latent]:
        """Latents `[Z, h, w]` of straight RGBA pictures `[H, W, 4]` uint8 of one size, multiples of 16."""
        stacked = torch.stack([torch.from_numpy(picture.copy()) for picture in pictures])
        planes = premultiplied(stacked).contiguous(memory_format=torch.channels_last)
        return list(self._tiled(self.vae.encode, planes, self.channels, CELL, 1).numpy())

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent]) -> list[Rgba]:
        """Straight RGBA pictures `[H, W, 4]` uint8 of latents `[Z, h, w]` of one size."""
        stacked = torch.from_numpy(np.stack(latents)).contiguous(memory_format=torch.channels_last)
        pictures = straight(self._tiled(self.vae.decode, stacked, PLANES, 1, CELL)).numpy()
        return [defringed(picture) for picture in pictures]

    def batch_size(self, grid: tuple[int, int]) -> int:
        """How many pictures of `grid` cells may go in one call."""
        return max(1, BATCH_CELLS // (grid[0] * grid[1]))

    def _tiled(
        self, run: Callable[[Tensor], Tensor], x: Tensor, channels: int, scale_in: int, scale_out: int
    ) -> Tensor:
        """`run(x)` of so many channels, in float32; `x` has `scale_in` rows a cell, the result
        `scale_out`."""
        grid = (x.shape[2] // scale_in, x.shape[3] // scale_in)
        with computing_in(self.dtype):
            if max(grid) <= WHOLE_CELLS:
                return run(x).float()
            whole = torch.empty(len(x), channels, grid[0] * scale_out, grid[1] * scale_out)
            for tile in tiles_of(grid, TILE_CELLS, self._halo):
                part = run(x[:, :, *tile.cut(scale_in)])
                whole[:, :, *tile.own(scale_out)] = part[:, :, *tile.inside(scale_out)]
            return whole

    def _rehearse(self) -> Tensor:
        return self.vae.decode(
            torch.zeros(1, self.channels, 8, 8).contiguous(memory_format=torch.channels_last)
        )


def halo_cells(config: VaeConfig) -> int:
    """Cells beyond a tile that its outputs depend on, rounded up generously.

    Each 3x3 convolution reaches one position of its stage; a residual block has two, a change of size one
    more.
    """
    coarsest = 2 ** (len(config.encoder_widths) - 1)
    reaches = [
        sum((2 * count + 1) * 2**stage for stage, count in enumerate(blocks)) / coarsest
        for blocks in (config.encoder_blocks, config.decoder_blocks)
    ]
    return 3 + int(max(reaches))
