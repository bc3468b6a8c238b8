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
LEAST_ROOM = 32
"""Tokens an answer needs to go on at all."""


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
    room: int
    """Tokens that the answer may still take."""


async def assemble(
    engine: PlannerEngine, blobs: Blobs, tenant: str, history: History, *, see: bool
) -> Assembled:
    """Build the context of the last turn. The oldest pictures are dropped first, then the oldest turns.

    `see` puts pictures drawn in the last turn into the context; earlier ones are always seen. Raises
    InvalidInput when the message alone is too long for the planner. An answer that has filled the window
    gets less than `LEAST_ROOM`.
    """
    laid = [list(_turn(turn, see=see or turn is not history.turns[-1])) for turn in history.turns]
    sizes = [sum(_tokens(engine, part) for part in turn) for turn in laid]
    slots = [(turn, part) for turn, parts in enumerate(laid) for part in parts if isinstance(part, Slot)]
    window, dropped_images, dropped_turns = engine.max_tokens - RESERVED_TOKENS, 0, 0
    for turn, slot in slots:
        if sum(sizes) <= window and len(slots) - dropped_images <= engine.max_images:
            break
        laid[turn].remove(slot)
        sizes[turn] -= _tokens(engine, slot)
        dropped_images += 1
    while sum(sizes[dropped_turns:]) > window and dropped_turns < len(laid) - 1:
        dropped_turns += 1
    used = sum(sizes[dropped_turns:])
    if used > window and not history.turns[-1].items:
        problem = f"this message alone is {used:,} tokens, the planner reads {window:,}"
        raise InvalidInput("user.text", problem, "shorten the message or send fewer pictures")
    kept = [part for turn in laid[dropped_turns:] for part in turn]
    pixels = iter(await _load(blobs, tenant, [part for part in kept if isinstance(part, Slot)]))
    parts: list[Part] = [Picture(next(pixels)) if isinstance(part, Slot) else part for part in kept]
    return Assembled(parts, dropped_images, dropped_turns, engine.max_tokens - used)


def _tokens(engine: PlannerEngine, part: Part | Slot) -> int:
    return engine.picture_tokens(part.image.size) if isinstance(part, Slot) else engine.count([part])


def _turn(turn: Turn, *, see: bool) -> Iterator[Part | Slot]:
    yield from (Control(tokens.IM_START), "user\n")
    yield from (Slot(image) for image in turn.images)
    yield from (turn.asked, Control(tokens.IM_END), "\n", Control(tokens.IM_START), "assistant\n")
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
    # One after the other: a picture of 40 megapixels takes a gigabyte while it is shrunk.
    return [await asyncio.to_thread(images.shown, each, "image") for each in data]
