"""A training run on two processes is the run of one: its losses, norms, averages and checkpoints."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.crew import PIECES, TURNS, result, run, torchrun


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(folder of the runs of one process, of two). Each also went on from the other's checkpoint."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    run(PIECES, one / "pieces")
    run(TURNS, one / "turns")
    shutil.copytree(one / "pieces-4", two / "pieces-resumed")
    done = torchrun("tests.crew", str(two))
    assert done.returncode == 0, done.stderr
    shutil.copytree(two / "pieces-4", one / "pieces-resumed")
    run(PIECES, one / "pieces-resumed")
    return one, two


@pytest.mark.parametrize(
    ("name", "where"),
    [("pieces", "two"), ("turns", "two"), ("pieces-resumed", "two"), ("pieces-resumed", "one")],
)
def test_two_processes_train_as_one_does(runs: tuple[Path, Path], name: str, where: str) -> None:
    one, two = runs
    history, weights = result(one / name.removesuffix("-resumed"))
    other_history, other_weights = result((one if where == "one" else two) / name)
    assert len(history) == len(other_history) == (TURNS if name == "turns" else PIECES).steps
    for row, other in zip(history, other_history, strict=True):
        for each in ("loss", "grad_norm", "lr", "accuracy"):
            assert other[each] == pytest.approx(row[each], rel=1e-5), (row["step"], each)
    assert weights.keys() == other_weights.keys()
    assert "ema.eye.weight" in weights
    for key, value in weights.items():
        torch.testing.assert_close(other_weights[key], value, rtol=1e-5, atol=2e-6, msg=key)


def test_shards_lie_in_safetensors_and_json(runs: tuple[Path, Path]) -> None:
    folder = runs[1] / "pieces-4"
    meta = json.loads((folder / "checkpoint.json").read_text())
    shards = sorted((folder / meta["tensors"]).iterdir())
    assert len(shards) == 2
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    sizes = [shard.stat().st_size for shard in shards]
    assert max(sizes) < 0.7 * sum(sizes), "each process writes its own"
