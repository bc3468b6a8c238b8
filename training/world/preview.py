"""Contact sheets: pictures of a kind above their captions, or samples of tasks, each with its verdict."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.world.assets import fonts
from training.world.kinds import Pixels
from training.world.report import Report
from training.world.tasks import TASKS, Frame, Sample, sample_task
from training.world.tasks.pictures import kind_of

SIDE, LINES, MARGIN = 160, 7, 8  # longest side of a picture, lines of its text, pixels between pictures
COLUMNS = 7
FONT_PX, LINE_PX = 10, 12
CHECKER = (225, 250)  # greys behind transparent pictures
CHECKER_PX = 10
PASSED, FAILED = "#2a8f3c", "#d03030"
SHARP = 2  # pictures are drawn that much larger and scaled down


@dataclass(frozen=True)
class Cell:
    """A picture (straight RGBA uint8 `[H, W, 4]`) or none, the text below it, and its verdict."""

    picture: Pixels | None
    text: str
    report: Report | None = None


def kind_sheet(out: Path, name: str, count: int = 21, seed: int = 0, split: str = "train") -> None:
    """Write a PNG of random pictures of a kind with their captions; equal seeds give equal sheets."""
    rng, kind = np.random.default_rng(seed), kind_of(name)
    cells = []
    for _ in range(count):
        graph = kind.sample(rng, split, (1, 1))
        picture = kind.draw(graph, SHARP * SIDE, SHARP * SIDE)
        cells.append(Cell(picture, kind.phrase(graph), kind.verify(graph, picture)))
    write_sheet(out, cells)


def task_sheet(out: Path, count: int = 1, seed: int = 0, split: str = "train") -> None:
    """Write a PNG with samples of every task: the request, what the user brings, and the results."""
    cells: list[Cell] = []
    for index, name in enumerate(TASKS):
        for number in range(count):
            sample = sample_task(np.random.default_rng([seed, index, number]), split, name)
            row = list(_cells(sample))
            if len(cells) % COLUMNS + len(row) > COLUMNS:  # a sample starts a row where it does not fit
                cells += [Cell(None, "")] * (-len(cells) % COLUMNS)
            cells += row
    write_sheet(out, cells)


def _cells(sample: Sample) -> Iterator[Cell]:
    """A cell of words with the verdict, the inputs, the outputs."""
    report = sample.verify([frame.draw() for frame in sample.outputs]) if sample.outputs else None
    said = [f"{sample.task}: {sample.request}"]
    if sample.answer:
        said += [*sample.answer.steps, f"Answer: {sample.answer.reply}"]
    if sample.accepted:
        said.append(f"May be read as: {'; '.join(reading.words for reading in sample.accepted)}")
    yield Cell(None, "\n".join(said), report)
    for frame in sample.inputs:
        yield Cell(_drawn(frame), "from the user")
    for frame in sample.outputs:
        yield Cell(_drawn(frame), frame.prompt)


def _drawn(frame: Frame) -> Pixels:
    return frame.draw(max(1, round(SHARP * SIDE / max(frame.grid))))


def write_sheet(out: Path, cells: Sequence[Cell], columns: int = COLUMNS) -> None:
    """Write cells in rows as a PNG; a checked one gets a green or red bar, and lines of what failed."""
    rows = -(-len(cells) // columns)
    cell_height, cell_width = SIDE + LINES * LINE_PX + MARGIN, SIDE + MARGIN
    sheet = Image.new("RGB", (columns * cell_width + MARGIN, rows * cell_height + MARGIN), "white")
    for index, cell in enumerate(cells):
        left, top = MARGIN + index % columns * cell_width, MARGIN + index // columns * cell_height
        _write_cell(sheet, cell, left, top)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)


def _write_cell(sheet: Image.Image, cell: Cell, left: int, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    room = LINES
    if cell.picture is None:
        room += SIDE // LINE_PX
    else:
        picture = _shrunk(cell.picture)
        sheet.paste(_checkerboard(picture.height, picture.width), (left, top))
        sheet.paste(picture, (left, top), picture)
        top += picture.height
    if cell.report is not None:
        bar = (left, top, left + SIDE - 1, top + 2)
        draw.rectangle(bar, fill=PASSED if cell.report.passed else FAILED)
    lines = [line for part in cell.text.splitlines() for line in textwrap.wrap(part, 29)]
    lines += cell.report.failures() if cell.report else []
    for number, line in enumerate(lines[:room]):
        face = next((w for w in ("sans", "serif", "chinese") if fonts.supports(w, line)), "sans")
        draw.text((left, top + 4 + number * LINE_PX), line, fill="black", font=fonts.font(face, FONT_PX))


def _shrunk(picture: Pixels) -> Image.Image:
    """At most SIDE pixels a side; averaged premultiplied, so that clear pixels do not bleed."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    soft = Image.fromarray(picture, "RGBA").convert("RGBa").resize(size, Image.Resampling.LANCZOS)
    return soft.convert("RGBA")


def _checkerboard(height: int, width: int) -> Image.Image:
    rows, columns = np.indices((height, width)) // CHECKER_PX
    return Image.fromarray(np.array(CHECKER, np.uint8)[(rows + columns) % 2]).convert("RGB")
