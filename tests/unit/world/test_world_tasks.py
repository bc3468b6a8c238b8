"""Every task's samples are sound, say what they mean in markup, and are told from results that nearly do."""

import numpy as np
import pytest

from training.world.dialogues.talk import Talk
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks import TASKS, Sample, ambiguity, sample_task
from training.world.tasks.answers import Answer, normal
from training.world.tasks.changes import referent
from training.world.tasks.checks import Distinct, changed, worst_outside
from training.world.tasks.measure import measure
from training.world.tasks.questions import SCENE_QUESTIONS
from wanimage.markup import ImageSpec, parse, split_tags

pytestmark = pytest.mark.usefixtures("icons")
QUICK = (
    "edit_remove",
    "extract",
    "compose",
    "text_to_series",
    "howto",
    "comparison",
    "question",
    "edit_chart",
)
"""Tasks whose verifiers need no catalogue of drawings or letters; `tasks.measure` covers all."""
SMALL = 8
"""Pixels a cell where only graphs and words matter."""


def _sample(name: str, seed: int = 0, split: str = "train") -> Sample:
    return sample_task(np.random.default_rng([3, seed]), split, name)


@pytest.mark.parametrize("name", list(TASKS))
def test_the_dialogue_is_markup_for_the_outputs(name: str) -> None:
    for seed in range(2):
        sample = _sample(name, seed)
        user, assistant = sample.dialogue.turns[-2:]
        assert (user.role, assistant.role) == ("user", "assistant")
        assert user.pictures == sample.inputs
        assert assistant.pictures == sample.outputs
        drawn = [item for item in parse(split_tags(assistant.text)) if isinstance(item, ImageSpec)]
        assert [spec.prompt for spec in drawn] == [frame.prompt for frame in sample.outputs]
        assert [spec.grid for spec in drawn] == [frame.grid for frame in sample.outputs]


@pytest.mark.parametrize("name", QUICK)
def test_a_sample_passes_and_its_near_misses_fail(name: str) -> None:
    sample = _sample(name, 1, "val")
    images = [frame.draw() for frame in sample.outputs]
    report = sample.verify(images)
    assert report.passed, report.failures()
    assert sample.near_misses or sample.answer
    for miss in sample.near_misses:
        drawn = [f.drawn(*image.shape[:2]) for f, image in zip(miss.outputs, images, strict=True)]
        assert not sample.verify(drawn).passed, miss.fault


@pytest.mark.parametrize("name", list(TASKS))
def test_equal_generators_give_equal_samples(name: str) -> None:
    first, second = _sample(name, 5), _sample(name, 5)
    assert first.dialogue == second.dialogue
    assert first.captions == second.captions
    assert [i.draw(SMALL).tobytes() for i in first.inputs] == [i.draw(SMALL).tobytes() for i in second.inputs]


@pytest.mark.parametrize("name", list(TASKS))
def test_every_picture_has_captions(name: str) -> None:
    sample = _sample(name)
    assert len(sample.captions) == len(sample.outputs or sample.inputs)
    assert all(c.raw and c.brief and c.detailed and c.structured["attributes"] for c in sample.captions)


def test_splits_share_no_picture_and_no_composition() -> None:
    seen: dict[str, set[str]] = {}
    for split in ("train", "val", "heldout"):
        samples = [_sample(name, seed, split) for name in TASKS for seed in range(2)]
        seen[split] = {f"{s.task}{[f.scene for f in (*s.inputs, *s.outputs)]}" for s in samples}
    assert not seen["train"] & seen["val"]
    assert not (seen["train"] | seen["val"]) & seen["heldout"]


def test_shares_add_up_to_one() -> None:
    assert sum(task.share for task in TASKS.values()) == pytest.approx(1)


def test_random_samples_are_of_many_tasks() -> None:
    names = {sample_task(np.random.default_rng(seed), "train").task for seed in range(60)}
    assert len(names) > 9


@pytest.mark.parametrize("aspect", [(8, 8), (6, 10), (3, 24), (24, 3)])
def test_results_have_the_aspect_that_is_asked_for(aspect: tuple[int, int]) -> None:
    sample = sample_task(np.random.default_rng(0), "train", "text_to_image", aspect)
    height, width, _ = sample.outputs[0].draw(SMALL).shape
    assert height * aspect[1] == width * aspect[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "dev"}, "split"),
        ({"split": "train", "name": "dance"}, "no task"),
        ({"split": "train", "name": "howto", "aspect": (3, 24)}, "aspect"),
        ({"split": "train", "aspect": (1, 20)}, "aspect"),
    ],
)
def test_what_there_is_not_is_refused_with_a_reason(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sample_task(np.random.default_rng(0), **options)  # type: ignore[arg-type]


def test_a_wrong_number_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match="images"):
        _sample("text_to_image").verify([])


