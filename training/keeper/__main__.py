"""`python -m training.keeper --out runs/nano/keeper --family weights/nano --export weights/nano [--resume]`.

Watches the visualizer of `--family` paint edits whose outcome the world knows, and learns from them which
cells stay (`wanimage/models/keeper.py`). Each round is a stage; what it watched is kept under `--out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from training import command, manifest
from training.export import export
from training.keeper.config import SIZES, KeeperTraining
from training.keeper.loss import Batches, keeper_loss, mistakes
from training.keeper.watching import Seen, WatchConfig, joined, load, save, watch
from training.keeping import folder_for, made_once
from training.loop import LoopState, train
from training.visualizer.evaluate import load as painter_of
from training.visualizer.sample import Painter
from wanimage.models.keeper import Keeper

JUDGED = 96
"""Edits of the val split that the last keeper is judged by."""


def main() -> None:
    """Watch, train, export."""
    parser = command.staged("keeper", __doc__, SIZES, threads=2)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"), help="folder of the painter")
    arguments, rounds = command.begun(parser, SIZES)
    # Not the sooner one of this machine: what is seen must not depend on who watches.
    precision = "fp32" if arguments.precision == "auto" else arguments.precision
    painter = painter_of(arguments.family, precision)
    parents = manifest.digests(arguments.family, manifest.PARENTS["keeper"])
    said = [asdict(each) for each in rounds]
    folder = folder_for(arguments.out / "watched", {"rounds": said, "parents": parents})
    start = Keeper.load(arguments.start) if arguments.start else None
    keeper, results = run(rounds, painter, arguments.out, folder, resume=arguments.resume, keeper=start)
    if arguments.export:
        lineage = {"rounds": said, "results": results, "parents": parents}
        export("keeper", keeper.state_dict(), keeper.to_json(), arguments.export, lineage)


def run(
    rounds: Sequence[KeeperTraining],
    painter: Painter,
    out: Path,
    watched: Path,
    *,
    resume: bool,
    keeper: Keeper | None = None,
) -> tuple[Keeper, dict[str, float]]:
    """The keeper after all rounds, each of which learns from what was seen in it and before; and how it does
    on edits of the val split, painted with what it holds itself. `keeper` is the one before the first."""
    looks = []
    for each in rounds:
        looks.append(seen(painter, each.watch, keeper, watched))
        keeper = learned(each, joined(looks), out / each.name, resume=resume)
    assert keeper is not None, "a run has a round"
    last = rounds[-1].watch
    judged = replace(last, edits=min(JUDGED, last.edits), split="val", own=True)
    return keeper, mistakes(keeper, watch(painter, judged, keeper))


def seen(painter: Painter, config: WatchConfig, keeper: Keeper | None, folder: Path) -> Seen:
    """What there is to see of the edits, watched once."""
    name = f"{config.split}-{config.edits}-{config.seed}{'-own' * config.own}.safetensors"
    made_once(folder / name, lambda path: save(watch(painter, config, keeper), path))
    return load(folder / name)


def learned(config: KeeperTraining, looks: Seen, out: Path, *, resume: bool) -> Keeper:
    """A keeper from chance, trained on looks; its averaged weights."""
    torch.manual_seed(config.loop.seed)  # here, so that what was watched before decides nothing
    batches = Batches(looks, config.loop.seed)
    state: LoopState = train(
        Keeper(config.model), keeper_loss, batches.batch_at, config.loop, out, resume=resume
    )
    keeper = Keeper(config.model)  # the trained one is in shards on several processes
    keeper.load_state_dict(state.ema)
    return keeper.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
