"""Which cells an edit leaves alone, read off the first looks at its result.

From the first evaluation on, of pure noise, what the visualizer predicts from prompt and reference lies close
to the reference where it means to keep it. How close that is depends on how well it redraws such a thing, on
the cells around and on what it predicts without the prompt, so a few convolutions learn to read it. Guided
velocities would not do: guidance multiplies what differs, noise above all.

Letters: h, w rows and columns of a picture, N = h w its cells, Z latent channels, F sights.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wanimage.models.layout import Grid

SIGHTS = 7
FAINTEST = 1e-3
"""Mean squared distance below which two cells are the same; latents have unit variance."""


@dataclass(frozen=True, kw_only=True)
class KeeperConfig:
    """Its shape."""

    width: int = 48
    depth: int = 3
    """Convolutions of 3 x 3; each sees one cell farther."""


class Keeper(nn.Module):
    """Sights of a picture in, a logit a cell out: above 0 it changes."""

    def __init__(self, config: KeeperConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for index in range(config.depth):
            layers += [nn.Conv2d(config.width if index else SIGHTS, config.width, 3, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(config.width, 1, 1))

    @staticmethod
    def load(folder: Path) -> Keeper:
        """`keeper.json` and `keeper.safetensors` of a family, into float32."""
        document = json.loads((folder / "keeper.json").read_text())
        keeper = Keeper(KeeperConfig(**document["config"]))
        tensors = load_file(folder / "keeper.safetensors")
        keeper.load_state_dict({name: value.float() for name, value in tensors.items()})
        return keeper.eval().requires_grad_(False)

    def forward(self, seen: Tensor) -> Tensor:
        """Sights `[B, F, h, w]` to logits `[B, h, w]`."""
        logits: Tensor = self.layers(seen)[:, 0]
        return logits

    def unchanged(self, seen: Tensor) -> Tensor:
        """Which cells `[N]` stay, of sights `[F, h, w]`."""
        with torch.autocast(seen.device.type, enabled=False):
            return self(seen[None]).flatten() <= 0

    def to_json(self) -> dict[str, int]:
        """Plain values for `keeper.json`."""
        return asdict(self.config)


def sights(prompted: Tensor, unprompted: Tensor | None, reference: Tensor, t: float, grid: Grid) -> Tensor:
    """What there is to see of a picture at time `t`, `[F, h, w]` of order 1.

    `prompted` `[N, Z]` is its predicted end; `unprompted` the same without the prompt, None where guidance
    does not ask for it; `reference` what it may be an edit of. Channels: how far the first lies from the
    reference, the second from it, and the two from each other (logs; 0 without the second), the mean of the
    first of them, `t`, whether there is a second, and 1, which borders do not have.
    """
    apart = lambda a, b: ((a - b).float().square().mean(-1).clamp_min(FAINTEST).log() + 2) / 2  # noqa: E731
    near = apart(prompted, reference)
    none = torch.zeros_like(near)
    others = (
        [none, none] if unprompted is None else [apart(unprompted, reference), apart(prompted, unprompted)]
    )
    flat = [near.mean(), t, float(unprompted is not None), 1.0]
    return torch.stack([near, *others, *(none + value for value in flat)]).unflatten(1, grid)
