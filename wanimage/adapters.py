"""The files of a low-rank adapter, in PEFT's format, and the checkpoint that it makes of its base."""

import json
from dataclasses import dataclass
from pathlib import Path

from wanimage.errors import Misconfigured

PREFIX = "base_model.model."
"""What PEFT puts before the names of the base's modules."""
FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MODEL = "model.safetensors"


@dataclass(frozen=True)
class Described:
    """What `adapter_config.json` says: `W -> W + alpha / rank * B A` of the matrices `targets`."""

    rank: int
    alpha: int
    targets: tuple[str, ...]
    base: str
    """Digest of the part it was made for (`wanimage.weights.part_digest`)."""

    @classmethod
    def read(cls, folder: Path, base: str | None = None) -> "Described":
        """Raises Misconfigured when it was made for another base than `base`; None takes any."""
        found = json.loads((folder / CONFIG).read_text())
        if base is not None and found["revision"] != base:
            raise Misconfigured(
                str(folder),
                f"adapts a planner of digest {found['revision'][:12]}, this one is {base[:12]}",
                "train it again with `python -m training.enhancer --stage again`",
            )
        return cls(found["r"], found["lora_alpha"], tuple(found["target_modules"]), found["revision"])


def write_merged(checkpoint: Path, adapter: Path, into: Path, base: str) -> None:
    """Write `checkpoint` with an adapter's matrices added, in fp32; its other files are linked.

    What vLLM then loads is a plain checkpoint: its own adapters would compute two more products a matrix at
    every token. Raises Misconfigured for an adapter of another base.
    """
    from safetensors.torch import load_file, save_file  # torch is slow to import

    described = Described.read(adapter, base)
    scale = described.alpha / described.rank
    tensors = load_file(checkpoint / MODEL)
    low = load_file(adapter / FILE)
    for name in [each for each in low if each.endswith(".lora_A.weight")]:
        target = name.removeprefix(PREFIX).removesuffix(".lora_A.weight") + ".weight"
        product = low[name.replace(".lora_A.", ".lora_B.")].float() @ low[name].float()
        tensors[target] = tensors[target].float() + scale * product
    into.mkdir(parents=True, exist_ok=True)
    save_file({name: each.contiguous() for name, each in tensors.items()}, into / MODEL, {"format": "pt"})
    for file in checkpoint.iterdir():
        if file.name != MODEL:
            (into / file.name).symlink_to(file.resolve())
