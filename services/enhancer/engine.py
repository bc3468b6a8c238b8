"""The enhancer's model at work: a request in, a typed answer out, held to its form by a grammar.

Greedy, so that equal requests get equal answers. Knows neither gRPC nor the bus.
"""

import codecs
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wanimage import tokens
from wanimage.decoding import Decoder, Sampling, Segment, StopReason, TokenDelta, lark
from wanimage.enhancing import Result, asked, grammar, lost, read, thoughts
from wanimage.errors import InvalidInput
from wanimage.literals import spelt

MOST_THOUGHTS = 512
"""Tokens of reasoning; what is longer is cut off, and the answer begins."""
MOST_TOKENS = 1536
"""Tokens of an answer: twelve entries of the report's shortest (3.4) would not fit a nano family's window."""
LEAST_ROOM = 64
"""Tokens that an answer needs at least."""

OnThinking = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Ask:
    """A request: `count` pictures of a task (one of `enhancing.TASKS`)."""

    task: str
    count: int
    prompt: str
    references: tuple[NDArray[np.uint8], ...] = ()
    """Straight RGBA `[H, W, 4]`."""
    forced: bool = False
    """Rewrite whatever the category."""
    reasons: bool = False
    """The quality variant: reason first."""


@dataclass
class Answer:
    """What became of a request. Without a `result` it passes through, and `reason` says why."""

    category: str = ""
    """One of `enhancing.CATEGORIES`; empty where the answer broke off before it."""
    result: Result | None = None
    reason: str = ""
    thinking: str = ""
    tries: int = 1
    first_seconds: float = 0.0
    """From the request to its first token."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0


@dataclass(frozen=True)
class EnhancerEngine:
    """Answers requests with one model, several at a time."""

    model: Decoder

    async def enhance(self, ask: Ask, request_id: str, on_thinking: OnThinking | None = None) -> Answer:
        """Decide the category; rewrite, or pass through with a reason.

        A rewrite that loses what the user meant literally is made once more, with the literals held to
        letter by letter, and given up when they are lost again. `on_thinking` hears all reasoning so far.
        Raises InvalidInput where the request leaves no room for an answer, and Unavailable when vLLM died.
        """
        vocabulary, answer = self.model.vocabulary, Answer()
        control = vocabulary.control
        context = self._context(ask)
        if self.model.window - self.model.count_tokens(context) < LEAST_ROOM:
            used = self.model.count_tokens(context)
            problem = (
                f"{used:,} tokens with its pictures, the enhancer reads {self.model.window - LEAST_ROOM:,}"
            )
            raise InvalidInput("prompt", problem, "shorten it, or send fewer pictures")
        if ask.reasons:
            context = await self._think(context, answer, request_id, on_thinking)
        rules = grammar(ask.task, ask.count, control, forced=ask.forced)
        text = await self._write(context, answer, f"{request_id}.1", rules)
        missing = self._read(ask, text, answer)
        if missing and (kept := spelt(ask.prompt)):
            answer.tries = 2
            rules = grammar(ask.task, ask.count, control, forced=ask.forced, verbatim=kept)
            missing = self._read(ask, await self._write(context, answer, f"{request_id}.2", rules), answer)
        if missing:
            answer.result = None
            answer.reason = f"a rewrite would lose {', '.join(missing)}"
        return answer

    def _context(self, ask: Ask) -> list[Segment]:
        """The chat that the adapter was trained on (training/enhancer/items.py)."""
        control, text = self.model.vocabulary.control, self.model.vocabulary.encode_user_text
        context: list[Segment] = [(control[tokens.IM_START], *text("user\n"))]
        context += ask.references
        question = asked(ask.task, ask.count, ask.prompt, ask.forced)
        context.append((*text(question), control[tokens.IM_END], *text("\n")))
        context.append((control[tokens.IM_START], *text("assistant\n")))
        if ask.reasons:
            context.append((control[tokens.THINK],))
        return context

    async def _think(
        self, context: list[Segment], answer: Answer, request_id: str, on_thinking: OnThinking | None
    ) -> list[Segment]:
        """Reason, at most so long; returns the context with it, closed."""
        end = self.model.vocabulary.control[tokens.END_THINK]
        room = self.model.window - self.model.count_tokens(context) - LEAST_ROOM
        rules = lark(f"start: {thoughts(self.model.vocabulary.control)}")
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        written: list[int] = []
        async for delta in self._decode(
            context, answer, f"{request_id}.0", rules, max(1, min(MOST_THOUGHTS, room)), (end,)
        ):
            ids = [each for each in delta.token_ids if each != end]
            written += ids
            answer.thinking += utf8.decode(self.model.vocabulary.decode_bytes(ids), delta.finished)
            if on_thinking is not None and ids:
                await on_thinking(answer.thinking)
        return [*context, (*written, end)]

    async def _write(self, context: list[Segment], answer: Answer, request_id: str, rules: str) -> str:
        """The answer's text; empty where it did not come to its end."""
        end = self.model.vocabulary.control[tokens.IM_END]
        room = self.model.window - self.model.count_tokens(context)
        ids: list[int] = []
        whole = False
        async for delta in self._decode(
            context, answer, request_id, rules, max(1, min(MOST_TOKENS, room)), (end,)
        ):
            ids += delta.token_ids
            whole = whole or delta.stop_reason is StopReason.TOKEN
        kept = [each for each in ids if each != end]
        return self.model.vocabulary.decode_bytes(kept).decode("utf-8", "replace") if whole else ""

    async def _decode(
        self,
        context: list[Segment],
        answer: Answer,
        request_id: str,
        rules: str,
        most: int,
        stop: tuple[int, ...],
    ) -> AsyncIterator[TokenDelta]:
        """Decode greedily, and count what it took."""
        began = time.perf_counter()
        sampling = Sampling(max_tokens=most, temperature=0.0, top_p=1.0)
        async for delta in self.model.decode(
            context, sampling, stop=stop, request_id=request_id, grammar=rules
        ):
            answer.first_seconds = answer.first_seconds or time.perf_counter() - began
            answer.prompt_tokens += delta.prompt_tokens
            answer.cached_tokens += delta.cached_tokens
            answer.generated_tokens += len(delta.token_ids)
            yield delta

    @staticmethod
    def _read(ask: Ask, text: str, answer: Answer) -> list[str]:
        """Take a text for the answer; returns the literals that it lost."""
        answer.result, answer.reason = None, ""
        try:
            result = read(text)
        except ValueError:
            answer.reason = "the rewrite did not come to its end"
            return []
        answer.category = result.category
        if not result.entries:
            answer.reason = "rewriting helps where there is lettering, a layout or a series"
            return []
        answer.result = result
        return lost(ask.prompt, result)
