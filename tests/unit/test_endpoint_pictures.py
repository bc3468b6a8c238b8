"""Pictures on their way to a planner at an endpoint."""

import asyncio
import base64
import io
import threading
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from services.planner.adapted import Adapted, Chat, Message
from services.planner.endpoint import Endpoint
from services.planner.engine import Picture, PlannerEngine
from tests.threads import callers_of
from wanimage.decoding import Sampling
from wanimage.errors import Unavailable
from wanimage.models import understanding
from wanimage.v1 import types_pb2


class Listening:
    """An API that keeps what it is sent, and is gone."""

    def __init__(self) -> None:
        self.sent: dict[str, Any] = {}
        self.chat = SimpleNamespace(completions=self)

    async def create(self, **request: Any) -> NoReturn:
        self.sent = request
        raise Unavailable("the planner's endpoint", "this is a test")


def test_pictures_are_encoded_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = callers_of(monkeypatch, understanding, "vision_view")
    api = Listening()
    chat = Chat((Message("user", (Picture(np.full((48, 64, 4), 255, np.uint8)),)),))

    async def ask() -> None:
        endpoint = Endpoint(api, "m", 8192, 0.4)  # type: ignore[arg-type]
        async for _ in endpoint.decode(chat, Sampling(), stop=(), request_id="r"):
            pass

    with pytest.raises(Unavailable):
        asyncio.run(ask())
    (worker,) = workers
    assert worker is not threading.main_thread()
    url = api.sent["messages"][0]["content"][0]["image_url"]["url"]
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == (64, 48)


def test_a_picture_is_counted_at_the_size_at_which_it_is_shown() -> None:
    endpoint = Endpoint(None, "m", 8192, 0.4)  # type: ignore[arg-type]
    engine = PlannerEngine(endpoint, Adapted(64), base_cells=64, max_cells=256)
    shown, photo = (types_pb2.Size(height=side, width=side) for side in (1024, 6000))
    assert engine.picture_tokens(photo) == engine.picture_tokens(shown)
