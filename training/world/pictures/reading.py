"""The world's own reader: which string stands in a picture, in which font and colour.

A line is read in a frame around the place it is expected at, scaled down until an em is 24 to 48 pixels:

    ink      the ground is a plane of colour fitted to what is smooth; the rest, projected on the colour that
             stands out most, is the coverage 0..1 of the ink (`_Frame.ink`)
    align    the wanted line, drawn as the world draws it, sharp or soft, is moved until it fits best
    accept   if what is left is nowhere as large as one glyph's difference from another, that line is read
    spell    otherwise the line is spelled from the alphabet's glyphs, without regard to the wanted string
             (`spelling.py`)
    revise   whole lines are drawn again with one letter changed, until none fits better

What was spelled is compared with the wanted line by the same error, so that two glyphs that look alike in a
font ("l" and "I") never count as a fault. Fonts are told apart by the error of a line set in each of them.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.signal import fftconvolve

from training.world.pictures.lettering import Floats, Ink, Line, faces, ink
from training.world.pictures.spelling import DROP, RISE, Spelling, oddity, put, script_of, spell

SOFTNESS = (0.0, 0.6, 1.0, 1.5, 2.2)  # standard deviations, in pixels of the picture, of the compared lines
ACCEPT = 0.004  # most energy (square ems) left within a letter's reach for a line to be read as it is wanted
FAINT = 24.0  # least difference (0..255) of ink from its ground
OFF_INK = 0.35  # of the ink's contrast, by which a pixel may miss the mixtures of ground and ink
POOR = 0.3  # share of the ink's energy that a line leaves open when another font or scale is tried
UNREAD = 0.6  # ... and when nothing is read at all

SCALES = (0.95, 0.9, 0.85, 0.8, 1.06, 1.12, 1.19)
SUSPECT = 0.04  # ... when the wanted line is tried in other fonts
ODD = 0.004  # error that an unlikely letter must save
FONT_MARGIN = 0.85  # another font is seen where its error is below this part of the wanted one's


@dataclass(frozen=True)
class Reading:
    """What stands where a line was expected. `text` is empty where nothing legible does."""

    text: str
    font: str
    color: tuple[float, float, float]
    line: Line
    """Where, in pixels of the picture."""
    error: float
    """Share of the ink's energy that the line does not explain."""


@dataclass(frozen=True)
class _Frame:
    """The surroundings of a line, `scale` times smaller than the picture; (top, left) in small pixels."""

    raw: Floats
    ink: Floats  # `raw` made as strong as the letters it is compared with
    pixels: Floats  # premultiplied RGBA, all on 0..255, less the ground
    ground: Floats
    scale: int
    top: int
    left: int
    softness: float = 0.0  # in small pixels

    def draw(self, line: Line) -> Floats:
        """The coverage that the frame would have of a line (in small pixels)."""
        canvas = np.zeros_like(self.ink)
        x, y = math.floor(line.x), math.floor(line.y)
        mark = _soft_ink(replace(line, x=_quarter(line.x - x), y=_quarter(line.y - y)), self.softness)
        put(canvas, mark, self.top - y, self.left - x)
        return canvas

    def band(self, line: Line) -> slice:
        """The rows that belong to a line."""
        first = math.floor(line.y - RISE * line.em) - self.top
        last = math.ceil(line.y + DROP * line.em) - self.top
        return slice(max(0, first), max(1, last))

    def rest(self, line: Line) -> Floats:
        """What a line leaves open of the ink, in its band."""
        return (self.ink - self.draw(line))[self.band(line)]

    def error(self, line: Line) -> float:
        """Energy of `rest` as a share of the ink's."""
        rest, full = self.rest(line), self.ink[self.band(line)]
        return float(np.vdot(rest, rest) / max(float(np.vdot(full, full)), 1e-3))


def _quarter(part: float) -> float:
    return round(4 * part) / 4


@lru_cache(maxsize=4096)
def _soft_ink(line: Line, softness: float) -> Ink:
    """A line's ink, blurred; cached, so that moving it by whole pixels costs nothing."""
    mark = ink(line)
    if not softness:
        return mark
    pad = math.ceil(3 * softness)
    cover = gaussian_filter(np.pad(mark.coverage, pad), softness)
    return Ink(cover, mark.top - pad, mark.left - pad)


