"""The only reader and writer of the planner's markup (report 3.3).

EBNF (control tokens are single token ids; text is anything else):

    turn    = { text | think | image | series } ;
    think   = "<think>" text "</think>" ;
    image   = "<imagine>" prompt "</imagine>" "<size>" grid "</size>" "<BOI>" ;
    series  = "<series>" count "</series>" image { image } ;      (* exactly `count` images *)
    grid    = number "*" number ;                                  (* height*width in cells of 16 pixels *)
    count   = number ;                                             (* 2 to 12 *)
    prompt  = text ;                                               (* not blank *)
    number  = digit { digit } ;                                    (* without leading zero *)

The parser consumes a stream of `str | Tag`: a `Tag` comes from a control id, a `str` from ordinary ids, so
text that merely *looks* like a tag can never act as one. `split_tags` turns recorded markup into that stream.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

MAX_SERIES = 12
"""Most pictures in a series (report 3.5)."""
MAX_CELLS = 256
"""Longest side of a grid, in cells."""


class Tag(StrEnum):
    """Control tokens of the markup; each is a single id of every family's tokenizer."""

    THINK = "<think>"
    END_THINK = "</think>"
    IMAGINE = "<imagine>"
    END_IMAGINE = "</imagine>"
    SIZE = "<size>"
    END_SIZE = "</size>"
    SERIES = "<series>"
    END_SERIES = "</series>"
    BOI = "<BOI>"


@dataclass(frozen=True)
class Text:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class Think:
    """A piece of reasoning."""

    text: str


@dataclass(frozen=True)
class ImageSpec:
    """A picture the planner wants: emitted at its <BOI>."""

    prompt: str
    grid: tuple[int, int]
    """(height, width) in cells."""
    series: int = 0
    """Number of its series within the turn, from 1; 0 for a single picture."""
    series_length: int = 0
    position: int = 0
    """Position in its series, from 0."""


Item = Text | Think | ImageSpec


class MarkupError(ValueError):
    """The stream is not a turn; says what was found and what may stand there."""


_ALLOWED: dict[str, dict[Tag, str]] = {
    "text": {Tag.THINK: "think", Tag.IMAGINE: "prompt", Tag.SERIES: "count"},
    "think": {Tag.END_THINK: "text"},
    "count": {Tag.END_SERIES: "in_series"},
    "in_series": {Tag.IMAGINE: "prompt"},
    "prompt": {Tag.END_IMAGINE: "before_size"},
    "before_size": {Tag.SIZE: "grid"},
    "grid": {Tag.END_SIZE: "before_boi"},
    "before_boi": {Tag.BOI: "text"},
}
_COLLECTS = {"prompt", "grid", "count"}
_NUMBER = re.compile(r"[1-9][0-9]{0,2}")
_GRID = re.compile(r"([1-9][0-9]{0,2})\*([1-9][0-9]{0,2})")


