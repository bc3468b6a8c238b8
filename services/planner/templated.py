"""A checkpoint from elsewhere, decoding in this process: chats become tokens by its own chat template.

The template only ever sees placeholders. What stands for them is tokenised on its own, as text in which no
special token is recognised, so that nobody can write one; the template's own words keep theirs.
"""

import json
import math
import re
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from services.planner.adapted import Chat
from services.planner.engine import Picture
from wanimage import tokens
from wanimage.decoding import Decoder, DecodingConfig, Sampling, Segment, TokenDelta
from wanimage.errors import Misconfigured
from wanimage.tokens import QWEN_TOKENS, Vocabulary

LONGEST_WINDOW = 32_768
"""Tokens; checkpoints that could read more would ask for gigabytes of cache."""
CACHED_WINDOWS = 2
"""On a CPU. On a GPU vLLM takes what is left."""
ARCHITECTURES = ("qwen3_vl", "qwen3_vl_moe")

_PLACEHOLDER = re.compile("\ue000([0-9]+)\ue001")
_FRAME = f"{tokens.VISION_START}{tokens.IMAGE_PAD}{tokens.VISION_END}"
_OPENED_THINKING = re.compile(r"<think>\s*$")


class TemplatedDecoder:
    """vLLM around a checkpoint whose prompts are chats."""

    def __init__(self, decoder: Decoder, template: "ChatTemplate") -> None:
        self._decoder, self._template = decoder, template
        self._end = decoder.vocabulary.control[tokens.IM_END]

    @classmethod
    async def load(cls, folder: Path) -> "TemplatedDecoder":
        """Serve a checkpoint; warm when this returns. Raises Misconfigured when it is none we can serve."""
        vocabulary = vocabulary_of(folder)
        template = ChatTemplate.load(folder, vocabulary)
        return cls(await Decoder.load(config_of(folder), vocabulary), template)

    async def decode(
        self,
        context: Chat,
        sampling: Sampling,
        *,
        stop: Sequence[int | str],
        request_id: str,
        grammar: str | None = None,
    ) -> AsyncIterator[TokenDelta]:
        """As `Decoder.decode`; the end of the checkpoint's turn always stops, too."""
        segments = self._template.segments(context)
        async for delta in self._decoder.decode(
            segments, sampling, stop=(*stop, self._end), request_id=request_id, grammar=grammar
        ):
            yield delta

    def count_tokens(self, context: Chat) -> int:
        """Tokens a chat takes, pictures included."""
        return self._decoder.count_tokens(self._template.segments(context))

    def count_text(self, text: str) -> int:
        """Tokens of a text in a message."""
        return len(self._template.tokens_of(text))

    def picture_tokens(self, height: int, width: int) -> int:
        """Tokens a picture of that size takes."""
        return self._decoder.picture_tokens(height, width)

    @property
    def max_images(self) -> int:
        """Most pictures of a chat."""
        return self._decoder.max_images

    @property
    def window(self) -> int:
        """Most tokens of chat and answer together."""
        return self._decoder.window

    @property
    def alive(self) -> bool:
        """Whether vLLM still answers."""
        return self._decoder.alive

    async def abort(self, request_id: str) -> None:
        """End a request early."""
        await self._decoder.abort(request_id)

    def close(self) -> None:
        """Stop vLLM and its process."""
        self._decoder.close()


class ChatTemplate:
    """A checkpoint's chat template over its tokenizer."""

    def __init__(self, tokenizer: Any, template: str | None, vocabulary: Vocabulary) -> None:
        self._tokenizer, self._template, self.vocabulary = tokenizer, template, vocabulary
        self.tokens_of = lru_cache(maxsize=1024)(lambda text: tuple(vocabulary.encode_user_text(text)))
        self._trusted = lru_cache(maxsize=1024)(lambda text: tuple(vocabulary.encode_markup(text)))

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> "ChatTemplate":
        """Read the template where checkpoints keep it. Raises Misconfigured when there is none."""
        from transformers import AutoTokenizer  # slow, and only a worker needs it

        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        separate = folder / "chat_template.json"
        template = json.loads(separate.read_text())["chat_template"] if separate.is_file() else None
        if not (template or tokenizer.chat_template):
            raise Misconfigured(
                "WAN_PLANNER_MODEL", f"{folder} has no chat template", "use an Instruct checkpoint"
            )
        return cls(tokenizer, template, vocabulary)

    def segments(self, chat: Chat) -> list[Segment]:
        """Token ids and pictures of a chat whose answer is open.

        Raises Misconfigured when the template drops any.
        """
        texts: list[str] = []
        pictures: list[Picture] = []

        def part(content: str | Picture) -> dict[str, str]:
            if isinstance(content, Picture):
                pictures.append(content)
                return {"type": "image"}
            texts.append(content)
            return {"type": "text", "text": f"\ue000{len(texts) - 1}\ue001"}

        messages = [
            {"role": message.role, "content": _plain([part(each) for each in message.content])}
            for message in chat.messages
        ]
        written = self._tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        written = _OPENED_THINKING.sub("", written)  # whether to think is ours to say
        segments: list[Segment] = []
        told = 0
        for number, stretch in enumerate(written.split(_FRAME)):
            if number:
                segments.append(pictures[number - 1].pixels if number <= len(pictures) else ())
            for position, piece in enumerate(_PLACEHOLDER.split(stretch)):
                if position % 2:
                    told += 1
                    segments.append(self.tokens_of(texts[int(piece)]))
                elif piece:
                    segments.append(self._trusted(piece))
        if number != len(pictures) or told != len(texts):
            raise Misconfigured(
                "WAN_PLANNER_MODEL",
                f"its chat template shows {told} of {len(texts)} texts, {number} of {len(pictures)} pictures",
                "use the template of an Instruct checkpoint",
            )
        return [*segments, self.tokens_of(chat.begun)] if chat.begun else segments


def _plain(parts: list[dict[str, str]]) -> list[dict[str, str]] | str:
    """Text alone as a string, which every template takes for every role."""
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def vocabulary_of(folder: Path) -> Vocabulary:
    """The tokenizer of a checkpoint. Raises Misconfigured when it is no Qwen3-VL."""
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
        if kind not in ARCHITECTURES:
            raise ValueError(f"model_type is {kind!r}, one of {', '.join(ARCHITECTURES)} is needed")
        return Vocabulary.load(folder, QWEN_TOKENS)
    except (OSError, ValueError) as error:
        raise Misconfigured(
            "WAN_PLANNER_MODEL", f"{folder}: {error}", "name the folder of a Qwen3-VL checkpoint"
        ) from error


def config_of(folder: Path) -> DecodingConfig:
    """How a checkpoint from elsewhere is served: in its own precision, with room for a few whole windows."""
    import torch  # slow to import

    text = json.loads((folder / "config.json").read_text())["text_config"]
    window = min(int(text["max_position_embeddings"]), LONGEST_WINDOW)
    heads = text.get("num_key_value_heads") or text["num_attention_heads"]
    head_dim = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
    bytes_per_token = 2 * 2 * int(text["num_hidden_layers"]) * heads * head_dim  # keys and values, bf16
    return DecodingConfig(
        model=folder,
        max_model_len=window,
        kv_cache_gib=math.ceil(CACHED_WINDOWS * window * bytes_per_token / 2**30),
        dtype="auto",
        eager=not torch.cuda.is_available(),
        chunked_prefill=torch.cuda.is_available(),
        grammars="xgrammar",
    )
