"""Muon for machines without fast bf16 (Jordan et al. 2024; scaled as AdamW's updates are, Moonlight 2025).

torch's own orthogonalises in bf16. Where a CPU has no instructions for that, a step of the nano visualizer's
matrices takes 20 s; in float32 it takes a fraction of one, and is no further from the truth. State and
settings are torch's, so a checkpoint of either goes on with the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_STEPS = 5
"""Newton-Schulz iterations; singular values end between .7 and 1.2."""
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients that Jordan et al. chose for the steepest slope at zero."""


class Muon(torch.optim.Muon):
    """Nesterov momentum, made orthogonal; weight decay apart from it. For matrices of `[rows, columns]`."""

    orthogonalise: Callable[[list[Tensor]], list[Tensor]]
    """Makes the matrices of a step orthogonal: one after the other, unless several processes share them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.orthogonalise = lambda matrices: [orthogonal(each) for each in matrices]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step on all parameters that have a gradient."""
        assert closure is None, "gradients come before the step"
        for group in self.param_groups:
            stepped = [p for p in group["params"] if p.grad is not None]
            updates = self.orthogonalise([self._look(p, group["momentum"]) for p in stepped])
            for parameter, update in zip(stepped, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(parameter.shape)))

    def _look(self, parameter: Tensor, share: float) -> Tensor:
        """The gradient with momentum, of which it keeps `share`; in shards where the parameter is."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum: Tensor = state["momentum_buffer"].lerp_(gradient, 1 - share)
        return gradient.lerp(momentum, share)


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix of equal singular values, about: `[rows, columns]`, float32."""
    a, b, c = _QUINTIC
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=1e-7)
    for _ in range(_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
