"""The last stage: refinements that verifiers like better than their siblings become likelier (report 3.5).

Our reading of a report that names no method: group-relative policy gradient over the few steps of the
distilled refiner (Flow-GRPO, Liu et al. 2025). Each step but the last gets Gaussian noise, so that it has a
likelihood; several refinements of one small picture are drawn, the world's verifier scores each, and each
step moves towards what scored above the group's mean. A share of the flow loss on the usual pairs holds what
was learned. Cases are drawn from seeds that the stages before never saw.

Letters: G refinements of a picture, Z latent channels, h w its cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training.refiner.data import MULTIPLE, Batch, Batches
from training.refiner.loss import flow_loss
from training.refiner.pairs import Case, Studio
from training.world.tasks.pictures import kind_of
from wanimage.images import CELL, Rgba, resize
from wanimage.models.refiner import Prompt, Refiner, state_at, step
from wanimage.models.understanding import Understanding
from wanimage.models.vae import straight
from wanimage.refining import (
    MODES,
    Mode,
    encode_tile,
    enlargement_of,
    levels,
    places_of,
    read_prompts,
)
from wanimage.tiling import Tile, tiles_of

GROUP = 6
"""G."""
SCALE = 4
"""How many times larger the refinements are that are judged."""
SPREAD = 0.35
"""Standard deviation of a step's noise, as a share of the noise level that it goes to."""
ANCHOR = 1.0
"""Weight of the flow loss beside that of the policy."""
SEED = 77
JUDGED = ("scene", "portrait", "poster", "sticker", "palette")
"""Kinds whose verifiers can judge a picture of 128 pixels."""
LEVELS = levels(MODES[Mode.REPAIR].start, 4)
"""Walked in more steps than are served: between them the policy draws by lot."""


@dataclass(frozen=True)
class RewardBatch:
    """What a step needs."""

    case: Case
    anchor: Batch


@dataclass(frozen=True)
class RewardBatches:
    """Cases by step, each beside the batch of the stages before."""

    studio: Studio
    anchors: Batches
    kinds: tuple[str, ...] = JUDGED

    def batch_at(self, number: int) -> RewardBatch:
        """The batch of a step."""
        rng = np.random.default_rng([SEED, number])
        name = str(rng.choice(self.kinds))
        kind = kind_of(name)
        graph = kind.sample(rng, "train", (8, 8))
        prompt = kind.phrase(graph)
        clear = resize(kind.draw(graph, 64 * CELL, 64 * CELL), 8 * CELL, 8 * CELL)
        with torch.inference_mode():
            source = self.studio.suffer(rng, clear, prompt, repair=True)
        return RewardBatch(Case(name, graph, prompt, clear, source, True), self.anchors.batch_at(number))


def score(case: Case, picture: Rgba) -> float:
    """Share of what the verifier asks that a refinement shows."""
    return case.verdict(picture).score()


def reward_loss(
    refiner: nn.Module,
    batch: RewardBatch,
    generator: torch.Generator,
    understanding: Understanding,
    weights: Tensor,
    studio: Studio,
) -> tuple[Tensor, dict[str, float]]:
    """Policy gradient of one group, and the flow loss; also the group's mean reward and its spread, to
    log."""
    assert isinstance(refiner, Refiner), type(refiner)
    case = batch.case
    size = (case.source.shape[0] * SCALE, case.source.shape[1] * SCALE)
    enlarged = enlargement_of(case.source, size)
    grid = (size[0] // CELL, size[1] // CELL)
    (tile,) = tiles_of(grid, most=max(grid))
    with torch.no_grad():
        low = encode_tile(studio.vae, enlarged, tile).expand(GROUP, -1, -1, -1)
        prompt = read_prompts(understanding, refiner, [case.prompt], MULTIPLE).rows(torch.zeros(GROUP).long())
    path = _Path(refiner, low, prompt, [tile] * GROUP, enlarged.scale)
    with torch.no_grad():
        states = path.walk(generator)
        pictures = straight(studio.vae.decode(states[-1]).float()).numpy()
    rewards = torch.tensor([score(case, picture) for picture in pictures])
    spread = rewards.std()
    policy = torch.zeros(())
    if spread > 1e-6:  # siblings that are equally good teach nothing
        policy = path.surprise(states, (rewards - rewards.mean()) / spread, weights)
    held, numbers = flow_loss(refiner, batch.anchor, generator, understanding, weights)
    return policy + ANCHOR * held, numbers | {"reward": float(rewards.mean()), "spread": float(spread)}


@dataclass
class _Path:
    """A group's way from the noisy enlargement to the refined latents."""

    refiner: Refiner
    low: Tensor
    prompt: Prompt
    tiles: list[Tile]
    scale: float

    def walk(self, generator: torch.Generator) -> list[Tensor]:
        """The states `[G, Z, h, w]` at every level, the last one clean."""
        noise = torch.randn(self.low.shape, generator=generator)
        start = torch.full((len(noise),), LEVELS[0])
        states = [state_at(self.low, self.low, noise, start, start)]
        for i in range(len(LEVELS) - 1):
            mean = self._mean(states[-1], i)
            scatter = SPREAD * LEVELS[i + 1] * torch.randn(mean.shape, generator=generator)
            states.append(mean + scatter)
        return states

    def surprise(self, states: list[Tensor], advantages: Tensor, weights: Tensor) -> Tensor:
        """Minus the likelihood of the states that were walked, weighed by advantage `[G]`; its gradient is
        the policy's."""
        total = torch.zeros(())
        for i in range(len(LEVELS) - 2):  # the last step has no noise
            off = (states[i + 1] - self._mean(states[i], i)) / (SPREAD * LEVELS[i + 1])
            energy = (off.square() * weights.view(1, -1, 1, 1)).mean((1, 2, 3)) / 2
            total = total + (advantages * energy).mean()
        return total / (len(LEVELS) - 2)

    def _mean(self, x: Tensor, i: int) -> Tensor:
        level, following = (torch.full((len(x),), value) for value in LEVELS[i : i + 2])
        start = torch.full((len(x),), LEVELS[0])
        place = places_of(self.tiles, [self.scale] * len(x))
        return step(x, self.refiner.clean(x, self.low, level, start, place, self.prompt), level, following)
