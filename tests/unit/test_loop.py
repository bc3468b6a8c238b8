"""The training loop on one process: accumulation, resuming, and what it refuses."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.crew import PIECES, TURNS, Toy, pieces_at, result, run, tokens, toy_loss, turn_at
from training.feed import Pieces, micro_batches
from training.loop import LoopConfig, train
from training.sharding import Together

QUIET = replace(PIECES, steps=2, save_every=2)


clean_loss = partial(toy_loss, noise=0.0)
"""Cutting a batch leaves it alone."""


def joined(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Batches as one, whose weights sum to 1 again."""
    found = {name: torch.cat([batch[name] for batch in batches]) for name in ("ids", "targets", "weights")}
    return found | {"weights": found["weights"] / len(batches)}


def test_accumulated_batches_train_as_one_batch_of_all(tmp_path: Path) -> None:
    apart = replace(QUIET, accumulate=3)
    small = lambda number: tokens(number, 4, seen=False)  # noqa: E731
    large = lambda step: joined([small(3 * step + i) for i in range(3)])  # noqa: E731
    cut = train(Toy(), clean_loss, small, apart, tmp_path / "cut")
    whole = train(Toy(), clean_loss, large, QUIET, tmp_path / "whole")
    for row, other in zip(cut.history, whole.history, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)
    for name, value in whole.ema.items():
        torch.testing.assert_close(cut.ema[name], value, rtol=1e-4, atol=1e-6)


def test_a_row_of_the_log_has_the_means_of_its_steps_and_of_a_number_those_that_have_it(tmp_path) -> None:
    def loss(module: nn.Module, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        numbers = {"odd": float(step)} if step % 2 else {}
        return sum(p.sum() for p in module.parameters()) * 0 + step, numbers

    config = replace(QUIET, steps=5, log_every=4)
    rows = train(Toy(), loss, lambda step: step, config, tmp_path).history
    assert [(row["step"], row["loss"], row.get("odd")) for row in rows] == [
        (1, 0, None),
        (4, 2, 2),
        (5, 4, None),
    ]


def test_pieces_of_a_step_add_up(tmp_path: Path) -> None:
    pieces = pieces_at(0)
    module = Toy()
    expected = [clean_loss(module, piece, torch.Generator()) for piece in pieces]
    history = train(Toy(), clean_loss, lambda _: pieces, QUIET, tmp_path).history
    assert history[0]["loss"] == pytest.approx(sum(loss.item() for loss, _ in expected))
    assert history[0]["accuracy"] == pytest.approx(sum(n["accuracy"] for _, n in expected))


def test_every_piece_of_every_step_has_noise_of_its_own(tmp_path: Path) -> None:
    drawn: list[float] = []

    def loss(module: Any, batch: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        drawn.append(float(torch.randn((), generator=generator)))
        return module.words.weight.square().sum(), {}

    train(Toy(), loss, lambda _: Pieces(range(3)), replace(QUIET, seed=1), tmp_path)
    assert len(set(drawn)) == 3 * QUIET.steps


def test_the_average_follows_the_weights_by_its_decay(tmp_path: Path) -> None:
    weights: list[Tensor] = []
    config = replace(PIECES, save_every=1)
    note = lambda state: weights.append(state.module.words.weight.detach().clone())  # noqa: E731
    state = train(Toy(), toy_loss, pieces_at, config, tmp_path, on_save=note)
    average = Toy().words.weight.detach().clone()
    for step, live in enumerate(weights):
        decay = min(config.ema, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * live
    torch.testing.assert_close(state.ema["words.weight"], average)


@pytest.mark.parametrize("config", [PIECES, TURNS], ids=["adamw", "muon"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path: Path, config: LoopConfig) -> None:
    run(config, tmp_path / "whole")
    shutil.copytree(tmp_path / f"whole-{config.steps // 2}", tmp_path / "resumed")
    run(config, tmp_path / "resumed")
    (history, weights), (again, same) = result(tmp_path / "whole"), result(tmp_path / "resumed")
    assert [row["loss"] for row in again] == [row["loss"] for row in history]
    assert all(torch.equal(same[name], value) for name, value in weights.items())


def test_a_run_from_before_a_setting_existed_goes_on(tmp_path: Path) -> None:
    train(Toy(), toy_loss, pieces_at, QUIET, tmp_path)
    meta = json.loads((tmp_path / "checkpoint.json").read_text())
    del meta["config"]["accumulate"], meta["config"]["optimizer"]
    (tmp_path / "checkpoint.json").write_text(json.dumps(meta))
    saved = []
    train(Toy(), toy_loss, pieces_at, QUIET, tmp_path, on_save=saved.append)
    assert [state.step for state in saved] == [2]


@pytest.mark.parametrize("change", [{"lr": 1.0}, {"accumulate": 2}, {"optimizer": "muon"}])
def test_a_run_of_another_config_is_not_continued(tmp_path: Path, change: dict[str, Any]) -> None:
    train(Toy(), toy_loss, turn_at, QUIET, tmp_path)
    with pytest.raises(ValueError, match="another config"):
        train(Toy(), toy_loss, turn_at, replace(QUIET, **change), tmp_path)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_share_a_step_without_gap_or_overlap(size: int) -> None:
    for accumulate, batch_at in ((1, pieces_at), (5, turn_at)):
        alone = micro_batches(batch_at, 3, accumulate, 0, 1)
        shares = [micro_batches(batch_at, 3, accumulate, rank, size) for rank in range(size)]
        every = sorted((micro for share in shares for micro in share), key=lambda micro: micro.number)
        assert [micro.number for micro in every] == [micro.number for micro in alone]
        for mine, micro in zip(every, alone, strict=True):
            assert mine.weight == micro.weight
            assert torch.equal(mine.batch["ids"], micro.batch["ids"])


def test_a_process_without_a_piece_helps_but_does_not_count() -> None:
    assert len(pieces_at(2)) == 1
    assert [micro.weight for micro in micro_batches(pieces_at, 2, 1, 1, 2)] == [0.0]


def test_a_step_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="accumulate"):
        micro_batches(turn_at, 0, 1, 1, 2)
    with pytest.raises(ValueError, match="accumulate"):
        micro_batches(turn_at, 0, 2, 2, 3)
    assert micro_batches(lambda _: Pieces([1]), 0, 1, 1, 2)[0].batch == 1


def test_a_stage_with_state_in_buffers_is_refused_on_several_processes() -> None:
    with pytest.raises(ValueError, match="running_mean"):
        Together(nn.BatchNorm1d(3), toy_loss)
