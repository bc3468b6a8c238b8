"""The emoji icons the world is drawn with: fetched once from npm, rendered to sprites and recoloured.

The icons are Microsoft's Fluent Emoji (flat), MIT, packed by Iconify as `@iconify-json/fluent-emoji-flat`.
The package is pinned and its integrity checked; it is cached outside the repository and never copied into it.
"""

import colorsys
import io
import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from training.world.concepts import CONCEPTS, concept
from training.world.packages import (
    COMMAND,
    Log,
    Package,
    cache_dir,
    download,
    npm_file,
    record_licence,
    write_atomically,
)
from wanimage.conditions import COLORS
from wanimage.errors import NotFound

PACKAGE = Package(
    name="@iconify-json/fluent-emoji-flat",
    version="1.2.6",
    integrity="sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    megabytes=1.2,
    licence="MIT",
    notice="""Fluent Emoji, Copyright (c) Microsoft Corporation, https://github.com/microsoft/fluentui-emoji
Licence text: https://spdx.org/licenses/MIT.html ; packed by Iconify (https://iconify.design).""",
)


def icons_path() -> Path:
    """The file that holds the world's icons: a JSON object, icon name -> SVG body on a 32x32 view box."""
    return cache_dir() / f"{PACKAGE.stem}.json"


def fetch(log: Log = print) -> Path:
    """Download the icons into the cache unless they are there, and return their file.

    Raises Unavailable when the registry cannot be reached, DataLoss when what came is not the pinned package.
    """
    path = icons_path()
    if path.exists():
        log(f"{path} is there")
        return path
    archive = download(PACKAGE, log)
    record_licence(PACKAGE)
    write_atomically(path, json.dumps(_select(archive), indent=0, sort_keys=True).encode())
    log(f"wrote {path}")
    return path


def _select(archive: bytes) -> dict[str, str]:
    icons = json.loads(npm_file(archive, "icons.json"))["icons"]
    return {c.icon: icons[c.icon]["body"] for c in CONCEPTS.values()}


@lru_cache(maxsize=4)
def _icons(path: Path) -> dict[str, str]:
    if not path.exists():
        raise NotFound("file of world icons", str(path), f"run `{COMMAND}` first")
    icons: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return icons


def rasterise(body: str, view: str, width: int, height: int) -> NDArray[np.uint8]:
    """An SVG body on a view box as straight RGBA uint8 `[height, width, 4]`."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{width}" height="{height}"'
    svg = f'{head} preserveAspectRatio="none">{body}</svg>'
    return rasterise_svg(svg, width, height)


def rasterise_svg(svg: str, width: int, height: int, dpi: float = 0) -> NDArray[np.uint8]:
    """A whole SVG as straight RGBA uint8 `[height, width, 4]`; `dpi` is needed for lengths in pt or mm.

    Raises ValueError when it is no SVG.
    """
    png = resvg_py.svg_to_bytes(svg_string=svg, width=width, height=height, skip_system_fonts=True, dpi=dpi)
    return np.array(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))


def premultiplied(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Straight RGBA uint8 as premultiplied float32: colour 0..255, alpha 0..1."""
    out = pixels.astype(np.float32)
    out[..., 3] /= 255
    out[..., :3] *= out[..., 3:]
    return out


@lru_cache(maxsize=20000)
def sprite(name: str, color: str | None, px: int) -> NDArray[np.float32]:
    """The object as *premultiplied* RGBA, float32 0..255 for colour and 0..1 for alpha, `[px, px, 4]`.

    Cached and read-only. Raises NotFound naming the command when the icons are not fetched.
    """
    pixels = premultiplied(rasterise(_body(name, color), _view(name), px, px))
    pixels.setflags(write=False)
    return pixels


@lru_cache(maxsize=512)
def _view(name: str) -> str:
    """The tight square view box of an icon: sizes then mean what is seen, not the icon's padding."""
    alpha = rasterise(_body(name, None), "0 0 32 32", 128, 128)[..., 3] > 8
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    top, bottom, left, right = rows[0] / 4, (rows[-1] + 1) / 4, columns[0] / 4, (columns[-1] + 1) / 4
    side = max(bottom - top, right - left)
    return f"{(left + right - side) / 2} {(top + bottom - side) / 2} {side} {side}"


def _body(name: str, color: str | None) -> str:
    entry = concept(name)
    body = _shape(name) if entry.kind == "shape" else _icons(icons_path())[entry.icon]
    if color is None or not entry.colorable:
        return body
    shades = {paint: _shade(paint, entry.paints[0], color) for paint in entry.paints}
    return re.sub("|".join(entry.paints), lambda match: shades[match.group()], body)


def _shade(paint: str, base: str, color: str) -> str:
    """The target colour, lighter or darker by as much as `paint` is lighter or darker than `base`."""
    offset = 0.75 * (_luma(_rgb(paint)) - _luma(_rgb(base)))
    hue, light, saturation = colorsys.rgb_to_hls(*(v / 255 for v in COLORS[color]))
    light = min(0.97, max(0.06, light + offset))
    return "#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(hue, light, saturation))


def _rgb(value: str) -> tuple[int, int, int]:
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def _luma(rgb: tuple[int, int, int]) -> float:
    return (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255


def _shape(name: str) -> str:
    paint = 'fill="#f8312f"'
    return {
        "circle": f'<circle cx="16" cy="16" r="14" {paint}/>',
        "square": f'<rect x="3" y="3" width="26" height="26" {paint}/>',
        "triangle": f'<path d="M16 2 30 29H2z" {paint}/>',
        "ring": '<circle cx="16" cy="16" r="11" fill="none" stroke-width="6" stroke="#f8312f"/>',
        "cross": f'<path d="M11 2h10v9h9v10h-9v9H11v-9H2V11h9z" {paint}/>',
    }[name]
