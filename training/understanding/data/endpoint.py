"""A teacher behind an OpenAI-compatible endpoint: a user's own vLLM, or any other server of that protocol.

Pictures travel as data URLs. What was asked once is not asked again: answers are kept on disk under the hash
of the whole request. A server that does not answer ends the build with a `WanError`; an answer of no use does
not, since the builders check every answer and count what they refuse.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from training.understanding.data.exercise import Exercise
from training.understanding.data.teacher import Brief, Plan
from training.world.dialogues.talk import Picture
from training.world.kinds import Pixels
from training.world.scenes.render import render
from training.world.shards import png
from training.world.tasks.sample import CELL, Frame
from wanimage.errors import DeadlineExceeded, InvalidInput, NotFound, Unauthenticated, Unavailable

_ANSWER = "Answer the question about the picture, or about the text, in one short sentence."
_REASON = (
    "Think step by step between <think> and </think>: name what you see and where, and write sums out like "
    "3 + 4 = 7. After </think> give the answer in one short sentence."
)
_CAPTIONS = {
    "brief": "Name what is in the picture in at most ten words, without places and background.",
    "normal": "Describe the picture in one sentence: every object with number, size, colour and place, then "
    "the background.",
    "detailed": "Describe the picture in a paragraph: objects, colours, places, background, style.",
}
_PLAN = (
    "You plan pictures. Answer the user's request with text in which every picture is written as "
    "<imagine>a dense description</imagine><size>HEIGHT*WIDTH</size><BOI>, the size in cells of 16 pixels "
    "(8*8 is square, 6*10 wide, 10*6 tall). Several pictures without words between them begin with "
    "<series>NUMBER</series>. Put everything that is asked for into the descriptions."
)
_INVENT = (
    "First write a line `REQUEST: ` with what a user would have asked to get the attached pictures, then on "
    "the next line your answer, which gives the pictures back in order as one coherent text."
)


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """How a model is asked."""

    url: str
    """Up to and including `/v1`."""
    model: str
    key: str = "none"
    """API key; servers at home take any."""
    seconds: float = 120.0
    """For one answer."""
    retries: int = 3
    """Of requests that failed on the way or were turned away for load, with growing pauses."""
    temperature: float = 0.0
    most_tokens: int = 1024
    """Of an answer."""
    cache: Path | None = None
    """Folder of answers; none keeps nothing."""


class EndpointTeacher:
    """Asks a model. Usable from several threads at once."""

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self.name = f"{config.model} at {config.url}"
        self._client = openai.OpenAI(
            base_url=config.url, api_key=config.key, timeout=config.seconds, max_retries=config.retries
        )

    def answer(self, exercise: Exercise) -> str:
        """The model's reply."""
        return self._ask(_ANSWER, exercise.ask, exercise.pictures)[1]

    def reason(self, exercise: Exercise) -> tuple[str, str]:
        """What stands in <think> (or in the server's own field for reasoning), and what follows it."""
        return self._ask(_REASON, exercise.ask, exercise.pictures)

    def caption(self, picture: Picture, grain: str) -> str:
        """The model's caption. Raises KeyError for a grain that is none of `captions.GRAINS`."""
        return self._ask(_CAPTIONS[grain], "Describe this picture.", (picture,))[1]

    def plan(self, brief: Brief) -> Plan:
        """The model's plan, and for pictures without a request the request it made up."""
        if brief.request:
            return Plan(brief.request, self._ask(_PLAN, brief.request, ())[1])
        text = self._ask(f"{_PLAN} {_INVENT}", f"{len(brief.pictures)} pictures.", brief.pictures)[1]
        head, _, turn = text.partition("\n")
        return Plan(head.removeprefix("REQUEST:").strip(), turn.strip())

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _ask(self, system: str, text: str, pictures: tuple[Picture, ...]) -> tuple[str, str]:
        """(reasoning, reply) of one exchange."""
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_url(pixels_of(picture))}} for picture in pictures
        ]
        body = {
            "model": self.config.model,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": [*parts, {"type": "text", "text": text}]},
            ],
            "temperature": self.config.temperature,
            "max_tokens": self.config.most_tokens,
        }
        return split_thought(self._cached(body))

    def _cached(self, body: dict[str, Any]) -> str:
        """The answer to a request, from disk where it was asked before."""
        if self.config.cache is None:
            return self._fetch(body)
        name = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        path = self.config.cache / name[:2] / f"{name}.json"
        if path.exists():
            return str(json.loads(path.read_text())["answer"])
        answer = self._fetch(body)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{hashlib.sha256(answer.encode()).hexdigest()[:8]}.part")
        part.write_text(json.dumps({"answer": answer}))
        part.replace(path)
        return answer

    def _fetch(self, body: dict[str, Any]) -> str:
        """Ask the server. Raises a `WanError` that says what to do."""
        what = f"the teacher at {self.config.url}"
        try:
            found = self._client.chat.completions.create(**body)
        except openai.APITimeoutError as error:
            raise DeadlineExceeded(f"{what} gave no answer in {self.config.seconds:g} s") from error
        except openai.APIConnectionError as error:
            raise Unavailable(what, str(error.__cause__ or error)) from error
        except openai.AuthenticationError as error:
            raise Unauthenticated(f"{what} refused the key; set OPENAI_API_KEY") from error
        except openai.NotFoundError as error:
            raise NotFound("model", self.config.model, f"{what} lists its own under /models") from error
        except openai.BadRequestError as error:
            raise InvalidInput("teacher", error.message, "ask for fewer or smaller pictures") from error
        except (openai.APIError, json.JSONDecodeError) as error:
            raise Unavailable(what, str(error)) from error
        if not getattr(found, "choices", None):
            raise Unavailable(what, "its answer is no chat completion")
        message = found.choices[0].message
        thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
        return f"<think>{thought}</think>{message.content or ''}" if thought else message.content or ""


def split_thought(text: str) -> tuple[str, str]:
    """(what stands in <think>, what follows); an unclosed block is all reasoning and no answer."""
    head, closed, tail = text.partition("</think>")
    thought = head.partition("<think>")[2] if "<think>" in head else head
    if closed:
        return thought.strip(), tail.strip()
    return (thought.strip(), "") if "<think>" in text else ("", text.strip())


def pixels_of(picture: Picture) -> Pixels:
    """A picture as it is drawn, straight RGBA uint8 `[H, W, 4]`."""
    if isinstance(picture, Frame):
        return picture.draw()
    return render(picture.scene, picture.grid[0] * CELL, picture.grid[1] * CELL)


def data_url(pixels: Pixels) -> str:
    """Pixels as a PNG in a URL."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()
