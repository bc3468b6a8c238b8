"""What verifiers of kinds with lettering say of it: text, font and colour, and of the paint of areas."""

import numpy as np

from training.world.pictures.lettering import Floats, Lettering, hex_of, layout, rgb
from training.world.pictures.reading import Reading, read
from training.world.report import Finding
from wanimage.conditions import COLORS

COLOR_REACH = 40.0  # most difference, on 0..255 by channel, of a colour from the one asked for


def of_block(
    canvas: Floats, block: Lettering, about: str, side: float = 2.0, font: bool = True
) -> list[Finding]:
    """Text of every line, and font and colour of the block, where at least one line is legible."""
    lines = layout(block, *canvas.shape[:2])
    readings = [read(canvas, line, side) for line in lines]
    findings = [
        Finding("text", f"{about} {line.text!r}", reading.text == line.text, repr(reading.text))
        for line, reading in zip(lines, readings, strict=True)
    ]
    seen = [r for r in readings if r.text]
    if font:
        found = _majority(seen)
        findings.append(Finding("font", about, found == block.font, found))
    color = np.mean([r.color for r in seen], 0) if seen else None
    findings.append(color_finding(about, block.color, color))
    return findings


def _majority(readings: list[Reading]) -> str:
    """The font of most letters."""
    votes: dict[str, int] = {}
    for reading in readings:
        votes[reading.font] = votes.get(reading.font, 0) + len(reading.text)
    return max(votes, key=lambda word: votes[word]) if votes else "nothing"


def color_finding(about: str, wanted: str, found: Floats | None, reach: float = COLOR_REACH) -> Finding:
    """Whether a colour is the one asked for: near it, and (a colour word) nearer than any other word."""
    if found is None:
        return Finding("color", about, False, "nothing")
    off = float(np.abs(np.asarray(found)[:3] - rgb(wanted)).max())
    nearest = min(COLORS, key=lambda word: float(np.square(np.asarray(found)[:3] - COLORS[word]).sum()))
    passed = off <= reach and (wanted not in COLORS or nearest == wanted)
    return Finding("color", about, passed, f"{hex_of(np.asarray(found)[:3])} ({nearest})")


def patch(canvas: Floats, x0: float, y0: float, x1: float, y1: float) -> Floats:
    """The median colour (RGBA, all on 0..255) of a box in pixels, less a quarter of it at every side."""
    height, width = canvas.shape[:2]
    dx, dy = (x1 - x0) / 4, (y1 - y0) / 4
    top, left = min(height - 1, max(0, int(y0 + dy))), min(width - 1, max(0, int(x0 + dx)))
    part = canvas[top : max(top + 1, int(y1 - dy)), left : max(left + 1, int(x1 - dx))].reshape(-1, 4)
    middle: Floats = np.median(part, 0) * np.array([1, 1, 1, 255], np.float32)
    return middle
