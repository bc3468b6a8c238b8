"""Contact sheets: scenes above their captions, stories in rows, each with the verifier's verdict."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.world import portraits
from training.world.caption import caption
from training.world.dialogue import sample_dialogue
from training.world.portraits import sample_portrait
from training.world.render import render
from training.world.sample import sample_scene
from training.world.scene import Scene
from training.world.verify import verify

SIDE, LINES, MARGIN = 160, 6, 8  # longest side of a picture, lines of its text, pixels between pictures
LINE_PX, LINE_CHARACTERS = 12, 27
CHECKER = (225, 250)  # greys behind transparent pictures
CHECKER_PX = 10
PASSED, FAILED = "#2a8f3c", "#d03030"


@dataclass(frozen=True)
class Cell:
    """A picture (straight RGBA uint8 `[H, W, 4]`), the text below it, and the scene it is checked against."""

    picture: NDArray[np.uint8]
    text: str
    scene: Scene | None = None


def scene_sheet(out: Path, count: int = 20, seed: int = 0, split: str = "train", columns: int = 5) -> None:
    """Write a PNG of random scenes of a split with their captions; equal seeds give equal sheets."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        scene = sample_scene(rng, split)
        cells.append(Cell(render(scene, SIDE, SIDE), caption(scene, rng), scene))
    write_sheet(out, cells, columns)


def story_sheet(out: Path, count: int = 4, seed: int = 0, split: str = "train", columns: int = 5) -> None:
    """Write a PNG of stories: the request, then each picture above its prompt."""
    rng = np.random.default_rng(seed)
    cells: list[Cell] = []
    for _ in range(count):
        ask, told = sample_dialogue(rng, split, "story").turns
        blank = np.zeros((SIDE, SIDE, 4), np.uint8)
        cells.append(Cell(blank, ask.text))
        for picture in told.pictures:
            height, width = (side * SIDE // max(picture.grid) for side in picture.grid)
            cells.append(Cell(render(picture.scene, height, width), picture.prompt, picture.scene))
        cells += [Cell(blank, "")] * (-len(cells) % columns)
    write_sheet(out, cells, columns)


def portrait_sheet(out: Path, count: int = 20, seed: int = 0, columns: int = 5) -> None:
    """Write a PNG of random portraits with their captions, and what the verifier misreads."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        portrait = sample_portrait(rng)
        picture = portraits.draw(portrait, SIDE)
        wrong = portraits.verify(portrait, picture).failures()
        cells.append(Cell(picture, "; ".join([portrait.phrase, *wrong])))
    write_sheet(out, cells, columns)


def write_sheet(out: Path, cells: Sequence[Cell], columns: int = 5) -> None:
    """Write cells in rows as a PNG; a checked picture gets a green or red bar with what failed."""
    rows = -(-len(cells) // columns)
    cell_height, cell_width = SIDE + LINES * LINE_PX + MARGIN, SIDE + MARGIN
    sheet = Image.new("RGB", (columns * cell_width + MARGIN, rows * cell_height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for index, cell in enumerate(cells):
        left, top = MARGIN + index % columns * cell_width, MARGIN + index // columns * cell_height
        height, width = cell.picture.shape[:2]
        picture = Image.fromarray(cell.picture, "RGBA")
        if cell.picture[..., 3].any():
            sheet.paste(_checkerboard(height, width), (left, top))
        sheet.paste(picture, (left, top), picture)
        lines = textwrap.wrap(cell.text, LINE_CHARACTERS)
        if cell.scene is not None:
            report = verify(cell.scene, cell.picture)
            bar = (left, top + height, left + width - 1, top + height + 2)
            draw.rectangle(bar, fill=PASSED if report.passed else FAILED)
            lines += report.failures()
        for number, line in enumerate(lines[:LINES]):
            draw.text((left, top + height + 4 + number * LINE_PX), line, fill="black")
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)


def _checkerboard(height: int, width: int) -> Image.Image:
    rows, columns = np.indices((height, width)) // CHECKER_PX
    return Image.fromarray(np.array(CHECKER, np.uint8)[(rows + columns) % 2]).convert("RGB")
