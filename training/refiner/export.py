"""From a training state to the files that ship: refiner.safetensors (fp16) and refiner.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from wanimage.models.refiner import RefinerConfig


def export(ema: dict[str, Tensor], config: RefinerConfig, folder: Path, lineage: dict[str, Any]) -> None:
    """Write the averaged weights and their config into `folder`, each file replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "refiner.safetensors.tmp"
    save_file({name: value.detach().half().contiguous() for name, value in ema.items()}, temporary)
    temporary.replace(folder / "refiner.safetensors")
    (folder / "refiner.safetensors").chmod(0o644)  # safetensors writes 0600, and services run as another user
    temporary = folder / "refiner.json.tmp"
    temporary.write_text(json.dumps({"config": config.to_json(), "training": lineage}, indent=1) + "\n")
    temporary.replace(folder / "refiner.json")
