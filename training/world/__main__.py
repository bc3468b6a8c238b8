"""`python -m training.world fetch|preview|shards`: get drawings and fonts; look at them; write samples."""

import argparse
import os
import sys
from pathlib import Path

from training.world.assets.fetching import fetch
from training.world.preview import kind_sheet, task_sheet
from training.world.scenes.sample import SPLITS
from training.world.shards import Recipe, write_shards
from training.world.tasks.pictures import KINDS
from wanimage.errors import WanError


def main() -> None:
    """Parse and run; errors end with status 1 and their way out."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "fetch":
            fetch(with_clipart=arguments.clipart)
        elif arguments.command == "shards":
            recipe = Recipe(
                count=arguments.n, seed=arguments.seed, split=arguments.split, cell=arguments.cell
            )
            print(write_shards(arguments.out, recipe, arguments.processes))
        else:
            _preview(arguments)
    except WanError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.world", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    get = commands.add_parser("fetch", help="download the drawings and fonts into the cache, once")
    get.add_argument("--clipart", action="store_true", help="also the clip art that the VAE is trained on")
    sheet = commands.add_parser("preview", help="a contact sheet with captions and verdicts")
    sheet.add_argument("--out", type=Path, default=Path("out/world.png"))
    sheet.add_argument("--of", default="tasks", choices=["tasks", *KINDS], help="every task, or one kind")
    sheet.add_argument("--n", type=int, help="samples a task (1), or pictures of the kind (21)")
    shards = commands.add_parser("shards", help="write samples of all tasks as tar files for webdataset")
    shards.add_argument("--out", type=Path, required=True)
    shards.add_argument("--n", type=int, required=True, help="samples")
    shards.add_argument("--cell", type=int, default=16, help="pixels a cell; a square picture has 8 x 8")
    shards.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    for command in (sheet, shards):
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--split", default="train", choices=SPLITS)
    return parser


def _preview(arguments: argparse.Namespace) -> None:
    if arguments.of == "tasks":
        task_sheet(arguments.out, arguments.n or 1, arguments.seed, arguments.split)
    else:
        kind_sheet(arguments.out, arguments.of, arguments.n or 21, arguments.seed, arguments.split)
    print(arguments.out)


if __name__ == "__main__":
    main()
