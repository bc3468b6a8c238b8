"""Builds a tiny random family on disk: every part of a real one, milliseconds a step, the same bytes every
time.

Its pictures mean nothing, but sizes, ids, digests and files are those of a family, so services load and
serve it.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from training.understanding.architecture import TINY, UnderstandingConfig, build
from wanimage.models.mot import Mot, MotConfig
from wanimage.models.vae import Vae, VaeConfig
from wanimage.tokens import CONTROL_TOKENS
from wanimage.weights import Family, write_manifest

UNDERSTANDING: UnderstandingConfig = TINY
MOT = replace(MotConfig.tiny(), latent_channels=48)
VAE = VaeConfig.tiny()
PIXELS_PER_CELL = 16 * 16 * 4


def build_family(folder: Path, *, seed: int = 0, name: str = "tiny", planner: bool = False) -> Family:
    """Write a family into `folder` and load it; families of different seeds have different digests.

    With `planner` its planner is a model of its own, whose tokenizer gives other ids.
    """
    folder.mkdir(parents=True, exist_ok=True)
    control = _write_tokenizer(folder / "understanding", sorted(pre_tokenizers.ByteLevel.alphabet()))
    _write_understanding(folder / "understanding", control, seed)
    if planner:
        letters = sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=True)
        control = _write_tokenizer(folder / "planner", letters)
        _write_understanding(folder / "planner", control, seed + 3)
        (folder / "planner" / "training.json").write_text(json.dumps({"stage": "random", "seed": seed + 3}))
    _write_mot(folder, seed)
    _write_vae(folder, seed)
    write_manifest(folder, name, {"stage": "random", "seed": seed})
    return Family.load(folder)


def _write_tokenizer(folder: Path, letters: list[str]) -> dict[str, int]:
    """A byte-level vocabulary without merges; control tokens first, as in the shipped family."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [*CONTROL_TOKENS, *letters]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return {token: names.index(token) for token in CONTROL_TOKENS}


def _write_understanding(folder: Path, control: dict[str, int], seed: int) -> None:
    model = build(UNDERSTANDING, 256 + len(CONTROL_TOKENS), control, seed).half()
    model.save_pretrained(folder)
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 16, "merge_size": 2, "temporal_patch_size": 2,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "size": {"shortest_edge": 64 * 64, "longest_edge": 256 * 256},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def _write_mot(folder: Path, seed: int) -> None:
    torch.manual_seed(seed + 1)
    mot = Mot(MOT)
    # A fresh model answers zero; random last layers make every prompt and seed a different picture.
    for layer in (mot.modulation, mot.final.modulation, mot.final.project):
        nn.init.normal_(layer.weight, std=0.2)
    _save(mot, folder / "mot.safetensors")
    (folder / "mot.json").write_text(json.dumps({"config": MOT.to_json()}))


def _write_vae(folder: Path, seed: int) -> None:
    torch.manual_seed(seed + 2)
    vae = Vae(VAE)
    nn.init.normal_(vae.decoder.linear.weight, std=0.05)
    _save(vae, folder / "vae.safetensors")
    (folder / "vae.json").write_text(json.dumps({"config": VAE.to_json()}))
    basis = {
        "basis": torch.randn(VAE.latent_channels, PIXELS_PER_CELL) * 0.1,
        "bias": torch.zeros(PIXELS_PER_CELL),
    }
    save_file({key: value.half() for key, value in basis.items()}, folder / "preview.safetensors")


def _save(module: nn.Module, path: Path) -> None:
    tensors: dict[str, Any] = {key: value.half().contiguous() for key, value in module.state_dict().items()}
    save_file(tensors, path)
