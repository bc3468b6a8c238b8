"""Cues that show on a picture where something is meant: a box, an arrow, a scribble, a mask, a number.

The planner and the visualizer were trained on pictures with such cues drawn over them, in these colours and
widths (report 2.2.3), so a client that says where by a region has it drawn the same way. Numbers are the
places of the regions in the request, from 1.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from wanimage.blobs import Blobs
from wanimage.errors import InvalidInput
from wanimage.images import Rgba, decode, encode
from wanimage.uploads import Upload, check_upload
from wanimage.v1 import types_pb2 as pb

COLORS = ((255, 0, 255), (0, 255, 255), (0, 255, 0))
"""Magenta, cyan and lime, by turns: colours that pictures of the world do not hold."""
INK = (16, 16, 20)
STROKE = 0.022
"""Width of a line, in short sides; at least two pixels."""
DISC = 0.075
"""Radius of a numbered disc, in short sides."""
VEIL = 0.4
"""Opacity of a mask; its rim is opaque."""
ZIGZAG = 6
"""Strokes of a scribble."""
FINE = 512
"""Pictures whose long side is shorter are drawn on four times as large and scaled down, for smooth lines."""

Mask = NDArray[np.bool_]


async def mark_uploads(
    blobs: Blobs, tenant: str, uploads: Sequence[Upload], regions: Sequence[pb.Region], field: str
) -> list[Upload]:
    """The pictures with the cues of the regions that lie on them; those without cues stay as they are.

    `field` names the regions in a refusal. Raises InvalidInput where a mask is not of its picture's size,
    NotFound, DataLoss or Unavailable for a mask that cannot be read.
    """
    marked = list(uploads)
    for index, upload in enumerate(uploads):
        mine = _on(regions, index)
        masks = await _masks(blobs, tenant, (upload.height, upload.width), mine, field)
        if mine:
            marked[index] = await asyncio.to_thread(_marked, upload, mine, masks)
    return marked


async def changeable(
    blobs: Blobs,
    tenant: str,
    size: tuple[int, int],
    regions: Sequence[pb.Region],
    index: int,
    grid: pb.Grid,
    field: str,
) -> bytes:
    """Where masks let an edit change the picture `index` of a request, of (height, width) `size`: one byte a
    cell of `grid`, row by row, 1 under a mask. Empty, for anywhere, unless all cues on the picture are masks.

    Raises as `mark_uploads` does.
    """
    mine = _on(regions, index)
    if not mine or any(region.cue != pb.Region.CUE_MASK for region in mine.values()):
        return b""
    masks = await _masks(blobs, tenant, size, mine, field)
    return await asyncio.to_thread(_touched, mine, masks, size, grid)


def _touched(
    regions: dict[int, pb.Region], masks: dict[int, Mask], size: tuple[int, int], grid: pb.Grid
) -> bytes:
    """Which cells the masks of the regions touch, or, without one, the ellipses of their boxes."""
    free = np.zeros(size, np.bool_)
    for place, region in regions.items():
        free |= masks[place] if place in masks else np.asarray(_layer(region, place, *size, None))[..., 3] > 0
    rows, columns = (
        np.arange(cells) * pixels // cells
        for cells, pixels in zip((grid.height_cells, grid.width_cells), size, strict=True)
    )
    return np.logical_or.reduceat(np.logical_or.reduceat(free, rows, axis=0), columns, axis=1).tobytes()


def _on(regions: Sequence[pb.Region], index: int) -> dict[int, pb.Region]:
    """The regions that are cues on the picture `index`, by their places among all."""
    return {i: region for i, region in enumerate(regions) if region.cue and region.reference == index}


def draw(picture: Rgba, regions: dict[int, pb.Region], masks: dict[int, Mask] | None = None) -> Rgba:
    """The picture `[H, W, 4]` with a cue for each region, by its place among all; `masks` `[H, W]` replace
    the ellipses of theirs."""
    height, width = picture.shape[:2]
    scale = 4 if max(height, width) < FINE else 1
    over = Pillow.new("RGBA", (width, height))
    for place, region in regions.items():
        mask = (masks or {}).get(place)
        layer = _layer(region, place, height * scale, width * scale, mask)
        smooth = layer.convert("RGBa").resize((width, height), Pillow.Resampling.BOX)
        over.alpha_composite(smooth.convert("RGBA"))
    return np.asarray(Pillow.alpha_composite(Pillow.fromarray(picture, "RGBA"), over))


def _layer(region: pb.Region, place: int, height: int, width: int, mask: Mask | None) -> Pillow.Image:
    """One cue alone."""
    layer = Pillow.new("RGBA", (width, height))
    pen, color = ImageDraw.Draw(layer), COLORS[place % len(COLORS)]
    stroke = max(2.0, STROKE * min(height, width))
    x0, y0 = region.box.x * width, region.box.y * height
    x1, y1 = x0 + region.box.width * width, y0 + region.box.height * height
    middle, rim = ((x0 + x1) / 2, (y0 + y1) / 2), stroke / 2
    around = (x0 - rim, y0 - rim, x1 + rim, y1 + rim)  # Pillow draws outlines on the inside
    if region.cue == pb.Region.CUE_BOX:
        pen.rectangle(around, outline=color, width=round(stroke))
    elif region.cue == pb.Region.CUE_MASK and mask is not None:
        veil = np.zeros((*mask.shape, 4), np.uint8)
        veil[mask] = (*color, round(255 * VEIL))
        layer = Pillow.fromarray(veil, "RGBA").resize((width, height), Pillow.Resampling.NEAREST)
    elif region.cue == pb.Region.CUE_MASK:
        pen.ellipse(around, (*color, round(255 * VEIL)), color, round(stroke))
    elif region.cue == pb.Region.CUE_SCRIBBLE:
        rows = [y0 + (y1 - y0) * step / ZIGZAG for step in range(ZIGZAG + 1)]
        path = [(x0 if step % 2 else x1, y) for step, y in enumerate(rows)]
        pen.line(path, color, round(stroke), joint="curve")
    elif region.cue == pb.Region.CUE_ARROW:
        _arrow(pen, _tail(middle, height, width), middle, color, stroke)
    elif region.cue == pb.Region.CUE_NUMBER:
        radius = DISC * min(height, width)
        pen.circle(middle, radius, color)
        pen.text(middle, str(place + 1), INK, ImageFont.load_default(1.6 * radius), anchor="mm")
    return layer


Point = tuple[float, float]


def _tail(tip: Point, height: int, width: int) -> Point:
    """Where an arrow comes from: the side on which there is room."""
    x, y = tip
    return x + (0.35 if x < width / 2 else -0.35) * width, y + (0.3 if y < height / 2 else -0.3) * height


def _arrow(pen: ImageDraw.ImageDraw, tail: Point, tip: Point, color: tuple[int, ...], stroke: float) -> None:
    pen.line((tail, tip), color, round(stroke))
    along = np.subtract(tip, tail) / max(float(np.hypot(*np.subtract(tip, tail))), 1e-6)
    across, size = np.array([-along[1], along[0]]), 3.2 * stroke
    base = np.array(tip) - 1.6 * size * along
    corners = [tip, *(tuple(base + side * size * across) for side in (0.8, -0.8))]
    pen.polygon([(float(x), float(y)) for x, y in corners], color)


def _marked(upload: Upload, regions: dict[int, pb.Region], masks: dict[int, Mask]) -> Upload:
    data, media_type = encode(draw(decode(upload.data, "image"), regions, masks))
    return replace(upload, data=data, media_type=media_type, bare=upload)


async def _masks(
    blobs: Blobs, tenant: str, size: tuple[int, int], regions: dict[int, pb.Region], field: str
) -> dict[int, Mask]:
    """The masks that the regions name, by their places."""
    return {
        i: await _mask(blobs, tenant, size, region, f"{field}[{i}].mask")
        for i, region in regions.items()
        if region.HasField("mask")
    }


async def _mask(blobs: Blobs, tenant: str, size: tuple[int, int], region: pb.Region, field: str) -> Mask:
    drawn = await check_upload(blobs, tenant, pb.ImageInput(blob=region.mask), field)
    if (drawn.height, drawn.width) != size:
        problem = f"{drawn.width}x{drawn.height}, its picture is {size[1]}x{size[0]}"
        raise InvalidInput(field, problem, "send a mask of the picture's size")
    return await asyncio.to_thread(_white, drawn.data, field)


def _white(data: bytes, field: str) -> Mask:
    return decode(data, field)[..., :3].mean(-1) > 127
