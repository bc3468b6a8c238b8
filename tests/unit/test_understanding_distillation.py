"""On-policy distillation: cached sampling, the loss, the teachers, and the whole stage at the tiny size."""

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.loop import LoopConfig, LoopState, autocast, train
from training.understanding import distil
from training.understanding.architecture import TINY, build
from training.understanding.batches import BatchConfig
from training.understanding.data.mixes import Mix, sample_record
from training.understanding.distillation import (
    OnPolicyLoss,
    Query,
    log_probabilities,
    pieces_of,
    query_of,
    reverse_kl,
)
from training.understanding.export import export
from training.understanding.objective import Trainee
from training.understanding.opd import NANO_OPD, PAPER_OPD, DistillStage
from training.understanding.rollout import CachedDecoder, Prompt, RolloutConfig, draw, roll_out
from training.understanding.teachers import TeacherSet
from training.understanding.tokenizer import PREPROCESSOR, train_tokenizer, write_tokenizer
from wanimage import tokens
from wanimage.errors import InvalidInput
from wanimage.models.qwen3vl import decode
from wanimage.models.understanding import pad_batch, pixel_patches
from wanimage.tokens import Vocabulary

FP32 = LoopConfig(
    steps=4,
    lr=1e-3,
    warmup=1,
    decay=0.1,
    ema=0.0,
    precision="fp32",
    save_every=2,
    log_every=1,
    prefetch=False,
)
STAGE = DistillStage(
    loop=FP32,
    queries=4,
    rollout=RolloutConfig(most_tokens=8, rows=3),
    specialists={"telling": {"T2T": 1}},
    teaching=replace(FP32, steps=2),
    teaching_batch=BatchConfig(tokens=256, pieces=1, item_level=True),
    judged_tokens=256,
)
CHATS = Mix(name="chats", categories={"T2T": 1})


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(train_tokenizer(["Hello there, I draw red circles."] * 5, limit=300), folder)
    return folder


@pytest.fixture(scope="module")
def vocabulary(tokenizer_folder: Path) -> Vocabulary:
    return Vocabulary.load(tokenizer_folder)


@pytest.fixture
def trainee(vocabulary: Vocabulary) -> Trainee:
    return Trainee(build(TINY, len(vocabulary), vocabulary.control))


@pytest.fixture
def prompts(vocabulary: Vocabulary) -> list[Prompt]:
    """Three, of different lengths; one looks at a picture."""
    rgb = torch.randint(0, 256, (64, 128, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    picture = pixel_patches(rgb.numpy(), PREPROCESSOR)
    control, text = vocabulary.control, vocabulary.encode_user_text
    shown = [
        control[tokens.VISION_START],
        *[control[tokens.IMAGE_PAD]] * picture.tokens(),
        control[tokens.VISION_END],
    ]
    return [
        Prompt(text("Hi")),
        Prompt([*text("What is "), *shown, *text("this?")], (picture,)),
        Prompt(text("a longer one")),
    ]


def test_cached_logits_equal_uncached_ones_while_rows_leave(trainee: Trainee, prompts: list[Prompt]) -> None:
    written = torch.randint(20, 200, (3, 70), generator=torch.Generator().manual_seed(2))  # past one layout
    rows = torch.arange(3)
    with torch.inference_mode():
        decoder = CachedDecoder(trainee.model, prompts)
        found = [decoder.logits]
        for step in range(70):
            if step == 5:
                decoder.keep(torch.tensor([True, True, False]))
                rows = rows[:2]
            found.append(decoder.step(written[rows, step]))
        for row in range(3):
            expected = _slow(trainee, prompts[row], written[row].tolist())
            mine = torch.stack([logits[row] for logits in found if row < len(logits)])
            torch.testing.assert_close(mine, expected[: len(mine)], rtol=1e-4, atol=1e-5)


def _slow(trainee: Trainee, prompt: Prompt, answer: list[int]) -> Tensor:
    """Logits before each of the answer's tokens and after the last, without a cache."""
    ids, mask = pad_batch([[*prompt.ids, *answer]])
    patches = torch.cat([p.patches for p in prompt.pictures]) if prompt.pictures else None
    grids = torch.tensor([[1, p.height, p.width] for p in prompt.pictures]) if prompt.pictures else None
    hidden = decode(trainee.model, ids, mask, patches, grids)[0, len(prompt.ids) - 1 :]
    return F.linear(hidden, trainee.model.lm_head.weight)


def test_an_answer_is_its_rows_own_however_the_batch_is_cut(
    trainee: Trainee, prompts: list[Prompt], vocabulary: Vocabulary
) -> None:
    def answers(rows: int, seed: int = 3) -> list[list[int]]:
        config = RolloutConfig(most_tokens=150, rows=rows)
        generator = torch.Generator().manual_seed(seed)
        return roll_out(trainee.model, prompts * 3, vocabulary.control, config, generator)

    found = answers(9)
    assert found == answers(1) == answers(4)
    assert found != answers(9, seed=4)
    stop = vocabulary.control[tokens.IM_END]
    assert all(stop not in ids[:-1] for ids in found)
    assert len({len(ids) for ids in found}) > 2  # rows have left while others wrote on


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2, 0.0]).log().expand(4000, -1)
    drawn = draw(logits, 1.0, torch.rand(4000, generator=torch.Generator().manual_seed(5)))
    counts = Counter(drawn.tolist())
    assert [counts[i] / 4000 for i in range(4)] == pytest.approx([0.5, 0.3, 0.2, 0], abs=0.03)
    assert counts[3] == 0


