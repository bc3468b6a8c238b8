"""Turns as the planner writes them: vLLM in this process, pictures put in as it goes.

After each <BOI> (of a series: after its last) the planner sees what a perfect visualizer would draw of its
words (`drawing.picture_of`). Nothing is retried. `Mode` says whether a grammar constrains it, and whether it
has to reason, may not, or may choose: as in the planner service, the grammar bans <think> or starts in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from training.understanding.evaluation.cases import Case
from training.understanding.evaluation.drawing import drawn
from wanimage import tokens
from wanimage.decoding import Decoder, Sampling, Segment, StopReason
from wanimage.grammar import LONGEST_PROMPT, grammar_of
from wanimage.markup import ImageSpec, Item, MarkupError, Parser, Tag, Text, Think
from wanimage.tokens import Vocabulary

MOST_TOKENS = (200, 3)
"""A turn may take so many tokens and so many times those of the gold answer; a longer one is cut, as it would
be by the service at the end of its window, and is not well formed."""
MAX_CELLS = 256
See = Callable[[ImageSpec, int], np.ndarray | None]
"""`(spec, its number in the turn)` -> the picture that the planner is shown, or None for nothing."""


@dataclass(frozen=True)
class Mode:
    """How a turn is decoded. `on` and `off` constrain it with the grammar whatever `grammar` says."""

    think: str = "auto"
    grammar: bool = False

    @property
    def constrained(self) -> bool:
        """Whether a grammar is used."""
        return self.grammar or self.think != "auto"

    @property
    def banned(self) -> frozenset[Tag]:
        """Tags that may not open a construct."""
        return frozenset([Tag.THINK]) if self.think == "off" else frozenset()


@dataclass
class Written:
    """An assistant turn as the model wrote it."""

    items: list[Item] = field(default_factory=list)
    problem: str = ""
    """Why it is not a whole well-formed turn; empty when it is."""
    tokens: int = 0
    endless: bool = False
    """Whether it was cut because it took too many tokens."""

    @property
    def images(self) -> list[ImageSpec]:
        """Its pictures."""
        return [item for item in self.items if isinstance(item, ImageSpec)]

    @property
    def text(self) -> str:
        """Its text without pictures and reasoning."""
        return "".join(item.text for item in self.items if isinstance(item, Text)).strip()

    @property
    def thought(self) -> str:
        """Its reasoning."""
        return "".join(item.text for item in self.items if isinstance(item, Think)).strip()

    def plain(self) -> str:
        """All of it in short, for people."""
        parts = []
        for item in self.items:
            if isinstance(item, ImageSpec):
                parts.append(f"[{item.grid[0]}*{item.grid[1]}: {item.prompt}]")
            else:
                parts.append(f"<think>{item.text}</think>" if isinstance(item, Think) else item.text)
        return "".join(parts) + (f" ({self.problem})" if self.problem else "")


async def write(decoder: Decoder, case: Case, see: See, mode: Mode) -> Written:
    """Let the model write the turn of a case, greedily."""
    control = decoder.vocabulary.control
    context = history(decoder.vocabulary, case)
    stop = (control[tokens.BOI], control[tokens.IM_END])
    written, parser, unseen = Written(), Parser(), []
    most = MOST_TOKENS[0] + MOST_TOKENS[1] * len(decoder.vocabulary.encode_markup(case.gold.text))
    if mode.constrained:  # where a prompt that repeats itself is ended, as in the service
        most += LONGEST_PROMPT
    if mode.think == "on":
        context = [*context, (control[tokens.THINK],)]
        parser.feed(Tag.THINK)
    while True:
        room = min(most - written.tokens, decoder.config.max_model_len - decoder.count_tokens(context))
        pictures = sum(isinstance(segment, np.ndarray) for segment in context)
        if room < 1 or pictures > decoder.config.images_per_prompt:
            written.problem, written.endless = "too long", True
            return written
        ids, reason = await _leg(decoder, context, parser, mode, room, f"{case.name}-{mode}-{written.tokens}")
        written.tokens += len(ids)
        written.endless = reason is not StopReason.TOKEN
        try:
            for piece in pieces_of(decoder.vocabulary, ids):
                written.items += parser.feed(piece)
            if reason is not StopReason.TOKEN or ids[-1] == stop[1]:
                parser.finish()
                written.problem = "" if reason is StopReason.TOKEN else "too long"
                return written
        except MarkupError as error:
            written.problem = str(error)
            return written
        context = [*context, tuple(ids)]
        unseen.append(see(written.images[-1], len(written.images) - 1))
        if not parser.series_left:
            context += [picture for picture in unseen if picture is not None]
            unseen.clear()


async def _leg(
    decoder: Decoder, context: list[Segment], parser: Parser, mode: Mode, room: int, name: str
) -> tuple[list[int], StopReason | None]:
    """Decode to the next <BOI> or to the end of the turn."""
    control = decoder.vocabulary.control
    grammar = None
    if mode.constrained:
        grammar = grammar_of(parser, False, control, max_cells=MAX_CELLS, banned=mode.banned)
    ids: list[int] = []
    reason = None
    sampling = Sampling(max_tokens=room, temperature=0.0, seed=1)
    stop = (control[tokens.BOI], control[tokens.IM_END])
    async for delta in decoder.decode(context, sampling, stop=stop, request_id=name, grammar=grammar):
        ids += delta.token_ids
        reason = delta.stop_reason
    return ids, reason


def pieces_of(vocabulary: Vocabulary, ids: list[int]) -> list[str | Tag]:
    """Parser pieces of one leg; text between tags is decoded as a whole."""
    pieces: list[str | Tag] = []
    text: list[int] = []
    for token in [*ids, None]:
        name = None if token is None else vocabulary.names.get(token)
        if token is not None and name is None:
            text.append(token)
            continue
        pieces.append(vocabulary.decode_bytes(text).decode("utf-8", "replace"))
        text = []
        if name is not None and name != tokens.IM_END:
            if name not in set(Tag):
                raise MarkupError(f"{name} inside a turn")
            pieces.append(Tag(name))
    return pieces


def history(vocabulary: Vocabulary, case: Case) -> list[Segment]:
    """The context of a case: the dialogue's own turns before it, laid out as `items.dialogue_item` does."""
    control, text = vocabulary.control, vocabulary.encode_user_text
    context: list[Segment] = []
    for turn in (*case.before, *case.dialogue.turns[: case.index]):
        context.append((control[tokens.IM_START], *text(f"{turn.role}\n")))
        if turn.role == "user":
            context += [drawn(picture) for picture in turn.pictures]
            context.append(tuple(text(turn.text)))
        else:
            parser, shown, unseen = Parser(), iter(turn.pictures), []
            for leg in _legs(vocabulary.encode_markup(turn.text), control[tokens.BOI]):
                context.append(tuple(leg))
                for piece in pieces_of(vocabulary, leg):
                    parser.feed(piece)
                if leg[-1] == control[tokens.BOI]:
                    unseen.append(next(shown))
                    if not parser.series_left:
                        context += [drawn(picture) for picture in unseen]
                        unseen = []
        context.append((control[tokens.IM_END], *text("\n")))
    context.append((control[tokens.IM_START], *text("assistant\n")))
    return context


def _legs(ids: list[int], boi: int) -> list[list[int]]:
    legs: list[list[int]] = [[]]
    for token in ids:
        legs[-1].append(token)
        if token == boi:
            legs.append([])
    return [leg for leg in legs if leg]
