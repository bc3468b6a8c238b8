"""The recipe of the shipped family: one stage after the other, each resumable, seeded and with a loss plot.

    python -m training.nano [--out runs/nano] [--weights weights/nano]       # make train-nano

| stage | learns | on two cores |
|---|---|---|
| understanding | to plan: text, pictures, markup | 60 min |
| vae | pictures to latents and back, taught by the understanding's vision tower | 160 min |
| visualizer | to draw what was planned, on the two frozen ones | 150 min |
| keeper | what an edit leaves alone, from watching the visualizer | 15 min |
| enhancer | to describe what is asked for, as an adapter on the first | 15 min |
| refiner | to enlarge and repair what the others draw | 120 min |

A stage that was stopped goes on from its last checkpoint when this is run again; a finished one is exported
again in seconds. The manifest is written last, over everything.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from training import manifest

STAGES = ("understanding", "vae", "visualizer", "keeper", "enhancer", "refiner")
FIRST = ("understanding", "vae")
"""Those that the others stand on, as exported just before."""


def main() -> None:
    """Run all stages; stop at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/nano"), help="checkpoints, metrics and plots")
    parser.add_argument("--weights", type=Path, default=Path("weights/nano"), help="where the family goes")
    parser.add_argument("--size", choices=["nano", "tiny"], default="nano", help="tiny: a try-out of seconds")
    arguments = parser.parse_args()
    for stage in STAGES:
        command = [sys.executable, "-m", f"training.{stage}", "--out", str(arguments.out / stage)]
        command += ["--size", arguments.size, "--resume", "--export", str(arguments.weights)]
        if stage not in FIRST:
            command += ["--family", str(arguments.weights)]
        if stage == "enhancer":
            command += ["--stage", "sft"]
        print(f"== {stage}: {' '.join(command[1:])}", flush=True)
        # A process each: the memory of one stage is free before the next begins.
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)
    print(f"== family {manifest.write(arguments.weights)}")


if __name__ == "__main__":
    main()
