"""The dry run of the visualizer's training: counts that follow from shapes alone."""

import json

import pytest

from training.counting import TRAINED_BYTES
from training.visualizer import dryrun
from training.visualizer.dryrun import needs
from wanimage.models.mot import Mot, MotConfig


def test_parameters_and_state_are_those_of_the_model():
    (row,) = needs(MotConfig.tiny(), {"pt": (64,)}, prompt=8)
    assert row.parameters == sum(p.numel() for p in Mot(MotConfig.tiny()).parameters())
    assert row.state_bytes == TRAINED_BYTES * row.parameters
    assert row.tokens == 16


def test_work_is_the_models_own_count_forward_and_back():
    (row,) = needs(MotConfig.nano(), {"pt": (256,)}, prompt=64)
    forward = Mot(MotConfig.nano()).flops(context=0, clean=0, noisy=256) + _pairs(256, 64)
    assert row.flops == pytest.approx(3 * forward, rel=0.15)


def _pairs(noisy: int, context: int) -> int:
    """Attention of noisy tokens to text, without the connector, which stands before it."""
    c = MotConfig.nano()
    return 4 * c.depth * c.heads * c.head_dim * noisy * context


def test_memory_grows_with_the_picture():
    small, large = needs(MotConfig.tiny(), {"pt": (64,), "ct": (128,)}, prompt=8)
    assert 3 < large.kept_bytes / small.kept_bytes < 16
    assert large.flops > 4 * small.flops


def test_full_size_takes_no_memory_to_ask_for(capsys: pytest.CaptureFixture[str]):
    dryrun.main(["--size", "paper"])
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["needs"]
    assert [(row["stage"], row["side"]) for row in rows][:4] == [
        ("pt", 192),
        ("pt", 320),
        ("pt", 640),
        ("ct", 512),
    ]
    assert rows[0]["parameters"] > 5e9
