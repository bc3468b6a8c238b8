"""The icons the world is drawn with: four emoji sets from npm, rendered to sprites and recoloured.

Three are styles of Microsoft's Fluent Emoji (MIT), one is Google's Noto Emoji (Apache-2.0), all packed by
Iconify. The packages are pinned and checked; they are cached outside the repository, never copied into it.
"""

import colorsys
import contextlib
import hashlib
import io
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from resvg import render, usvg

from training.world.assets.array_cache import keep_arrays
from training.world.assets.concepts import CATALOGUE, CONCEPTS, SHAPES, colorable, concept
from training.world.assets.packages import (
    COMMAND,
    Log,
    Package,
    cache_dir,
    download,
    npm_file,
    record_licence,
    write_atomically,
)
from training.world.pixels import canvas_of
from wanimage.conditions import COLORS
from wanimage.errors import NotFound

_FLUENT = """Fluent Emoji, Copyright (c) Microsoft Corporation, https://github.com/microsoft/fluentui-emoji
Licence text: https://spdx.org/licenses/MIT.html ; packed by Iconify (https://iconify.design)."""
_NOTO = """Noto Emoji, Copyright Google LLC, https://github.com/googlefonts/noto-emoji
Licence text: https://spdx.org/licenses/Apache-2.0.html ; packed by Iconify (https://iconify.design)."""


def _iconify(name: str, version: str, megabytes: float, licence: str, notice: str, sha512: str) -> Package:
    return Package(f"@iconify-json/{name}", version, f"sha512-{sha512}", megabytes, licence, notice)


