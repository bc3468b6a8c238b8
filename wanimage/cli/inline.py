"""Pictures inside a terminal: the kitty and iTerm2 protocols, half-block thumbnails, or nothing but the path.

kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol ; iTerm2: https://iterm2.com/documentation-images.html
"""

import base64
import io
import os
from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from wanimage import images

KITTY_CHUNK = 4096
"""Most base64 characters in one escape sequence of the kitty protocol."""
COLUMNS = 32
"""Width of a thumbnail in terminal columns; a half block is one pixel wide and half a row high."""
CHECKER = (200, 232)
"""Greys of the pattern shown through transparent pixels."""
ALPHA_SQUARE = 4
"""Side of one square of that pattern, in thumbnail pixels."""

SHRINK_BYTES, SHRUNK_SIDE = 2_000_000, 1024
"""A larger file goes to the terminal as a thumbnail, pixels on its longer side."""


class Protocol(StrEnum):
    """How pictures are shown."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    BLOCKS = "blocks"
    NONE = "none"


class Show(StrEnum):
    """What a user may ask for."""

    AUTO = "auto"
    KITTY = "kitty"
    ITERM2 = "iterm2"
    BLOCKS = "blocks"
    NONE = "none"


def protocol(show: Show, *, terminal: bool, environment: Mapping[str, str] = os.environ) -> Protocol:
    """What to use: as asked, or the best the terminal names itself capable of. Not a terminal: NONE."""
    if show is not Show.AUTO:
        return Protocol(show.value)
    if not terminal or environment.get("TERM", "dumb") == "dumb":
        return Protocol.NONE
    program = environment.get("TERM_PROGRAM", "")
    multiplexed = "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux"))
    if not multiplexed:
        if "KITTY_WINDOW_ID" in environment or environment["TERM"] == "xterm-kitty" or program == "ghostty":
            return Protocol.KITTY
        if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
            return Protocol.ITERM2
    if environment.get("COLORTERM", "") in ("truecolor", "24bit"):
        return Protocol.BLOCKS
    return Protocol.NONE


def shrunk(data: bytes) -> bytes:
    """The file, or a PNG of its thumbnail when it is large. Raises InvalidInput where it is not decoded."""
    if len(data) <= SHRINK_BYTES:
        return data
    picture = images.decode(data, "picture")
    scale = min(1.0, SHRUNK_SIDE / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return images.encode(images.resize(picture, height, width))[0]


def kitty(data: bytes, columns: int = COLUMNS) -> str:
    """Escape sequences that show an encoded picture `columns` wide; sent as PNG, all that kitty takes."""
    payload = base64.standard_b64encode(_png(data)).decode()
    chunks = [payload[start : start + KITTY_CHUNK] for start in range(0, len(payload), KITTY_CHUNK)]
    sequences = []
    for number, chunk in enumerate(chunks):
        more = int(number < len(chunks) - 1)
        # q=2: the terminal must not answer, or its answer would be read as typing.
        control = f"a=T,f=100,q=2,c={columns},m={more}" if number == 0 else f"m={more}"
        sequences.append(f"\x1b_G{control};{chunk}\x1b\\")
    return "".join(sequences) + "\n"


def iterm2(data: bytes, columns: int = COLUMNS) -> str:
    """The escape sequence that shows an encoded picture `columns` wide in iTerm2 and its followers."""
    payload = base64.standard_b64encode(data).decode()
    return f"\x1b]1337;File=inline=1;size={len(data)};width={columns};preserveAspectRatio=1:{payload}\x07\n"


def blocks(data: bytes, columns: int = COLUMNS) -> Text:
    """A thumbnail of half blocks: each character shows two pixels, as foreground and background colour."""
    picture = images.decode(data, "picture")
    height, width = picture.shape[:2]
    columns = max(1, min(columns, round(columns * width / height * 1.5)))
    rows = max(1, round(columns * height / width / 2))
    small = over_checker(images.resize(picture, 2 * rows, columns))
    text = Text()
    for row in range(rows):
        for column in range(columns):
            top, bottom = (Color.from_rgb(*map(int, small[2 * row + half, column])) for half in (0, 1))
            text.append("▀", Style(color=top, bgcolor=bottom))
        text.append("\n")
    return text


def over_checker(picture: images.Rgba) -> np.ndarray:
    """`[H, W, 4]` straight alpha over a grey checkerboard: uint8 `[H, W, 3]`."""
    rows, columns = np.indices(picture.shape[:2]) // ALPHA_SQUARE
    board = np.array(CHECKER, np.float32)[(rows + columns) % 2][..., None]
    alpha = picture[..., 3:].astype(np.float32) / 255
    mixed: np.ndarray = np.rint(picture[..., :3] * alpha + board * (1 - alpha)).astype(np.uint8)
    return mixed


def _png(data: bytes) -> bytes:
    if data.startswith(b"\x89PNG"):
        return data
    buffer = io.BytesIO()
    Image.fromarray(images.decode(data, "picture"), "RGBA").save(buffer, "PNG")
    return buffer.getvalue()