class Parser:
    """Incremental: `feed` pieces in order, get items as early as they are certain; `finish` at the end.

    Text and reasoning come out as they come in (joined pieces equal the joined input, whatever the split);
    an `ImageSpec` comes out at its <BOI>.
    """

    def __init__(self) -> None:
        self.state = "text"
        self.images = 0
        """Pictures emitted so far."""
        self._collected = ""
        self._prompt = ""
        self._grid = (0, 0)
        self._series = 0
        self._series_length = 0
        self._position = 0

    @property
    def series_left(self) -> int:
        """Pictures still owed by the open series; 0 outside one."""
        return self._series_length - self._position if self._series_length else 0

    def feed(self, piece: str | Tag) -> list[Item]:
        """Take one piece; raise `MarkupError` when it cannot stand here."""
        if isinstance(piece, Tag):
            return self._tag(piece)
        if not piece:
            return []
        if self.state == "text":
            return [Text(piece)]
        if self.state == "think":
            return [Think(piece)]
        if self.state in _COLLECTS:
            self._collected += piece
            return []
        raise MarkupError(f"text {piece[:40]!r} where only {self._expected()} may stand")

    def finish(self) -> None:
        """The stream is over; raise `MarkupError` when a construct is still open."""
        if self.state != "text":
            raise MarkupError(f"the turn ends where {self._expected()} must follow")

    def _expected(self) -> str:
        return " or ".join(tag.value for tag in _ALLOWED[self.state])

    def _tag(self, tag: Tag) -> list[Item]:
        following = _ALLOWED[self.state].get(tag)
        if following is None:
            raise MarkupError(f"{tag.value} where only text or {self._expected()} may stand")
        collected, self._collected = self._collected, ""
        if tag is Tag.END_SERIES:
            self._open_series(collected)
        elif tag is Tag.END_IMAGINE:
            if not collected.strip():
                raise MarkupError("an empty prompt between <imagine> and </imagine>")
            self._prompt = collected
        elif tag is Tag.END_SIZE:
            self._grid = parse_grid(collected)
        self.state = following
        return [self._close_image()] if tag is Tag.BOI else []

    def _open_series(self, count: str) -> None:
        if not _NUMBER.fullmatch(count) or not 2 <= int(count) <= MAX_SERIES:
            raise MarkupError(f"series of {count[:20]!r} pictures; it has 2 to {MAX_SERIES}")
        self._series += 1
        self._series_length, self._position = int(count), 0

    def _close_image(self) -> ImageSpec:
        spec = ImageSpec(self._prompt, self._grid)
        if self._series_length:
            spec = ImageSpec(self._prompt, self._grid, self._series, self._series_length, self._position)
            self._position += 1
            if self._position == self._series_length:
                self._series_length = 0
            else:
                self.state = "in_series"
        self.images += 1
        return spec


def parse_grid(text: str) -> tuple[int, int]:
    """`"8*8"` to (height, width) in cells; raise `MarkupError` outside 1..256 or aspect 1:8..8:1."""
    found = _GRID.fullmatch(text)
    if not found:
        raise MarkupError(f"size {text[:20]!r}; it is height*width in cells, e.g. 8*8")
    height, width = int(found[1]), int(found[2])
    if max(height, width) > MAX_CELLS or max(height, width) > 8 * min(height, width):
        raise MarkupError(f"size {text}; sides are 1 to {MAX_CELLS} cells and at most 1:8 apart")
    return height, width


def parse(pieces: Iterable[str | Tag]) -> Iterator[Item]:
    """Parse a whole turn."""
    parser = Parser()
    for piece in pieces:
        yield from parser.feed(piece)
    parser.finish()


_TAGS = re.compile("|".join(re.escape(tag.value) for tag in Tag))


def split_tags(markup: str) -> Iterator[str | Tag]:
    """Cut trusted markup text (our own writing, training data) into pieces for the parser."""
    end = 0
    for found in _TAGS.finditer(markup):
        if found.start() > end:
            yield markup[end : found.start()]
        yield Tag(found[0])
        end = found.end()
    if end < len(markup):
        yield markup[end:]


def pieces(items: Iterable[Item]) -> Iterator[str | Tag]:
    """The inverse of `parse`: items of one turn to its pieces. Adjacent `Think`s share one block."""
    thinking = False
    for item in items:
        if thinking and not isinstance(item, Think):
            yield Tag.END_THINK
        if isinstance(item, Think):
            if not thinking:
                yield Tag.THINK
            yield item.text
        elif isinstance(item, Text):
            yield item.text
        else:
            if item.series and item.position == 0:
                yield from (Tag.SERIES, str(item.series_length), Tag.END_SERIES)
            yield from (Tag.IMAGINE, item.prompt, Tag.END_IMAGINE)
            yield from (Tag.SIZE, f"{item.grid[0]}*{item.grid[1]}", Tag.END_SIZE, Tag.BOI)
        thinking = isinstance(item, Think)
    if thinking:
        yield Tag.END_THINK
