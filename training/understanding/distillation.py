"""On-policy distillation (OPD, report 4.1.3): the student learns from specialists on its own answers.

A step samples an answer of the current student to every query, and asks the teacher of the query's category
what it would have written at each of the answer's tokens. The loss is the reverse KL over the vocabulary,

    KL(student || teacher) = sum_v p(v) (log p(v) - log q(v)),

at every token the student wrote, averaged over an answer's tokens first and then over answers. No token of
the dialogue's own answer is shown or asked for. The gradient flows through p alone: the answers are fixed
samples, and how the choice of a token changes what comes after it is not differentiated.

Queries are a pure function of the step; answers follow from the student and the step's generator.

Letters: B rows, L tokens, T tokens of answers, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.understanding.data.mixes import Mix, sample_record
from training.understanding.items import dialogue_item
from training.understanding.opd import DistillStage
from training.understanding.pictures import pixels_of
from training.understanding.rollout import Prompt, roll_out
from training.understanding.teachers import TeacherSet
from training.world.dialogues.talk import Dialogue
from wanimage import tokens
from wanimage.models.qwen3vl import decode
from wanimage.models.understanding import pad_batch
from wanimage.tokens import Vocabulary


@dataclass(frozen=True)
class Query:
    """What the student is asked, and the category that chooses its teacher."""

    prompt: Prompt
    category: str


@dataclass(frozen=True)
class Piece:
    """Some answered queries of one category group, padded on the right."""

    ids: Tensor
    """`[B, L]` int64."""
    mask: Tensor
    """`[B, L]` int64, ones then zeros."""
    places: Tensor
    """`[T]` int64: flat places in `[B*L]` that predict the answers' tokens."""
    weights: Tensor
    """`[T]` fp32; one answer's sum to 1."""
    patches: Tensor | None
    """`[P, 1536]` fp32."""
    grids: Tensor | None
    """`[I, 3]` int64."""


def queries_at(
    step: int, stage: DistillStage, mix: Mix, vocabulary: Vocabulary, preprocessor: dict
) -> list[Query]:
    """The queries of a step."""
    rng = np.random.default_rng([stage.loop.seed, 2, step])  # other records than SFT's at the same step
    return [query_of(rng, mix, vocabulary, preprocessor) for _ in range(stage.queries)]


def query_of(rng: np.random.Generator, mix: Mix, vocabulary: Vocabulary, preprocessor: dict) -> Query:
    """A training conversation up to where its last answer begins."""
    record = sample_record(rng, "train", mix)
    asked = Dialogue(record.dialogue.kind, record.dialogue.turns[:-1])
    item = dialogue_item(asked, vocabulary, preprocessor, see=True)
    item.say([vocabulary.control[tokens.IM_START], *vocabulary.encode_user_text("assistant\n")])
    pictures = tuple(pixels_of(picture, preprocessor, rng) for picture in item.pictures)
    return Query(Prompt(item.ids, pictures), record.category)


@dataclass(frozen=True)
class OnPolicyLoss:
    """The loss of a step's queries, for `training.loop.train`."""

    teachers: TeacherSet
    control: dict[str, int]
    stage: DistillStage

    def __call__(
        self, module: nn.Module, queries: Sequence[Query], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """(mean reverse KL, numbers): the student answers, and its teachers judge every token."""
        student: Any = module.model
        answers = roll_out(
            student, [query.prompt for query in queries], self.control, self.stage.rollout, generator
        )
        total = torch.zeros(())
        numbers = {f"kl {name}": 0.0 for name in self.teachers.names}
        for name, rows in self.teachers.groups([query.category for query in queries]).items():
            asked = [(queries[row].prompt, answers[row]) for row in rows]
            for piece in pieces_of(asked, self.stage.piece_tokens):
                with torch.no_grad():
                    taught = log_probabilities(self.teachers.models[name], piece)
                distance = reverse_kl(log_probabilities(student, piece), taught)
                part = (distance * piece.weights).sum()
                numbers[f"kl {name}"] += part.item() / len(rows)
                total = total + part / len(queries)
        stop = self.control[tokens.IM_END]
        numbers["answer tokens"] = sum(map(len, answers)) / len(answers)
        numbers["tokens"] = sum(len(q.prompt.ids) for q in queries) + sum(map(len, answers))
        numbers["ended"] = sum(ids[-1] == stop for ids in answers) / len(answers)
        return total, numbers


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(student || teacher) `[T]` of log-probabilities `[T, V]`, over the whole vocabulary."""
    return (student.exp() * (student - teacher)).sum(-1)


def log_probabilities(model: Any, piece: Piece) -> Tensor:
    """`[T, V]` fp32 before every token of the piece's answers."""
    hidden = decode(model, piece.ids, piece.mask, piece.patches, piece.grids)
    return F.linear(hidden.flatten(0, 1)[piece.places], model.lm_head.weight).float().log_softmax(-1)


def pieces_of(asked: Sequence[tuple[Prompt, list[int]]], most_tokens: int) -> Iterator[Piece]:
    """Answered prompts in pieces of similar length; each of at most `most_tokens` padded, or of one row."""
    rows: list[tuple[Prompt, list[int]]] = []
    for prompt, answer in sorted(asked, key=lambda pair: len(pair[0].ids) + len(pair[1])):
        if rows and (len(prompt.ids) + len(answer)) * (len(rows) + 1) > most_tokens:
            yield _piece(rows)
            rows = []
        rows.append((prompt, answer))
    if rows:
        yield _piece(rows)


def _piece(rows: Sequence[tuple[Prompt, list[int]]]) -> Piece:
    ids, mask = pad_batch([[*prompt.ids, *answer] for prompt, answer in rows])
    places, weights = [], []
    for row, (prompt, answer) in enumerate(rows):
        first = row * ids.shape[1] + len(prompt.ids) - 1
        places.append(torch.arange(first, first + len(answer)))
        weights.append(torch.full((len(answer),), 1 / len(answer)))
    pictures = [picture for prompt, _ in rows for picture in prompt.pictures]
    return Piece(
        ids=ids,
        mask=mask,
        places=torch.cat(places),
        weights=torch.cat(weights),
        patches=torch.cat([p.patches for p in pictures]) if pictures else None,
        grids=torch.tensor([[1, p.height, p.width] for p in pictures]) if pictures else None,
    )
