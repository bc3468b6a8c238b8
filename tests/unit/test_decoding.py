"""Contexts on their way to vLLM, which stands aside here."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import SHIPPED_PLANNER
from tests.threads import callers_of
from wanimage.decoding import Decoder, DecodingConfig, Sampling
from wanimage.models import understanding
from wanimage.tokens import Vocabulary

PREPROCESSOR = {
    "size": {"shortest_edge": 4096, "longest_edge": 65_536}, "patch_size": 16, "merge_size": 2,
}  # fmt: skip
VLLM = {
    "vllm": SimpleNamespace(SamplingParams=dict),
    "vllm.sampling_params": SimpleNamespace(
        RequestOutputKind=SimpleNamespace(DELTA=1), StructuredOutputsParams=dict
    ),
    "vllm.v1.engine.exceptions": SimpleNamespace(EngineDeadError=RuntimeError),
}


class Keeping:
    """Keeps the prompt and says nothing."""

    prompt: dict[str, Any]

    async def generate(self, prompt: dict[str, Any], *_: object, **__: object) -> AsyncIterator[Any]:
        self.prompt = prompt
        for output in ():
            yield output


def test_pictures_are_prepared_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in VLLM.items():
        monkeypatch.setitem(sys.modules, name, module)
    workers = callers_of(monkeypatch, understanding, "vision_view")
    llm, vocabulary = Keeping(), Vocabulary.load(SHIPPED_PLANNER)
    decoder = Decoder(llm, vocabulary, PREPROCESSOR, DecodingConfig(model=Path()))

    async def ask() -> None:
        context = [(1, 2), np.full((64, 96, 4), 200, np.uint8)]
        async for _ in decoder.decode(context, Sampling(max_tokens=1), stop=(), request_id="r"):
            pass

    asyncio.run(ask())
    (picture,) = llm.prompt["multi_modal_data"]["image"]
    assert picture.size == (96, 64)
    assert len(workers) == 1
    assert threading.main_thread() not in workers
