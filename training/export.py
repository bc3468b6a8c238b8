"""From a training state to the two files of a part that ships: `<part>.safetensors` (fp16), `<part>.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor


def export(
    part: str, ema: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path, lineage: Mapping[str, Any]
) -> None:
    """Write the averaged weights and their config into `folder`, each file replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, document = folder / f"{part}.safetensors", folder / f"{part}.json"
    temporary = folder / f"{weights.name}.tmp"
    save_file({name: value.detach().half().contiguous() for name, value in ema.items()}, temporary)
    temporary.chmod(0o644)  # safetensors writes 0600, and services run as another user
    temporary.replace(weights)
    temporary = folder / f"{document.name}.tmp"
    temporary.write_text(json.dumps({"config": config, "training": lineage}, indent=1) + "\n")
    temporary.replace(document)
