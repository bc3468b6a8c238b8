"""GRPO (Shao et al. 2024): answers to one prompt are judged beside each other, and the better made likelier.

For a group of G answers with rewards r the advantage is (r - mean) / std, and the loss at each token

    - min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon) * A),

averaged over an answer's tokens and then over answers. Each group is used once, so the ratio to the policy
that sampled it is 1 in value and carries the gradient; beta is 0, so there is no reference model. Groups
whose answers are all worth the same teach nothing and count as zero.

On the shared loop rather than TRL: a step's answers are sampled by `training/understanding/rollout.py` from
the very weights that learn, where a vLLM beside it would have to be handed a merged model at every step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.enhancer.data import Row, sample_row
from training.enhancer.items import prompt_of, text_of
from training.enhancer.reward import Reward, reward
from training.enhancer.stages import GrpoStage
from training.loop import LossFn
from training.understanding.distillation import log_probabilities, pieces_of
from training.understanding.rollout import Prompt, RolloutConfig, roll_out
from wanimage import tokens
from wanimage.models.understanding import Understanding
from wanimage.tokens import Vocabulary

PIECE_TOKENS = 4096
"""Padded tokens of answered prompts that go through the model at once."""


@dataclass(frozen=True)
class Asked:
    """A row, how it is asked, and the context that asks it."""

    row: Row
    variant: str
    prompt: Prompt


def task(stage: GrpoStage, planner: Understanding) -> tuple[LossFn, Callable[[int], list[Asked]]]:
    """The stage's loss, and its prompts as a function of the step."""
    loss = GroupLoss(planner.vocabulary, stage)
    return loss, lambda step: asked_at(step, stage, planner.vocabulary, planner.preprocessor)


def asked_at(step: int, stage: GrpoStage, vocabulary: Vocabulary, preprocessor: dict) -> list[Asked]:
    """The prompts of a step: of the rows kept for this stage, those that are rewritten. What passes through
    is decided alike by a whole group, and teaches nothing."""
    rng = np.random.default_rng([stage.loop.seed, 3, step])
    found: list[Asked] = []
    while len(found) < stage.prompts:
        row = sample_row(rng, "train", "rl")
        if not row.result.entries:
            continue
        variant = "quality" if rng.random() < stage.quality_share else "fast"
        found.append(Asked(row, variant, prompt_of(row, variant, vocabulary, preprocessor)))
    return found


@dataclass(frozen=True)
class GroupLoss:
    """The loss of a step's prompts, for `training.loop.train`."""

    vocabulary: Vocabulary
    stage: GrpoStage

    def __call__(
        self, module: nn.Module, asked: Sequence[Asked], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """(loss, numbers): a group of answers to each prompt, weighed by what each is worth."""
        model: Any = module.model
        stage = self.stage
        each = [one for one in asked for _ in range(stage.group)]
        config = RolloutConfig(most_tokens=stage.most_tokens, temperature=stage.temperature)
        answers = roll_out(model, [one.prompt for one in each], self.vocabulary.control, config, generator)
        worth = [self._worth(one, ids) for one, ids in zip(each, answers, strict=True)]
        totals = torch.tensor([one.total for one in worth]).view(len(asked), stage.group)
        gains = advantages(totals).flatten().tolist()
        # In the order in which `pieces_of` takes them, so that gains and answers stay together.
        rows = [(one.prompt, ids, gain) for one, ids, gain in zip(each, answers, gains, strict=True) if gain]
        rows.sort(key=lambda row: len(row[0].ids) + len(row[1]))
        loss, first = torch.zeros((), requires_grad=True), 0  # stays so where all groups agree
        for piece in pieces_of([row[:2] for row in rows], PIECE_TOKENS):
            count = len(piece.ids)
            part = rows[first : first + count]
            first += count
            gain = torch.cat([torch.full((len(ids),), value) for _, ids, value in part])
            written = torch.cat([torch.tensor(ids) for _, ids, _ in part])
            chosen = log_probabilities(model, piece).gather(1, written[:, None]).squeeze(1)
            loss = loss + (clipped(chosen, chosen.detach(), gain, stage.epsilon) * piece.weights).sum()
        return loss / len(each), _numbers(worth, answers, totals, self.vocabulary)

    def _worth(self, one: Asked, ids: list[int]) -> Reward:
        """What an answer is worth; one that was cut is worth nothing."""
        ended = ids[-1] == self.vocabulary.control[tokens.IM_END]
        return reward(one.row, text_of(ids, self.vocabulary)) if ended else Reward()


def advantages(totals: Tensor) -> Tensor:
    """Rewards `[prompts, group]` -> how much better each is than its group, in its deviations."""
    spread = totals.std(-1, keepdim=True, correction=0)
    return torch.where(spread > 1e-6, (totals - totals.mean(-1, keepdim=True)) / (spread + 1e-4), 0.0)


def clipped(now: Tensor, then: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """The loss `[T]` of tokens with log-probabilities `now`, sampled where they were `then`."""
    ratio = (now - then).exp()
    return -torch.minimum(ratio * gain, ratio.clamp(1 - epsilon, 1 + epsilon) * gain)


def _numbers(
    worth: Sequence[Reward], answers: Sequence[list[int]], totals: Tensor, vocabulary: Vocabulary
) -> dict[str, float]:
    stop = vocabulary.control[tokens.IM_END]
    return {
        "reward": float(totals.mean()),
        "fidelity": sum(one.fidelity for one in worth) / len(worth),
        "richness": sum(one.richness for one in worth) / len(worth),
        "accuracy": sum(one.accuracy for one in worth) / len(worth),
        "spread": float((totals.std(-1, correction=0) > 1e-6).float().mean()),
        "answer tokens": sum(map(len, answers)) / len(answers),
        "ended": sum(ids[-1] == stop for ids in answers) / len(answers),
    }
