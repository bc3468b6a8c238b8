"""What was drawn once, kept on disk for when it returns."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def folder_for(folder: Path, decides: Mapping[str, Any]) -> Path:
    """A folder of its own in `folder` for everything that decides what is drawn: JSON values."""
    text = json.dumps(decides, sort_keys=True)
    return folder / hashlib.sha256(text.encode()).hexdigest()[:12]


def made_once(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` make the file where it is not there; it appears whole, whoever else makes it meanwhile."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    write(temporary)
    temporary.replace(path)
