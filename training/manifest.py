"""Writes the family's manifest: every file's SHA-256, and the lineage each stage left beside its weights.

    python -m training.manifest [weights/nano]

The lineage of a part is what its export wrote (`vae.json`, `mot.json`: key `training`;
`understanding/training.json` and the like): stage, config, seed, step, results. The manifest adds
the digests of the parts it was trained on and of the data.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from training.world.dialogues.dialogue import sample_dialogue
from training.world.scenes.caption import caption
from training.world.scenes.render import render
from training.world.scenes.sample import sample_scene
from wanimage.weights import MANIFEST, PLANNERS, part_digest, part_of, write_manifest

PARENTS = {
    "vae": (), "understanding": (), "planner": (), "mot": ("understanding", "vae"), "enhancer": ("planner",),
    "keeper": ("understanding", "vae", "mot"), "refiner": ("understanding", "vae", "mot"),
}  # fmt: skip
"""What each part stands on. A part's own lineage may name others: those it was trained on."""
OPTIONAL = ("planner", "enhancer", "keeper", "refiner")
"""Parts that a family may lack: without its own, the planner is the understanding branch, and without a
keeper masks alone hold what an edit leaves alone."""
FOLDERS = ("understanding", "planner", "enhancer")
"""Parts that are folders: Hugging Face models, and the enhancer's adapter."""
DIGEST_SAMPLES = 64


def lineage_of(weights: Path, part: str) -> dict[str, Any]:
    """What the part's export wrote; raises KeyError or FileNotFoundError when it did not."""
    if part in FOLDERS:
        found: dict[str, Any] = json.loads((weights / part / "training.json").read_text())
        return found
    found = json.loads((weights / f"{part}.json").read_text())["training"]
    return found


def digests(weights: Path, parts: Iterable[str]) -> dict[str, str]:
    """The digest of each part."""
    return {part: part_digest(weights, part) for part in parts}


def data_digest() -> str:
    """SHA-256 over samples of the world: equal digests mean that the same seeds give the same data."""
    digest = hashlib.sha256()
    for seed in range(DIGEST_SAMPLES):
        rng = np.random.default_rng(seed)
        scene = sample_scene(rng, "train")
        digest.update(render(scene, 64, 64).tobytes() + caption(scene, rng).encode())
        digest.update("\n".join(turn.text for turn in sample_dialogue(rng, "train").turns).encode())
    return digest.hexdigest()


def write(weights: Path) -> str:
    """Write the manifest; return the family digest. A part whose files are those of the manifest before keeps
    its lineage, since the data it was trained on may have changed after it."""
    before = json.loads((weights / MANIFEST).read_text()) if (weights / MANIFEST).exists() else None
    data = data_digest()
    lineage = {}
    for part, parents in PARENTS.items():
        if part in OPTIONAL and not _found(weights, part):
            continue
        if before and part in before["lineage"] and _files(before, part) == _found(weights, part):
            lineage[part] = before["lineage"][part]
        else:
            # Without a planner of its own a family's understanding branch plans.
            there = [p if p != PLANNERS[0] or (weights / p).exists() else PLANNERS[-1] for p in parents]
            lineage[part] = {"parents": digests(weights, there)} | lineage_of(weights, part) | {"data": data}
    return str(write_manifest(weights, weights.name, lineage)["digest"])


def _files(manifest: dict[str, Any], part: str) -> dict[str, str]:
    return {name: file["sha256"] for name, file in manifest["files"].items() if file["part"] == part}


def _found(weights: Path, part: str) -> dict[str, str]:
    found = {file.relative_to(weights).as_posix(): file for file in weights.rglob("*") if file.is_file()}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in found.items()
        if part_of(name) == part
    }


def main() -> None:
    """Write the manifest of a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("weights", type=Path, nargs="?", default=Path("weights/nano"))
    print(write(parser.parse_args().weights))


if __name__ == "__main__":
    main()
