"""`python -m training.world fetch|preview`: get the icons; draw scenes, stories or portraits with their
verdicts."""

import argparse
import sys
from pathlib import Path

from training.world import assets, clipart, fonts
from training.world.preview import portrait_sheet, scene_sheet, story_sheet
from training.world.sample import SPLITS
from wanimage.errors import WanError


def main() -> None:
    """Parse and run; errors end with status 1 and their way out."""
    parser = argparse.ArgumentParser(prog="python -m training.world", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    get = commands.add_parser("fetch", help="download the drawings and fonts into the cache, once")
    get.add_argument("--clipart", action="store_true", help="also the clip art that the VAE is trained on")
    sheet = commands.add_parser("preview", help="draw random scenes with their captions")
    sheet.add_argument("--out", type=Path, default=Path("out/world.png"))
    sheet.add_argument("--seed", type=int, default=0)
    sheet.add_argument("--n", type=int, default=20, help="scenes, or stories")
    sheet.add_argument("--split", default="train", choices=SPLITS)
    kind = sheet.add_mutually_exclusive_group()
    kind.add_argument("--stories", action="store_true", help="stories instead of single scenes")
    kind.add_argument("--portraits", action="store_true", help="portraits instead of scenes")
    arguments = parser.parse_args()
    try:
        if arguments.command == "fetch":
            assets.fetch()
            fonts.fetch()
            if arguments.clipart:
                clipart.fetch()
        elif arguments.portraits:
            portrait_sheet(arguments.out, arguments.n, arguments.seed)
            print(arguments.out)
        else:
            draw = story_sheet if arguments.stories else scene_sheet
            draw(arguments.out, arguments.n, arguments.seed, arguments.split)
            print(arguments.out)
    except WanError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
