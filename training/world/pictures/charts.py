"""Charts: bars (upright, lying), lines, pies and donuts of two to six labelled values.

The graph holds whole percents: of the axis, which ends at 100, or of the circle, where they sum to 100.
`chart_reading` measures them.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from training.world.assets.sprites import rasterise
from training.world.pictures import lettering, vocabulary
from training.world.pictures.lettering import Lettering, Pixels, rgb
from training.world.pixels import canvas_of, straight
from training.world.scenes.sample import one_of_split
from training.world.scenes.scene import unit_px
from wanimage.conditions import COLORS

FORMS = ("bar", "horizontal bar", "line", "pie", "donut")
INK, AXIS = "#202428", "#9aa0a8"
GROUNDS = ("#ffffff", "#f3ecd8", "#dfeafa", "#ecdff8")
PAINTS = tuple(c for c in COLORS if c not in ("white", "grey", "black"))
TITLE_EM, LABEL_EM, KEY, MARKER = 0.085, 0.07, 0.05, 0.03  # in units of `scene.unit_px`


@dataclass(frozen=True)
class Entry:
    """One labelled value."""

    label: str
    value: int
    color: str


@dataclass(frozen=True)
class Chart:
    """A chart with its title above it; a line chart has the colour of its first entry."""

    form: str
    title: str
    entries: tuple[Entry, ...]
    font: str
    ground: str = "#ffffff"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"no chart {self.form!r}; one of {FORMS}")
        if not 2 <= len(self.entries) <= 6:
            raise ValueError(f"a chart has 2 to 6 entries, got {len(self.entries)}")
        if self.round and sum(e.value for e in self.entries) != 100:
            raise ValueError(f"the values of a {self.form} sum to 100, got {[e.value for e in self.entries]}")

    @property
    def round(self) -> bool:
        """Whether values are parts of a circle."""
        return self.form in ("pie", "donut")

    def color(self, index: int) -> str:
        """The colour an entry is drawn in."""
        return self.entries[0 if self.form == "line" else index].color


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Plan:
    """Where things stand, in pixels: the plot's box (left, top, right, bottom), lettering, legend."""

    plot: Box
    unit: float
    title: Lettering
    labels: tuple[Lettering, ...] = ()
    keys: tuple[Box, ...] = field(default=())

    def slot(self, chart: Chart, index: int) -> tuple[float, float]:
        """Middle and half breadth of an entry's slot along the axis of labels."""
        x0, y0, x1, y1 = self.plot
        low, high = (y0, y1) if chart.form == "horizontal bar" else (x0, x1)
        step = (high - low) / len(chart.entries)
        return low + (index + 0.5) * step, min(0.34 * step, 0.11 * self.unit)

    @property
    def circle(self) -> tuple[float, float, float]:
        """Center and radius of a pie."""
        x0, y0, x1, y1 = self.plot
        return (x0 + x1) / 2, (y0 + y1) / 2, min(x1 - x0, y1 - y0) / 2


def plan(chart: Chart, height: int, width: int) -> Plan:
    """The layout of a chart at a size."""
    unit = unit_px(height, width)
    title = Lettering((chart.title,), chart.font, INK, TITLE_EM, 0.5, 0.09, most_width=0.94, most_height=0.1)
    page = (0.06 * unit, 0.19 * height, width - 0.06 * unit, height - 0.05 * unit)
    if chart.round:
        return _round_plan(chart, page, unit, title, height, width)
    x0, y0, x1, y1 = page
    texts = [e.label for e in chart.entries]
    if chart.form == "horizontal bar":
        room = min(max(_wide(chart, text) for text in texts) * unit, 0.34 * width)
        bare = Plan((x0 + room + 0.05 * unit, y0, x1, y1), unit, title)
        spots = [(x0 + room / 2, bare.slot(chart, i)[0], room) for i in range(len(texts))]
    else:
        bare = Plan((x0 + 0.02 * unit, y0, x1, y1 - 0.1 * unit), unit, title)
        step = (x1 - bare.plot[0]) / len(texts)
        spots = [(bare.slot(chart, i)[0], y1 - 0.035 * unit, 0.9 * step) for i in range(len(texts))]
    em = min(
        LABEL_EM,
        *(most / unit * LABEL_EM / _wide(chart, t) for t, (_, _, most) in zip(texts, spots, strict=True)),
    )
    labels = tuple(
        replace(_label(chart, text, x / width, y / height, most / width), em=em)
        for text, (x, y, most) in zip(texts, spots, strict=True)
    )
    return Plan(bare.plot, unit, title, labels)