def read(canvas: Floats, wanted: Line, side: float = 2.0) -> Reading:
    """Read the line that stands where `wanted` is expected, within `side` ems left and right of it.

    `canvas` is premultiplied RGBA `[H, W, 4]`, colour 0..255 and alpha 0..1.
    """
    frame = _frame(canvas, wanted, side)
    small = _scaled(wanted, 1 / frame.scale)
    if frame.ink.max() <= 0:
        return Reading("", wanted.font, (0, 0, 0), wanted, 1.0)
    frame, line = _settle(frame, small)
    if not _plain(frame, line):
        frame, line = _search(frame, small, line)
    error = frame.error(line)
    text = line.text if error < UNREAD else ""
    return Reading(text, line.font, _color(frame, line), _scaled(line, frame.scale), error)


def _search(frame: _Frame, wanted: Line, settled: Line) -> tuple[_Frame, Line]:
    """The best of the wanted line, it in other fonts or sizes, and what letters spell in any of these."""
    guesses = [(frame, settled)]  # the wanted string
    if _least(guesses) > SUSPECT:
        fonts = [replace(wanted, font=word) for word in _fonts(wanted)]
        guesses += [_fitted(frame, line, (2.0, 0.25)) for line in _likeliest(frame, fonts, 2)]
        if _plain(*min(guesses, key=_error)):
            return min(guesses, key=_error)
    starts = [min(guesses, key=_error)] + [(frame, wanted)] * (settled.y != wanted.y)
    spelled = [_spelled_well(*start) for start in starts]
    if _least(guesses + spelled) > SUSPECT:
        text = min(spelled, key=_error)[1].text
        fonts = [replace(wanted, text=text, font=word) for word in _fonts(wanted)]
        spelled += [_spelled_well(*_fitted(frame, x, (2.0, 0.25))) for x in _likeliest(frame, fonts, 2)]
    if _least(guesses + spelled) > POOR:
        sizes = [_resized(wanted, scale) for scale in SCALES]
        spelled += [_spelled_well(*_fitted(frame, x, (2.0, 0.3))) for x in _likeliest(frame, sizes, 2)]
    if _least(guesses + spelled) > POOR:  # then the wanted string is no better a guess than any other
        return min(spelled, key=_error)
    first = min(guesses + spelled, key=_error)
    own = [f for f in guesses + spelled if f[1].font == wanted.font]
    if own and _least(own) * FONT_MARGIN <= _error(first):
        first = min(own, key=_error)
    return first[0], _fair(*first, wanted)


def _error(sight: tuple[_Frame, Line]) -> float:
    return sight[0].error(sight[1])


def _least(sights: list[tuple[_Frame, Line]]) -> float:
    return min(_error(s) for s in sights)


def _spelled_well(frame: _Frame, line: Line) -> tuple[_Frame, Line]:
    """What the letters spell, and what they spell once softness and place are known from that."""
    first = frame, _spelled(frame, line)
    fitted = _fitted(*first, (0.3, 0.15))
    if _error(fitted) > 0.9 * _error(first) and fitted[0].softness == frame.softness:
        return first
    again = fitted[0], _spelled(*fitted)
    return min(first, fitted, again, key=_error)


def _fair(frame: _Frame, seen: Line, wanted: Line) -> Line:
    """The wanted string, where it fits as well as what was spelled."""
    if seen.text == wanted.text:
        return seen
    same = replace(seen, text=wanted.text)
    same = min((_aligned(frame, replace(same, x=x), (0.5, 0.1)) for x in (seen.x, wanted.x)), key=frame.error)
    return same if frame.error(same) <= 1.001 * frame.error(seen) else seen


# --- the frame -------------------------------------------------------------------------------------------


