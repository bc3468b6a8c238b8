"""Stand-in for the catalogue of open fonts: the families that matplotlib ships."""

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FONTS = {
    "sans": "DejaVuSans",
    "bold": "DejaVuSans-Bold",
    "serif": "DejaVuSerif",
    "monospaced": "DejaVuSansMono",
}


@lru_cache(maxsize=512)
def font(word: str, px: int) -> ImageFont.FreeTypeFont:
    """The face of a font word at an em of `px`."""
    return ImageFont.truetype(_FOLDER / f"{FONTS[word]}.ttf", px, layout_engine=ImageFont.Layout.BASIC)


def supports(word: str, text: str) -> bool:
    """Whether every character of the text has a glyph."""
    return all(ord(c) < 0x500 for c in text)