def test_tokens_that_only_the_service_places_are_never_sampled(
    trainee: Trainee, prompts: list[Prompt], vocabulary: Vocabulary
) -> None:
    pad = vocabulary.control[tokens.IMAGE_PAD]
    with torch.no_grad():
        trainee.model.model.language_model.embed_tokens.weight[pad] *= 1e4  # tied: the likeliest or the least
    config = RolloutConfig(most_tokens=20)
    for ids in roll_out(trainee.model, prompts, vocabulary.control, config, torch.Generator().manual_seed(0)):
        assert pad not in ids


def test_reverse_kl_equals_one_worked_out_by_hand() -> None:
    student, teacher = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.25, 0.5]])
    # .5 ln(.5/.25) + .25 ln 1 + .25 ln(.25/.5) = .25 ln 2
    assert reverse_kl(student.log(), teacher.log()).item() == pytest.approx(0.25 * 0.6931472)


def test_every_answer_weighs_the_same_and_only_its_own_tokens_count(
    trainee: Trainee, prompts: list[Prompt], vocabulary: Vocabulary
) -> None:
    answers = [[30, 31, 32, 33], [34], [35, 36]]
    pieces = list(pieces_of(list(zip(prompts, answers, strict=True)), most_tokens=30))
    assert len(pieces) > 1
    assert sum(float(piece.weights.sum()) for piece in pieces) == pytest.approx(3)
    for piece in pieces:
        predicted = piece.ids.flatten()[piece.places + 1]
        assert set(predicted.tolist()) <= set(range(30, 37))
        assert len(log_probabilities(trainee.model, piece)) == len(predicted)


def test_each_category_moves_to_its_own_teacher(
    trainee: Trainee, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    ask = {name: Query(Prompt(vocabulary.encode_user_text(name)), name) for name in ("T2T", "I2T")}
    models = {
        name: build(TINY, len(vocabulary), vocabulary.control, seed) for name, seed in (("a", 1), ("b", 2))
    }
    for model in models.values():
        with torch.no_grad():  # far apart and sure of themselves
            model.model.language_model.norm.weight *= 10
    teachers = TeacherSet(models, {"T2T": "a", "I2T": "b"})
    loss = OnPolicyLoss(teachers, vocabulary.control, STAGE)

    def distance(state: Trainee, category: str, teacher: str) -> float:
        one = TeacherSet({teacher: models[teacher]}, {category: teacher})
        judge = OnPolicyLoss(one, vocabulary.control, STAGE)
        with torch.no_grad():
            return float(judge(state, [ask[category]] * 16, torch.Generator().manual_seed(9))[0])

    before = {(c, t): distance(trainee, c, t) for c in ask for t in models}
    config = replace(FP32, steps=60, lr=2e-2, clip=10.0, save_every=60)
    train(trainee, loss, lambda step: [ask["T2T"], ask["I2T"]] * 4, config, tmp_path)
    after = {(c, t): distance(trainee, c, t) for c in ask for t in models}
    for category, own, other in (("T2T", "a", "b"), ("I2T", "b", "a")):
        assert after[category, own] < 0.65 * before[category, own]
        assert after[category, other] > before[category, other]


def test_a_step_in_bf16_reaches_every_weight_after_sampling(trainee: Trainee, vocabulary: Vocabulary) -> None:
    teachers = TeacherSet({"a": build(TINY, len(vocabulary), vocabulary.control, 1)}, {"T2T": "a"})
    query = Query(Prompt(vocabulary.encode_user_text("Hi")), "T2T")
    with autocast("bf16"):
        loss, _ = OnPolicyLoss(teachers, vocabulary.control, STAGE)(
            trainee, [query] * 2, torch.Generator().manual_seed(0)
        )
    loss.backward()
    text = trainee.model.model.language_model
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in text.layers.parameters())
    assert all(p.grad is None for p in teachers.models["a"].parameters())


