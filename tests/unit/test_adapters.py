"""An adapter merged into its base is the checkpoint that vLLM serves."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wanimage.adapters import CONFIG, FILE, MODEL, PREFIX, write_merged
from wanimage.errors import Misconfigured

NAME = "model.language_model.layers.0.self_attn.q_proj"


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    """(checkpoint, adapter) of one matrix that is adapted and one that is not."""
    torch.manual_seed(0)
    checkpoint, adapter = tmp_path / "planner", tmp_path / "enhancer"
    checkpoint.mkdir()
    adapter.mkdir()
    save_file(
        {f"{NAME}.weight": torch.randn(6, 4).half(), "norm.weight": torch.ones(4).half()}, checkpoint / MODEL
    )
    (checkpoint / "tokenizer.json").write_text("{}")
    low = {
        f"{PREFIX}{NAME}.lora_A.weight": torch.randn(2, 4),
        f"{PREFIX}{NAME}.lora_B.weight": torch.randn(6, 2),
    }
    save_file(low, adapter / FILE)
    described = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "revision": "b" * 64}
    (adapter / CONFIG).write_text(json.dumps(described))
    return checkpoint, adapter


def test_the_merged_matrix_is_the_sum_and_all_else_is_the_base(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    checkpoint, adapter = parts
    write_merged(checkpoint, adapter, tmp_path / "merged", "b" * 64)
    base, low, made = (
        load_file(path) for path in (checkpoint / MODEL, adapter / FILE, tmp_path / "merged" / MODEL)
    )
    a, b = (low[f"{PREFIX}{NAME}.lora_{key}.weight"] for key in "AB")
    torch.testing.assert_close(made[f"{NAME}.weight"], base[f"{NAME}.weight"].float() + 2 * b @ a)
    assert torch.equal(made["norm.weight"], base["norm.weight"])
    assert (tmp_path / "merged" / "tokenizer.json").read_text() == "{}"


def test_an_adapter_of_another_planner_is_refused_and_nothing_is_written(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match="--stage again"):
        write_merged(*parts, tmp_path / "merged", "c" * 64)
    assert not (tmp_path / "merged").exists()
