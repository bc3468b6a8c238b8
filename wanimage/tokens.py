"""The family's tokenizer: byte-level BPE whose control tokens text can never yield.

Two encoders over one vocabulary: `encode_user_text` for anything that came from outside (a literal
"<BOI>" in it becomes ordinary text tokens), `encode_markup` for what the model itself wrote or the
training corpus holds (control tokens become their single ids). Works on any Qwen-style `tokenizer.json`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from wanimage.markup import Tag

END_OF_TEXT = "<|endoftext|>"
IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
THINK, END_THINK = Tag.THINK.value, Tag.END_THINK.value
IMAGINE, END_IMAGINE = Tag.IMAGINE.value, Tag.END_IMAGINE.value
SIZE, END_SIZE = Tag.SIZE.value, Tag.END_SIZE.value
SERIES, END_SERIES = Tag.SERIES.value, Tag.END_SERIES.value
BOI = Tag.BOI.value

CONTROL_TOKENS = (
    END_OF_TEXT, IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD, THINK, END_THINK,
    IMAGINE, END_IMAGINE, SIZE, END_SIZE, SERIES, END_SERIES, BOI,
)  # fmt: skip
"""Every control token, in id order (ids 0..15 in the shipped family)."""
QWEN_TOKENS = (IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD)
"""Those that any Qwen3-VL has."""


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary, inverted."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


@dataclass(frozen=True)
class Vocabulary:
    """A loaded `tokenizer.json`; immutable and safe to share between threads."""

    trusted: Tokenizer
    """Recognises control tokens in its input."""
    untrusted: Tokenizer
    """Sees ordinary text everywhere."""
    control: dict[str, int]
    """Id of each token of `CONTROL_TOKENS`, as far as the tokenizer has it."""
    names: dict[int, str]
    """`control` inverted."""
    pieces: tuple[bytes, ...]
    """Bytes each id stands for; empty for control tokens."""

    @classmethod
    def load(cls, folder: Path, needed: Sequence[str] = CONTROL_TOKENS) -> "Vocabulary":
        """Read `folder/tokenizer.json`. Raises `ValueError` when a token of `needed` is missing."""
        text = (Path(folder) / "tokenizer.json").read_text()
        trusted, untrusted = Tokenizer.from_str(text), Tokenizer.from_str(text)
        untrusted.encode_special_tokens = True
        found = {name: trusted.token_to_id(name) for name in CONTROL_TOKENS}
        control = {name: index for name, index in found.items() if index is not None}
        missing = [name for name in needed if name not in control]
        if missing:
            raise ValueError(f"{folder}/tokenizer.json lacks {missing}; add them as special tokens")
        special = {entry["id"] for entry in json.loads(text)["added_tokens"]}
        not_special = [name for name, index in control.items() if index not in special]
        if not_special:
            raise ValueError(f"{folder}/tokenizer.json does not list {not_special} as added tokens")
        alphabet = _byte_alphabet()
        size = trusted.get_vocab_size(with_added_tokens=True)
        pieces = tuple(
            b"" if index in special else bytes(alphabet[c] for c in trusted.id_to_token(index) or "")
            for index in range(size)
        )
        return cls(trusted, untrusted, control, {i: name for name, i in control.items()}, pieces)

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def has_markup(self) -> bool:
        """Whether every tag of the markup is a token; a checkpoint from elsewhere has none, or few."""
        return all(tag.value in self.control for tag in Tag)

    def is_control(self, token_id: int) -> bool:
        """Whether the id is one of `CONTROL_TOKENS`."""
        return token_id in self.names

    def name(self, token_id: int) -> str:
        """The control token an id stands for; `KeyError` for text ids."""
        return self.names[token_id]

    def encode_markup(self, text: str) -> list[int]:
        """Ids of trusted text: control tokens written out in it become their ids."""
        return self.trusted.encode(text, add_special_tokens=False).ids

    def encode_user_text(self, text: str) -> list[int]:
        """Ids of text from outside; never a control id, whatever the text says."""
        return self.untrusted.encode(text, add_special_tokens=False).ids

    def decode_bytes(self, ids: list[int]) -> bytes:
        """The UTF-8 bytes of the text ids (control ids contribute nothing)."""
        return b"".join(self.pieces[index] for index in ids)