def test_a_student_that_equals_its_teacher_has_nothing_to_learn(
    trainee: Trainee, vocabulary: Vocabulary
) -> None:
    teachers = TeacherSet({"a": copy.deepcopy(trainee.model)}, {"T2T": "a"})
    query = Query(Prompt(vocabulary.encode_user_text("Hi")), "T2T")
    loss, numbers = OnPolicyLoss(teachers, vocabulary.control, STAGE)(
        trainee, [query], torch.Generator().manual_seed(0)
    )
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert numbers["kl a"] == pytest.approx(0, abs=1e-6)


def test_a_query_ends_where_the_assistant_begins(vocabulary: Vocabulary) -> None:
    query = query_of(np.random.default_rng(0), CHATS, vocabulary, PREPROCESSOR)
    dialogue = sample_record(np.random.default_rng(0), "train", CHATS).dialogue
    assert query.category == "T2T"
    assert query.prompt.ids.count(vocabulary.control[tokens.IM_START]) == len(dialogue.turns)
    assert vocabulary.decode_bytes(query.prompt.ids).decode().endswith("assistant\n")


def test_the_stage_resumes_to_the_same_weights(
    vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil, "validation_loss", lambda module, *_: -float(module.training))
    monkeypatch.setitem(distil.MIXES, "sft", CHATS)

    def run(folder: Path, *, stop_at: int | None = None, resume: bool = False) -> LoopState:
        student = Trainee(build(TINY, len(vocabulary), vocabulary.control)).eval()

        def interrupt(state: LoopState) -> None:
            if state.step == stop_at:
                raise KeyboardInterrupt

        loss, queries = distil.distilling(student, STAGE, vocabulary, folder)
        return train(student, loss, queries, FP32, folder, resume=resume, on_save=interrupt)

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_at=2)
    taught = (tmp_path / "cut" / "teachers" / "telling" / "checkpoint.json").stat().st_mtime_ns
    resumed = run(tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / "teachers" / "telling" / "checkpoint.json").stat().st_mtime_ns == taught
    for name, value in whole.ema.items():
        torch.testing.assert_close(resumed.ema[name], value, rtol=0, atol=0)


def test_a_specialist_that_is_no_better_does_not_teach(
    trainee: Trainee, vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil, "validation_loss", lambda *_: 1.0)
    with pytest.raises(ValueError, match="no specialist"):
        distil.specialists(trainee, STAGE, vocabulary, tmp_path)


def test_a_teacher_of_other_tokens_is_refused(
    vocabulary: Vocabulary, tokenizer_folder: Path, tmp_path: Path
) -> None:
    model: nn.Module = build(TINY, len(vocabulary), vocabulary.control)
    export(model, None, tokenizer_folder, tmp_path / "same")
    teachers = TeacherSet.load({"T2T": str(tmp_path / "same")}, vocabulary, PREPROCESSOR)
    assert teachers.groups(["T2T", "T2T"]) == {str(tmp_path / "same"): [0, 1]}
    write_tokenizer(train_tokenizer(["other words altogether"] * 5, limit=290), tmp_path / "other")
    with pytest.raises(InvalidInput, match="tokens, not the student's"):
        TeacherSet.load({"T2T": str(tmp_path / "other")}, vocabulary, PREPROCESSOR)
    with pytest.raises(InvalidInput, match="endpoint"):
        TeacherSet.load({"T2T": "http://localhost:8000/v1"}, vocabulary, PREPROCESSOR)
    with pytest.raises(InvalidInput, match="sees pictures with another size"):
        other = {**PREPROCESSOR, "size": {"shortest_edge": 1, "longest_edge": 2}}
        TeacherSet.load({"T2T": str(tmp_path / "same")}, vocabulary, other)


def test_the_papers_stage_has_the_reports_numbers() -> None:
    loop = PAPER_OPD.loop
    assert (loop.steps, loop.accumulate * PAPER_OPD.queries) == (400, 256)
    assert (loop.weight_decay, loop.clip, loop.optimizer) == (0.01, 0.2, "adamw")
    assert sorted(c for taught in NANO_OPD.specialists.values() for c in taught) == sorted(PAPER_OPD.teachers)
