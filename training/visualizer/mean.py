"""Weights between two runs: `python -m training.visualizer.mean BEFORE AFTER --share 0.5 --export OUT`.

A run that starts from weights wins some capabilities and loses others; a mean of the weights at its two ends
can keep more of both than either (model soups and WiSE-FT, Wortsman et al. 2022). Evaluate it: it need not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.export import export
from wanimage.models.mot import Mot


def main() -> None:
    """Parse, mean, export."""
    parser = argparse.ArgumentParser(prog="python -m training.visualizer.mean", description=__doc__)
    parser.add_argument("before", type=Path, help="folder with mot.safetensors and mot.json")
    parser.add_argument("after", type=Path, help="the same of the run that started there")
    parser.add_argument("--share", type=float, default=0.5, help="of the weights after, 0 to 1")
    parser.add_argument("--export", type=Path, required=True)
    arguments = parser.parse_args()
    if not 0 <= arguments.share <= 1:
        parser.error(f"--share {arguments.share}: give 0 to 1")
    mean(arguments.before, arguments.after, arguments.share, arguments.export)


def mean(before: Path, after: Path, share: float, out: Path) -> None:
    """Export `(1 - share) before + share after`, with the lineage of both.

    Raises ValueError where they are not of one model.
    """
    begun, ended = (json.loads((folder / "mot.json").read_text()) for folder in (before, after))
    if begun["config"] != ended["config"]:
        raise ValueError(f"{before} and {after} hold models of other sizes")
    first, second = (Mot.load(folder).state_dict() for folder in (before, after))
    tensors = {name: (1 - share) * value + share * second[name] for name, value in first.items()}
    run = {name: said for name, said in ended["training"].items() if name != "before"}
    lineage = {"stage": "visualizer/mean", "share": share, "after": run, "before": begun["training"]}
    export("mot", tensors, begun["config"], out, lineage)


if __name__ == "__main__":
    main()
