"""`wan data`, `wan train`, `wan eval`: doors to `training/`, which a service's image does not have.

Everything runs as `python -m training...`: nothing of it is imported here, and its progress is its own.
"""

import importlib.util
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wanimage.cli import report
from wanimage.config import ROOT

data = typer.Typer(
    no_args_is_help=True, help="The design world that the nano family is trained and judged on."
)
world = typer.Typer(no_args_is_help=True, help="Its drawings.")
data.add_typer(world, name="world")
train = typer.Typer(no_args_is_help=True, help="Make weights.")


class Stage(StrEnum):
    """The stages of `training/`, in their order."""

    VAE = "vae"
    UNDERSTANDING = "understanding"
    VISUALIZER = "visualizer"


NANO = ROOT / "weights" / "nano"
RUNS = Path("runs") / "nano"


def run_module(module: str, *arguments: str) -> None:
    """`python -m module arguments`; ends the command with its status when it fails."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise report.Stop(
            f"{module} is not installed here (a service's image has no training/); run this in a checkout"
        )
    status = subprocess.run([sys.executable, "-m", module, *arguments]).returncode
    if status:
        raise report.Stop(f"`python -m {module} {' '.join(arguments)}` ended with status {status}")


@world.command()
@report.command
def fetch(
    clipart: Annotated[bool, typer.Option("--clipart", help="Also the VAE's clip art (25 MB).")] = False,
) -> None:
    """Download the drawings and fonts once (27 MB, open licences) into the cache."""
    run_module("training.world", "fetch", *(["--clipart"] if clipart else []))


@world.command()
@report.command
def preview(
    out: Annotated[Path, typer.Option("--out", help="The sheet.")] = Path("out/world.png"),
    of: Annotated[str, typer.Option(help="`tasks`, or a kind of picture.")] = "tasks",
    n: Annotated[int | None, typer.Option(min=1, help="Samples a task, or pictures of the kind.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draw a contact sheet of every task, with captions and the verifier's verdicts."""
    options = ["--out", str(out), "--of", of, "--seed", str(seed), *(["--n", str(n)] if n else [])]
    run_module("training.world", "preview", *options)


@world.command()
@report.command
def shards(
    out: Annotated[Path, typer.Option("--out", help="The folder of tar files.")],
    n: Annotated[int, typer.Option(min=1, help="Samples.")],
    split: Annotated[str, typer.Option(help="train, val or heldout.")] = "train",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write samples of all tasks, with pictures, captions and dialogues, as tar files for webdataset."""
    options = ["--out", str(out), "--n", str(n), "--split", split, "--seed", str(seed)]
    run_module("training.world", "shards", *options)


@train.command()
@report.command
def nano(
    runs: Annotated[Path, typer.Option(help="Checkpoints, curves and samples.")] = RUNS,
    weights: Annotated[Path, typer.Option(help="The family folder to write.")] = NANO,
) -> None:
    """Retrain the shipped family from scratch, stage after stage; a stopped run goes on where it was."""
    run_module("training.nano", "--out", str(runs), "--weights", str(weights))


@train.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@report.command
def stage(
    context: typer.Context,
    name: Annotated[Stage, typer.Argument(help="Which one.")],
) -> None:
    """One stage alone; what follows its name goes to `python -m training.NAME`, whose --help lists it."""
    run_module(f"training.{name.value}", *context.args)


@report.command
def evaluate(
    weights: Annotated[Path, typer.Option(help="The family to judge.")] = NANO,
    n: Annotated[int, typer.Option(min=1, help="Held-out pictures.")] = 100,
    out: Annotated[Path, typer.Option(help="Metrics and contact sheets.")] = Path("out/eval"),
) -> None:
    """Paint held-out scenes and judge them with the world's verifier; ends in one JSON line."""
    run_module("training.visualizer.evaluate", "--family", str(weights), "--n", str(n), "--out", str(out))
