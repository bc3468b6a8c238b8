"""The planner's model at work: contexts of text, control tokens and pictures in, pieces of markup out.

Knows neither gRPC nor the bus. Decoding stops at every <BOI>, so that the service can draw and append the
picture; a grammar keeps what is written well formed from wherever the turn stands.

A model is spoken to in a dialect. `Native` is the family's own, in control tokens; `adapted.py` has the one
for checkpoints from elsewhere, in plain text. `opening.py` chooses, by what the tokenizer has.
"""

import codecs
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wanimage import tokens
from wanimage.decoding import Decoder, DecodingConfig, Sampling, Segment, StopReason, TokenDelta
from wanimage.grammar import grammar_of
from wanimage.images import CELL, fit_grid, shown_size
from wanimage.markup import MarkupError, Parser, Tag
from wanimage.tokens import Vocabulary
from wanimage.v1 import types_pb2
from wanimage.weights import Family

TEMPERATURE = 0.5
"""Default. Low enough that a small planner keeps to what it was asked, high enough for stories to differ."""
TOP_P = 0.9


@dataclass(frozen=True)
class Control:
    """A control token in a context, by its name in `wanimage.tokens`."""

    name: str


@dataclass(frozen=True)
class Picture:
    """A picture in a context: uint8, straight RGBA `[H, W, 4]` or RGB `[H, W, 3]`."""

    pixels: NDArray[np.uint8]


Part = str | Tag | Control | Picture
"""`str` is text, tokenised so that it never yields a control id; a `Tag` is that control token."""


@dataclass(frozen=True)
class Delta:
    """What a decoding step added."""

    pieces: tuple[str | Tag, ...]
    """For `wanimage.markup.Parser`; text comes in whole characters."""
    token_ids: tuple[int, ...]
    stop: str = ""
    """Empty while decoding goes on, else `boi`, `end`, `length` or `aborted`."""
    prompt_tokens: int = 0
    """On the first delta, the tokens of the context."""
    cached_tokens: int = 0
    """On the first delta, how many of them came from the prefix cache."""
    untold: int = 0
    """Tokens added whose ids a remote server did not tell."""

    @property
    def generated_tokens(self) -> int:
        """Tokens this delta added, the stop token included."""
        return len(self.token_ids) + self.untold


class Reader(Protocol):
    """Reads one leg of decoding."""

    def read(self, delta: TokenDelta) -> tuple[list[str | Tag], str]:
        """The pieces a step completes, and why it was the last one, as in `Delta`."""


class Dialect(Protocol):
    """How a model is spoken to."""

    def prompt(self, context: Sequence[Part]) -> Any:
        """The context as the model takes it; raises nothing that depends on what users wrote."""

    def grammar(self, parser: Parser, begun: bool, max_cells: int, banned: frozenset[Tag]) -> str:
        """What may follow what `parser` has read; see `wanimage.grammar.grammar_of`."""

    def reader(self) -> Reader:
        """A reader of the next leg."""

    def count(self, model: Any, parts: Sequence[Part]) -> int:
        """Tokens that parts of a context take, rather more than less; counts of stretches add up."""

    def picture_tokens(self, model: Any, height: int, width: int) -> int:
        """Tokens a picture of that size takes in a context."""

    def overhead(self, model: Any) -> int:
        """Tokens that open every context."""

    @property
    def stop(self) -> Sequence[int | str]:
        """Tokens or texts that end a leg."""


class Model(Protocol):
    """What decodes, here or elsewhere: `wanimage.decoding.Decoder` for one, with its prompts."""

    @property
    def window(self) -> int:
        """Most tokens of context and answer together."""

    @property
    def max_images(self) -> int:
        """Most pictures of a prompt."""

    @property
    def alive(self) -> bool:
        """Whether the model still answers."""

    def count_tokens(self, context: Any) -> int:
        """Tokens a prompt takes, pictures included."""

    def picture_tokens(self, height: int, width: int) -> int:
        """Tokens a picture of that size takes in a prompt."""

    def decode(
        self,
        context: Any,
        sampling: Sampling,
        *,
        stop: Sequence[int | str],
        request_id: str,
        grammar: str | None = None,
    ) -> AsyncIterator[TokenDelta]:
        """As `Decoder.decode`."""

    async def abort(self, request_id: str) -> None:
        """End a request early. Unknown ids are ignored."""

    def close(self) -> None:
        """Stop it."""


