"""Rectified flow: times, noise, guidance and solvers (report 3.1; recipes of open peers for the numbers).

Conventions: x_t = (1 - t) * x0 + t * noise, velocity = noise - x0; t = 1 is noise, t = 0 is clean.

A `Trajectory` is one render on its way from noise to picture. It does not call the model: it says where the
velocity is needed (`x`, `t`) and takes it (`advance`). So renders at different steps, of different sizes and
with different solvers can share one batch, and a render may join or leave between two evaluations. `sample`
is the plain loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor

BASE_TOKENS = 64
"""Latent tokens at which the time shift is `SamplerConfig.shift`; it grows with the root of the tokens."""


class Solver(Enum):
    """How to integrate the velocity."""

    EULER = "euler"
    HEUN = "heun"
    """Second order, two evaluations a step."""
    AB2 = "ab2"
    """Second order from the previous velocity, one evaluation a step (Adams-Bashforth with variable
    steps)."""


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Every default of sampling. `training/visualizer/README.md` has the comparison behind them."""

    steps: int = 12
    """Steps from noise to picture; 1 or more."""
    solver: Solver = Solver.AB2
    guidance: float = 3.0
    """Pull from the empty prompt to the prompt, on average over the path: near noise it is almost twice as
    far from neutral, near the picture it is neutral (`guide`). 1 is neutral."""
    image_guidance: float = 1.5
    """Pull from no references to the references, at the empty prompt; 1 is neutral; unused without
    references."""
    renorm: float = 0.5
    """How far a guided velocity longer than the plain one is shortened to its length: 0 not at all, 1
    fully."""
    shift: float = 1.0
    """Time shift at `BASE_TOKENS`: above 1 spends more steps near noise. Neutral 1."""
    keep: bool = True
    """Hold the cells of a reference that an edit leaves alone (`keeping.py`); unused without references and
    in a series."""
    color: bool = True
    """Lead a palette that the prompt states to its colours and shares (`coloring.py`)."""


def shift_for(tokens: int, base: float) -> float:
    """Shift of a picture of that many latent tokens: `base * sqrt(tokens / 64)`."""
    return base * math.sqrt(tokens / BASE_TOKENS)


def shifted(t: Tensor, shift: float) -> Tensor:
    """Times moved towards noise by the resolution shift; 0 and 1 stay."""
    return shift * t / (1 + (shift - 1) * t)


def schedule(steps: int, shift: float) -> list[float]:
    """`steps + 1` times from 1 down to 0."""
    assert steps >= 1, steps
    return shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).tolist()


def training_times(count: int, shift: float, generator: torch.Generator) -> Tensor:
    """Logit-normal times `[count]` in (0, 1), shifted like the schedule."""
    return shifted(torch.sigmoid(torch.randn(count, generator=generator)), shift)


def add_noise(x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x_t and the velocity to learn, both like `x0` `[B, ...]`, at times `t` `[B]`."""
    t = t.view(-1, *[1] * (x0.ndim - 1))
    return (1 - t) * x0 + t * noise, noise - x0


def picture_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """float32 noise of one picture, from a CPU generator of its own: batches never change a picture."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def guide(full: Tensor, no_text: Tensor, no_image: Tensor | None, t: float, config: SamplerConfig) -> Tensor:
    """Guided velocity of one render at time `t`, any shape; `no_image` is the velocity without prompt and
    references, if any.

    The prompt pulls in proportion to the noise: what is where is settled near noise, and later a strong pull
    only hardens what is there. Then the renorm of BAGEL: guidance may turn the velocity but not lengthen it,
    which keeps colours calm.
    """
    scale = 1 + 2 * (config.guidance - 1) * t
    guided = no_text + scale * (full - no_text)
    if no_image is not None:
        guided = guided + (config.image_guidance - 1) * (no_text - no_image)
    ratio = (full.norm() / guided.norm().clamp(min=1e-8)).clamp(max=1.0)
    return guided * (1 + config.renorm * (ratio - 1))


@dataclass
class Trajectory:
    """One render between noise and picture."""

    x: Tensor
    """Where the velocity is needed next; float32, any shape."""
    times: list[float]
    solver: Solver
    step: int = 0
    """Steps finished."""
    clean: Tensor | None = None
    """Estimate of the finished picture from the last velocity, shaped like `x`; None before the first."""
    _start: Tensor | None = field(default=None, repr=False)
    _last: Tensor | None = field(default=None, repr=False)
    _last_width: float = 0.0

    @staticmethod
    def begin(noise: Tensor, config: SamplerConfig, tokens: int) -> Trajectory:
        """At pure noise; `tokens` of one picture set the shift."""
        return Trajectory(noise, schedule(config.steps, shift_for(tokens, config.shift)), config.solver)

    @property
    def t(self) -> float:
        """Time at which the velocity of `x` is needed next."""
        return self.times[self.step + (self._start is not None)]

    @property
    def done(self) -> bool:
        return self.step == len(self.times) - 1

    def advance(self, velocity: Tensor) -> None:
        """Take the velocity at (`x`, `t`) and move on; Heun needs two calls a step."""
        assert not self.done, f"all {self.step} steps are done"
        velocity = velocity.float()
        self.clean = self.x - self.t * velocity
        width = self.times[self.step + 1] - self.times[self.step]  # negative
        if self.solver is Solver.HEUN:
            self._heun(velocity, width)
            return
        slope = velocity
        if self.solver is Solver.AB2 and self._last is not None:
            slope = velocity + (velocity - self._last) * (width / (2 * self._last_width))
        self.x = self.x + width * slope
        self._last, self._last_width = velocity, width
        self.step += 1

    def _heun(self, velocity: Tensor, width: float) -> None:
        last_step = self.step == len(self.times) - 2
        if self._start is None:
            predicted = self.x + width * velocity
            if not last_step:  # at t = 0 there is nothing to correct with
                self._start, self._last, self.x = self.x, velocity, predicted
                return
            self.x = predicted
        else:
            assert self._last is not None
            self.x = self._start + width * (self._last + velocity) / 2
            self._start = self._last = None
        self.step += 1


def evaluations(config: SamplerConfig) -> int:
    """How often a render asks for a velocity."""
    return 2 * config.steps - 1 if config.solver is Solver.HEUN else config.steps


def sample(
    velocity: Callable[[Tensor, float], Tensor], noise: Tensor, config: SamplerConfig, tokens: int
) -> Tensor:
    """Integrate `velocity(x, t)` from `noise` to the picture, one batch in step."""
    path = Trajectory.begin(noise, config, tokens)
    while not path.done:
        path.advance(velocity(path.x, path.t))
    return path.x