PACKAGES = {
    "flat": _iconify(
        "fluent-emoji-flat",
        "1.2.6",
        1.2,
        "MIT",
        _FLUENT,
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
    "gradient": _iconify(
        "fluent-emoji",
        "1.2.7",
        14.3,
        "MIT",
        _FLUENT,
        "D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
    ),
    "outline": _iconify(
        "fluent-emoji-high-contrast",
        "1.2.6",
        1.1,
        "MIT",
        _FLUENT,
        "esqhZPpkrF7sNX3NsLoh8KW64okEr/bzko7WNnFP+qTJGAqDPDYjp0925yxuivXy3HtVQB8xhIKu3+Nq1byX5w==",
    ),
    "noto": _iconify(
        "noto",
        "1.2.9",
        3.1,
        "Apache-2.0",
        _NOTO,
        "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
}
_SIDE = 32  # of every icon's view box in the cache
_SLOW_STYLES = ("gradient", "noto")  # filters and long paths: 100 and 17 ms an icon at 256 px
_MASTER_PX = (192, 384)


def icons_path() -> Path:
    """The flat icons of `CONCEPTS`: a JSON object, icon name -> SVG body on a 32x32 view box."""
    return cache_dir() / f"{PACKAGES['flat'].stem}.json"


def catalogue_path(style: str) -> Path:
    """A style's icons of the catalogue, in a file named after which they are."""
    names = hashlib.sha256(" ".join(sorted(_wanted(style))).encode()).hexdigest()[:8]
    return cache_dir() / f"{PACKAGES[style].stem}-{names}.json"


def _wanted(style: str) -> set[str]:
    """The icons of a style's catalogue file; the flat ones of `CONCEPTS` have theirs."""
    return {c.icon for c in CATALOGUE.values() if style != "flat" or c.name not in CONCEPTS}


def fetch(log: Log = print) -> Path:
    """Download the icons into the cache unless they are there, and return the file of the flat ones.

    Raises Unavailable when the registry cannot be reached, DataLoss when what came is not the pinned package.
    """
    with ThreadPoolExecutor(len(PACKAGES)) as pool:
        for fetched in [pool.submit(_fetch_style, style, log) for style in PACKAGES]:
            fetched.result()
    return icons_path()


def _fetch_style(style: str, log: Log) -> None:
    wanted = {catalogue_path(style): _wanted(style)}
    if style == "flat":
        wanted[icons_path()] = {c.icon for c in CONCEPTS.values()}
    missing = [path for path in wanted if not path.exists()]
    if not missing:
        log(f"{catalogue_path(style)} is there")
        return
    archive = download(PACKAGES[style], log)
    record_licence(PACKAGES[style])
    source = json.loads(npm_file(archive, "icons.json"))
    for path in missing:
        icons = {icon: _on_common_view(source, icon) for icon in wanted[path]}
        write_atomically(path, json.dumps(icons, indent=0, sort_keys=True).encode())
        log(f"wrote {path}")


def _on_common_view(source: dict[str, Any], icon: str) -> str:
    """An icon's SVG body, scaled to a view box of 32x32 where its own is another."""
    entry = source["icons"][icon]
    side = max(entry.get(key, source[key]) for key in ("width", "height"))
    return entry["body"] if side == _SIDE else f'<g transform="scale({_SIDE / side})">{entry["body"]}</g>'


@lru_cache(maxsize=16)
def _icons(path: Path) -> dict[str, str]:
    if not path.exists():
        raise NotFound("file of world icons", str(path), f"run `{COMMAND}` first")
    icons: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return icons


def rasterise(body: str, view: str, width: int, height: int) -> NDArray[np.uint8]:
    """An SVG body on a view box as straight RGBA uint8 `[height, width, 4]`."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{width}" height="{height}"'
    svg = f'{head} preserveAspectRatio="none">{body}</svg>'
    return rasterise_svg(svg)


def rasterise_svg(svg: str, dpi: float = 96, font_files: Sequence[Path] = ()) -> NDArray[np.uint8]:
    """A whole SVG at its own size as straight RGBA uint8 `[H, W, 4]`; `dpi` is for lengths in pt or mm.

    Its texts are set in the families of `font_files` alone. Raises ValueError when it is no SVG.
    """
    options = usvg.Options.default()  # not kept: it serves the thread alone that made it
    options.dpi = dpi
    for file in font_files:
        options.load_font_file(str(file))
    try:
        tree = usvg.Tree.from_str(svg, options)
    except BaseException as error:  # the binding panics, which is no Exception and cannot be imported
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"no SVG that can be drawn: {error}") from None
    with Image.open(io.BytesIO(render(tree, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)))) as png:
        return np.array(png)


@keep_arrays(max_bytes=256 * 2**20)
def sprite(name: str, color: str | None, px: int, style: str = "flat") -> NDArray[np.float32]:
    """The object as *premultiplied* RGBA, float32 0..255 for colour and 0..1 for alpha, `[px, px, 4]`.

    A colour word is ignored where `concepts.colorable` says that none applies. Cached and read-only. Raises
    NotFound naming the command when the icons are not fetched, ValueError for another style.
    """
    if not colorable(name, style):
        color = None
    if style not in _SLOW_STYLES or name in SHAPES:
        return canvas_of(rasterise(_body(name, color, style), _view(name, style), px, px))
    master = _master(name, style, _MASTER_PX[0] if px <= 0.8 * _MASTER_PX[0] else _MASTER_PX[1])
    pixels = np.array(master.resize((px, px), Image.Resampling.HAMMING), np.float32)
    pixels[..., 3] /= 255
    return pixels


@lru_cache(maxsize=1024)
def _master(name: str, style: str, side: int) -> Image.Image:
    """A slow icon from which all its sizes are scaled: premultiplied, cut to the tight square around it.

    It is drawn on its whole view box, since resvg fails on some filters that the view cuts, and kept on disk
    for all processes.
    """
    body = _body(name, None, style)
    path = cache_dir() / "masters" / str(side) / f"{hashlib.sha256(body.encode()).hexdigest()[:16]}.png"
    if path.exists():
        with Image.open(path) as kept:
            drawn = kept.convert("RGBA")
    else:
        drawn = Image.fromarray(rasterise(body, f"0 0 {_SIDE} {_SIDE}", side, side))
        packed = io.BytesIO()
        drawn.save(packed, "PNG")
        with contextlib.suppress(OSError):  # a cache that cannot be written to is only slower
            write_atomically(path, packed.getvalue())
    box = drawn.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox()
    assert box is not None, f"the {style} icon of {name} draws something"
    left, top, right, bottom = box
    extent = max(right - left, bottom - top)
    x, y = (left + right - extent) // 2, (top + bottom - extent) // 2
    return drawn.convert("RGBa").crop((x, y, x + extent, y + extent))


@lru_cache(maxsize=4096)
def _view(name: str, style: str) -> str:
    """The tight square view box of an icon: sizes then mean what is seen, not the icon's padding."""
    alpha = rasterise(_body(name, None, style), "0 0 32 32", 128, 128)[..., 3] > 8
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    top, bottom, left, right = rows[0] / 4, (rows[-1] + 1) / 4, columns[0] / 4, (columns[-1] + 1) / 4
    side = max(bottom - top, right - left)
    return f"{(left + right - side) / 2} {(top + bottom - side) / 2} {side} {side}"


def _body(name: str, color: str | None, style: str) -> str:
    entry = concept(name)
    if entry.kind == "shape":
        body = _shape(name)
    else:
        path = icons_path() if style == "flat" and name in CONCEPTS else catalogue_path(style)
        body = _icons(path)[entry.icon]
    if color is None:
        return body
    if style == "outline" and entry.kind != "shape":
        return body.replace("currentColor", f"rgb{COLORS[color]}")
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
