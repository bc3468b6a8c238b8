"""Writes a trained branch as the Hugging Face folder that transformers, vLLM and the visualizer read."""

import copy
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from wanimage import tokens
from wanimage.tokens import Vocabulary

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "video_preprocessor_config.json",
    "chat_template.jinja",
)  # fmt: skip


def export(model: nn.Module, ema: dict[str, Tensor] | None, tokenizer_folder: Path, folder: Path) -> None:
    """Write `folder` (config, fp16 weights, tokenizer, processors, generation settings).

    `ema` maps parameter names to averaged weights and replaces the live ones; a parameter it lacks raises
    `KeyError`, so that nothing half averaged ships.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shipped = copy.deepcopy(model)
    if ema is not None:
        with torch.no_grad():
            for name, parameter in shipped.named_parameters():
                parameter.copy_(ema[name])
    vocabulary = Vocabulary.load(tokenizer_folder)
    shipped.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, top_p=0.9, eos_token_id=vocabulary.control[tokens.IM_END],
        pad_token_id=vocabulary.control[tokens.END_OF_TEXT],
    )  # fmt: skip
    shipped.half().save_pretrained(str(folder))
    (folder / "model.safetensors").chmod(0o644)  # it is made readable to its owner only
    for name in TOKENIZER_FILES:
        if (tokenizer_folder / name).resolve() != (folder / name).resolve():
            shutil.copyfile(tokenizer_folder / name, folder / name)
