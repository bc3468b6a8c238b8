"""Seconds and memory of a refinement by size, to show that cost is linear in pixels.

    python benchmarks/refiner_speed.py [--edges 1024,2048] [--tries 1] [--plot docs/images/refiner_cost.png]

Each size is refined in a process of its own, in both modes, on all cores, in float32; memory is that
process's peak. The share of encoder, transformer and decoder is measured beside it.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GOALS = {2048: 25.0, 4096: 100.0}
"""Seconds on two cores."""
MEMORY_GB = 6.0
SPREAD = 0.15
"""How far seconds a megapixel may differ from their mean over sizes."""


def main() -> None:
    """Run every size, print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--edges", default="1024,1536,2048,3072,4096")
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--one", help="internal: one size in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.family, int(arguments.one), arguments.tries)))
        return
    rows = []
    for edge in map(int, arguments.edges.split(",")):
        command = [sys.executable, __file__, "--one", str(edge), "--tries", str(arguments.tries)]
        command += ["--family", str(arguments.family)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(_line(rows[-1]), flush=True)
    print(json.dumps({"benchmark": "refiner_speed", "rows": rows, "spread": _spreads(rows)}))
    if arguments.plot:
        plot(rows, arguments.plot)


def measured(family: Path, edge: int, tries: int) -> dict[str, Any]:
    """Seconds of each mode at one long edge, of its parts, and the peak memory."""
    import numpy as np
    import torch

    from wanimage.models.refiner import Refiner
    from wanimage.models.understanding import Understanding
    from wanimage.models.vae import Vae
    from wanimage.refining import MODES, Mode, enlargement_of, read_prompts, refine

    torch.set_num_threads(2)
    vae, refiner = Vae.load(family).to(memory_format=torch.channels_last), Refiner.load(family)
    prompt = read_prompts(
        Understanding.load(family / "understanding"), refiner, ["a red fox on a green hill"]
    )
    source = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    source = np.asarray(source.repeat(16, 0).repeat(16, 1))
    row: dict[str, Any] = {"edge": edge, "megapixels": edge * edge / 1e6}
    spent: dict[str, float] = {}
    _timed(vae, "encode", spent)
    _timed(vae, "decode", spent)
    _timed(refiner, "clean", spent)
    for mode in Mode:
        seconds = []
        for seed in range(tries):
            spent.clear()
            started = time.perf_counter()
            refine(vae, refiner, enlargement_of(source, (edge, edge)), prompt, MODES[mode], seed)
            seconds.append(time.perf_counter() - started)
        row[mode.value] = round(sorted(seconds)[len(seconds) // 2], 2)
        row[f"{mode.value} parts"] = {name: round(value, 2) for name, value in spent.items()}
    # Kilobytes on Linux.
    row["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return row


def _timed(owner: Any, name: str, spent: dict[str, float]) -> None:
    """Add the time of a method's calls to `spent`."""
    method = getattr(owner, name)

    def timed(*args: Any) -> Any:
        started = time.perf_counter()
        found = method(*args)
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - started
        return found

    setattr(owner, name, timed)


def _line(row: dict[str, Any]) -> str:
    modes = ("repair", "high_fidelity")
    said = [f"{mode} {row[mode]:6.1f} s ({row[mode] / row['megapixels']:.2f} s/MP)" for mode in modes]
    goal = f", goal {GOALS[row['edge']]:.0f} s" if row["edge"] in GOALS else ""
    return f"{row['edge']:5} px: {', '.join(said)}, peak {row['peak_gb']:.1f} of {MEMORY_GB:.0f} GB{goal}"


def _spreads(rows: list[dict[str, Any]]) -> dict[str, float]:
    """By mode, the largest deviation of seconds a megapixel from their mean; the goal is SPREAD."""
    found = {}
    for mode in ("repair", "high_fidelity"):
        each = [row[mode] / row["megapixels"] for row in rows]
        mean = sum(each) / len(each)
        found[mode] = round(max(abs(value / mean - 1) for value in each), 3)
    return found


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds over megapixels, with a line through the origin."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    size = [row["megapixels"] for row in rows]
    for mode in ("repair", "high_fidelity"):
        seconds = [row[mode] for row in rows]
        slope = sum(s * m for s, m in zip(seconds, size, strict=True)) / sum(m * m for m in size)
        (line,) = axes.plot(size, seconds, "o", label=f"{mode.replace('_', ' ')}: {slope:.2f} s a megapixel")
        axes.plot([0, max(size)], [0, slope * max(size)], color=line.get_color(), linewidth=1)
    axes.set(xlabel="megapixels", ylabel="seconds", title="Refining, two cores")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
