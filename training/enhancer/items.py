"""From rows to token rows: the ask, its pictures, and what the model has to write."""

import numpy as np

from training.enhancer.data import Row
from training.understanding.items import Item
from training.understanding.pictures import pixels_of
from training.understanding.rollout import Prompt
from wanimage import tokens
from wanimage.enhancing import written
from wanimage.tokens import Vocabulary

VARIANTS = ("fast", "quality")


def ask_item(row: Row, variant: str, vocabulary: Vocabulary, preprocessor: dict) -> Item:
    """The context up to where the model writes; `quality` has opened its reasoning already."""
    item, control = Item(), vocabulary.control
    item.say([control[tokens.IM_START], *vocabulary.encode_user_text("user\n")])
    for picture in row.references:
        item.show(picture, vocabulary, preprocessor)
    item.say(
        [*vocabulary.encode_user_text(row.ask), control[tokens.IM_END], *vocabulary.encode_user_text("\n")]
    )
    item.say([control[tokens.IM_START], *vocabulary.encode_user_text("assistant\n")])
    if variant == "quality":
        item.say([control[tokens.THINK]])
    return item


def answer_ids(row: Row, variant: str, vocabulary: Vocabulary) -> list[int]:
    """What the model should write: for `quality` reasoning and result, for `fast` the result alone."""
    control = vocabulary.control
    reasoned = [*vocabulary.encode_user_text(row.reasoning), control[tokens.END_THINK]]
    result = [*vocabulary.encode_user_text(written(row.result)), control[tokens.IM_END]]
    return [*reasoned, *result] if variant == "quality" else result


def row_item(row: Row, variant: str, vocabulary: Vocabulary, preprocessor: dict) -> Item:
    """One training item."""
    item = ask_item(row, variant, vocabulary, preprocessor)
    item.say(answer_ids(row, variant, vocabulary), 0)
    return item


def prompt_of(row: Row, variant: str, vocabulary: Vocabulary, preprocessor: dict) -> Prompt:
    """The context for sampling."""
    item = ask_item(row, variant, vocabulary, preprocessor)
    rng = np.random.default_rng(0)
    return Prompt(item.ids, tuple(pixels_of(picture, preprocessor, rng) for picture in item.pictures))


def text_of(ids: list[int], vocabulary: Vocabulary) -> str:
    """The result's text of what the model wrote, its reasoning cut away."""
    control = vocabulary.control
    if control[tokens.END_THINK] in ids:
        ids = ids[ids.index(control[tokens.END_THINK]) + 1 :]
    kept = [i for i in ids if i != control[tokens.IM_END]]
    return vocabulary.decode_bytes(kept).decode("utf-8", "replace")
