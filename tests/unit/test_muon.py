"""The optimiser of matrices: what it makes of a gradient, and that it is torch's in all but precision."""

import pytest
import torch
from torch import nn

from training.loop import LoopConfig, _fresh_state
from training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32)])
def test_singular_values_become_nearly_equal(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_step_is_that_of_torch_but_for_its_rounding():
    torch.manual_seed(0)
    start = torch.randn(24, 64)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [
        Muon([ours], lr=0.1, weight_decay=0.02),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
    ]
    for seed in range(3):  # so that the momentum counts
        gradient = torch.randn(24, 64, generator=torch.Generator().manual_seed(seed))
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.01)
    assert (ours - start).abs().mean() > 0.03


def test_a_parameter_without_a_gradient_stays():
    parameter = nn.Parameter(torch.ones(2, 2))
    Muon([parameter], lr=0.1, weight_decay=0.1).step()
    assert parameter.eq(1).all()


@pytest.mark.parametrize("inside", [False, True], ids=["blocks at the top", "blocks of a part"])
def test_the_matrices_of_blocks_are_its_and_all_else_is_adams(inside):
    module = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(4, 4)]), "head": nn.Linear(4, 4)})
    whole = nn.ModuleDict({"part": module}) if inside else module
    _, muon = _fresh_state(whole, LoopConfig(steps=1, lr=1e-3, optimizer="muon")).optimizers
    assert isinstance(muon, Muon)
    (group,) = muon.param_groups
    assert [p is module["blocks"][0].weight for p in group["params"]] == [True]
