"""Contact sheets: each picture over a checkerboard, its prompt and verdict below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.visualizer.tasks import Task
from training.world.report import Report

TILE, TEXT, COLUMNS, LINE = 176, 84, 6, 12
PASSED, FAILED = (0, 110, 0), (190, 0, 0)


def contact_sheet(painted: Sequence[tuple[Task, Sequence[np.ndarray], Sequence[Report]]], path: Path) -> None:
    """Write a PNG: a task's references first (framed blue), then its pictures, each with a verdict; tasks
    follow one another."""
    tiles = []
    for task, pictures, reports in painted:
        tiles += [_tile(frame.draw(), "reference", (30, 60, 200)) for frame in task.references]
        for frame, picture, report in zip(task.shots, pictures, reports, strict=True):
            failures = report.failures()
            text = frame.prompt + (" | " + "; ".join(failures) if failures else "")
            tiles.append(_tile(picture, text, FAILED if failures else PASSED))
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + TEXT)), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % COLUMNS * TILE, index // COLUMNS * (TILE + TEXT)))
    sheet.save(path)


def _tile(picture: np.ndarray, text: str, color: tuple[int, int, int]) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE + TEXT), "white")
    image = Image.fromarray(picture)
    scale = (TILE - 8) / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    cells = (np.indices((image.height, image.width)) // 8).sum(axis=0) % 2
    board = Image.fromarray(np.where(cells, 255, 225).astype(np.uint8)).convert("RGB")
    board.paste(image, mask=image.getchannel("A"))
    tile.paste(board, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    draw = ImageDraw.Draw(tile)
    draw.rectangle((2, 2, TILE - 3, TILE - 3), outline=color)
    for number, line in enumerate(textwrap.wrap(text, 30)[: TEXT // LINE]):
        draw.text((4, TILE + number * LINE), line, fill=color)
    return tile
