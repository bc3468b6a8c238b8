"""Fitting a history to the planner's window: the oldest pictures go first, then the oldest turns."""

import asyncio
import threading
from datetime import UTC, datetime

import numpy as np
import pytest

from services.planner.context import LEAST_ROOM, RESERVED_TOKENS, Assembled, assemble
from services.planner.engine import Picture
from services.planner.history import History, Turn
from tests.scripted import ScriptedEngine
from tests.threads import callers_of
from wanimage import images
from wanimage.errors import InvalidInput
from wanimage.markup import Text
from wanimage.v1 import types_pb2


class Shelf:
    """Blobs that are all one small picture; it remembers which were asked for."""

    def __init__(self, height: int = 32, width: int = 32) -> None:
        self.asked: list[str] = []
        self.data, _ = images.encode(np.zeros((height, width, 4), np.uint8))

    async def get(self, tenant: str, blob: types_pb2.BlobRef) -> bytes:
        self.asked.append(blob.sha256)
        return self.data


def turn(number: int, words: str, pictures: int = 1, answer: str = "") -> Turn:
    """A turn with uploads, ended when it was answered."""
    size = types_pb2.Size(height=32, width=32)
    blobs = [types_pb2.BlobRef(sha256=f"{number}.{i}") for i in range(pictures)]
    uploads = [types_pb2.Image(index=number, base=blob, size=size) for blob in blobs]
    return Turn(
        turn_id=str(number), started_seq=1, started=datetime.now(UTC), text=words, images=uploads,
        options=types_pb2.TurnOptions(), deadline=datetime.now(UTC), items=[Text(answer)] if answer else [],
        ended_seq=1 if answer else 0,
    )  # fmt: skip


def fitted(
    turns: list[Turn], window: int, max_images: int = 24, shelf: Shelf | None = None
) -> tuple[Assembled, Shelf]:
    """The context for a window of so many tokens beside the room for the answer."""
    engine, shelf = (
        ScriptedEngine("", max_tokens=window + RESERVED_TOKENS, max_images=max_images),
        shelf or Shelf(),
    )
    history = History("s", datetime.now(UTC), turns=turns)
    return asyncio.run(assemble(engine, shelf, "acme", history, see=True)), shelf  # type: ignore[arg-type]


def words(found: Assembled) -> list[str]:
    return [
        part
        for part in found.parts
        if isinstance(part, str) and part.strip("\n") not in ("", "user", "assistant")
    ]


def test_everything_is_kept_where_it_fits() -> None:
    found, _ = fitted([turn(0, "one", answer="1"), turn(1, "two")], window=200)
    assert (found.dropped_images, found.dropped_turns) == (0, 0)
    assert words(found) == ["one", "1", "two"]
    assert sum(isinstance(part, Picture) for part in found.parts) == 2


def test_the_oldest_pictures_go_before_any_words() -> None:
    turns = [turn(i, f"w{i}", answer="a") for i in range(3)] + [turn(3, "now")]
    full, _ = fitted(turns, window=1000)
    used = 1000 + RESERVED_TOKENS - full.room
    found, shelf = fitted(turns, window=used - 20)
    assert (found.dropped_images, found.dropped_turns) == (2, 0)
    assert words(found) == words(full)
    assert shelf.asked == ["2.0", "3.0"], "pictures that are left out are not fetched"


def test_more_pictures_than_the_planner_takes_are_left_out_oldest_first() -> None:
    turns = [turn(i, "w", pictures=3, answer="a") for i in range(3)] + [turn(3, "now", pictures=2)]
    found, shelf = fitted(turns, window=10_000, max_images=4)
    assert (found.dropped_images, found.dropped_turns) == (7, 0)
    assert shelf.asked == ["2.1", "2.2", "3.0", "3.1"]


def test_whole_turns_go_when_all_pictures_are_gone() -> None:
    turns = [turn(i, "w" * 50, answer="a" * 50) for i in range(3)] + [turn(3, "now")]
    found, _ = fitted(turns, window=300)
    assert (found.dropped_images, found.dropped_turns) == (4, 1)
    assert words(found)[-1] == "now"


def test_a_picture_is_shown_as_it_is_up_to_a_megapixel_and_smaller_in_its_shape_beyond() -> None:
    for size, seen in (((1024, 1024), (1024, 1024)), ((1000, 4000), (512, 2048))):
        found, _ = fitted([turn(0, "now")], window=200, shelf=Shelf(*size))
        assert [part.pixels.shape[:2] for part in found.parts if isinstance(part, Picture)] == [seen]


def test_pictures_are_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = callers_of(monkeypatch, images, "decode")
    fitted([turn(0, "now", pictures=2)], window=200)
    assert len(readers) == 2
    assert threading.main_thread() not in readers


def test_a_message_too_long_by_itself_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"this message alone is .* the planner reads 300") as caught:
        fitted([turn(0, "w", answer="a"), turn(1, "w" * 400)], window=300)
    assert caught.value.field == "user.text"


def test_an_answer_that_has_filled_the_window_has_no_room_and_is_no_error() -> None:
    full = turn(0, "w", answer="a" * 800)
    full.ended_seq = 0
    found, _ = fitted([full], window=300)
    assert found.room < LEAST_ROOM
