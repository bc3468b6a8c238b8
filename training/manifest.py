"""Lineage of the shipped family: each stage's export records how its part came about.

python -m training.manifest [weights/nano]      # rewrite the manifest over the files as they are
"""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.loop import LoopConfig
from training.world import assets
from wanimage.weights import MANIFEST, write_manifest

WORLD = Path(__file__).parent / "world"


def record(
    weights: Path,
    part: str,
    *,
    stage: str,
    loop: LoopConfig,
    model: dict[str, Any],
    results: dict[str, float],
    parents: list[str],
) -> str:
    """Enter one part's lineage into the manifest of `weights` and return the new family digest.

    `parents` names the parts this one was trained on; their file digests are pinned in the entry.
    """
    path = weights / MANIFEST
    old = json.loads(path.read_text()) if path.exists() else {"lineage": {}, "files": {}}
    pinned = {name: _digest_of_part(old["files"], name) for name in parents}
    entry = {
        "stage": stage,
        "loop": asdict(loop),
        "model": model,
        "data": data_digest(),
        "parents": pinned,
        "results": results,
    }
    return str(write_manifest(weights, weights.name, old["lineage"] | {part: entry})["digest"])


def data_digest() -> str:
    """SHA-256 over the world's source and the pinned icon package: equal digests draw equal samples."""
    digest = hashlib.sha256(f"{assets.PACKAGE}-{assets.VERSION}".encode())
    for source in sorted(WORLD.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _digest_of_part(files: dict[str, Any], part: str) -> str:
    found = sorted((name, entry["sha256"]) for name, entry in files.items() if entry["part"] == part)
    return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else ""


def main() -> None:
    """Rewrite the manifest, keeping its lineage."""
    weights = Path(sys.argv[1] if len(sys.argv) > 1 else "weights/nano")
    path = weights / MANIFEST
    lineage = json.loads(path.read_text())["lineage"] if path.exists() else {}
    print(write_manifest(weights, weights.name, lineage)["digest"])


if __name__ == "__main__":
    main()
