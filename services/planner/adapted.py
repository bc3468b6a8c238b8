"""The dialect of a checkpoint from elsewhere: chat messages, and the markup in plain text.

A system message explains the tags, a few turns of the design world show them, and then comes the session.
A drawn picture is shown in a message of the user's side, after the answer it interrupts: no chat template
shows pictures in an assistant's message.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.planner.engine import Control, Model, Part, Picture
from services.planner.instructions import EXAMPLES, SYSTEM
from wanimage import plaintext, tokens
from wanimage.decoding import StopReason, TokenDelta
from wanimage.images import CELL, fit_grid
from wanimage.markup import Parser, Tag, split_tags

SHOWN = "<drawn/>"
"""Comes with drawn pictures. Users cannot write it: their "<" is escaped."""
FRAME_TOKENS = 6
"""What a chat template writes around a message, beside its role."""
_AROUND_DRAWN = f"user\n{SHOWN}assistant\n"


@dataclass(frozen=True)
class Message:
    """One message of a chat; texts are escaped."""

    role: str
    content: tuple[str | Picture, ...]


@dataclass(frozen=True)
class Chat:
    """A context as chat messages."""

    messages: tuple[Message, ...]
    """From the system's to the last one that is complete."""
    begun: str = ""
    """How the answer begins that is to be gone on with; empty: nothing of it is written yet."""


class ChatModel(Model, Protocol):
    """A model whose prompts are chats."""

    def count_text(self, text: str) -> int:
        """Tokens of a text in a message."""


@dataclass(frozen=True)
class Adapted:
    """A dialect that any instruct checkpoint can follow."""

    base_cells: int
    """Cells of a picture whose size nobody named."""
    opening: tuple[Message, ...] = field(init=False)
    """The system message and the examples."""

    def __post_init__(self) -> None:
        sides = {
            name: "{}*{}".format(*fit_grid(height * CELL, width * CELL, self.base_cells))
            for name, height, width in (("square", 1, 1), ("wide", 6, 10), ("tall", 10, 6))
        }
        system = Message("system", (SYSTEM.format(shown=SHOWN, **sides),))
        object.__setattr__(self, "opening", (system, *_messages(_told(EXAMPLES))))

    def prompt(self, context: Sequence[Part]) -> Chat:
        """The session as a chat, with what opens every one."""
        *messages, answer = _messages(context)
        assert answer.role == "assistant", f"the context ends in a message of {answer.role}"
        return Chat((*self.opening, *messages), "".join(str(text) for text in answer.content))

    def grammar(self, parser: Parser, begun: bool, max_cells: int, banned: frozenset[Tag]) -> str:
        """EBNF over text."""
        return plaintext.grammar_of(parser, begun, max_cells=max_cells, banned=banned)

    def reader(self) -> "AdaptedReader":
        """One that knows tags by their text."""
        return AdaptedReader()

    def count(self, model: "ChatModel", parts: Sequence[Part]) -> int:
        """With the frames of messages that parts may begin."""
        return sum(self._tokens(model, part) for part in parts)

    def picture_tokens(self, model: "ChatModel", height: int, width: int) -> int:
        """As if it were a drawn one, which takes two messages' frames."""
        return model.picture_tokens(height, width) + model.count_text(_AROUND_DRAWN) + 2 * FRAME_TOKENS

    def overhead(self, model: "ChatModel") -> int:
        """Instructions and examples."""
        return model.count_tokens(Chat(self.opening))

    def _tokens(self, model: "ChatModel", part: Part) -> int:
        if isinstance(part, Picture):
            return self.picture_tokens(model, *part.pixels.shape[:2])
        if part == Control(tokens.IM_START):
            return FRAME_TOKENS
        return model.count_text(str(_written(part))) if part != Control(tokens.IM_END) else 0

    @property
    def stop(self) -> tuple[str]:
        """The end of a picture; the end of the turn is the checkpoint's own."""
        return (plaintext.STOP,)


class AdaptedReader:
    """Decoded text to pieces."""

    def __init__(self) -> None:
        self._reader = plaintext.TextReader()
        self._last: str | Tag = ""

    def read(self, delta: TokenDelta) -> tuple[list[str | Tag], str]:
        """Pieces of a step, and why it was the last."""
        stopped = delta.stop_reason is StopReason.TOKEN
        written = self._reader.feed(delta.text)
        if delta.stop_reason:
            written += self._reader.finish(stopped=stopped)
        self._last = written[-1] if written else self._last
        if stopped:
            return written, "boi" if self._last is Tag.BOI else "end"
        return written, delta.stop_reason.value if delta.stop_reason else ""


def _told(examples: Iterable[tuple[str, str]]) -> Iterator[Part | None]:
    """The examples as a context."""
    for asked, answer in examples:
        yield from (Control(tokens.IM_START), "user\n", asked, Control(tokens.IM_END), "\n")
        yield from (Control(tokens.IM_START), "assistant\n")
        parser, unseen = Parser(), 0
        for piece in split_tags(answer):
            parser.feed(piece)
            yield piece
            unseen += piece is Tag.BOI
            if not parser.series_left:
                yield from [None] * unseen
                unseen = 0
        yield from (Control(tokens.IM_END), "\n")


def _messages(context: Iterable[Part | None]) -> list[Message]:
    """The messages of a context; None is a picture that is not at hand. Only the last may be empty."""
    found: list[tuple[str, list[str | Picture]]] = []
    naming = inside = False
    for part in context:
        if part == Control(tokens.IM_START):
            naming = True
        elif part == Control(tokens.IM_END):
            inside = False
        elif naming:
            found.append((str(part).strip(), []))
            naming, inside = False, True
        elif inside and found[-1][0] == "assistant" and (part is None or isinstance(part, Picture)):
            found += [("user", [part, SHOWN] if part else [SHOWN]), ("assistant", [])]
        elif inside:
            found[-1][1].append(_written(part))
    return [Message(role, tuple(content)) for role, content in _joined(found)]


def _written(part: Part | None) -> str | Picture:
    """A part as it stands in a message."""
    if isinstance(part, Control | Tag):
        name = part.name if isinstance(part, Control) else part.value
        return "" if name == Tag.BOI else name
    if isinstance(part, str):
        return plaintext.escape(part)
    assert part is not None, "only an assistant's pictures may be away"
    return part


def _joined(messages: list[tuple[str, list[str | Picture]]]) -> list[tuple[str, list[str | Picture]]]:
    """Without empty messages but the last, and with neighbours of one role as one."""
    found: list[tuple[str, list[str | Picture]]] = []
    for number, (role, parts) in enumerate(messages):
        content = _texts_joined(parts)
        if found and found[-1][0] == role:
            found[-1] = (role, _texts_joined([*found[-1][1], "\n", *content]))
        elif content or number + 1 == len(messages):
            found.append((role, content))
    return found


def _texts_joined(parts: Iterable[str | Picture]) -> list[str | Picture]:
    """Texts side by side as one, empty ones dropped."""
    found: list[str | Picture] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part:
            found.append(part)
    return found
