"""What on-policy distillation needs before its first step: specialists that are better than the student."""

import copy
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import sharding
from training.loop import autocast, train
from training.understanding.batches import BatchConfig, batches_at
from training.understanding.data.mixes import MIXES, Mix, sample_record
from training.understanding.distillation import OnPolicyLoss, Query, queries_at
from training.understanding.items import Item, dialogue_item
from training.understanding.objective import Trainee, batch_loss, step_loss
from training.understanding.opd import DistillStage
from training.understanding.teachers import TeacherSet
from training.understanding.tokenizer import PREPROCESSOR
from wanimage.models.allocator import keep_freed_memory
from wanimage.tokens import Vocabulary

log = logging.getLogger(__name__)
SEEN_SHARE = 0.8
"""Fraction of a specialist's conversations in which it sees its own pictures, as in SFT."""


def distilling(
    student: Trainee, stage: DistillStage, vocabulary: Vocabulary, folder: Path
) -> tuple[OnPolicyLoss, Callable[[int], list[Query]]]:
    """The stage's loss and its queries as a function of the step, for `training.loop.train`.

    Makes the specialists first, under `folder/teachers`; those of this student that are finished there are
    taken from there. Raises `ValueError` where none of them is better than the student.
    """
    keep_freed_memory()  # a decoding step frees and wants the same pieces hundreds of times
    if stage.teachers:
        teachers = TeacherSet.load(stage.teachers, vocabulary, PREPROCESSOR)
    else:
        teachers = specialists(student, stage, vocabulary, folder / "teachers")
    mix = _among(MIXES[stage.mix], teachers.teaches)
    student.probe.requires_grad_(False)  # nothing names what a token shows here
    loss = OnPolicyLoss(teachers, vocabulary.control, stage)
    return loss, lambda step: queries_at(step, stage, mix, vocabulary, PREPROCESSOR)


def specialists(student: Trainee, stage: DistillStage, vocabulary: Vocabulary, folder: Path) -> TeacherSet:
    """Those specialists that are better than the student at what they would teach."""
    if sharding.launched():
        raise ValueError("specialists are made on one process; name `teachers` to distil on several")
    models, teaches = {}, {}
    for name in stage.specialists:
        found = specialist(student, name, stage, vocabulary, folder / name)
        if found is not None:
            models[name] = found
            teaches |= dict.fromkeys(stage.specialists[name], name)
    if not models:
        raise ValueError(
            f"no specialist in {folder} is better than the student; raise `teaching.steps` or its rate"
        )
    return TeacherSet(models, teaches)


def specialist(
    student: Trainee, name: str, stage: DistillStage, vocabulary: Vocabulary, folder: Path
) -> Any | None:
    """The averaged model of a student that went on with some categories; None where it is no better at them.

    `folder` holds its run, which goes on where the same student's was interrupted, and `judged.json`: the
    mean loss on validation conversations before and after.
    """
    assert stage.teaching is not None
    categories = stage.specialists[name]
    mix = Mix(name=name, categories=categories, think=MIXES[stage.mix].think)
    made = {"student": _digest(student), "categories": categories, "loop": asdict(stage.teaching)}
    same = _made(folder) == json.loads(json.dumps(made))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made.json").write_text(json.dumps(made))

    def batch_at(step: int) -> object:
        make = _maker(mix, "train", vocabulary)
        return batches_at(step, make, stage.teaching_batch, stage.loop.seed, PREPROCESSOR)

    taught = copy.deepcopy(student)
    state = train(taught, step_loss, batch_at, stage.teaching, folder, resume=same)
    taught.load_state_dict(state.ema, strict=False)
    before, after = (validation_loss(module, mix, stage, vocabulary) for module in (student, taught))
    (folder / "judged.json").write_text(json.dumps({"before": before, "after": after}))
    verdict = "teaches" if after < before else "is no better and does not teach"
    log.info("specialist %s %s: loss %.4f, the student's %.4f", name, verdict, after, before)
    return taught.model if after < before else None


def _made(folder: Path) -> object:
    """What the specialist in `folder` was made from; None where there is none."""
    file = folder / "made.json"
    return json.loads(file.read_text()) if file.exists() else None


@torch.no_grad()
def validation_loss(module: Trainee, mix: Mix, stage: DistillStage, vocabulary: Vocabulary) -> float:
    """Mean next-token loss of an assistant turn on validation conversations of a mix, in nats a token."""
    config = BatchConfig(
        tokens=stage.judged_tokens, pieces=max(1, stage.judged_tokens // 2048), item_level=True
    )
    batches = batches_at(0, _maker(mix, "val", vocabulary), config, stage.loop.seed, PREPROCESSOR)
    with autocast(stage.loop.precision):
        return sum(float(batch_loss(module, batch)[0]) for batch in batches)


def _maker(mix: Mix, split: str, vocabulary: Vocabulary) -> Callable[[np.random.Generator], Item]:
    def make(rng: np.random.Generator) -> Item:
        dialogue = sample_record(rng, split, mix).dialogue
        return dialogue_item(dialogue, vocabulary, PREPROCESSOR, see=rng.random() < SEEN_SHARE)

    return make


def _among(mix: Mix, categories: dict[str, str]) -> Mix:
    """The mix without the categories nobody teaches."""
    return replace(mix, categories={c: weight for c, weight in mix.categories.items() if c in categories})


def _digest(module: Trainee) -> str:
    """SHA-256 of a student's weights."""
    found = hashlib.sha256()
    for name, value in module.model.state_dict().items():
        found.update(name.encode() + value.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