def _frame(canvas: Floats, line: Line, side: float) -> _Frame:
    scale = max(1, int(line.em // 24))
    height, width = canvas.shape[0] // scale, canvas.shape[1] // scale
    em, x, y = line.em / scale, line.x / scale, line.y / scale
    top, bottom = max(0, math.floor(y - 1.15 * em)), min(height, math.ceil(y + 0.45 * em))
    left = max(0, math.floor(x - side * em))
    right = min(width, math.ceil(x + line.width / scale + side * em))
    if bottom - top < 3 or right - left < 3:
        empty = np.zeros((3, 3), np.float32)
        return _Frame(empty, empty, empty[..., None], empty[..., None], scale, 0, 0)
    part = canvas[top * scale : bottom * scale, left * scale : right * scale]
    cells = part.reshape(bottom - top, scale, right - left, scale, 4).mean((1, 3))
    cells[..., 3] *= 255
    ground = _ground(cells)
    rest = cells - ground
    middle = (
        slice(max(0, math.floor(y - em) - top), math.ceil(y + 0.3 * em) - top),
        slice(max(0, math.floor(x) - left), math.ceil(x + line.width / scale) - left),
    )
    cover = _coverage(rest, rest[middle])
    return _Frame(cover, cover, rest, ground, scale, top, left)


def _ground(cells: Floats) -> Floats:
    """A plane of colour, fitted to most of the pixels: first to the border, then to all that is near."""
    height, width = cells.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    basis = np.stack([np.ones_like(rows), rows, columns], -1).reshape(-1, 3)
    flat = cells.reshape(-1, 4)
    border = np.ones((height, width), bool)
    border[1:-1, 1:-1] = False
    fitted = np.median(flat[border.ravel()], 0)[None].repeat(len(flat), 0)
    for reach in (40.0, 20.0, 10.0):
        weight = 1 / (1 + (np.abs(flat - fitted).max(1) / reach) ** 2) ** 2
        weighted = basis * weight[:, None]
        fitted = basis @ np.linalg.solve(weighted.T @ basis + 1e-4 * np.eye(3), weighted.T @ flat)
    plane: Floats = fitted.reshape(cells.shape).astype(np.float32)
    return plane


def _coverage(rest: Floats, middle: Floats) -> Floats:
    """Projection on the colour that stands out in the middle, its strongest pixels being 1.

    What lies around a line (the edge of a panel) may stand out more; what is no mixture of ground and ink is
    left out. Zeros where nothing stands out.
    """
    norm = np.sqrt(np.square(middle).sum(-1))
    strong = float(np.quantile(norm, 0.995))
    if strong < FAINT:
        return np.zeros(rest.shape[:2], np.float32)
    color = np.median(middle[norm >= 0.7 * strong], 0)
    cover = rest @ color / np.vdot(color, color)
    aside = np.sqrt(np.square(rest - cover[..., None] * color).sum(-1))
    foreign = (aside > OFF_INK * np.linalg.norm(color) + FAINT) | (cover > 1 + OFF_INK)
    return np.where(foreign, 0, np.clip(cover, -0.2, 1.2)).astype(np.float32)


def _color(frame: _Frame, line: Line) -> tuple[float, float, float]:
    """The ink's colour by least squares of pixels = ground + coverage (ink - ground)."""
    cover = frame.draw(line)
    weight = cover * (cover > 0.5 * cover.max())
    if weight.sum() < 1e-3:
        return (0, 0, 0)
    ratio = np.einsum("hw,hwc->c", weight, frame.pixels) / np.vdot(weight, cover)
    under = np.einsum("hw,hwc->c", weight, frame.ground) / weight.sum()
    color = ratio + under
    color = color[:3] * (255 / max(float(color[3]), 25.0))
    return (float(color[0]), float(color[1]), float(color[2]))


# --- alignment -------------------------------------------------------------------------------------------


def _scaled(line: Line, factor: float) -> Line:
    return replace(line, em=line.em * factor, x=line.x * factor, y=line.y * factor)


def _settle(frame: _Frame, wanted: Line) -> tuple[_Frame, Line]:
    """The softness of the picture, the strength of its ink, and where the wanted line fits best."""
    trials: list[tuple[float, _Frame, Line]] = []
    for softness in SOFTNESS:
        soft = _normalised(replace(frame, softness=softness / frame.scale), wanted)
        trials.append((soft.error(wanted), soft, wanted))
        if trials[-1][0] < 0.004:
            break
    error, best, line = min(trials, key=lambda t: t[0])
    if error > 0.06:
        moved = _fitted(frame, wanted, (1.5, 0.3))
        best, line = min((best, line), moved, key=lambda pair: pair[0].error(pair[1]))
    return best, line


def _fitted(frame: _Frame, line: Line, reach: tuple[float, float]) -> tuple[_Frame, Line]:
    """Where a line fits best, and how soft it is there."""
    line = _aligned(_normalised(replace(frame, softness=1.0 / frame.scale), line), line, reach)
    softs = (_normalised(replace(frame, softness=s / frame.scale), line) for s in SOFTNESS)
    best = min(softs, key=lambda f: f.error(line))
    line = _aligned(best, line, (0.1, 0.1))
    for step in (0.03, 0.012) if best.error(line) > 0.06 else ():
        for scale in (1 + step, 1 - step):
            while best.error(other := _nudged(best, _resized(line, scale))) < 0.98 * best.error(line):
                line = other
    return best, line


def _normalised(frame: _Frame, line: Line) -> _Frame:
    """The frame with its ink as strong as that of a line drawn so soft (thin strokes never reach 1)."""
    cover = frame.draw(line)
    strong = float(np.quantile(cover, 0.995))
    typical = float(np.median(cover[cover >= 0.7 * strong])) if strong > 0.05 else 1.0
    return replace(frame, ink=frame.raw * np.float32(typical))


def _aligned(frame: _Frame, line: Line, reach: tuple[float, float]) -> Line:
    """The line moved by at most `reach` ems (across, down) to where it fits best, to a quarter of a pixel."""
    across, down = (max(1, round(r * line.em)) for r in reach)
    cover = frame.draw(line)
    fits = fftconvolve(frame.ink, cover[::-1, ::-1], mode="full")
    y0, x0 = cover.shape[0] - 1, cover.shape[1] - 1
    y1, x1 = max(0, y0 - down), max(0, x0 - across)
    near = fits[y1 : y0 + down + 1, x1 : x0 + across + 1]
    dy, dx = np.unravel_index(int(np.argmax(near)), near.shape)
    best = replace(line, x=line.x + int(dx) + x1 - x0, y=line.y + int(dy) + y1 - y0)
    return _nudged(frame, best)


def _nudged(frame: _Frame, line: Line) -> Line:
    """The line moved by parts of a pixel to where it fits best."""
    for step in (0.5, 0.25):
        moves = [(0.0, 0.0), (step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)]
        line = min((replace(line, x=line.x + a, y=line.y + b) for a, b in moves), key=frame.error)
    return line


def _plain(frame: _Frame, line: Line) -> bool:
    """Whether nothing as large as the difference of two glyphs is left anywhere."""
    rest = np.square(frame.rest(line))
    side = max(3, round(0.45 * line.em))
    worst = float(uniform_filter(rest, side, mode="constant").max()) * side * side
    return worst < ACCEPT * line.em**2


def _fonts(line: Line) -> list[str]:
    return sorted({line.font, *faces(script_of(line.text))})


def _resized(line: Line, scale: float) -> Line:
    """The line larger or smaller about its middle."""
    return replace(line, em=line.em * scale, x=line.x + (1 - scale) * line.width / 2)


def _likeliest(frame: _Frame, lines: list[Line], count: int) -> list[Line]:
    """The lines that fit best somewhere, by whole pixels."""
    soft = replace(frame, softness=1.0 / frame.scale)

    def error(line: Line) -> float:
        cover = soft.draw(line)
        fits = fftconvolve(soft.ink, cover[::-1, ::-1], mode="full")
        down = max(1, round(0.3 * line.em))
        middle = cover.shape[0] - 1
        best = float(fits[max(0, middle - down) : middle + down + 1].max())
        return -best / math.sqrt(max(float(np.vdot(cover, cover)), 1e-6))

    return sorted(lines, key=error)[:count]


# --- spelling --------------------------------------------------------------------------------------------


def _spelled(frame: _Frame, line: Line) -> Line:
    """The line that the glyphs of `line.font` spell on its baseline, wherever it starts."""
    found = spell(frame.ink, frame.top, frame.left, line, frame.softness)
    if not found.text:
        return replace(line, text=" ")
    spelled = _aligned(frame, replace(line, text=found.text, x=found.x), (0.12, 0.06))
    return _revised(frame, spelled, found)


def _revised(frame: _Frame, line: Line, found: Spelling) -> Line:
    """The line with letters changed, one by one, for the likeliest others, while that fits better."""
    error = frame.error(line) + ODD * oddity(line.text)
    places = [i for i, c in enumerate(line.text) if c != " "]
    for place, gain in zip(places, found.gains, strict=True):
        likely = gain > 0.7 * gain.max()
        for k in [k for k in np.argsort(-gain)[:5] if likely[k]]:
            other = replace(line, text=line.text[:place] + found.letters[k] + line.text[place + 1 :])
            if other.text == line.text:
                continue
            changed = frame.error(other) + ODD * oddity(other.text)
            if changed < error:
                line, error = other, changed
    return line
