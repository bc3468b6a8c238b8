"""A Qwen3-VL decoding in vLLM, in this process: what the planner's and the enhancer's engines share.

Prompts are token ids with pictures between them, so text from outside stays text. vLLM's prefix cache keeps
the blocks of an earlier context (32 tokens each, pictures included), so resuming a turn after a picture costs
only what was added. Knows neither gRPC nor the bus.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from wanimage import tokens
from wanimage.errors import InvalidInput, Unavailable
from wanimage.tokens import Vocabulary

Segment = tuple[int, ...] | np.ndarray
"""Token ids, or a picture: uint8 RGB or straight RGBA `[H, W, 3|4]`."""


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How the model is served."""

    model: Path
    """Folder of a Qwen3-VL checkpoint."""
    max_model_len: int = 4096
    """Most tokens of prompt and answer together."""
    max_num_seqs: int = 16
    """Requests that decode together; more wait."""
    images_per_prompt: int = 24
    """Most pictures in a prompt: 9 of the user's, 12 of an answer, some of earlier turns."""
    block_size: int = 32
    """Tokens of a cache block. 32 is the CPU's minimum; vLLM's 128 hides short prefixes from the cache."""
    prefix_caching: bool = True
    """Keep the blocks of earlier contexts; off only to measure what they are worth."""
    kv_cache_gib: int = 1
    """Memory for the cache on a CPU; VLLM_CPU_KVCACHE_SPACE wins."""
    dtype: str = "float32"
    """What the weights are computed in; `auto` is the checkpoint's own."""
    eager: bool = True
    """Compile nothing: a nano model gains nothing by it."""
    chunked_prefill: bool = False
    """Read long prompts in pieces, between which others decode. Not on a CPU."""
    grammars: Literal["guidance", "xgrammar"] = "guidance"
    """Who reads them. guidance knows control tokens by their ids; xgrammar reads EBNF over text."""
    threads: int = 1
    """Cores of the model; more gain nothing at nano size."""


class StopReason(StrEnum):
    """Why a leg of decoding ended."""

    TOKEN = "token"
    """A stop came: a token, which is the last id of the delta, or a text, which is left out of its text."""
    LENGTH = "length"
    """`max_tokens` were decoded."""
    ABORTED = "aborted"
    """`abort` was called."""


@dataclass(frozen=True)
class TokenDelta:
    """What one decoding step added. The last one has `finished` and says why."""

    token_ids: tuple[int, ...]
    text: str = ""
    """What the ids say, control tokens written out; only where a stop is a text."""
    finished: bool = False
    stop_reason: StopReason | None = None
    prompt_tokens: int = 0
    """Tokens of the prompt, on the first delta."""
    cached_tokens: int = 0
    """How many of them came from the prefix cache, on the first delta."""
    untold: int = 0
    """Tokens added whose ids a remote server did not tell."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen."""

    max_tokens: int = 1024
    temperature: float = 0.7
    """0 is greedy."""
    top_p: float = 0.9
    seed: int | None = None
    """Equal seeds and prompts give equal tokens on one machine, as long as requests do not share a batch."""


