"""A toy run of the training loop, for one process (imported) or several (`torchrun -m -- tests.crew FOLDER`).

Its module has what makes shards hard: rows that two processes cannot halve, a frozen part, weights under two
names, and a part that some micro-batches, and some whole steps, do not reach.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.feed import Pieces
from training.loop import LoopConfig, LoopState, train

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 110
WIDTH = 97
"""Odd, so that no process gets as many rows of a matrix as the other."""
PIECES = LoopConfig(
    steps=8, lr=3e-3, warmup=1, ema=0.7, save_every=4, log_every=1, precision="fp32", weight_decay=0.1
)
"""A step is three micro-batches of unequal weight; the third is one alone."""
TURNS = LoopConfig(
    steps=4, lr=3e-3, warmup=1, ema=0.7, save_every=2, log_every=1, precision="fp32", optimizer="muon",
    accumulate=3,
)  # fmt: skip


class Toy(nn.Module):
    """Tokens to tokens, with an eye."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(11, WIDTH)
        layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.net = nn.ModuleDict({"layers": layers})  # Muon's are called net.layers.0.weight and so on
        self.eye = nn.Linear(3, WIDTH)
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.head = nn.Linear(WIDTH, 11, bias=False)
        self.head.weight = self.words.weight


def toy_loss(
    module: Any, batch: dict[str, Tensor], generator: torch.Generator, noise: float = 0.3
) -> tuple[Tensor, dict[str, float]]:
    """Next tokens, from noisy embeddings."""
    x = module.words(batch["ids"])
    x = x + noise * torch.randn(x.shape, generator=generator)
    if "seen" in batch:
        x = x + module.eye(batch["seen"])
    for layer in module.net["layers"]:
        x = x + torch.tanh(layer(module.frozen(x)))
    logits = nn.functional.linear(x, module.head.weight)  # past `forward`, as the stages do
    losses = nn.functional.cross_entropy(logits, batch["targets"], reduction="none")
    loss = (losses * batch["weights"]).sum()
    return loss, {"accuracy": float(((logits.argmax(-1) == batch["targets"]) * batch["weights"]).sum())}


def tokens(number: int, count: int, *, seen: bool) -> dict[str, Tensor]:
    """`count` tokens whose weights sum to 1."""
    generator = torch.Generator().manual_seed(number)
    ids = torch.randint(11, (count,), generator=generator)
    batch = {"ids": ids, "targets": (ids * 3 + 1) % 11, "weights": torch.full((count,), 1 / count)}
    return batch | ({"seen": torch.randn(count, 3, generator=generator)} if seen else {})


def pieces_at(step: int) -> Pieces:
    """Micro-batches of 2, 4 and 8 tokens; only the second has something to see, and none in odd steps."""
    counts = (2, 4, 8) if step % 3 != 2 else (14,)
    parts = [tokens(10 * step + i, n, seen=i == 1 and step % 2 == 0) for i, n in enumerate(counts)]
    for part, count in zip(parts, counts, strict=True):
        part["weights"] = part["weights"] * count / 14
    return Pieces(parts)


def turn_at(number: int) -> dict[str, Tensor]:
    """A batch of five."""
    return tokens(number, 5, seen=number % 2 == 0)


def run(config: LoopConfig, folder: Path) -> None:
    """Train in `folder`, resuming; leaves `result.safetensors` and a copy of every checkpoint."""

    def keep(state: LoopState) -> None:
        assert torch.isfinite(toy_loss(state.module, turn_at(0), torch.Generator())[0])
        shutil.copytree(folder, folder.parent / f"{folder.name}-{state.step}", dirs_exist_ok=True)
        made = {f"module.{name}": value.clone() for name, value in state.module.state_dict().items()}
        made |= {f"ema.{name}": value.clone() for name, value in state.ema.items()}
        save_file(made, folder / "result.safetensors")

    train(Toy(), toy_loss, pieces_at if config is PIECES else turn_at, config, folder, on_save=keep)


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module on two processes of this machine, a thread each."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "-m", "--", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


def result(folder: Path) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """What a run logged and what it made."""
    return json.loads((folder / "metrics.json").read_text()), load_file(folder / "result.safetensors")


if __name__ == "__main__":
    here = Path(sys.argv[1])
    run(PIECES, here / "pieces")
    run(PIECES, here / "pieces-resumed")
    run(TURNS, here / "turns")
