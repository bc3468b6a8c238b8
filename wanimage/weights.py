"""Weight families: a folder of files named by one manifest, and the digest that ties services together.

`manifest.json` names every file with its SHA-256 and size, and the lineage of each part (stage, config,
seed, data digest, parents). The family digest is the SHA-256 of the manifest's canonical JSON without the
digest itself. Loading verifies each file, so a half-copied family never serves.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of the manifest's layout."""


PLANNERS = ("planner", "understanding")
"""The first of these parts that a family has plans; it is what an enhancer adapts."""


class WeightsError(RuntimeError):
    """The family folder cannot be used; says which file and what to do."""


@dataclass(frozen=True)
class Family:
    """A verified family on disk."""

    path: Path
    digest: str
    """64 hexadecimal characters; what jobs and events carry."""
    manifest: dict[str, Any]

    @classmethod
    def load(cls, path: Path, *, parts: tuple[str, ...] | None = None) -> "Family":
        """Read and verify the manifest and the files of `parts` (all when None)."""
        manifest_path = path / MANIFEST
        if not manifest_path.is_file():
            raise WeightsError(
                f"{path} has no {MANIFEST}; set WAN_WEIGHTS or make a family with `make train-nano`"
            )
        manifest = json.loads(manifest_path.read_text())
        if manifest.get("format") != FORMAT:
            raise WeightsError(
                f"{manifest_path}: format {manifest.get('format')!r}, this version reads {FORMAT}"
            )
        if digest_of(manifest) != manifest["digest"]:
            raise WeightsError(
                f"{manifest_path}: edited by hand (digest differs); run `python -m training.manifest`"
            )
        for name, entry in manifest["files"].items():
            if parts is None or entry["part"] in parts:
                _verify(path / name, entry)
        return cls(path, manifest["digest"], manifest)

    @property
    def planner(self) -> Path:
        """Folder of the planner's model: the first part of PLANNERS that the family has."""
        return self.path / next((part for part in PLANNERS if part in self.parts), PLANNERS[-1])

    @property
    def parts(self) -> frozenset[str]:
        """Names of the parts it has."""
        return frozenset(entry["part"] for entry in self.manifest["files"].values())

    @property
    def base_cells(self) -> int:
        """Latent cells of a picture whose size nobody named."""
        return int(self.manifest["grid"]["base_cells"])

    @property
    def max_cells(self) -> int:
        """Most latent cells a picture may have before refinement."""
        return int(self.manifest["grid"]["max_cells"])

    def config(self, part: str) -> dict[str, Any]:
        """The JSON config of a part: `vae`, `mot`."""
        config: dict[str, Any] = json.loads((self.path / f"{part}.json").read_text())
        return config


def digest_of(manifest: dict[str, Any]) -> str:
    """The family digest a manifest should carry."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def part_of(name: str) -> str:
    """Which part a file belongs to: its folder, or its stem."""
    return name.split("/")[0].split(".")[0]


def part_digest(path: Path, part: str) -> str:
    """SHA-256 over the files of a family's part, in order of their names."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file() and part_of(file.relative_to(path).as_posix()) == part:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def write_manifest(
    path: Path, name: str, lineage: dict[str, Any], *, base_cells: int = 64, max_cells: int = 256
) -> dict[str, Any]:
    """(Re)write `path`/manifest.json over all files of the family; return it."""
    files = {}
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path).as_posix()
        if file.is_file() and relative != MANIFEST and file.suffix != ".md":
            files[relative] = {
                "part": part_of(relative), "sha256": _sha256(file), "size": file.stat().st_size,
            }  # fmt: skip
    grid = {"base_cells": base_cells, "max_cells": max_cells}
    manifest: dict[str, Any] = {
        "format": FORMAT, "family": name, "grid": grid, "files": files, "lineage": lineage,
    }  # fmt: skip
    manifest["digest"] = digest_of(manifest)
    temporary = path / (MANIFEST + ".tmp")
    temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    temporary.replace(path / MANIFEST)
    return manifest


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(file: Path, entry: dict[str, Any]) -> None:
    if not file.is_file():
        raise WeightsError(f"{file} is missing; check out the repository again or run `make train-nano`")
    actual = _sha256(file)
    if actual != entry["sha256"]:
        raise WeightsError(
            f"{file}: SHA-256 {actual[:12]}, the manifest says {entry['sha256'][:12]}; restore the file"
        )
