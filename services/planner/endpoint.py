"""A planner's model on another machine: a vLLM server (or one that speaks its OpenAI-compatible chat).

Nothing is known of its tokenizer but what it tells, so chats go out as messages, with pictures as data URLs,
and contexts are counted by estimate. The grammar travels with the request.
"""

import asyncio
import base64
import io
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openai
from PIL import Image

from services.planner.adapted import Adapted, Chat, Message
from services.planner.engine import Picture
from wanimage import telemetry
from wanimage.config import Settings
from wanimage.decoding import Sampling, StopReason, TokenDelta
from wanimage.errors import InvalidInput, JobFailed, Misconfigured, Unavailable, WanError

CONNECT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""A server that sends nothing for so long is taken for gone. Its queue and the reading of a prompt count."""
START_SECONDS = 600.0
"""How long a starting planner waits for a server that is loading its model."""
START_PAUSE_SECONDS = 1.0
MOST_PICTURES = 24
"""Of a context, as in this process."""
ASSUMED_WINDOW = 8192
"""Tokens, where the server does not tell (vLLM does)."""
ASSUMED_TOKENS_PER_BYTE = 0.4
"""Where the server does not tokenise for others (vLLM does)."""
MARGIN = 1.1
"""On the estimate of a context's tokens: what users write is denser than what was measured."""
MESSAGE_TOKENS = 8
"""What a chat template writes around a message."""
SMALLEST_PICTURE_TOKENS = 64
PIXELS_PER_TOKEN = 32 * 32
"""Of a Qwen3-VL's picture."""
WHAT = "the planner's endpoint"
TOO_LONG = "maximum context length"
"""What vLLM, and OpenAI, say in a refusal."""

_REASONS = {"stop": StopReason.TOKEN, "length": StopReason.LENGTH, "abort": StopReason.ABORTED}
log = telemetry.logger(__name__)


class Endpoint:
    """A model at a URL."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, window: int, tokens_per_byte: float) -> None:
        self._client, self.model, self._tokens_per_byte = client, model, tokens_per_byte
        self.window, self.max_images = window, MOST_PICTURES
        self.alive = True
        """A server that is gone fails turns, not this process."""
        self._aborted: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def connected(cls, settings: Settings, dialect: Adapted) -> AsyncIterator["Endpoint"]:
        """The model at WAN_PLANNER_ENDPOINT, once the server answers.

        Raises Unavailable when it stays away, Misconfigured when it refuses the key, is no such API or does
        not have the model.
        """
        async with openai.AsyncOpenAI(
            base_url=settings.planner_endpoint,
            api_key=settings.planner_endpoint_key.get_secret_value() or "none",
            timeout=openai.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS),
            max_retries=0,  # a job's redelivery tries again, and a turn goes on from its log
        ) as client:
            model, window = _chosen(await _listed(client), settings.planner_model)
            opening = "".join(str(text) for message in dialect.opening for text in message.content)
            density = await _tokens_per_byte(client, settings.planner_endpoint, model, opening)
            log.info("endpoint", model=model, window=window, tokens_per_byte=round(density, 3))
            yield cls(client, model, window, density)

    async def decode(
        self,
        context: Chat,
        sampling: Sampling,
        *,
        stop: Sequence[int | str],
        request_id: str,
        grammar: str | None = None,
    ) -> AsyncIterator[TokenDelta]:
        """As `Decoder.decode`, token ids where the server returns them. The last delta tells the usage.

        Raises `InvalidInput` ("context") when the server finds the context too long, `Unavailable` when it is
        gone, `Misconfigured` when it refuses key or model, `JobFailed` for any other refusal.
        """
        usage: Any = None
        reason, told = "", 0
        with _translated():
            # Pictures are encoded for it: not on the event loop.
            request = await asyncio.to_thread(self._request, context, sampling, stop, grammar)
            stream = await self._client.chat.completions.create(
                **request, extra_headers={"X-Request-Id": request_id}
            )
            try:
                async for chunk in stream:
                    usage = chunk.usage or usage
                    for choice in chunk.choices[:1]:
                        ids = tuple(getattr(choice, "token_ids", None) or ())
                        told, reason = told + len(ids), choice.finish_reason or reason
                        if ids or choice.delta.content:
                            yield TokenDelta(ids, choice.delta.content or "")
                    if request_id in self._aborted:
                        reason = reason or "abort"
                        break
            finally:
                self._aborted.discard(request_id)
                await stream.close()
        if reason not in _REASONS:
            raise Unavailable(WHAT, f"its stream ended with {reason!r}" if reason else "its stream broke off")
        yield _last(_REASONS[reason], usage, told)

    async def abort(self, request_id: str) -> None:
        """End a request with the next token; the server hears of it when the stream closes."""
        self._aborted.add(request_id)

    def count_tokens(self, context: Chat) -> int:
        """About as many tokens as the chat takes, rather more than less."""
        contents = [part for message in context.messages for part in message.content]
        texts = "".join(part for part in contents if isinstance(part, str)) + context.begun
        pictures = [part.pixels.shape for part in contents if isinstance(part, Picture)]
        around = MESSAGE_TOKENS * (len(context.messages) + 1)
        return self.count_text(texts) + sum(self.picture_tokens(h, w) for h, w, _ in pictures) + around

    def count_text(self, text: str) -> int:
        """Tokens of a text, from its bytes."""
        return math.ceil(len(text.encode()) * self._tokens_per_byte * MARGIN)

    def picture_tokens(self, height: int, width: int) -> int:
        """Tokens a Qwen3-VL gives a picture that it need not shrink."""
        return max(SMALLEST_PICTURE_TOKENS, height * width // PIXELS_PER_TOKEN) + 2

    def close(self) -> None:
        """Connections are closed with `connected`."""

    def _request(
        self, context: Chat, sampling: Sampling, stop: Sequence[int | str], grammar: str | None
    ) -> dict[str, Any]:
        messages = [_json(message) for message in context.messages]
        extra: dict[str, Any] = {"return_token_ids": True, "skip_special_tokens": False}
        if context.begun:
            messages.append({"role": "assistant", "content": context.begun})
            extra |= {"continue_final_message": True, "add_generation_prompt": False}
        if grammar:
            extra["structured_outputs"] = {"grammar": grammar}
        return {
            "model": self.model,
            "messages": messages,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stop": [each for each in stop if isinstance(each, str)],
            "stream": True,
            "stream_options": {"include_usage": True},
            "extra_body": extra,
        }


def _json(message: Message) -> dict[str, Any]:
    """A message as the API takes it: a text alone as a string."""
    content = [
        {"type": "image_url", "image_url": {"url": _data_url(part)}}
        if isinstance(part, Picture)
        else {"type": "text", "text": part}
        for part in message.content
    ]
    alone = len(content) == 1 and content[0]["type"] == "text"
    return {"role": message.role, "content": content[0]["text"] if alone else content}


def _data_url(picture: Picture) -> str:
    from wanimage.models.understanding import vision_view  # torch is slow to import

    file = io.BytesIO()
    Image.fromarray(vision_view(picture.pixels)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _last(reason: StopReason, usage: Any, told: int) -> TokenDelta:
    """The delta that ends a leg, with what the server counted."""
    if usage is None:
        return TokenDelta((), finished=True, stop_reason=reason)
    cached = usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens
    return TokenDelta(
        (),
        finished=True,
        stop_reason=reason,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=cached or 0,
        untold=max(0, usage.completion_tokens - told),
    )


async def _listed(client: openai.AsyncOpenAI) -> list[Any]:
    """The server's models; waits for a server that is starting."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + START_SECONDS
    while True:
        try:
            with _translated():
                return (await client.models.list()).data
        except Unavailable as error:
            if clock() > deadline:
                raise
            log.warning("waiting", error=str(error))
        await asyncio.sleep(START_PAUSE_SECONDS)


