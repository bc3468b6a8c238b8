"""The family's tokenizer: a small byte-level BPE trained on the world's own dialogues.

Digits and `*` are single tokens, so that sizes (`8*8`) and counts read the same everywhere. The control
tokens take ids 0..15 and are special, so text from outside can never produce them.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from wanimage import tokens

VOCABULARY_LIMIT = 2560
MIN_PIXELS, MAX_PIXELS = 64 * 64, 256 * 256
"""Pictures outside this range are resized for the tower; letters of the world are legible at 256 px."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
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

PREPROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen3VLProcessor",
    "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
    "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip
"""`preprocessor_config.json`."""


def train_tokenizer(texts: Iterable[str], limit: int = VOCABULARY_LIMIT) -> Tokenizer:
    """Train on `texts` (control tokens in them are left out of the merges)."""
    tokenizer = Tokenizer(models.BPE(fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[0-9*]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=limit, min_frequency=3, show_progress=False, special_tokens=list(tokens.CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    controls = tuple(sorted(tokens.CONTROL_TOKENS, key=len, reverse=True))
    tokenizer.train_from_iterator((_without(text, controls) for text in texts), trainer)
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer, processor and chat template files that transformers and vLLM read."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "processor_class": "Qwen3VLProcessor",
        "eos_token": tokens.IM_END, "pad_token": tokens.END_OF_TEXT, "model_max_length": 4096,
        "clean_up_tokenization_spaces": False,
        "image_token": tokens.IMAGE_PAD, "video_token": tokens.VIDEO_PAD,
        "vision_start_token": tokens.VISION_START, "vision_end_token": tokens.VISION_END,
    })  # fmt: skip
    _json(folder / "preprocessor_config.json", PREPROCESSOR)
    video = {**PREPROCESSOR, "video_processor_type": "Qwen3VLVideoProcessor"}
    del video["image_processor_type"]
    _json(folder / "video_preprocessor_config.json", video)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def _without(text: str, controls: tuple[str, ...]) -> str:
    for name in controls:
        text = text.replace(name, "\n")
    return text


def _json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