def _round_plan(chart: Chart, page: Box, unit: float, title: Lettering, height: int, width: int) -> Plan:
    """A circle with its legend at the right, or below in two columns."""
    x0, y0, x1, y1 = page
    beside = width >= 1.15 * height
    plot = (x0, y0, 0.52 * width, y1) if beside else (x0, y0, x1, y0 + 0.64 * (y1 - y0))
    left, top = (0.57 * width, y0) if beside else (x0, plot[3] + 0.03 * unit)
    columns = 1 if beside else 2
    cell, rows = (x1 - left) / columns, math.ceil(len(chart.entries) / columns)
    pitch = min((y1 - top) / rows, 0.15 * unit)
    labels, keys, side = [], [], KEY * unit
    for i, entry in enumerate(chart.entries):
        x, y = left + cell * (i % columns), top + pitch * (i // columns + 0.5)
        keys.append((x, y - side / 2, x + side, y + side / 2))
        most = cell - 0.12 * unit
        long = min(_wide(chart, entry.label) * unit, most)
        labels.append(
            _label(
                chart,
                entry.label,
                (x + 0.1 * unit + long / 2) / width,
                (y + 0.009 * unit) / height,
                most / width,
            )
        )
    return Plan(plot, unit, title, tuple(labels), tuple(keys))


def _wide(chart: Chart, text: str) -> float:
    return lettering.advance(text, chart.font, LABEL_EM)


def _label(chart: Chart, text: str, cx: float, cy: float, most: float) -> Lettering:
    return Lettering((text,), chart.font, INK, LABEL_EM, cx, cy, most_width=most)


# --- drawing ---------------------------------------------------------------------------------------------


def draw(chart: Chart, height: int, width: int) -> Pixels:
    """The chart as opaque RGBA `[height, width, 4]`."""
    where = plan(chart, height, width)
    ground = f'<rect width="{width}" height="{height}" fill="{chart.ground}"/>'
    body = ground + (_pie(chart, where) if chart.round else _marks(chart, where) + _axes(chart, where))
    canvas = canvas_of(rasterise(body, f"0 0 {width} {height}", width, height))
    for block in (where.title, *where.labels):
        lettering.paint_block(canvas, block)
    return straight(canvas)


def _rect(box: Box, color: str) -> str:
    x0, y0, x1, y1 = box
    return f'<rect x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}" fill="{_paint(color)}"/>'


def _paint(color: str) -> str:
    return lettering.hex_of(rgb(color))


def _axes(chart: Chart, where: Plan) -> str:
    x0, y0, x1, y1 = where.plot
    path = f"M{x0} {y0}V{y1}" + ("" if chart.form == "horizontal bar" else f"H{x1}")
    return f'<path d="{path}" fill="none" stroke="{AXIS}" stroke-width="{0.008 * where.unit}"/>'


def _marks(chart: Chart, where: Plan) -> str:
    x0, y0, x1, y1 = where.plot
    slots = [(*where.slot(chart, i), entry) for i, entry in enumerate(chart.entries)]
    if chart.form == "horizontal bar":
        ends = [x0 + e.value / 100 * (x1 - x0) for e in chart.entries]
        return "".join(
            _rect((x0, m - h, x, m + h), e.color) for (m, h, e), x in zip(slots, ends, strict=True)
        )
    ends = [y1 - e.value / 100 * (y1 - y0) for e in chart.entries]
    if chart.form == "bar":
        return "".join(
            _rect((m - h, y, m + h, y1), e.color) for (m, h, e), y in zip(slots, ends, strict=True)
        )
    color, points = _paint(chart.color(0)), [(m, y) for (m, _, _), y in zip(slots, ends, strict=True)]
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    line = f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{0.016 * where.unit}"/>'
    radius = MARKER * where.unit
    return line + "".join(f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{color}"/>' for x, y in points)


def _pie(chart: Chart, where: Plan) -> str:
    cx, cy, radius = where.circle
    parts, start = [], 0.0
    for entry in chart.entries:
        end = start + math.tau * entry.value / 100
        (x0, y0), (x1, y1) = (
            (cx + radius * math.sin(turn), cy - radius * math.cos(turn)) for turn in (start, end)
        )
        arc = f"A{radius} {radius} 0 {int(entry.value > 50)} 1 {x1} {y1}"
        parts.append(f'<path d="M{cx} {cy}L{x0} {y0}{arc}Z" fill="{_paint(entry.color)}"/>')
        start = end
    if chart.form == "donut":
        parts.append(f'<circle cx="{cx}" cy="{cy}" r="{0.5 * radius}" fill="{chart.ground}"/>')
    parts += [_rect(key, entry.color) for key, entry in zip(where.keys, chart.entries, strict=True)]
    return "".join(parts)


# --- at random -------------------------------------------------------------------------------------------

_LABELS = (
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug"),
    ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    ("2019", "2020", "2021", "2022", "2023", "2024", "2025", "2026"),
    ("A", "B", "C", "D", "E", "F", "G", "H"),
)


def sample(rng: np.random.Generator, split: str = "train", aspect: tuple[int, int] = (1, 1)) -> Chart:
    """A random chart of a split.

    A composition is (form, number of entries, the colours in order); "heldout_concepts" says held-out words.
    """
    return one_of_split(split, lambda: _any(rng, split, aspect), key)


def key(chart: Chart) -> str:
    """What its split is decided by."""
    return f"chart {chart.form} {[e.color for e in chart.entries]}"


def _any(rng: np.random.Generator, split: str, aspect: tuple[int, int]) -> Chart:
    form = str(rng.choice(FORMS))
    flat = aspect[1] > 2 * aspect[0] and form == "horizontal bar"
    n = int(rng.integers(2, 4 if flat else 7))
    colors = [str(c) for c in rng.choice(PAINTS, n, replace=False)]
    while True:
        values = [int(v) for v in rng.integers(8, 97, n)]
        if form in ("pie", "donut"):
            values = _parts(rng, n)
        if len(set(values)) > 1:
            break
    kind = int(rng.integers(6))
    if split != "heldout_concepts" and kind < len(_LABELS) and n >= 3:
        start = int(rng.integers(len(_LABELS[kind]) - n + 1))
        labels = list(_LABELS[kind][start : start + n])
    else:
        short = [w for w in vocabulary.words("latin", split == "heldout_concepts") if len(w) <= 9 - n // 2]
        labels = [str(w).capitalize() for w in rng.choice(short, n, replace=False)]
    title = vocabulary.sample_text(rng, int(rng.integers(1, 3)), "latin", split)
    return Chart(
        form,
        title[0].upper() + title[1:],
        tuple(Entry(*e) for e in zip(labels, values, colors, strict=True)),
        lettering.sample_face(rng, "latin"),
        str(rng.choice(GROUNDS)),
    )


def _parts(rng: np.random.Generator, n: int) -> list[int]:
    """Whole percents of at least 8 that sum to 100."""
    rest = 100 - 8 * n
    cuts = sorted(int(c) for c in rng.integers(0, rest + 1, n - 1))
    return [8 + b - a for a, b in zip([0, *cuts], [*cuts, rest], strict=True)]


# --- words -----------------------------------------------------------------------------------------------


def phrase(chart: Chart) -> str:
    """`a bar chart titled "Coffee" in a serif font on #ffffff: Jan 40 (red), Feb 70 (blue)`."""
    said = ", ".join(
        f"{e.label} {e.value}{'%' if chart.round else ''}" + ("" if chart.form == "line" else f" ({e.color})")
        for e in chart.entries
    )
    line = f" with a {chart.color(0)} line" if chart.form == "line" else ""
    return (
        f'a {chart.form} chart{line} titled "{chart.title}" in a {chart.font} font on {chart.ground}: {said}'
    )


def attributes(chart: Chart) -> dict[str, str]:
    """Sentences for its structured caption."""
    most = max(chart.entries, key=lambda e: e.value)
    colors = [chart.color(0)] if chart.form == "line" else [e.color for e in chart.entries]
    labels = ", ".join(e.label for e in chart.entries)
    data = ", ".join(f"{e.label} {e.value}" for e in chart.entries)
    return {
        "global_semantics": f'A {chart.form} chart titled "{chart.title}".',
        "background": f"A plain {chart.ground} background.",
        "palette": f"{', '.join(colors)} on {chart.ground}.",
        "spatial_layout": "The title at the top, the chart below.",
        "style": "Flat vector graphics.",
        "text_content": f'The title "{chart.title}" and the labels {labels}.',
        "typography": f"Dark {chart.font} letters.",
        "chart_type": f"A {chart.form} chart of {len(chart.entries)} values.",
        "chart_data": f"{data}; {most.label} is the largest.",
    }
