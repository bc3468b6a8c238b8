"""The recipe of a family, from nothing to a manifest, at the tiny size."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from services.refiner.engine import RefinerEngine, RefineSpec
from services.vae.engine import VaeEngine
from services.visualizer.engine import PictureSpec, RenderSpec, VisualizerEngine
from tests.crew import torchrun
from wanimage.adapters import Described
from wanimage.refining import Mode
from wanimage.weights import Family, part_digest

pytestmark = pytest.mark.timeout(400)  # trains every part, each in a process of its own


def train(out: Path, weights: Path) -> str:
    command = [sys.executable, "-m", "training.nano", "--size", "tiny"]
    command += ["--out", str(out), "--weights", str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1].removeprefix("== family ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("recipe")
    return folder / "runs", folder / "tiny", train(folder / "runs", folder / "tiny")


def test_the_recipe_trains_a_family_that_draws(trained: tuple[Path, Path, str]) -> None:
    _, weights, digest = trained
    family = Family.load(weights)
    assert family.digest == digest
    spec = RenderSpec(pictures=(PictureSpec(prompt="a fox", grid=(4, 6), seed=1),))
    (latent,) = VisualizerEngine(family, precision="fp32").render(spec)
    (picture,) = VaeEngine.load(family).decode([latent.numpy()])
    assert picture.shape == (64, 96, 4)
    assert picture.std() > 0
    assert Described.read(weights / "enhancer").base == part_digest(weights, "understanding")
    large = RefineSpec(size=(256, 384), mode=Mode.REPAIR, prompt="a fox", seed=1, picture=picture)
    engine = RefinerEngine.load(family)
    state = engine.prepare(large)
    while not state.done:
        engine.step([state])
    assert engine.finish(state).shape == (256, 384, 4)


def test_a_finished_recipe_run_again_trains_nothing_and_exports_the_same_weights(
    trained: tuple[Path, Path, str], tmp_path: Path
) -> None:
    runs, _, digest = trained
    checkpoints = {path: path.stat().st_mtime_ns for path in runs.rglob("checkpoint*")}
    assert len(checkpoints) == 32, checkpoints  # two files a stage, and two of the specialist that OPD makes
    assert train(runs, tmp_path / "tiny") == digest
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("checkpoint*")} == checkpoints


def went_alike(one: Path, other: Path) -> None:
    """Both runs took the same two steps."""
    histories = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert [[row["step"] for row in history] for history in histories] == [[1, 2], [1, 2]]
    for row, again in zip(*histories, strict=True):
        assert again["loss"] == pytest.approx(row["loss"], rel=1e-4)
        assert again["grad_norm"] == pytest.approx(row["grad_norm"], rel=1e-3)


def test_the_planner_trains_on_two_processes_as_on_one(
    trained: tuple[Path, Path, str], tmp_path: Path
) -> None:
    one, two = trained[0] / "understanding", tmp_path / "understanding"
    for name in ("tokenizer", "vision"):  # what U-CT starts from
        shutil.copytree(one / name, two / name)
    done = torchrun("training.understanding", "--size", "tiny", "--stage", "uct", "--out", str(two))
    assert done.returncode == 0, done.stderr[-2000:]
    went_alike(one / "uct", two / "uct")


def test_the_visualizer_trains_stage_after_stage_on_two_processes_as_on_one(
    trained: tuple[Path, Path, str], tmp_path: Path
) -> None:
    out, export = tmp_path / "visualizer", tmp_path / "export"
    options = ["--family", str(trained[1]), "--out", str(out), "--export", str(export)]
    done = torchrun("training.visualizer", "--size", "tiny", *options, "--precision", "fp32")
    assert done.returncode == 0, done.stderr[-2000:]
    for stage in ("pt", "ct"):
        went_alike(trained[0] / "visualizer" / stage, out / stage)
    one, two = [load_file(folder / "mot.safetensors") for folder in (trained[1], export)]
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-2, atol=1e-3)
