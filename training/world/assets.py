"""The emoji icons the world is drawn with: fetched once from npm, rendered to sprites and recoloured.

The icons are Microsoft's Fluent Emoji (flat), MIT, packed by Iconify as `@iconify-json/fluent-emoji-flat`.
The package is pinned and its integrity checked; it is cached outside the repository and never copied into it.
"""

import base64
import colorsys
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from training.world.concepts import CONCEPTS, concept
from wanimage.conditions import COLORS
from wanimage.errors import DataLoss, NotFound, Unavailable

PACKAGE, VERSION = "fluent-emoji-flat", "1.2.6"
INTEGRITY = (
    "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw=="  # sha512
)
DOWNLOAD_MB = 1.2
REGISTRY_VARIABLE = "npm_config_registry"  # npm's own setting, lower case
COMMAND = "wan data world fetch"
_NOTICE = """{package} {version}: Fluent Emoji, Copyright (c) Microsoft Corporation, MIT licence
Source: https://github.com/microsoft/fluentui-emoji ; licence text: https://spdx.org/licenses/MIT.html
Packed by Iconify (https://iconify.design) as @iconify-json/{package}.
"""


def cache_dir() -> Path:
    """`$WAN_CACHE/world`, or `~/.cache/wanimage/world`."""
    root = os.environ.get("WAN_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "wanimage") / "world"


def icons_path() -> Path:
    """The file that holds the world's icons: a JSON object, icon name -> SVG body on a 32x32 view box."""
    return cache_dir() / f"{PACKAGE}-{VERSION}.json"


def fetch(log: Callable[[str], None] = print) -> Path:
    """Download the icons into the cache unless they are there, and return their file.

    Raises Unavailable when the registry cannot be reached, DataLoss when what came is not the pinned package.
    """
    path = icons_path()
    if path.exists():
        log(f"{path} is there")
        return path
    registry = os.environ.get(REGISTRY_VARIABLE, "https://registry.npmjs.org").rstrip("/")
    url = f"{registry}/@iconify-json/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
    log(f"downloading {url} ({DOWNLOAD_MB} MB, MIT) to {path.parent}")
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            tarball = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise Unavailable(f"the npm registry {registry}", f"{error}; `{COMMAND}` needs it once") from error
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if digest != INTEGRITY:
        raise DataLoss(f"{url} is not the pinned package (sha512 {digest}); run `{COMMAND}` again")
    _write_atomically(path.with_suffix(".LICENSE"), _NOTICE.format(package=PACKAGE, version=VERSION))
    _write_atomically(path, json.dumps(_select(tarball), indent=0, sort_keys=True))
    log(f"wrote {path}")
    return path


def _select(tarball: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        member = archive.extractfile("package/icons.json")
        assert member is not None, "the pinned package holds package/icons.json"
        icons = json.load(member)["icons"]
    return {c.icon: icons[c.icon]["body"] for c in CONCEPTS.values()}


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)


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
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width, height=height, skip_system_fonts=True))
    return np.array(Image.open(io.BytesIO(png)).convert("RGBA"))


@lru_cache(maxsize=20000)
def sprite(name: str, color: str | None, px: int) -> NDArray[np.float32]:
    """The object as *premultiplied* RGBA, float32 0..255 for colour and 0..1 for alpha, `[px, px, 4]`.

    Cached and read-only. Raises NotFound naming the command when the icons are not fetched.
    """
    pixels = rasterise(_body(name, color), _view(name), px, px).astype(np.float32)
    pixels[..., 3] /= 255
    pixels[..., :3] *= pixels[..., 3:]
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