class PlannerEngine:
    """A Qwen3-VL that plans turns."""

    def __init__(self, model: Model, dialect: Dialect, *, base_cells: int, max_cells: int) -> None:
        self._model, self.dialect = model, dialect
        self.base_cells, self.max_cells = base_cells, max_cells

    @classmethod
    def native(cls, decoder: Decoder, *, base_cells: int, max_cells: int) -> "PlannerEngine":
        """One whose tokenizer has the markup's control tokens."""
        return cls(decoder, Native(decoder.vocabulary), base_cells=base_cells, max_cells=max_cells)

    @classmethod
    async def load(cls, family: Family, config: DecodingConfig | None = None) -> "PlannerEngine":
        """Serve the family's planner; ready (and warm) when this returns."""
        decoder = await Decoder.load(config or DecodingConfig(model=family.planner))
        return cls.native(decoder, base_cells=family.base_cells, max_cells=family.max_cells)

    async def decode(
        self,
        context: Sequence[Part],
        *,
        max_tokens: int,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        request_id: str,
        banned: frozenset[Tag] = frozenset(),
        constrained: bool = True,
    ) -> AsyncIterator[Delta]:
        """Write on from `context` until a <BOI>, the end of the turn, `max_tokens`, or `abort(request_id)`.

        `context` ends inside an assistant turn; where in it decides what the grammar admits. `banned` tags
        may not open a construct. Near the end of the window fewer than `max_tokens` are written. Raises
        `InvalidInput` ("context") when nothing fits any more, `Unavailable` when the model has died.
        """
        grammar = self._grammar(context, banned) if constrained else None
        prompt = self.dialect.prompt(context)
        room = self._model.window - self._model.count_tokens(prompt)
        sampling = Sampling(
            max_tokens=max(1, min(max_tokens, room)),
            temperature=TEMPERATURE if temperature is None else temperature,
            top_p=TOP_P if top_p is None else top_p,
            seed=seed,
        )
        reader, stop = self.dialect.reader(), self.dialect.stop
        async for delta in self._model.decode(
            prompt, sampling, stop=stop, request_id=request_id, grammar=grammar
        ):
            pieces, why = reader.read(delta)
            yield Delta(
                pieces=tuple(pieces),
                token_ids=delta.token_ids,
                stop=why,
                prompt_tokens=delta.prompt_tokens,
                cached_tokens=delta.cached_tokens,
                untold=delta.untold,
            )

    async def abort(self, request_id: str) -> None:
        """End a request early; its iterator ends with `aborted`. Unknown ids are ignored."""
        await self._model.abort(request_id)

    @property
    def max_tokens(self) -> int:
        """Most tokens of context and answer together: the window, less what opens every context."""
        return self._model.window - self.dialect.overhead(self._model)

    @property
    def max_images(self) -> int:
        """Most pictures of a context."""
        return self._model.max_images

    @property
    def alive(self) -> bool:
        """Whether the model still answers (for health checks)."""
        return self._model.alive

    def count(self, context: Sequence[Part]) -> int:
        """Tokens a context takes, pictures included."""
        return self.dialect.count(self._model, context)

    def picture_tokens(self, size: types_pb2.Size) -> int:
        """Tokens a picture of that size takes in a context."""
        return self.dialect.picture_tokens(self._model, *shown_size(size.height, size.width))

    def grid_asked_for(self, hint: types_pb2.SizeHint) -> types_pb2.Grid:
        """The base grid of a checked hint; what is larger than the family's is left to the refiner."""
        shape = hint.size if hint.WhichOneof("hint") == "size" else hint.aspect
        rows, columns = shape.height // CELL, shape.width // CELL
        if hint.WhichOneof("hint") == "aspect" or rows * columns > self.max_cells:
            rows, columns = fit_grid(shape.height, shape.width, self.base_cells)
        return types_pb2.Grid(height_cells=rows, width_cells=columns)

    def close(self) -> None:
        """Stop the model's process."""
        self._model.close()

    def _grammar(self, context: Sequence[Part], banned: frozenset[Tag]) -> str:
        """What may follow the last assistant turn's markup."""
        parser, begun = Parser(), False
        for part in _last_turn(context):
            begun = not isinstance(part, Tag)
            parser.feed(part)
        return self.dialect.grammar(parser, begun, self.max_cells, banned)


