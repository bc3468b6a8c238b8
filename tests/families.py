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
from wanimage.models.refiner import Refiner, RefinerConfig
from wanimage.models.vae import Vae, VaeConfig
from wanimage.tokens import (
    CONTROL_TOKENS,
    END_OF_TEXT,
    IM_END,
    IMAGE_PAD,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
)
from wanimage.weights import Family, write_manifest

UNDERSTANDING: UnderstandingConfig = TINY
SERVED = replace(UNDERSTANDING, head_dim=32, rope_sections=(8, 4, 4), context=8192)
"""vLLM's CPU kernels know no smaller heads."""
LIKING = 25.0
MOT = replace(MotConfig.tiny(), latent_channels=48)
VAE = VaeConfig.tiny()
REFINER = RefinerConfig.tiny()
PIXELS_PER_CELL = 16 * 16 * 4
QWEN_CONTROL = CONTROL_TOKENS[: CONTROL_TOKENS.index(VIDEO_PAD) + 1]
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if message.role == 'user' and (part.type == 'image' or 'image_url' in part) -%}
{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""
"""What Qwen3-VL-Instruct's does for these messages: pictures are shown in a user's message alone."""


def build_family(
    folder: Path, *, seed: int = 0, name: str = "tiny", planner: bool = False, refiner: bool = False
) -> Family:
    """Write a family into `folder` and load it; families of different seeds have different digests.

    With `planner` its planner is a model of its own, whose tokenizer gives other ids; with `refiner` it has
    that part, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    control = _write_tokenizer(folder / "understanding", CONTROL_TOKENS, letters)
    _write_understanding(folder / "understanding", _understanding(control, seed))
    if planner:
        control = _write_tokenizer(folder / "planner", CONTROL_TOKENS, letters[::-1])
        _write_understanding(folder / "planner", _understanding(control, seed + 3))
        (folder / "planner" / "training.json").write_text(json.dumps({"stage": "random", "seed": seed + 3}))
    _write_mot(folder, seed)
    _write_vae(folder, seed)
    if refiner:
        _write_refiner(folder, seed)
    write_manifest(folder, name, {"stage": "random", "seed": seed})
    return Family.load(folder)


def build_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write a random Qwen3-VL from elsewhere: its tokenizer has none of the markup's tokens.

    It likes "<" and writes it about every tenth character, so that tests need not wait for its tags to end.
    """
    control = _write_tokenizer(folder, QWEN_CONTROL, sorted(pre_tokenizers.ByteLevel.alphabet()))
    model = build(SERVED, 256 + len(control), control, seed)
    with torch.no_grad():
        model.get_input_embeddings().weight[ord("<") - ord("!") + len(control)] *= LIKING
    _write_understanding(folder, model)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    document = {"tokenizer_class": "PreTrainedTokenizerFast", "processor_class": "Qwen3VLProcessor"}
    document |= {"eos_token": IM_END, "pad_token": END_OF_TEXT, "image_token": IMAGE_PAD}
    document |= {"vision_start_token": VISION_START, "vision_end_token": VISION_END, "video_token": VIDEO_PAD}
    (folder / "tokenizer_config.json").write_text(json.dumps(document))
    video = json.loads((folder / "preprocessor_config.json").read_text())
    video["video_processor_type"] = "Qwen3VLVideoProcessor"
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    return folder


def _write_tokenizer(folder: Path, special: tuple[str, ...], letters: list[str]) -> dict[str, int]:
    """A byte-level vocabulary without merges; special tokens first, as in the shipped family."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [*special, *letters]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    return {token: names.index(token) for token in special}


def _understanding(control: dict[str, int], seed: int) -> nn.Module:
    return build(UNDERSTANDING, 256 + len(control), control, seed)


def _write_understanding(folder: Path, model: nn.Module) -> None:
    model.half().save_pretrained(folder)
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


def _write_refiner(folder: Path, seed: int) -> None:
    torch.manual_seed(seed + 4)
    refiner = Refiner(REFINER)
    # A fresh one answers with the enlargement, whatever prompt and seed.
    for layer in (refiner.place, refiner.modulation, refiner.final, refiner.project):
        nn.init.normal_(layer.weight, std=0.2)
    _save(refiner, folder / "refiner.safetensors")
    (folder / "refiner.json").write_text(json.dumps({"config": REFINER.to_json(), "training": {}}))


def _save(module: nn.Module, path: Path) -> None:
    tensors: dict[str, Any] = {key: value.half().contiguous() for key, value in module.state_dict().items()}
    save_file(tensors, path)
