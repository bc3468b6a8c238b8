"""From a training state to the files that ship: mot.safetensors (fp16) and mot.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from wanimage.models.mot import MotConfig


def export(ema: dict[str, Tensor], config: MotConfig, folder: Path, lineage: dict[str, Any]) -> None:
    """Write the averaged weights and their config into `folder`, each file replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "mot.safetensors.tmp"
    save_file({name: value.detach().half().contiguous() for name, value in ema.items()}, temporary)
    temporary.replace(folder / "mot.safetensors")
    document = {"config": config.to_json(), "training": lineage}
    temporary = folder / "mot.json.tmp"
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(folder / "mot.json")
