"""Faces told in few words: what is left unsaid may differ, and how far it does is measured."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHIPPED
from training.vae.teacher import Teacher
from training.visualizer.tasks import BRIEF_FACES, Task, text_to_image
from training.visualizer.variety import TOLD_FIRST, Variety, alike, measure, told
from training.world.kinds import Pixels
from training.world.pictures import portraits
from training.world.pictures.portraits import Portrait
from wanimage.sampling import SamplerConfig

SEEDS = 24


class Brush:
    """Paints faces of the world instead of a model: all alike, or each another that the words tell."""

    def __init__(self, varied: bool) -> None:
        self.rng, self.varied = np.random.default_rng(3), varied
        self.seeds: list[int] = []

    def paint(self, tasks: list[Task], sampler: SamplerConfig, seed: int = 0) -> list[list[Pixels]]:
        self.seeds += [seed + 100 * i for i in range(len(tasks))]
        faces = [face_of(task) for task in tasks]
        return [[portraits.draw(alike(each, self.rng) if self.varied else each, 128)] for each in faces]


def face_of(task: Task) -> Portrait:
    face = task.shots[0].scene
    assert isinstance(face, Portrait)
    return face


def measured(brush: Brush, path: Path) -> Variety:
    return measure(brush, Teacher.load(SHIPPED), np.random.default_rng(1), SEEDS, path / "faces.png")


def test_one_face_for_all_seeds_has_no_variety(tmp_path: Path) -> None:
    found = measured(Brush(varied=False), tmp_path)
    assert found.features[0] == pytest.approx(0, abs=1e-6)
    assert found.words[0] == 0
    assert found.told == 1
    assert (tmp_path / "faces.png").exists()


def test_faces_of_the_world_have_all_the_variety_that_words_leave(tmp_path: Path) -> None:
    brush = Brush(varied=True)
    found = measured(brush, tmp_path)
    assert found.told == 1
    for painted, world in (found.features, found.words):
        assert painted == pytest.approx(world, rel=0.3)
        assert world > 0
    assert len(set(brush.seeds)) == SEEDS, "each face has a seed of its own"


def test_a_face_like_another_is_told_in_the_same_words_and_differs_in_what_they_leave() -> None:
    rng = np.random.default_rng(2)
    face = portraits.sample(rng, "heldout")
    others = [alike(face, rng) for _ in range(20)]
    assert {told(each) for each in others} == {told(face)}
    assert all(getattr(each, name) == getattr(face, name) for each in others for name in TOLD_FIRST)
    assert len({each.skin for each in others}) > 1
    assert len({each.background for each in others}) > 1


def test_some_faces_are_learned_from_few_words() -> None:
    tasks = [text_to_image(np.random.default_rng(i), kinds={"portrait": 1.0}) for i in range(200)]
    brief = np.mean([task.shots[0].prompt == told(face_of(task)) for task in tasks])
    assert brief == pytest.approx(BRIEF_FACES, abs=0.1)


def test_faces_that_are_judged_are_told_wholly() -> None:
    tasks = [text_to_image(np.random.default_rng(i), "heldout", {"portrait": 1.0}) for i in range(60)]
    assert all(task.shots[0].prompt != told(face_of(task)) for task in tasks)