def _chosen(listed: list[Any], wanted: str) -> tuple[str, int]:
    """Name and window of the model that is wanted, or of the only one."""
    names = [each.id for each in listed]
    if wanted not in names and (wanted or len(names) != 1):
        problem = f"the endpoint serves {', '.join(names) or 'nothing'}" + (
            f", not {wanted!r}" if wanted else ", and none is named"
        )
        raise Misconfigured("WAN_PLANNER_MODEL", problem, "name one that it serves")
    found = listed[names.index(wanted) if wanted else 0]
    return found.id, int(getattr(found, "max_model_len", None) or ASSUMED_WINDOW)


async def _tokens_per_byte(client: openai.AsyncOpenAI, url: str, model: str, text: str) -> float:
    """How dense the model's tokens are, by vLLM's /tokenize, which lies beside /v1."""
    parts = urlsplit(url)
    beside = urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix("/v1") + "/tokenize"))
    try:
        answer: Any = await client.post(beside, body={"model": model, "prompt": text}, cast_to=object)
        return float(answer["count"]) / len(text.encode())
    except (openai.APIError, KeyError, TypeError, ValueError):
        return ASSUMED_TOKENS_PER_BYTE


@contextmanager
def _translated() -> Iterator[None]:
    """The client's errors as ours."""
    try:
        yield
    except openai.APIError as error:
        raise _error_of(error) from error


def _error_of(error: openai.APIError) -> WanError:
    said = " ".join(str(error.message).split())[:300]
    status = getattr(error, "status_code", None)
    if status in (401, 403):
        return Misconfigured(
            "WAN_PLANNER_ENDPOINT_KEY",
            f"the endpoint refuses it ({status})",
            "set the key it was started with",
        )
    if status == 404:
        return Misconfigured(
            "WAN_PLANNER_MODEL or WAN_PLANNER_ENDPOINT",
            f"the endpoint does not know them ({said})",
            "name a model it serves, and an address that ends in /v1",
        )
    if TOO_LONG in said:
        return InvalidInput("context", said, "start a new session or ask for fewer pictures")
    if status is not None and status < 500 and status not in (408, 429):
        return JobFailed(f"{WHAT} refused the request ({status}): {said}")
    return Unavailable(WHAT, said)
