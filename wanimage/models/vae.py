"""The RGBA VAE: 16-fold smaller, 48 latent channels, colour and opacity together (report 3.2).

Unusual here:
- Four planes of *premultiplied* colour and alpha go in and out, so a transparent pixel has no hidden colour.
- A 2x2 patchify, then three halvings. Each halving or doubling is a learned residual around a shortcut
  without parameters: average-down, duplicate-up (as in DC-AE and the Wan2.2 VAE).
- A linear path (one 16x16 patch -> one cell -> 3x3 overlapping patches) carries the picture from the first
  step; the convolutional path adds to it and starts at zero. `training/vae/linear.py` fits the linear path in
  closed form.
- Normalisation is over the channels of each pixel, never over the picture: every output depends on its
  neighbourhood alone, so a large picture may be decoded in tiles and a flat background keeps one colour
  whatever stands beside it.
- The posterior has a fixed variance; latents leave `encode` with zero mean and unit variance per channel and
  `decode` expects them so. Nobody outside this file scales latents.

Letters: B batch, H W pixels, h w cells (H/16, W/16), Z latent channels, C channels of a stage.
"""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

PLANES = 4  # premultiplied red, green, blue, and alpha
PATCH = 2  # pixels a side that become channels before the first convolution
# What the convolutional paths add is some hundredths of full scale; unscaled, one optimiser step of their
# last layer would overshoot it several times.
RESIDUAL_SCALE = 0.1


