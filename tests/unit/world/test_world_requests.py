"""The same wish from terse to verbose, and wishes that may be read in more than one way."""

import numpy as np
import pytest

from training.world.scenes.scene import Background, Scene
from training.world.tasks import TASKS, Sample, sample_task
from training.world.tasks.asking import LEVELS, Reading, Wish, requests
from wanimage.markup import Tag

pytestmark = pytest.mark.usefixtures("icons")
FOX = Wish("fox", "draw a fox", "draw a fox in a meadow by day", ("It is large.",))


def _samples(name: str | None, count: int, split: str = "train") -> list[Sample]:
    return [sample_task(np.random.default_rng([7, seed]), split, name) for seed in range(count)]


def test_a_wish_is_said_at_every_level() -> None:
    said = requests(FOX, np.random.default_rng(0))
    assert len(said) == len(LEVELS) >= 4
    assert said[:3] == ("fox", "Draw a fox.", "Draw a fox in a meadow by day.")
    assert all("fox" in request.lower() for request in said)
    assert "It is large." in said[-1]


def test_a_question_stays_a_question() -> None:
    wish = Wish("foxes", "count the foxes", "look and count the foxes", (), "How many foxes are there?")
    assert requests(wish, np.random.default_rng(0))[2] == "How many foxes are there?"


@pytest.mark.parametrize("name", list(TASKS))
def test_requests_grow_from_terse_to_verbose(name: str) -> None:
    for sample in _samples(name, 4):
        terse, short, plain, polite, verbose = (len(r.split()) for r in sample.requests)
        assert terse <= short + 1
        assert short <= polite < verbose
        assert plain < verbose
        assert sample.request in (*sample.requests, sample.dialogue.turns[0].text)


@pytest.mark.parametrize("name", list(TASKS))
def test_a_user_never_writes_control_tokens(name: str) -> None:
    for sample in _samples(name, 4):
        assert not any(tag.value in request for request in sample.requests for tag in Tag)
        assert "{" not in "".join(sample.requests)
        assert "  " not in "".join(sample.requests)


def test_every_ambiguous_request_has_several_readings() -> None:
    asked = set()
    for sample in _samples("ambiguous", 60):
        words = [reading.words for reading in sample.accepted]
        assert len(words) == len(set(words)) >= 1
        asked.add(sample.requests[1].split(" ")[0:3].__repr__())
        (output,) = sample.outputs
        assert sample.accepts(output.kind, output.scene)
    assert len(asked) >= 6


def test_most_readings_differ_in_what_they_accept() -> None:
    several = [s for s in _samples("ambiguous", 40) if len(s.accepted) > 1]
    assert len(several) > 30
    for sample in several:
        accepted = [r.accepts("scene", sample.outputs[0].scene) for r in sample.accepted]
        assert any(accepted)
    assert any(not all(r.accepts("scene", s.outputs[0].scene) for r in s.accepted) for s in several)


def test_what_no_reading_allows_is_not_accepted() -> None:
    for sample in _samples("ambiguous", 40):
        for miss in sample.near_misses:
            assert not sample.accepts("scene", miss.outputs[0].scene), (
                sample.request,
                miss.outputs[0].scene,
            )


def test_a_reading_is_of_one_kind_of_picture() -> None:
    reading = Reading("anything", "scene", lambda _: True)
    scene = Scene((), Background.plain("red"))
    assert reading.accepts("scene", scene)
    assert not reading.accepts("posters", scene)


def test_clear_requests_have_no_readings() -> None:
    assert not any(sample.accepted for sample in _samples("edit_remove", 3))
