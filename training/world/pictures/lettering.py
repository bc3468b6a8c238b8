"""Lettering: lines of text as a graph, set with FreeType and fitted to their box at any size and aspect.

Glyphs are rasterised at a multiple of their size and averaged down, so that an em is any number of pixels
and a letter looks alike wherever it stands. Pixel rows and columns count from the picture's top left corner.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.world.assets.fonts import FONTS, supports
from training.world.assets.fonts import font as uncached_font
from training.world.pictures import vocabulary
from training.world.pixels import paste, straight
from training.world.scenes.scene import unit_px
from wanimage.conditions import COLORS

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

PITCH = 1.3  # baseline to baseline, in ems
ALIGNMENTS = ("left", "center", "right")
font = lru_cache(maxsize=4096)(uncached_font)  # which looks for the file each time
EMS = {"small": (0.075, 0.085), "medium": (0.11, 0.125), "large": (0.165, 0.2)}  # in units of `unit_px`


@dataclass(frozen=True)
class Lettering:
    """One to four lines. `em` is in units of `scene.unit_px`, and smaller where the box is tight."""

    lines: tuple[str, ...]
    font: str
    color: str
    """A colour word or `#rrggbb`."""
    em: float = 0.12
    cx: float = 0.5
    cy: float = 0.5
    align: str = "center"
    most_width: float = 0.9
    """Share of the picture's width that the longest line may take."""
    most_height: float = 0.9

    def __post_init__(self) -> None:
        if not 1 <= len(self.lines) <= 4 or not all(line.strip() for line in self.lines):
            raise ValueError(f"lettering has one to four lines with text, got {self.lines!r}")
        if self.align not in ALIGNMENTS:
            raise ValueError(f"no alignment {self.align!r}; one of {ALIGNMENTS}")

    @property
    def text(self) -> str:
        """Its words in one line."""
        return " ".join(self.lines)

    @property
    def size_word(self) -> str:
        """small, medium or large."""
        return "small" if self.em < 0.097 else "medium" if self.em < 0.145 else "large"


@dataclass(frozen=True)
class Line:
    """One line as it is set: its baseline starts at (x, y), in pixels."""

    text: str
    font: str
    em: float
    x: float
    y: float

    @property
    def width(self) -> float:
        """Advance in pixels."""
        return advance(self.text, self.font, self.em)


@dataclass(frozen=True)
class Ink:
    """Coverage 0..1 `[h, w]` of some ink, at (top, left) of the picture."""

    coverage: Floats
    top: int
    left: int


def rgb(color: str) -> tuple[int, int, int]:
    """A colour word or `#rrggbb` as sRGB. Raises ValueError for anything else."""
    if color in COLORS:
        return COLORS[color]
    if len(color) != 7 or color[0] != "#":
        raise ValueError(f"no colour {color!r}; a word of {list(COLORS)} or #rrggbb")
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def hex_of(color: tuple[float, float, float] | NDArray[np.number]) -> str:
    """sRGB as `#rrggbb`."""
    return "#" + "".join(f"{min(255, max(0, round(float(v)))):02x}" for v in color)


@lru_cache(maxsize=20000)
def advance(text: str, word: str, em: float) -> float:
    """Width of a line in pixels."""
    return float(font(word, 100).getlength(text)) * em / 100


@lru_cache(maxsize=64)
def cap_height(word: str, tall: bool = False) -> float:
    """Height of a capital, or (`tall`) of an ideograph, in ems."""
    letter = "国" if tall and supports(word, "国") else "H"
    return -float(font(word, 100).getbbox(letter, anchor="ls")[1]) / 100


def layout(block: Lettering, height: int, width: int) -> tuple[Line, ...]:
    """Where every line stands in a picture of that size. Blocks are moved inside rather than cut."""
    cap = cap_height(block.font, any(c > "\u2e80" for c in block.text))
    below = 0.25  # ems kept under the last baseline for descenders
    tall = cap + below + PITCH * (len(block.lines) - 1)
    widest = max(advance(line, block.font, 1.0) for line in block.lines)
    fit = min(block.most_width * width / widest, block.most_height * height / tall)
    em = min(block.em * unit_px(height, width), fit)
    left = _inside(block.cx * width, widest * em, width)
    baseline = _inside(block.cy * height, tall * em, height) + cap * em
    lines = []
    for text in block.lines:
        slack = widest * em - advance(text, block.font, em)
        x = left + slack * ALIGNMENTS.index(block.align) / 2
        lines.append(Line(text, block.font, em, x, baseline))
        baseline += PITCH * em
    return tuple(lines)


def _inside(center: float, length: float, most: int) -> float:
    return max(0.02 * most, min(center - length / 2, 0.98 * most - length))


