"""`python -m training.world fetch|preview`: get the icons; draw random scenes with their captions."""

import argparse
import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.world import assets
from training.world.caption import caption
from training.world.render import render
from training.world.sample import sample_scene
from wanimage.errors import WanError

SIDE, LINES, MARGIN = 160, 5, 8  # pixels of a picture, lines of its caption, pixels between pictures
LINE_PX, LINE_CHARACTERS = 12, 27
CHECKER = (225, 250)  # greys behind transparent pictures
CHECKER_PX = 10


def main() -> None:
    """Parse and run; errors end with status 1 and their way out."""
    parser = argparse.ArgumentParser(prog="python -m training.world", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the icons into the cache, once")
    sheet = commands.add_parser("preview", help="draw random scenes with their captions")
    sheet.add_argument("--out", type=Path, default=Path("out/world.png"))
    sheet.add_argument("--seed", type=int, default=0)
    sheet.add_argument("--n", type=int, default=20, help="scenes")
    sheet.add_argument("--split", default="train", choices=["train", "val", "heldout"])
    arguments = parser.parse_args()
    try:
        if arguments.command == "fetch":
            assets.fetch()
        else:
            preview(arguments.out, arguments.n, arguments.seed, arguments.split)
            print(arguments.out)
    except WanError as error:
        sys.exit(f"error: {error}")


def preview(out: Path, count: int, seed: int, split: str = "train", columns: int = 5) -> None:
    """Write a PNG of `count` scenes of a split, each above its caption; equal seeds give equal sheets."""
    rows = -(-count // columns)
    cell_height, cell_width = SIDE + LINES * LINE_PX + MARGIN, SIDE + MARGIN
    sheet = Image.new("RGB", (columns * cell_width + MARGIN, rows * cell_height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    rng = np.random.default_rng(seed)
    for index in range(count):
        scene = sample_scene(rng, split)
        left = MARGIN + index % columns * cell_width
        top = MARGIN + index // columns * cell_height
        picture = Image.fromarray(render(scene, SIDE, SIDE), "RGBA")
        sheet.paste(_checkerboard(), (left, top))
        sheet.paste(picture, (left, top), picture)
        lines = textwrap.wrap(caption(scene, rng), LINE_CHARACTERS, max_lines=LINES, placeholder=" ...")
        for number, line in enumerate(lines):
            draw.text((left, top + SIDE + number * LINE_PX), line, fill="black")
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)


def _checkerboard() -> Image.Image:
    rows, columns = np.indices((SIDE, SIDE)) // CHECKER_PX
    return Image.fromarray(np.array(CHECKER, np.uint8)[(rows + columns) % 2]).convert("RGB")


if __name__ == "__main__":
    main()
