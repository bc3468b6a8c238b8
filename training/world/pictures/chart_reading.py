"""Values read back from the pixels of a chart: ends of bars, heights of markers, shares of a ring.

A value stands for the graph's within `TOLERANCE`, in percents of the axis or of the circle.
"""

import math

import numpy as np

from training.world import kinds
from training.world.pictures import charts
from training.world.pictures.charts import Chart, Plan, plan
from training.world.pictures.lettering import Floats, Pixels, rgb
from training.world.pictures.text_findings import color_finding, of_block, patch
from training.world.pixels import canvas_of
from training.world.report import Finding, Report

TOLERANCE = 3.0
GROUND_REACH = 12.0  # most difference (0..255) of the ground's colour
SAMPLES = 720  # around a ring
LABEL_SIDE = 0.15  # ems beside a label that belong to it


def verify(chart: Chart, image: Pixels) -> Report:
    """Title, font, labels, form, values, colours and ground of a chart."""
    canvas = canvas_of(image)
    where = plan(chart, *canvas.shape[:2])
    ground = _ground(canvas)
    findings = [color_finding("the background", chart.ground, ground, GROUND_REACH)]
    findings += of_block(canvas, where.title, "the title")
    for block in where.labels:
        findings += [
            f for f in of_block(canvas, block, "the label", LABEL_SIDE, font=False) if f.property == "text"
        ]
    read = _read_circle if chart.round else _read_axes
    form, found = read(chart, where, canvas, ground)
    findings.append(Finding("form", "the chart", form == chart.form, form))
    for i, (entry, (value, color)) in enumerate(zip(chart.entries, found, strict=True)):
        right = abs(value - entry.value) <= TOLERANCE
        findings.append(Finding("value", entry.label, right, f"{value:.0f}"))
        if i == 0 or chart.form != "line":
            findings.append(color_finding(f"the {chart.form} of {entry.label}", chart.color(i), color))
    for key, entry in zip(where.keys, chart.entries, strict=False):
        findings.append(color_finding(f"the legend of {entry.label}", entry.color, patch(canvas, *key)))
    return Report(tuple(findings))


def _ground(canvas: Floats) -> Floats:
    """Median of the picture's border."""
    rim = np.concatenate([canvas[0], canvas[-1], canvas[:, 0], canvas[:, -1]])
    middle: Floats = np.median(rim, 0)
    return middle


def _cover(pixels: Floats, ground: Floats, color: Floats) -> Floats:
    """Coverage 0..1 of pixels `[..., 4]` by a colour over the ground."""
    step = color[:3] - ground[:3]
    return np.asarray(np.clip((pixels[..., :3] - ground[:3]) @ step / max(float(step @ step), 1.0), 0, 1))


Found = tuple[str, list[tuple[float, Floats | None]]]


def _read_axes(chart: Chart, where: Plan, canvas: Floats, ground: Floats) -> Found:
    """The form, and value and colour of every entry, of bars or a line."""
    lying = chart.form == "horizontal bar"
    x0, y0, x1, y1 = where.plot
    length, base = (x1 - x0, x0) if lying else (y1 - y0, y1)
    view = canvas.transpose(1, 0, 2) if lying else canvas[::-1]  # rows now run away from the axis
    start = base if lying else canvas.shape[0] - y1
    found: list[tuple[float, Floats | None]] = []
    bars = 0
    for i in range(len(chart.entries)):
        middle, half = where.slot(chart, i)
        near = 0.5 * half if chart.form != "line" else max(0.6, 0.25 * charts.MARKER * where.unit)
        first = max(0, round(middle - near))
        strip = np.median(view[:, first : max(first + 1, round(middle + near))], 1)
        bars += _is_bar(strip, start, length, ground)
        measure = _marker if chart.form == "line" else _bar
        value, color = measure(strip, start, length, ground)
        found.append((value, color))
    form = chart.form if chart.form != "line" else "line"
    if (bars > len(chart.entries) / 2) != (chart.form != "line"):
        form = "bar" if chart.form == "line" else "no bars"
    return form, found


def _far(strip: Floats, ground: Floats) -> Floats:
    return np.asarray(np.abs(strip[:, :3] - ground[:3]).max(1))


def _is_bar(strip: Floats, start: float, length: float, ground: Floats) -> bool:
    """Whether ink stands on the axis."""
    rows = slice(round(start + 0.025 * length), round(start + 0.065 * length) + 1)
    return bool(np.median(_far(strip[rows], ground)) > 40)


def _bar(strip: Floats, start: float, length: float, ground: Floats) -> tuple[float, Floats | None]:
    """Length of the ink that stands on the axis, in percent, and its colour."""
    rows = slice(round(start + 0.025 * length), round(start + 0.065 * length) + 1)
    color = np.median(strip[rows], 0)
    if np.abs(color[:3] - ground[:3]).max() < 40:
        return 0.0, None
    first = round(start)
    cover = _cover(strip[first : math.ceil(start + 1.05 * length)], ground, color)
    skip = max(1, round(0.02 * length))  # the axis itself
    gaps = np.flatnonzero(cover[skip:] < 0.15)
    end = skip + int(gaps[0]) if len(gaps) else len(cover)
    return 100 * (first - start + skip + float(cover[skip:end].sum())) / length, color


def _marker(strip: Floats, start: float, length: float, ground: Floats) -> tuple[float, Floats | None]:
    """Height of the marker's middle in percent, and its colour."""
    skip = round(start + 0.02 * length)
    rows = strip[skip : math.ceil(start + 1.06 * length)]
    far = _far(rows, ground)
    if len(far) == 0 or far.max() < 40:
        return 0.0, None
    color = np.median(rows[far > 0.8 * far.max()], 0)
    cover = _cover(rows, ground, color)
    cover[cover < 0.2] = 0
    middle = float((cover * (np.arange(len(rows)) + 0.5)).sum() / cover.sum())
    return 100 * (skip + middle - start) / length, color


def _read_circle(chart: Chart, where: Plan, canvas: Floats, ground: Floats) -> Found:
    """The form, and share and colour of every part: a ring is split where its colour changes."""
    cx, cy, radius = where.circle
    height, width = canvas.shape[:2]
    turns = (np.arange(SAMPLES) + 0.5) * math.tau / SAMPLES
    ring = np.median(
        [
            canvas[
                np.clip((cy - part * radius * np.cos(turns)).astype(int), 0, height - 1),
                np.clip((cx + part * radius * np.sin(turns)).astype(int), 0, width - 1),
                :3,
            ]
            for part in (0.68, 0.74, 0.8)
        ],
        0,
    )
    paints = np.array([rgb(e.color) for e in chart.entries], np.float32)
    nearest = np.square(ring[:, None] - paints[None]).sum(-1).argmin(1)
    shares = [100 * float((nearest == i).mean()) for i in range(len(chart.entries))]
    starts = np.cumsum([0, *(e.value for e in chart.entries)]) / 100 * SAMPLES
    found: list[tuple[float, Floats | None]] = []
    for i, share in enumerate(shares):
        middle = round((starts[i] + starts[i + 1]) / 2)
        own = ring[nearest == i] if share > TOLERANCE else ring[max(0, middle - 8) : middle + 9]
        found.append((share, np.median(own, 0)))
    hole = patch(canvas, cx - 0.3 * radius, cy - 0.3 * radius, cx + 0.3 * radius, cy + 0.3 * radius)
    form = "donut" if np.abs(hole[:3] - ground[:3]).max() < 30 else "pie"
    return form, found


KIND = kinds.Kind("chart", "chart", charts.sample, charts.draw, verify, charts.phrase, charts.attributes)
