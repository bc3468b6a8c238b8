"""What the planner reads: a session's history as text, control tokens and pictures, fitted to its window.

The layout is the one the understanding branch is trained on (training/understanding/items.py): user pictures
before the user's words; a drawn picture right after its <BOI>, the pictures of a series after its last <BOI>.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from services.planner.engine import Control, Part, Picture, PlannerEngine
from services.planner.history import History, Turn
from wanimage import images, markup, tokens
from wanimage.blobs import Blobs
from wanimage.errors import InvalidInput
from wanimage.v1 import types_pb2

RESERVED_TOKENS = 512
"""Room kept for the answer when the history is fitted to the window."""


@dataclass(frozen=True)
class Slot:
    """A place in the context where a stored picture belongs."""

    image: types_pb2.Image


@dataclass(frozen=True)
class Assembled:
    """A context that fits, and what had to be left out."""

    parts: list[Part]
    dropped_images: int
    dropped_turns: int


async def assemble(
    engine: PlannerEngine, blobs: Blobs, tenant: str, history: History, *, see: bool
) -> Assembled:
    """Build the context of the last turn. The oldest pictures are dropped first, then the oldest turns.

    `see` puts pictures drawn in the last turn into the context; earlier ones are always seen. Raises
    InvalidInput when the last turn alone is too long for the planner.
    """
    window = engine.max_tokens - RESERVED_TOKENS
    laid = [list(_turn(turn, see=see or turn is not history.turns[-1])) for turn in history.turns]
    slots = [part for parts in laid for part in parts if isinstance(part, Slot)]
    pixels = dict(zip((slot.image.index for slot in slots), await _load(blobs, tenant, slots), strict=True))
    dropped_images = dropped_turns = 0
    while True:
        parts: list[Part] = [
            Picture(pixels[part.image.index]) if isinstance(part, Slot) else part
            for turn in laid
            for part in turn
        ]
        if engine.count(parts) <= window:
            return Assembled(parts, dropped_images, dropped_turns)
        if dropped_images < len(slots):
            _drop_first_slot(laid)
            dropped_images += 1
        elif len(laid) > 1:
            laid.pop(0)
            dropped_turns += 1
        else:
            problem = f"this turn alone is {engine.count(parts):,} tokens, the planner reads {window:,}"
            raise InvalidInput("user.text", problem, "shorten the message or start a new turn")


def _turn(turn: Turn, *, see: bool) -> Iterator[Part | Slot]:
    yield from (Control(tokens.IM_START), "user\n")
    yield from (Slot(image) for image in turn.images)
    yield from (turn.text, Control(tokens.IM_END), "\n", Control(tokens.IM_START), "assistant\n")
    yield from _answer(turn, see=see)
    if turn.ended_seq:
        yield from (Control(tokens.IM_END), "\n")


def _answer(turn: Turn, *, see: bool) -> Iterator[Part | Slot]:
    drawn = iter(range(len(turn.planned)))
    unseen: list[int] = []
    parser = markup.Parser()
    for piece in turn.written(parser):
        yield Control(piece.value) if isinstance(piece, markup.Tag) else piece
        if piece is markup.Tag.BOI:
            unseen.append(next(drawn))
            if see and not parser.series_left:
                yield from (Slot(turn.ready[index].image) for index in unseen if index in turn.ready)
                unseen.clear()


async def _load(blobs: Blobs, tenant: str, slots: list[Slot]) -> list[images.Rgba]:
    data = await asyncio.gather(*(blobs.get(tenant, slot.image.base) for slot in slots))
    return [images.decode(each, "image") for each in data]


def _drop_first_slot(laid: list[list[Part | Slot]]) -> None:
    for parts in laid:
        for position, part in enumerate(parts):
            if isinstance(part, Slot):
                del parts[position]
                return
