"""The dry run of a VAE's training: counts that follow from shapes alone."""

import json
from dataclasses import replace

import pytest
import torch

from training.counting import FIXED_BYTES, TRAINED_BYTES
from training.vae import dryrun
from training.vae.config import VaeTraining, tiny
from training.vae.dryrun import Need, needs
from wanimage.models.vae import Vae


def need(stage: VaeTraining, height: int, width: int) -> Need:
    (found,) = needs([replace(stage, data=replace(stage.data, shapes=((height, width, 1.0),)))])
    return found


def test_parameters_are_those_of_the_model_and_all_but_the_linear_path_are_trained() -> None:
    base, *_ = tiny()
    vae = Vae(base.model)
    linear = sum(p.numel() for part in (vae.encoder, vae.decoder) for p in part.linear.parameters())
    found = need(base, 64, 64)

    assert found.parameters == sum(p.numel() for p in vae.parameters())
    assert found.trained == found.parameters - linear
    assert found.state_bytes == TRAINED_BYTES * found.trained + FIXED_BYTES * linear


def test_memory_and_work_grow_with_the_area_of_the_picture() -> None:
    base, *_ = tiny()
    small, large = need(base, 64, 64), need(base, 128, 192)

    assert large.flops == 6 * small.flops
    assert large.kept_bytes == pytest.approx(6 * small.kept_bytes, rel=0.01)


def test_work_is_that_of_the_convolutions_forward_and_back() -> None:
    base, *_ = tiny()
    macs = Vae(base.model).num_macs(64, 64)

    # Two operations a multiplication, once forward, at most twice back (the frozen linear path: once).
    assert 4 < need(base, 64, 64).flops / sum(macs.values()) <= 6


def test_a_stage_of_the_decoder_keeps_nothing_of_the_encoder_and_counts_its_critic() -> None:
    base, _, critic = tiny()
    judged = replace(critic, part="decoder", loss=replace(critic.loss, adversarial=0.0))
    alone, with_critic, whole = (need(stage, 64, 64) for stage in (judged, critic, base))

    assert alone.kept_bytes < whole.kept_bytes
    assert alone.trained < with_critic.trained
    assert alone.kept_bytes < with_critic.kept_bytes


def test_full_size_takes_no_memory_to_ask_for(capsys: pytest.CaptureFixture[str]) -> None:
    dryrun.main(["--size", "paper"])
    title, *_, last = capsys.readouterr().out.splitlines()

    assert title == "paper: 179.5 M parameters"
    rows = json.loads(last)["needs"]
    assert [row["stage"] for row in rows] == ["base"] + 4 * ["mixed"] + 4 * ["critic"]
    assert torch.tensor([row["kept_bytes"] for row in rows]).max() > 2**34