class Decoder:
    """vLLM's `AsyncLLM` around one checkpoint."""

    def __init__(
        self, llm: Any, vocabulary: Vocabulary, preprocessor: dict[str, Any], config: DecodingConfig
    ) -> None:
        self._llm = llm
        self.vocabulary = vocabulary
        self.preprocessor = preprocessor
        self.config = config

    @classmethod
    async def load(cls, config: DecodingConfig, vocabulary: Vocabulary | None = None) -> "Decoder":
        """Start vLLM (30-40 s, most of it imports) and decode once, so that the first request is warm.

        `vocabulary` is the checkpoint's, where it need not have all control tokens.
        """
        import json

        _environment(config)
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        llm = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=str(config.model),
                dtype=config.dtype,
                enforce_eager=config.eager,
                block_size=config.block_size,
                max_model_len=config.max_model_len,
                max_num_seqs=config.max_num_seqs,
                distributed_executor_backend="uni",  # see _environment
                # Whole prompts only: vLLM's worker dies on the CPU of a seeded request whose prompt it reads
                # in pieces ("CPU Generator does not use offset"), and the other requests with it.
                enable_chunked_prefill=config.chunked_prefill,
                max_num_batched_tokens=config.max_model_len,
                limit_mm_per_prompt={"image": config.images_per_prompt, "video": 0},
                enable_prefix_caching=config.prefix_caching,
                structured_outputs_config={"backend": config.grammars},
                disable_log_stats=True,
                generation_config="vllm",
                seed=0,
            )
        )
        vocabulary = vocabulary or Vocabulary.load(config.model)
        preprocessor = json.loads((config.model / "preprocessor_config.json").read_text())
        decoder = cls(llm, vocabulary, preprocessor, config)
        await decoder._warm_up()
        return decoder

    async def decode(
        self,
        context: Sequence[Segment],
        sampling: Sampling,
        *,
        stop: Sequence[int | str],
        request_id: str,
        grammar: str | None = None,
    ) -> AsyncIterator[TokenDelta]:
        """Decode until something of `stop` (a token is included), `max_tokens` or `abort(request_id)`.

        `grammar` is Lark text for llguidance, with control tokens as `<[id]>`, or EBNF for xgrammar. Raises
        `InvalidInput` ("context") when prompt and `max_tokens` exceed the model, `Unavailable` when vLLM has
        died.
        Leaving the iterator early aborts the request.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
        from vllm.v1.engine.exceptions import EngineDeadError

        self.check_room(context, sampling.max_tokens)
        texts = [each for each in stop if isinstance(each, str)]
        parameters = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            max_tokens=sampling.max_tokens,
            stop_token_ids=[each for each in stop if isinstance(each, int)],
            stop=texts,
            detokenize=bool(texts),
            skip_special_tokens=False,
            spaces_between_special_tokens=False,
            output_kind=RequestOutputKind.DELTA,
            structured_outputs=StructuredOutputsParams(grammar=grammar) if grammar else None,
        )
        first = True
        prompt = await asyncio.to_thread(self._prompt, context)  # pictures take a tenth of a second each
        try:
            async for output in self._llm.generate(prompt, parameters, request_id=request_id):
                part = output.outputs[0]
                reason = _REASONS[part.finish_reason] if output.finished else None
                read, cached = (
                    (len(output.prompt_token_ids or ()), output.num_cached_tokens or 0) if first else (0, 0)
                )
                first = False
                yield TokenDelta(tuple(part.token_ids), part.text, output.finished, reason, read, cached)
        except EngineDeadError as error:
            raise Unavailable("the language model", str(error)) from error

    async def abort(self, request_id: str) -> None:
        """End a request; its iterator yields a last delta with `ABORTED`. Unknown ids are ignored."""
        await self._llm.abort(request_id)

    def count_tokens(self, context: Sequence[Segment]) -> int:
        """Tokens a context takes, pictures included."""
        return sum(self._segment_tokens(segment) for segment in context)

    def check_room(self, context: Sequence[Segment], max_tokens: int) -> None:
        """Raise `InvalidInput` when a context leaves less than `max_tokens`, or holds too many pictures."""
        used, limit = self.count_tokens(context), self.config.max_model_len
        if used + max_tokens > limit:
            raise InvalidInput(
                "context",
                f"{used} tokens and {max_tokens} to come exceed the model's {limit}",
                "start a new session or ask for fewer pictures",
            )
        pictures = sum(isinstance(segment, np.ndarray) for segment in context)
        if pictures > self.config.images_per_prompt:
            raise InvalidInput(
                "context",
                f"{pictures} pictures exceed the model's {self.config.images_per_prompt}",
                "start a new session",
            )

    @property
    def window(self) -> int:
        """Most tokens of prompt and answer together."""
        return self.config.max_model_len

    @property
    def max_images(self) -> int:
        """Most pictures of a prompt."""
        return self.config.images_per_prompt

    @property
    def alive(self) -> bool:
        """Whether vLLM still answers."""
        return not self._llm.errored

    def close(self) -> None:
        """Stop vLLM and its process."""
        self._llm.shutdown()

    async def _warm_up(self) -> None:
        """The first request with a picture compiles kernels and starts the image processor's threads."""
        control = self.vocabulary.control
        text = (control[tokens.IM_START], *self.vocabulary.encode_user_text("user\n"))
        context: list[Segment] = [text, np.zeros((64, 64, 3), np.uint8)]
        grammar = "root ::= [a-z]+"
        if self.config.grammars == "guidance":
            grammar = lark(f"start: TEXT <[{control[tokens.IM_END]}]>\nTEXT: /(?s:.+)/\n")
        sampling = Sampling(max_tokens=4, temperature=1.0, seed=0)
        name = f"warm-up-{uuid.uuid4().hex}"
        async for _ in self.decode(context, sampling, stop=(), request_id=name, grammar=grammar):
            pass

    def picture_tokens(self, height: int, width: int) -> int:
        """Tokens a picture of that size, in pixels, takes in a context."""
        from wanimage.models.understanding import vision_tokens  # torch is slow to import

        return vision_tokens(height, width, self.preprocessor) + 2

    def _segment_tokens(self, segment: Segment) -> int:
        if isinstance(segment, np.ndarray):
            return self.picture_tokens(segment.shape[0], segment.shape[1])
        return len(segment)

    def _prompt(self, context: Sequence[Segment]) -> dict[str, Any]:
        """vLLM's prompt: one `<|image_pad|>` a picture, which vLLM widens to the picture's size."""
        from wanimage.models.understanding import vision_view  # torch is slow to import

        control = self.vocabulary.control
        frame = [control[tokens.VISION_START], control[tokens.IMAGE_PAD], control[tokens.VISION_END]]
        ids: list[int] = []
        pictures: list[Image.Image] = []
        for segment in context:
            if isinstance(segment, np.ndarray):
                ids += frame
                pictures.append(Image.fromarray(vision_view(segment)))
            else:
                ids += segment
        prompt: dict[str, Any] = {"prompt_token_ids": ids}
        if pictures:
            prompt["multi_modal_data"] = {"image": pictures}
        return prompt


_REASONS = {"stop": StopReason.TOKEN, "length": StopReason.LENGTH, "abort": StopReason.ABORTED}


def lark(rules: str) -> str:
    """Mark Lark rules as llguidance's dialect, in which `<[id]>` is a token."""
    return "%llguidance {}\n" + rules


def _environment(config: DecodingConfig) -> None:
    """What vLLM only reads from the environment, for this process and the one it spawns."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(config.kv_cache_gib))
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the visualizer shares the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(config.threads))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # The model in vLLM's own process. On the CPU it would get one more, and both would spin while they wait
    # for each other, on the core that all else needs. That one exists to set OMP's environment: done above.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