def test_a_picture_task_asks_no_question() -> None:
    with pytest.raises(ValueError, match="question"):
        _sample("text_to_image").check("three")


# --- questions -------------------------------------------------------------------------------------------

FOXES = Scene(
    (
        SceneObject("fox", None, 0.24, 0.24, 0.33),
        SceneObject("fox", None, 0.76, 0.24, 0.33),
        SceneObject("owl", None, 0.5, 0.76, 0.22, count=3),
    ),
    Background.scenery("meadow", "night"),
)


@pytest.mark.parametrize("maker", SCENE_QUESTIONS, ids=lambda maker: maker.__name__)
def test_an_answer_is_right_and_its_rivals_are_not(maker: object) -> None:
    for seed in range(20):
        talk = Talk(np.random.default_rng(seed), "train")
        asked = maker(talk, talk.scene(n_objects=3))  # type: ignore[operator]
        if asked is None:
            continue
        assert asked.answer.check(asked.answer.reply)
        assert asked.answer.check(asked.answer.key)
        assert not any(asked.answer.check(f"It is {rival}.") for rival in asked.answer.rivals)


def test_counting_adds_up_groups_in_its_reasoning() -> None:
    answer = SCENE_QUESTIONS[0](Talk(np.random.default_rng(0), "train"), FOXES).answer  # type: ignore[union-attr]
    assert answer.key == "5"
    assert answer.steps[-1] == "1 + 1 + 3 = 5."
    assert answer.reply == "There are five objects."


def test_reasoning_stands_before_the_answer_and_does_not_count_as_one() -> None:
    answer = Answer("2", "There are two foxes.", ("1", "3"))
    assert answer.check("<think>1 and 1, not 3.</think>There are two foxes.")
    assert not answer.check("<think>There are two foxes.</think>There are three foxes.")


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("left", True),
        ("It is at the Left.", True),
        ("top left", False),
        ("right", False),
        ("left or right", False),
    ],
)
def test_a_longer_place_is_another_place(said: str, right: bool) -> None:
    assert Answer("left", "It is at the left.", ("top left", "right")).check(said) is right


def test_numbers_are_read_as_words_and_digits() -> None:
    assert normal("Twelve foxes, 3.5 owls.") == "12 foxes 3.5 owls"


def test_an_object_is_named_by_what_tells_it_apart() -> None:
    assert referent(FOXES, FOXES.objects[0]) == "the fox at the top left"
    assert referent(FOXES, FOXES.objects[2]) == "the owls"


# --- checks ----------------------------------------------------------------------------------------------


def test_a_difference_outside_of_the_mask_is_seen_wherever_it_is() -> None:
    before = np.full((96, 96, 4), 255, np.uint8)
    after, stain = before.copy(), before.copy()
    after[:32, :32] = 0
    mask = changed(before, after, 0.05)
    assert mask[:32, :32].all()
    assert not mask[40:, 40:].any()
    assert worst_outside(before, after, mask) == 0
    stain[80:90, 80:90, :3] = 0
    assert worst_outside(before, stain, mask) > 6


def test_a_repeated_picture_of_a_series_is_seen() -> None:
    sample = _sample("text_to_series")
    images = [frame.draw(SMALL) for frame in sample.outputs]
    assert Distinct()(sample, images)[0].passed
    assert not Distinct()(sample, [images[0], *images[:-1]])[0].passed


def test_the_measurement_counts_sound_results_and_faults() -> None:
    rows = dict(measure(2, "val", names=("extract", "question")))
    assert list(rows) == ["extract", "question"]
    assert all(row.sound == [True] for row in rows.values())
    assert all(len(row.caught) > 1 and all(row.caught) for row in rows.values())


def test_an_occasion_names_only_what_its_ground_shows() -> None:
    card = ambiguity._occasion("make a card", "card", ("letter",), "a greeting")  # white: lost in the snow
    cases = [card(Talk(np.random.default_rng(seed), "train"), (8, 8)) for seed in range(60)]
    shown = {case.answer.background.setting for case in cases if case}
    assert "meadow" in shown
    assert "snow" not in shown
