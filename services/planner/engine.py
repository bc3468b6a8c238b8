"""The planner's model at work: contexts of text, control tokens and pictures in, pieces of markup out.

Knows neither gRPC nor the bus. Decoding stops at every <BOI>, so that the service can draw and append the
picture; a grammar keeps what is written well formed from wherever the turn stands.
"""

import codecs
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wanimage import tokens
from wanimage.decoding import Decoder, DecodingConfig, Sampling, Segment, StopReason
from wanimage.grammar import grammar_of
from wanimage.images import CELL, fit_grid
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

    @property
    def generated_tokens(self) -> int:
        """Tokens this delta added, the stop token included."""
        return len(self.token_ids)


class PlannerEngine:
    """A Qwen3-VL that plans turns."""

    def __init__(self, decoder: Decoder, *, base_cells: int, max_cells: int) -> None:
        self._decoder = decoder
        self.base_cells, self.max_cells = base_cells, max_cells
        control = decoder.vocabulary.control
        self._boi, self._end = control[tokens.BOI], control[tokens.IM_END]

    @classmethod
    async def load(cls, family: Family, config: DecodingConfig | None = None) -> "PlannerEngine":
        """Serve the family's planner; ready (and warm) when this returns."""
        decoder = await Decoder.load(config or DecodingConfig(model=family.planner))
        return cls(decoder, base_cells=family.base_cells, max_cells=family.max_cells)

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
        segments = self._segments(context)
        room = self.max_tokens - self._decoder.count_tokens(segments)
        sampling = Sampling(
            max_tokens=max(1, min(max_tokens, room)),
            temperature=TEMPERATURE if temperature is None else temperature,
            top_p=TOP_P if top_p is None else top_p,
            seed=seed,
        )
        reader = PieceReader(self._decoder.vocabulary)
        stop = (self._boi, self._end)
        async for delta in self._decoder.decode(
            segments, sampling, stop=stop, request_id=request_id, grammar=grammar
        ):
            written = [
                piece for token in delta.token_ids if token != self._end for piece in reader.feed(token)
            ]
            if delta.finished:
                written += reader.finish()
            yield Delta(
                pieces=tuple(written),
                token_ids=delta.token_ids,
                stop=self._stop(delta.token_ids, delta.stop_reason),
                prompt_tokens=delta.prompt_tokens,
                cached_tokens=delta.cached_tokens,
            )

    async def abort(self, request_id: str) -> None:
        """End a request early; its iterator ends with `aborted`. Unknown ids are ignored."""
        await self._decoder.abort(request_id)

    @property
    def max_tokens(self) -> int:
        """The window: most tokens of context and answer together."""
        return self._decoder.config.max_model_len

    @property
    def max_images(self) -> int:
        """Most pictures of a context."""
        return self._decoder.config.images_per_prompt

    @property
    def alive(self) -> bool:
        """Whether the model still answers (for health checks)."""
        return self._decoder.alive

    def count(self, context: Sequence[Part]) -> int:
        """Tokens a context takes, pictures included."""
        return self._decoder.count_tokens(self._segments(context))

    def picture_tokens(self, size: types_pb2.Size) -> int:
        """Tokens a picture of that size takes in a context."""
        return self._decoder.picture_tokens(size.height, size.width)

    def grid_asked_for(self, hint: types_pb2.SizeHint) -> types_pb2.Grid:
        """The base grid of a checked hint; what is larger than the family's is left to the refiner."""
        shape = hint.size if hint.WhichOneof("hint") == "size" else hint.aspect
        rows, columns = shape.height // CELL, shape.width // CELL
        if hint.WhichOneof("hint") == "aspect" or rows * columns > self.max_cells:
            rows, columns = fit_grid(shape.height, shape.width, self.base_cells)
        return types_pb2.Grid(height_cells=rows, width_cells=columns)

    def close(self) -> None:
        """Stop the model's process."""
        self._decoder.close()

    def _segments(self, context: Sequence[Part]) -> list[Segment]:
        vocabulary = self._decoder.vocabulary
        segments: list[Segment] = []
        for part in context:
            if isinstance(part, Picture):
                segments.append(part.pixels)
            elif isinstance(part, Control | Tag):
                segments.append((vocabulary.control[part.name if isinstance(part, Control) else part.value],))
            else:
                segments.append(tuple(vocabulary.encode_user_text(part)))
        return segments

    def _grammar(self, context: Sequence[Part], banned: frozenset[Tag]) -> str:
        """What may follow the last assistant turn's markup."""
        parser, begun = Parser(), False
        for part in _last_turn(context):
            begun = not isinstance(part, Tag)
            parser.feed(part)
        control = self._decoder.vocabulary.control
        return grammar_of(parser, begun, control, max_cells=self.max_cells, banned=banned)

    def _stop(self, token_ids: tuple[int, ...], reason: StopReason | None) -> str:
        if reason is None:
            return ""
        if reason is StopReason.TOKEN:
            return "boi" if token_ids and token_ids[-1] == self._boi else "end"
        return reason.value


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


_TAGS = frozenset(tag.value for tag in Tag)


class PieceReader:
    """Token ids to parser pieces: tags from control ids, text in whole UTF-8 characters."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

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