def ink(line: Line) -> Ink:
    """The coverage of one line."""
    fine = 4 if line.em < 28 else 2 if line.em < 96 else 1
    face = font(line.font, max(1, round(line.em * fine)))
    x, y = round(line.x * fine), round(line.y * fine)
    x0, y0, x1, y1 = (int(v) for v in face.getbbox(line.text, anchor="ls"))
    left, top = (x + x0 - 1) // fine, (y + y0 - 1) // fine
    right, bottom = -(-(x + x1 + 1) // fine), -(-(y + y1 + 1) // fine)
    mask = Image.new("L", ((right - left) * fine, (bottom - top) * fine))
    ImageDraw.Draw(mask).text((x - left * fine, y - top * fine), line.text, 255, face, anchor="ls")
    cells = np.asarray(mask, np.float32).reshape(bottom - top, fine, right - left, fine)
    return Ink(cells.mean((1, 3)) / 255, top, left)


def paint(canvas: Floats, mark: Ink, color: tuple[int, int, int]) -> None:
    """Draw ink "over" a canvas `[H, W, 4]`, in place."""
    part = mark.coverage[..., None] * np.array([*color, 1.0], np.float32)
    paste(canvas, part, mark.top, mark.left)


def paint_block(canvas: Floats, block: Lettering) -> None:
    """Draw a block over a premultiplied canvas, in place."""
    for line in layout(block, *canvas.shape[:2]):
        paint(canvas, ink(line), rgb(block.color))


def gradient(height: int, width: int, first: str, last: str, along: str = "down") -> Floats:
    """An opaque canvas from one colour to another, `down` or `across`."""
    steps = np.linspace(0, 1, height if along == "down" else width, dtype=np.float32)
    ramp = steps[:, None, None] if along == "down" else steps[None, :, None]
    a, b = (np.array([*rgb(c), 1.0], np.float32) for c in (first, last))
    return np.ascontiguousarray(np.broadcast_to(a + ramp * (b - a), (height, width, 4)))


def contrast(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """Difference of luma, 0..255: what keeps letters legible."""
    return abs(float(np.dot((0.299, 0.587, 0.114), np.subtract(a, b))))


def sample_hex(rng: np.random.Generator) -> str:
    """Any colour."""
    return hex_of(rng.integers(0, 256, 3))


def sample_ink(rng: np.random.Generator, grounds: tuple[str, ...], least: float = 90) -> str:
    """A colour, a word or a hex, that is legible on all the grounds."""
    for _ in range(60):
        color = str(rng.choice(list(COLORS))) if rng.random() < 0.6 else sample_hex(rng)
        if all(contrast(rgb(color), rgb(ground)) >= least for ground in grounds):
            return color
    dark = all(contrast((255, 255, 255), rgb(g)) > contrast((0, 0, 0), rgb(g)) for g in grounds)
    return "white" if dark else "black"


@lru_cache(maxsize=8)
def faces(script: str) -> tuple[str, ...]:
    """The font words whose face has a script, and the digits."""
    letters = vocabulary.characters(script) + "0123456789$%:."
    return tuple(word for word, face in FONTS.items() if script in face.scripts and supports(word, letters))


def sample_face(rng: np.random.Generator, script: str) -> str:
    """A font word whose face has the script."""
    if not faces(script):
        raise ValueError(f"no font has the script {script!r}; ask for one of {written_scripts()}")
    return str(rng.choice(faces(script)))


def written_scripts() -> tuple[str, ...]:
    """The scripts that at least one font has."""
    return tuple(s for s in vocabulary.SCRIPTS if faces(s))


def sample_script(rng: np.random.Generator, latin: float = 0.7) -> str:
    """Mostly Latin, else one of the other scripts at hand."""
    others = [s for s in written_scripts() if s != "latin"]
    return "latin" if rng.random() < latin or not others else str(rng.choice(others))


def draw_text_plate(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A picture full of random words, straight RGBA: what an autoencoder learns letters from.

    Random fonts, scripts, colours and sizes from capitals of 8 pixels up, in one to several paragraphs, on
    a plain, gradient or transparent ground.
    """
    canvas, grounds = _plate_ground(rng, height, width)
    least = 8.0 / 0.72  # em whose capitals are 8 pixels high
    top = float(rng.uniform(0.02, 0.12)) * height
    misfits = 0
    while misfits < 4:
        script = sample_script(rng)
        em = least * (max(height / 3.5 / least, 1.01) ** float(rng.beta(1.0, 1.8)))
        n_lines = int(rng.integers(1, 5))
        word = sample_face(rng, script)
        text = vocabulary.sample_text(rng, min(12, n_lines * max(1, int(width / em / 4))), script)
        tall = em * (1 + PITCH * (n_lines - 1))
        if top + tall > height:
            misfits += 1
            continue
        block = Lettering(
            vocabulary.wrap(text, n_lines),
            word,
            sample_ink(rng, grounds, float(rng.choice([50, 90, 130]))),
            em / unit_px(height, width),
            float(rng.uniform(0.2, 0.8)),
            (top + tall / 2) / height,
            str(rng.choice(ALIGNMENTS)),
            most_width=0.96,
        )
        if layout(block, height, width)[0].em >= 0.95 * least:
            paint_block(canvas, block)
        top += tall + float(rng.uniform(0.2, 1.0)) * em
    return straight(canvas)


def _plate_ground(rng: np.random.Generator, height: int, width: int) -> tuple[Floats, tuple[str, ...]]:
    """A ground, and the colours that the letters must stand out from."""
    kind = rng.random()
    if kind < 0.15:
        return np.zeros((height, width, 4), np.float32), ("#808080",)
    first = str(rng.choice(["white", "black", "#f4f1ea"])) if rng.random() < 0.4 else sample_hex(rng)
    if kind < 0.65:
        return gradient(height, width, first, first), (first,)
    last = hex_of(np.clip(np.array(rgb(first)) + rng.integers(-70, 71, 3), 0, 255))
    return gradient(height, width, first, last, str(rng.choice(["down", "across"]))), (first, last)
