"""What the commands of trainings in stages have in common: their options, and which stages they ask for."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

Sizes = Mapping[str, Callable[[], Sequence[Any]]]
"""By name, the stages of a size: frozen dataclasses with a `name` and a `loop` (`LoopConfig`)."""


def staged(name: str, description: str | None, sizes: Sizes, *, threads: int) -> argparse.ArgumentParser:
    """A parser with the options of every training in stages; `threads` is the default."""
    parser = argparse.ArgumentParser(prog=f"python -m training.{name}", description=description)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, metrics and pictures")
    parser.add_argument("--export", type=Path, help="folder that gets the averaged weights at every save")
    parser.add_argument("--size", choices=list(sizes), default="nano")
    parser.add_argument("--stage", help="run this stage alone, instead of all in turn")
    parser.add_argument("--steps", type=int, help="optimiser steps of each stage; the decay follows")
    parser.add_argument("--start", type=Path, help="folder with weights that the first stage goes on from")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoints in --out")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    return parser


def begun(parser: argparse.ArgumentParser, sizes: Sizes) -> tuple[argparse.Namespace, list[Any]]:
    """The arguments and the stages that they ask for, as long as they say; sets up logging and threads. Ends
    the program when there is no such stage."""
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    stages = sizes[arguments.size]()
    names = [stage.name for stage in stages]
    if arguments.stage and arguments.stage not in names:
        parser.error(f"--stage {arguments.stage}: {arguments.size} has the stages {', '.join(names)}")
    wanted = [stage for stage in stages if arguments.stage in (None, stage.name)]
    if arguments.steps:
        wanted = [replace(stage, loop=replace(stage.loop, steps=arguments.steps)) for stage in wanted]
    return arguments, wanted