def _last_turn(context: Sequence[Part]) -> list[str | Tag]:
    """The markup after the last `<|im_start|>` and its "assistant" line, without pictures."""
    opened = [index for index, part in enumerate(context) if part == Control(tokens.IM_START)]
    found: list[str | Tag] = []
    for part in context[opened[-1] + 2 if opened else 0 :]:
        if isinstance(part, Control):
            found.append(Tag(part.name))
        elif not isinstance(part, Picture):
            found.append(part)
    return found


@dataclass(frozen=True)
class Native:
    """The dialect of a tokenizer that has the markup's control tokens."""

    vocabulary: Vocabulary

    def prompt(self, context: Sequence[Part]) -> list[Segment]:
        """Token ids and pictures."""
        segments: list[Segment] = []
        for part in context:
            if isinstance(part, Picture):
                segments.append(part.pixels)
            elif isinstance(part, Control | Tag):
                name = part.name if isinstance(part, Control) else part.value
                segments.append((self.vocabulary.control[name],))
            else:
                segments.append(tuple(self.vocabulary.encode_user_text(part)))
        return segments

    def grammar(self, parser: Parser, begun: bool, max_cells: int, banned: frozenset[Tag]) -> str:
        """Lark for llguidance."""
        return grammar_of(parser, begun, self.vocabulary.control, max_cells=max_cells, banned=banned)

    def reader(self) -> "PieceReader":
        """One that knows tags by their ids."""
        return PieceReader(self.vocabulary)

    def count(self, model: Model, parts: Sequence[Part]) -> int:
        """Exactly."""
        return model.count_tokens(self.prompt(parts))

    def picture_tokens(self, model: Model, height: int, width: int) -> int:
        """Exactly."""
        return model.picture_tokens(height, width)

    def overhead(self, model: Model) -> int:
        """Nothing."""
        return 0

    @property
    def stop(self) -> tuple[int, int]:
        """<BOI> and the end of the turn."""
        return self.vocabulary.control[tokens.BOI], self.vocabulary.control[tokens.IM_END]


_TAGS = frozenset(tag.value for tag in Tag)


class PieceReader:
    """Token ids to parser pieces: tags from control ids, text in whole UTF-8 characters."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._end = vocabulary.control[tokens.IM_END]
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, delta: TokenDelta) -> tuple[list[str | Tag], str]:
        """Pieces of a step, and why it was the last."""
        written = [piece for token in delta.token_ids if token != self._end for piece in self.feed(token)]
        if delta.finished:
            written += self.finish()
        if delta.stop_reason is StopReason.TOKEN:
            return written, "boi" if written and written[-1] is Tag.BOI else "end"
        return written, delta.stop_reason.value if delta.stop_reason else ""

    def feed(self, token: int) -> list[str | Tag]:
        """The pieces a token completes, often none or one."""
        name = self._vocabulary.names.get(token)
        if name is None:
            text = self._utf8.decode(self._vocabulary.pieces[token])
            return [text] if text else []
        if name not in _TAGS:
            raise MarkupError(f"{name} inside a turn")
        return [*self.finish(), Tag(name)]

    def finish(self) -> list[str | Tag]:
        """What is left of a character that was cut off, as U+FFFD."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return [text] if text else []
