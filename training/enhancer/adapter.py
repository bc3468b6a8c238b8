"""A low-rank adapter on the planner: a fresh one, its file in PEFT's format, and one read back.

What is unusual here: a matrix is reparametrised (`W + alpha / rank * B A`), not wrapped, so that whatever
reads `layer.weight` reads the sum: the fast decoding of `training/understanding/rollout.py` among others.
PEFT itself is not needed for this, and would bring accelerate along.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from wanimage.adapters import CONFIG, FILE, PREFIX, Described


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Which matrices of the decoder are adapted, and how much."""

    rank: int = 16
    alpha: int = 32
    """The adapter counts alpha / rank times."""
    targets: tuple[str, ...] = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Not the keys': with them the file would be over its .85 MB."""


class LowRank(nn.Module):
    """`W -> W + scale B A`: A `[rank, in]` starts at random, B `[out, rank]` at zero."""

    def __init__(self, weight: Tensor, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        out, inner = weight.shape
        bound = 1 / math.sqrt(inner)
        self.A = nn.Parameter(torch.empty(config.rank, inner).uniform_(-bound, bound, generator=generator))
        self.B = nn.Parameter(torch.zeros(out, config.rank))
        self.scale = config.alpha / config.rank

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted matrix."""
        return weight + self.scale * (self.B @ self.A)


def base_of(family: Path) -> Path:
    """Folder of the model that a family's adapter is for: its planner, else the branch that is both."""
    return family / ("planner" if (family / "planner").is_dir() else "understanding")


def adapt(model: Any, config: AdapterConfig, seed: int = 0) -> None:
    """Freeze a Qwen3-VL and put a fresh adapter on its decoder; the model computes what it did."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for _, layer in _targets(model, config):
        parametrize.register_parametrization(
            layer, "weight", LowRank(layer.weight, config, generator), unsafe=True
        )


def merge(model: Any) -> None:
    """Make the adapter part of the matrices; none is left."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def save(model: Any, ema: dict[str, Tensor] | None, config: AdapterConfig, base: str, folder: Path) -> None:
    """Write the adapter in fp16; `ema` maps names of the model's parameters to averages that replace them.

    `base` is the digest of the part it adapts (`wanimage.weights.part_digest`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, layer in _targets(model, config):
        for key in ("A", "B"):
            path = f"{name}.parametrizations.weight.0.{key}"
            value = ema[path] if ema else getattr(layer.parametrizations.weight[0], key)
            tensors[f"{PREFIX}{name}.lora_{key}.weight"] = value.detach().half().contiguous()
    save_file(tensors, folder / FILE, metadata={"format": "pt"})
    (folder / FILE).chmod(0o644)
    described = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": config.rank, "lora_alpha": config.alpha,
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": sorted(config.targets), "base_model_name_or_path": "planner", "revision": base,
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(described, indent=1) + "\n")


def load(model: Any, folder: Path, base: str | None) -> AdapterConfig:
    """Put a saved adapter on a model. Raises `Misconfigured` when it was made for another base.

    `base` is that of the model; None takes whatever it was made for, to train it further.
    """
    described = Described.read(folder, base)
    config = AdapterConfig(rank=described.rank, alpha=described.alpha, targets=described.targets)
    adapt(model, config)
    tensors = load_file(folder / FILE)
    with torch.no_grad():
        for name, layer in _targets(model, config):
            for key in ("A", "B"):
                own = getattr(layer.parametrizations.weight[0], key)
                own.copy_(tensors[f"{PREFIX}{name}.lora_{key}.weight"])
    return config


def _targets(model: Any, config: AdapterConfig) -> list[tuple[str, Any]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if ".language_model.layers." in name and name.rpartition(".")[2] in config.targets
    ]
