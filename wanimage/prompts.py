"""How long a picture's prompt may be for a family, in its own tokens: checked by fronts, again by workers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wanimage.errors import InvalidInput
from wanimage.limits import check_prompt
from wanimage.tokens import Vocabulary

RESERVED_TOKENS = 256
"""Of the context: nine references of 16 tokens, and the markup around them and the prompt."""


@dataclass(frozen=True)
class PromptLimit:
    """Prompts that the understanding branch of a family can read."""

    vocabulary: Vocabulary
    tokens: int
    """Most tokens of one prompt."""

    @classmethod
    def load(cls, understanding: Path) -> "PromptLimit":
        """From the `understanding` folder of a family; loads no weights."""
        config = json.loads((understanding / "config.json").read_text())
        context = int(config["text_config"]["max_position_embeddings"])
        return cls(Vocabulary.load(understanding), context - RESERVED_TOKENS)

    def check(self, prompt: str, field: str, ids: Sequence[int] = ()) -> None:
        """1 to 16,000 characters and no more tokens than fit; `ids`, when given, must be the prompt's own."""
        check_prompt(prompt, field)
        own = self.vocabulary.encode_user_text(prompt)
        if len(own) > self.tokens:
            problem = f"{len(own):,} tokens, this family reads {self.tokens:,} a picture"
            raise InvalidInput(field, problem, "shorten it")
        if ids and list(ids) != own:
            raise InvalidInput(f"{field}_ids", "not the tokens of the prompt", "leave them out")