@dataclass(frozen=True, kw_only=True)
class VaeConfig:
    """Sizes of one RGBA VAE; stages are listed from the finest (H/2) to the coarsest (H/16)."""

    latent_channels: int = 48
    """Z; 48 in the report."""
    encoder_widths: tuple[int, ...] = (32, 64, 128, 128)
    """Channels of each encoder stage."""
    encoder_blocks: tuple[int, ...] = (1, 1, 1, 1)
    """Residual blocks of each encoder stage."""
    decoder_widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of each decoder stage; wider than the encoder, since decoding invents detail."""
    decoder_blocks: tuple[int, ...] = (2, 3, 2, 1)
    """Residual blocks of each decoder stage."""

    def __post_init__(self) -> None:
        lengths = {
            len(self.encoder_widths),
            len(self.encoder_blocks),
            len(self.decoder_widths),
            len(self.decoder_blocks),
        }
        if len(lengths) != 1:
            raise ValueError(
                f"the stage lists of VaeConfig need the same length, got lengths {sorted(lengths)}"
            )
        for name, widths in (
            ("encoder_widths", self.encoder_widths),
            ("decoder_widths", self.decoder_widths),
        ):
            for fine, coarse in itertools.pairwise(widths):
                if 4 * fine % coarse:
                    raise ValueError(f"{name}: 4 * {fine} must be a multiple of {coarse} for the shortcut")

    @property
    def stride(self) -> int:
        """Pixels a side of one latent cell (16 for every shipped size)."""
        return int(PATCH * 2 ** (len(self.encoder_widths) - 1))

    @classmethod
    def nano(cls) -> VaeConfig:
        """The shipped size, 3.84 M parameters."""
        return cls()

    @classmethod
    def tiny(cls) -> VaeConfig:
        """For tests: same structure, milliseconds a step."""
        return cls(
            encoder_widths=(8, 8, 16, 16),
            encoder_blocks=(1, 1, 1, 1),
            decoder_widths=(8, 8, 16, 16),
            decoder_blocks=(1, 1, 1, 1),
        )

    @classmethod
    def paper(cls) -> VaeConfig:
        """Full size: f16 and c48 from the report, widths and depths after the Wan2.2 VAE."""
        return cls(
            encoder_widths=(160, 320, 640, 640),
            encoder_blocks=(2, 2, 2, 2),
            decoder_widths=(256, 512, 1024, 1024),
            decoder_blocks=(3, 3, 3, 3),
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> VaeConfig:
        """The inverse of `to_json`; raises TypeError on an unknown field."""
        tuples = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        return cls(**(fields | tuples))


class Vae(nn.Module):
    """RGBA pictures to normalised latents and back."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.norm = LatentNorm(config.latent_channels)

    @staticmethod
    def load(folder: Path) -> Vae:
        """Read `vae.json` and `vae.safetensors` of a family, strictly, into float32."""
        vae = Vae(VaeConfig.from_json(json.loads((folder / "vae.json").read_text())["config"]))
        tensors = load_file(folder / "vae.safetensors")
        vae.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=True)
        return vae.eval().requires_grad_(False)

    def encode(self, x: Tensor) -> Tensor:
        """Latents `[B, Z, h, w]`, unit variance, of premultiplied pictures `[B, 4, H, W]` in [-1, 1].

        Deterministic (the posterior's mean). Raises ValueError when the planes are not four or a side is no
        multiple of 16.
        """
        if x.ndim != 4 or x.shape[1] != PLANES:
            raise ValueError(f"pictures must be [B, {PLANES}, H, W] premultiplied RGBA, got {list(x.shape)}")
        self.grid(*x.shape[2:])
        return self.norm(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Premultiplied pictures `[B, 4, H, W]`, nominally in [-1, 1], not clamped, of latents `[B, Z, h,
        w]`.

        Raises ValueError on another number of channels.
        """
        if z.ndim != 4 or z.shape[1] != self.config.latent_channels:
            raise ValueError(f"latents must be [B, {self.config.latent_channels}, h, w], got {list(z.shape)}")
        return self.decoder(self.norm.inverse(z))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction `[B, 4, H, W]` of `x` `[B, 4, H, W]`."""
        return self.decode(self.encode(x))

    def num_macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-accumulates to `encode` and to `decode` one picture of `height` x `width` pixels."""
        ghost = copy.deepcopy(self).to("meta")  # shapes without arithmetic
        latents = torch.empty(1, self.config.latent_channels, *self.grid(height, width), device="meta")
        picture = torch.empty(1, PLANES, height, width, device="meta")
        return {"encode": _macs(ghost.encoder, picture), "decode": _macs(ghost.decoder, latents)}

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Latent cells (h, w) of a picture; raises ValueError when a side is no positive multiple of 16."""
        stride = self.config.stride
        if height < stride or width < stride or height % stride or width % stride:
            raise ValueError(
                f"picture sides must be positive multiples of {stride}, got {height}x{width}; pad or resize"
            )
        return height // stride, width // stride


class Encoder(nn.Module):
    """`[B, 4, H, W]` -> `[B, Z, h, w]`, not yet normalised."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, stride = config.encoder_widths, config.stride
        self.stride = stride
        self.linear = conv(PLANES * stride**2, config.latent_channels, kernel=1)
        stages: list[nn.Module] = [conv(PLANES * PATCH**2, widths[0])]
        for index, (width, blocks) in enumerate(zip(widths, config.encoder_blocks, strict=True)):
            if index:
                stages.append(AverageDown(widths[index - 1], width))
            stages += [ResidualBlock(width) for _ in range(blocks)]
        self.stages = nn.Sequential(*stages)
        self.norm = ChannelNorm(widths[-1])
        self.head = zeroed(conv(widths[-1], config.latent_channels))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.stages(F.pixel_unshuffle(x, PATCH))
        detail = self.head(F.silu(self.norm(hidden)))
        return self.linear(F.pixel_unshuffle(x, self.stride)) + RESIDUAL_SCALE * detail


class Decoder(nn.Module):
    """Latents in the encoder's own units `[B, Z, h, w]` -> `[B, 4, H, W]`."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, self.stride = config.decoder_widths[::-1], config.stride
        self.linear = conv(config.latent_channels, PLANES * self.stride**2)
        self.stem = conv(config.latent_channels, widths[0])
        self.stages = nn.ModuleList()
        for index, (width, blocks) in enumerate(zip(widths, config.decoder_blocks[::-1], strict=True)):
            before = widths[index - 1] if index else None
            self.stages.append(DecoderStage(before, width, blocks, pixels=self.stride >> index))
        self.norm = ChannelNorm(widths[-1])
        self.head = zeroed(conv(widths[-1], PLANES * PATCH**2))

    def forward(self, z: Tensor) -> Tensor:
        draft = F.pixel_shuffle(self.linear(z), self.stride)
        hidden = self.stem(z)
        for stage in self.stages:
            hidden = stage(hidden, draft)
        return draft + RESIDUAL_SCALE * F.pixel_shuffle(self.head(F.silu(self.norm(hidden))), PATCH)


class DecoderStage(nn.Module):
    """One resolution of the decoder; the two finest also look at the linear draft they correct."""

    def __init__(self, width: int | None, out: int, blocks: int, *, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels  # a side of one position
        self.up = DuplicateUp(width, out) if width else nn.Identity()
        self.look = conv(PLANES * pixels**2, out) if pixels <= 2 * PATCH else None
        self.blocks = nn.Sequential(*(ResidualBlock(out) for _ in range(blocks)))

    def forward(self, x: Tensor, draft: Tensor) -> Tensor:
        hidden = self.up(x)
        if self.look is not None:
            hidden = hidden + self.look(F.pixel_unshuffle(draft, self.pixels))
        return self.blocks(hidden)


class LatentNorm(nn.Module):
    """Zero mean and unit variance per latent channel, by the buffers `mean` and `std` `[Z]`.

    They are constants of a trained model, set by `calibrate`, never the statistics of the batch at hand:
    those would wash out what all of a batch has in common, such as being opaque.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, raw: Tensor) -> Tensor:
        return (raw.float() - per_channel(self.mean)) / per_channel(self.std)

    def inverse(self, z: Tensor) -> Tensor:
        """Latents in the encoder's own units, which the decoder reads."""
        return z * per_channel(self.std) + per_channel(self.mean)

    @torch.no_grad()
    def calibrate(self, raw: Tensor) -> None:
        """Set the buffers from raw latents `[N, Z, h, w]`."""
        self.mean.copy_(raw.mean((0, 2, 3)))
        self.std.copy_(raw.var((0, 2, 3), correction=0).sqrt().clamp_min(1e-4))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around the identity; the second starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = conv(width, width)
        self.second = zeroed(conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel over its channels; `[B, C, H, W]` in and out."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class AverageDown(nn.Module):
    """Half the side: a strided convolution around the mean of each group of unshuffled channels."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.out = out
        self.norm = ChannelNorm(width)
        self.conv = conv(width, out, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        unshuffled = F.pixel_unshuffle(x, 2)  # [B, 4 C, H/2, W/2]
        mean = unshuffled.unflatten(1, (self.out, -1)).mean(2)
        return mean + self.conv(F.silu(self.norm(x)))


class DuplicateUp(nn.Module):
    """Twice the side: a sub-pixel convolution around repeated, shuffled channels."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.repeats = 4 * out // width
        self.norm = ChannelNorm(width)
        self.conv = conv(width, 4 * out, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        repeated = x.repeat_interleave(self.repeats, dim=1)  # [B, 4 out, h, w]
        return F.pixel_shuffle(repeated + self.conv(F.silu(self.norm(x))), 2)


def conv(width: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size (or divides it by `stride`)."""
    return nn.Conv2d(width, out, kernel, stride=stride, padding=kernel // 2)


def zeroed(module: nn.Conv2d) -> nn.Conv2d:
    """The same convolution, answering zero until it is trained."""
    nn.init.zeros_(module.weight)
    assert module.bias is not None, "every convolution here has a bias"
    nn.init.zeros_(module.bias)
    return module


def per_channel(values: Tensor) -> Tensor:
    """`[Z]` -> `[1, Z, 1, 1]`."""
    return values.view(1, -1, 1, 1)


def _macs(path: nn.Module, example: Tensor) -> int:
    total = 0

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d), type(module)
        total += module.weight.numel() * out.shape[2] * out.shape[3]

    for module in path.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    path(example)
    return total


def premultiplied(rgba: Tensor) -> Tensor:
    """Planes `[B, 4, H, W]` float in [-1, 1] of straight RGBA `[B, H, W, 4]` uint8; transparent is all -1."""
    if rgba.dtype != torch.uint8 or rgba.ndim != 4 or rgba.shape[3] != PLANES:
        raise ValueError(f"pass straight RGBA, uint8 [B, H, W, 4]; got {rgba.dtype} {list(rgba.shape)}")
    unit = rgba.permute(0, 3, 1, 2).float() / 255
    alpha = unit[:, 3:]
    return torch.cat([unit[:, :3] * alpha, alpha], 1) * 2 - 1


def straight(planes: Tensor) -> Tensor:
    """Straight RGBA `[B, H, W, 4]` uint8 of premultiplied planes `[B, 4, H, W]`, clamped to [-1, 1].

    Colour never exceeds alpha (it could not have been premultiplied); where alpha rounds to zero it is zero.
    """
    unit = (planes.float().clamp(-1, 1) + 1) / 2
    alpha = (unit[:, 3:] * 255).round() / 255
    colour = torch.where(alpha > 0, unit[:, :3] / alpha.clamp_min(1 / 255), 0.0).clamp(0, 1)
    return (torch.cat([colour, alpha], 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
