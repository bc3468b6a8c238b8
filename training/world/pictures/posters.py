"""Posters: a ground (plain, gradient or scenery), one or two blocks of lettering and perhaps one emoji.

Over scenery the letters stand on solid panels. Wide posters have their object at the left of the letters.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from training.world.assets.concepts import CONCEPTS
from training.world.kinds import Kind
from training.world.pictures import lettering, vocabulary
from training.world.pictures.icons import icon_at, paint_icon
from training.world.pictures.lettering import Floats, Lettering, Pixels, contrast, layout, rgb
from training.world.pictures.text_findings import color_finding, of_block
from training.world.pixels import canvas_of, straight
from training.world.report import Finding, Report
from training.world.scenes import grounds, scenery
from training.world.scenes.sample import one_of_split
from training.world.scenes.scene import VARIANTS, Background, unit_px
from wanimage.conditions import SETTINGS, TIMES, setting_phrase

PAD, SIDE = 0.8, 0.6  # ems of a panel beside its letters, and of it that the reader looks at
GROUND_REACH = 20.0  # most difference (0..255) of a hex ground
SCENERY_ERROR = 40.0
BORDER = 0.02  # of a side: how far from the edge grounds are read


@dataclass(frozen=True)
class Ground:
    """`plain` (first), `down` or `across` (a gradient from first to last), or `scenery` with panels."""

    kind: str
    first: str = "#ffffff"
    last: str = "#ffffff"
    scenery: Background | None = None
    panel: str | None = None

    def __post_init__(self) -> None:
        known = ("plain", "down", "across")
        if self.kind not in known and (self.kind != "scenery" or not self.scenery or not self.panel):
            raise ValueError(f"not a poster's ground: {self}; one of {known}, or scenery with a panel")

    @property
    def colors(self) -> tuple[str, ...]:
        """What letters stand on."""
        if self.kind == "scenery":
            return (str(self.panel),)
        return (self.first,) if self.kind == "plain" else (self.first, self.last)

    @property
    def phrase(self) -> str:
        """Its words."""
        if self.kind == "plain":
            return f"on a plain {self.first} background"
        if self.scenery:
            words = setting_phrase(str(self.scenery.setting), str(self.scenery.time))
            return f"on {self.panel} panels before a scene {words}"
        way = "top to bottom" if self.kind == "down" else "left to right"
        return f"on a gradient from {self.first} to {self.last}, {way}"


@dataclass(frozen=True)
class Poster:
    """A poster; `object` is a concept of `CONCEPTS` in its natural colours, at (cx, cy), `size` in units."""

    ground: Ground
    blocks: tuple[Lettering, ...]
    object: str | None = None
    cx: float = 0.5
    cy: float = 0.55
    size: float = 0.36

    def __post_init__(self) -> None:
        if not 1 <= len(self.blocks) <= 2:
            raise ValueError(f"a poster has one or two blocks of lettering, got {len(self.blocks)}")


def draw(poster: Poster, height: int, width: int) -> Pixels:
    """The poster as opaque RGBA `[height, width, 4]`."""
    ground = poster.ground
    if ground.scenery:
        canvas = canvas_of(np.array(scenery.draw(ground.scenery, height, width)))
    else:
        along = "down" if ground.kind == "plain" else ground.kind
        last = ground.first if ground.kind == "plain" else ground.last
        canvas = lettering.gradient(height, width, ground.first, last, along)
    for block in poster.blocks:
        if ground.panel:
            y0, x0, y1, x1 = _panel(block, height, width)
            canvas[y0:y1, x0:x1] = (*rgb(ground.panel), 1.0)
        lettering.paint_block(canvas, block)
    if poster.object:
        unit = unit_px(height, width)
        paint_icon(canvas, poster.object, poster.cx * width, poster.cy * height, poster.size * unit)
    return straight(canvas)


def _panel(block: Lettering, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the panel under a block."""
    lines = layout(block, height, width)
    em = lines[0].em
    left, right = min(line.x for line in lines), max(line.x + line.width for line in lines)
    top, bottom = round(lines[0].y - 1.3 * em), round(lines[-1].y + 0.6 * em)
    return (
        max(0, top),
        max(0, round(left - PAD * em)),
        min(height, bottom),
        min(width, round(right + PAD * em)),
    )


# --- reading ---------------------------------------------------------------------------------------------


def verify(poster: Poster, image: Pixels) -> Report:
    """Text, fonts, colours, sizes, ground, panels and object of a poster."""
    canvas = canvas_of(image)
    findings = [_ground_finding(poster, canvas)]
    for block in poster.blocks:
        about = f"the {block.size_word} lettering"
        findings += of_block(canvas, block, about, SIDE if poster.ground.panel else 2.0)
        if poster.ground.panel:
            findings.append(_panel_finding(canvas, block, poster.ground.panel))
    if poster.object:
        height, width = canvas.shape[:2]
        px = poster.size * unit_px(height, width)
        found = icon_at(canvas, poster.cx * width, poster.cy * height, px)
        findings.append(Finding("object", poster.object, found == poster.object, found))
    return Report(tuple(findings))


