"""The endpoint teacher against vLLM's own OpenAI-compatible server: it talks, sees, and is not believed."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vllm_server import KEY, MODEL, VllmServer
from training.understanding.data.build import build
from training.understanding.data.endpoint import EndpointConfig, EndpointTeacher
from training.understanding.data.exercise import Exercise
from training.world.dialogues.talk import Picture
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.answers import Answer
from wanimage.errors import NotFound, Unauthenticated

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SEEN = Picture(Scene((SceneObject("circle", "red"),), Background.plain("blue")))
LOOK = Exercise("color", "What colour is the circle?", Answer("red", "Red."), (SEEN, SEEN))


@pytest.fixture
def teacher(config: EndpointConfig) -> Iterator[EndpointTeacher]:
    with closing(EndpointTeacher(config)) as asked:
        yield asked


@pytest.fixture
def config(vllm_server: VllmServer) -> EndpointConfig:
    return EndpointConfig(url=vllm_server.url, model=MODEL, key=KEY, most_tokens=12, retries=0)


def test_two_pictures_and_a_question_are_answered_the_same_twice(teacher: EndpointTeacher) -> None:
    first = teacher.answer(LOOK)
    assert first
    assert teacher.answer(LOOK) == first


def test_what_a_random_model_reasons_is_refused_and_counted(config: EndpointConfig, tmp_path: Path) -> None:
    with closing(EndpointTeacher(replace(config, cache=tmp_path))) as teacher:
        built = build("general/text", 4, teacher, threads=4)
    assert built.records == []
    assert set(built.refused) <= {"agreement", "length", "readable"}
    assert len(built.refused) == 4
    assert len(list(tmp_path.rglob("*.json"))) == 4


def test_a_key_or_a_model_that_the_server_does_not_know_is_named(config: EndpointConfig) -> None:
    guessing, mistaken = (
        closing(EndpointTeacher(replace(config, **changed)))
        for changed in ({"key": "guess"}, {"model": "somebody"})
    )
    with guessing as teacher, pytest.raises(Unauthenticated, match="OPENAI_API_KEY"):
        teacher.answer(LOOK)
    with mistaken as teacher, pytest.raises(NotFound, match="somebody"):
        teacher.answer(LOOK)
