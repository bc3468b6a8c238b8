"""The teachers of on-policy distillation: who they are, what makes one usable, and which answers a query.

A teacher must share the student's tokens, id by id: the loss compares their distributions over the whole
vocabulary. So a larger model teaches when it was trained on this tokenizer, and an endpoint never: it tells
only its likeliest tokens.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from wanimage.errors import InvalidInput
from wanimage.models.understanding import Understanding
from wanimage.tokens import Vocabulary


class TeacherSet:
    """Frozen models by name, and who teaches each category."""

    def __init__(self, models: Mapping[str, Any], teaches: Mapping[str, str]) -> None:
        """`models` by name; `teaches` maps a category to one of the names. The models are frozen here."""
        assert set(teaches.values()) <= set(models), (dict(teaches), list(models))
        self.models: dict[str, Any] = {name: _frozen(model) for name, model in models.items()}
        self.teaches = dict(teaches)

    @classmethod
    def load(cls, folders: Mapping[str, str], student: Vocabulary, preprocessor: dict) -> "TeacherSet":
        """Teachers from model folders by category; a folder named twice is loaded once.

        Raises `InvalidInput` for one that does not share the student's tokens or sees pictures otherwise.
        """
        models: dict[str, nn.Module] = {}
        for folder in dict.fromkeys(folders.values()):
            check_shares_tokens(folder, student, preprocessor)
            models[folder] = Understanding.load(Path(folder)).model
        return cls(models, folders)

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return list(self.models)

    def groups(self, categories: Sequence[str]) -> dict[str, list[int]]:
        """Which of some queries each teacher judges, by their categories. KeyError for one nobody teaches."""
        found: dict[str, list[int]] = {}
        for row, category in enumerate(categories):
            found.setdefault(self.teaches[category], []).append(row)
        return found


def check_shares_tokens(folder: str, student: Vocabulary, preprocessor: dict) -> None:
    """Raise `InvalidInput` unless the model in `folder` reads and writes as the student does."""
    if "://" in folder:
        raise InvalidInput(
            "teachers", f"{folder} is an endpoint, which tells only its likeliest tokens",
            "give a model folder; an endpoint can write training records instead",
        )  # fmt: skip
    teacher = Vocabulary.load(Path(folder))
    if teacher.pieces != student.pieces or teacher.control != student.control:
        raise InvalidInput(
            "teachers", f"{folder} has {len(teacher)} tokens, not the student's {len(student)}",
            "distil from a model of the same tokenizer.json, or let it write training records instead",
        )  # fmt: skip
    sees = json.loads((Path(folder) / "preprocessor_config.json").read_text())
    differ = [name for name in ("size", "patch_size", "merge_size") if sees[name] != preprocessor[name]]
    if differ:
        raise InvalidInput(
            "teachers", f"{folder} sees pictures with another {', '.join(differ)}",
            "its preprocessor_config.json must be the student's",
        )  # fmt: skip


def _frozen(model: Any) -> Any:
    return model.eval().requires_grad_(False)