def _panel_finding(canvas: Floats, block: Lettering, color: str) -> Finding:
    y0, x0, y1, x1 = _panel(block, *canvas.shape[:2])
    dy, dx = max(1, (y1 - y0) // 40), max(1, (x1 - x0) // 60)
    inner = canvas[y0 + dy : y1 - dy, x0 + dx : x1 - dx]
    rim = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
    return color_finding("the panel", color, np.median(rim, 0))


def _ground_finding(poster: Poster, canvas: Floats) -> Finding:
    ground, about = poster.ground, "the background"
    if ground.kind == "scenery":
        return _scenery_finding(poster, canvas)
    height, width = canvas.shape[:2]
    depth = max(1, round(BORDER * (height if ground.kind != "across" else width)))
    view = canvas if ground.kind != "across" else canvas.transpose(1, 0, 2)
    first, last = (np.median(part.reshape(-1, 4), 0) for part in (view[:depth], view[-depth:]))
    ends = (ground.first, ground.last if ground.kind != "plain" else ground.first)
    seen = [color_finding(about, end, c, GROUND_REACH) for end, c in zip(ends, (first, last), strict=True)]
    return Finding("background", about, all(f.passed for f in seen), " to ".join(f.found for f in seen))


def _scenery_finding(poster: Poster, canvas: Floats) -> Finding:
    """The scenery that the picture resembles most beside panels and object."""
    height, width = canvas.shape[:2]
    free = np.ones((height, width, 4), np.float32)
    for block in poster.blocks:
        y0, x0, y1, x1 = _panel(block, height, width)
        free[y0:y1, x0:x1] = 0
    half = 0.55 * poster.size * unit_px(height, width) if poster.object else 0
    y, x = poster.cy * height, poster.cx * width
    free[max(0, int(y - half)) : int(y + half), max(0, int(x - half)) : int(x + half)] = 0
    weights = grounds.cells(free)[..., 0] ** 4
    names, stack = _sceneries(height, width)
    errors = np.abs(stack - grounds.cells(canvas)[..., :3]).mean(-1)
    means = (np.minimum(errors, 80) * weights).sum((1, 2)) / max(float(weights.sum()), 1e-3)
    k = int(np.argmin(means))
    wanted = poster.ground.scenery
    assert wanted is not None, "only sceneries come here"
    right = names[k] == (wanted.setting, wanted.time) and means[k] < SCENERY_ERROR
    return Finding(
        "background", "the background", bool(right), f"{' '.join(names[k])} (error {means[k]:.0f})"
    )


@lru_cache(maxsize=16)
def _sceneries(height: int, width: int) -> tuple[tuple[tuple[str, str], ...], Floats]:
    every = [(s, t, v) for s in SETTINGS for t in TIMES for v in range(VARIANTS)]
    drawn = [grounds.cells(grounds.drawn(Background.scenery(*e), height, width))[..., :3] for e in every]
    return tuple((s, t) for s, t, _ in every), np.stack(drawn)


# --- at random -------------------------------------------------------------------------------------------


def sample(rng: np.random.Generator, split: str = "train", aspect: tuple[int, int] = (1, 1)) -> Poster:
    """A random poster of a split, legible at 256 pixels.

    A composition is (first line, font, object or none); "heldout_concepts" says held-out words.
    """
    return one_of_split(
        split,
        lambda: _any(rng, split, aspect),
        key,
        lambda poster: _fits(poster, aspect) and _visible(poster),
    )


def key(poster: Poster) -> str:
    """What its split is decided by."""
    return f"poster {poster.blocks[0].lines[0]} {poster.blocks[0].font} {poster.object}"


def _any(rng: np.random.Generator, split: str, aspect: tuple[int, int]) -> Poster:
    ground = _sample_ground(rng)
    name = str(rng.choice(list(CONCEPTS))) if rng.random() < 0.6 else None
    script = lettering.sample_script(rng)
    ink = lettering.sample_ink(rng, ground.colors)
    wide = aspect[1] > 1.5 * aspect[0]
    two = rng.random() < 0.5
    cx, most = (0.64, 0.6) if wide and name else (0.5, 0.9)
    rows = ((0.33, 0.76) if two else (0.5,)) if wide or not name else ((0.17, 0.89) if two else (0.19,))
    blocks = []
    for i, cy in enumerate(rows):
        sizes = ("medium", "large") if i == 0 else ("small",)
        low, high = lettering.EMS[str(rng.choice(sizes))]
        lines = 1 + int(rng.integers(2 if name or two else 4)) if i == 0 else 1
        n_words = int(rng.integers(lines, min(12, 2 * lines + 1) + 1)) if i == 0 else int(rng.integers(1, 4))
        text = vocabulary.sample_text(rng, n_words, script, split)
        block = Lettering(
            vocabulary.wrap(text, lines), lettering.sample_face(rng, script), ink,
            float(rng.uniform(low, high)), cx, cy, str(rng.choice(lettering.ALIGNMENTS)), most, 0.9,
        )  # fmt: skip
        blocks.append(block)
    poster = Poster(ground, tuple(blocks), name)
    if name and wide:
        poster = replace(poster, cx=0.17, cy=0.5)
    elif name:
        poster = replace(poster, cy=0.55 if two else 0.62)
    return poster


def _fits(poster: Poster, aspect: tuple[int, int]) -> bool:
    """Whether letters have their full size, and blocks and object keep apart."""
    scale = 512 / max(aspect)
    height, width = round(aspect[0] * scale), round(aspect[1] * scale)
    unit = unit_px(height, width)
    boxes = []
    for block in poster.blocks:
        if layout(block, height, width)[0].em < 0.999 * block.em * unit:
            return False
        boxes.append(_panel(block, height, width))
    if poster.object:
        half, y, x = 0.53 * poster.size * unit, poster.cy * height, poster.cx * width
        boxes.append((int(y - half), int(x - half), int(y + half), int(x + half)))
    inside = all(y0 >= -1 and x0 >= -1 and y1 <= height + 1 and x1 <= width + 1 for y0, x0, y1, x1 in boxes)
    apart = all(
        a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        for i, a in enumerate(boxes)
        for b in boxes[i + 1 :]
    )
    return inside and apart


def _visible(poster: Poster) -> bool:
    """Whether the object stands out from a hex ground."""
    if not poster.object or poster.ground.scenery:
        return True
    mark = np.array(_tone(poster.object))
    return all(contrast((mark[0], mark[1], mark[2]), rgb(c)) > 30 for c in poster.ground.colors)


@lru_cache(maxsize=512)
def _tone(name: str) -> tuple[int, int, int]:
    """An icon's mean colour."""
    canvas = np.zeros((32, 32, 4), np.float32)
    paint_icon(canvas, name, 16, 16, 32)
    mean = canvas[..., :3].sum((0, 1)) / canvas[..., 3].sum()
    return int(mean[0]), int(mean[1]), int(mean[2])


def _sample_ground(rng: np.random.Generator) -> Ground:
    kind = rng.random()
    if kind < 0.35:
        return Ground("plain", lettering.sample_hex(rng))
    first = lettering.sample_hex(rng)
    if kind < 0.65:
        last = lettering.hex_of(np.clip(np.array(rgb(first)) + rng.choice([-70, -50, 50, 70], 3), 0, 255))
        return Ground(str(rng.choice(["down", "across"])), first, last)
    place = Background.scenery(
        str(rng.choice(list(SETTINGS))), str(rng.choice(list(TIMES))), int(rng.integers(VARIANTS))
    )
    panel = str(rng.choice(["white", "black", "yellow", "red", "blue", "#f4efe2"]))
    return Ground("scenery", scenery=place, panel=panel)


# --- words -----------------------------------------------------------------------------------------------


def phrase(poster: Poster) -> str:
    """`a poster that says "Big Sale" in large red serif letters and shows a fox, on a plain ...`."""
    said = " and ".join(_said(block) for block in poster.blocks)
    shown = f" and shows {_article(poster.object)}" if poster.object else ""
    return f"a poster that says {said}{shown}, {poster.ground.phrase}"


def _said(block: Lettering) -> str:
    lines = " / ".join(block.lines)
    aligned = f", {block.align}-aligned" if len(block.lines) > 1 else ""
    return f'"{lines}" in {block.size_word} {block.color} {block.font} letters{aligned}'


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def attributes(poster: Poster) -> dict[str, str]:
    """Sentences for its structured caption."""
    words = {
        "global_semantics": f'A poster that says "{poster.blocks[0].text}".',
        "background": f"{poster.ground.phrase[0].upper()}{poster.ground.phrase[1:]}.",
        "palette": f"Letters in {poster.blocks[0].color} on {' and '.join(poster.ground.colors)}.",
        "style": "Flat graphic design.",
        "text_content": "; ".join(f'"{" / ".join(block.lines)}"' for block in poster.blocks) + ".",
        "typography": "; ".join(f"{b.size_word} {b.font} letters in {b.color}" for b in poster.blocks) + ".",
    }
    if poster.object:
        words["objects"] = f"{_article(poster.object)[0].upper()}{_article(poster.object)[1:]}."
        words["spatial_layout"] = (
            "The object at the left of the words."
            if poster.cx < 0.4
            else "The words above, the object below them."
        )
    return words


KIND = Kind("poster", "text-centric", sample, draw, verify, phrase, attributes)
