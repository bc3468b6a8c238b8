"""A small super-resolution network to compare with: ESPCN's sub-pixel head (Shi et al. 2016) on the body of
Real-ESRGAN's compact network (Wang et al. 2021), taught the refiner's own cases by plain squared error.

    python -m training.refiner.rival --out runs/nano/refiner/rival --seconds 1500

It enlarges eightfold and leaves the rest to bicubic interpolation, as such networks are used.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from training.refiner.pairs import DataConfig, Studio
from training.world.kinds import Pixels
from wanimage.enlarging import Enlargement
from wanimage.models.vae import premultiplied, straight

SCALE = 8
WIDTH, DEPTH = 64, 12


class Rival(nn.Module):
    """Premultiplied planes `[B, 4, h, w]` in [-1, 1] to `[B, 4, 8 h, 8 w]`; 0.6 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(4, WIDTH, 3, padding=1), nn.PReLU(WIDTH)]
        for _ in range(DEPTH):
            layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.PReLU(WIDTH)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(WIDTH, 4 * SCALE**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        plain = functional.interpolate(x, scale_factor=SCALE, mode="bicubic")
        return plain + functional.pixel_shuffle(self.head(self.body(x)), SCALE)

    @staticmethod
    def load(path: Path) -> Rival:
        """Read what `main` wrote."""
        rival = Rival()
        rival.load_state_dict(load_file(path))
        return rival.eval()

    @torch.inference_mode()
    def enlarge(self, picture: Pixels, size: tuple[int, int]) -> Pixels:
        """Straight RGBA at `size` (height, width)."""
        eightfold = self(premultiplied(torch.from_numpy(picture.copy())[None]))[0].clamp(-1, 1)
        return np.asarray(
            straight(Enlargement(eightfold, size).part((0, size[0]), (0, size[1]))[None])[0].numpy()
        )


def main() -> None:
    """Train for a time, on cases like the refiner's."""
    parser = argparse.ArgumentParser(prog="python -m training.refiner.rival")
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rival = Rival()
    optimizer = torch.optim.Adam(rival.parameters(), lr=arguments.lr)
    data = DataConfig(seed=2, edges=(2048,), larger=0, square=1.0, cells=(64,))
    studio = Studio(arguments.family, data)
    started, step, total = time.perf_counter(), 0, 0.0
    while (spent := time.perf_counter() - started) < arguments.seconds:
        optimizer.param_groups[0]["lr"] = arguments.lr * min(1.0, 2 - 2 * spent / arguments.seconds)
        small, large = batch(studio, step)
        loss = (rival(small) - large).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(rival.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        step, total = step + 1, total + loss.item()
        if step % 50 == 0:
            print(f"step {step}, {spent:.0f} s, loss {total / 50:.5f}", flush=True)
            total = 0.0
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(rival.state_dict(), arguments.out / "rival.safetensors")


def batch(studio: Studio, step: int, count: int = 8, side: int = 48) -> tuple[Tensor, Tensor]:
    """Crops of `side` pixels of one case after degradation, `[count, 4, side, side]`, and the truth at eight
    times the size."""
    rng = np.random.default_rng([studio.config.seed, 3, step])
    with torch.inference_mode():
        case = studio.case(rng)
    source, truth = case.source, case.truth
    scale = truth.shape[0] // source.shape[0]
    planes, true = (premultiplied(torch.from_numpy(p.copy())[None])[0] for p in (source, truth))
    small, large = [], []
    for _ in range(count):
        top, left = (int(rng.integers(edge - side + 1)) for edge in source.shape[:2])
        small.append(planes[:, top : top + side, left : left + side])
        cut = true[:, top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        large.append(functional.interpolate(cut[None], (side * SCALE, side * SCALE), mode="area")[0])
    return torch.stack(small).clone(), torch.stack(large).clone()


if __name__ == "__main__":
    main()
