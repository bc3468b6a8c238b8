"""From the world's dialogues to token rows with pictures: what one training item is.

Pictures follow the markup as the planner meets them (DESIGN, one turn): after a single `<BOI>` comes that
picture, after the last `<BOI>` of a `<series>` come all of its pictures. The planner service appends them, so
they carry no loss. Loss falls on what the assistant writes; every assistant turn is one item (report 4.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from training.understanding.pictures import CELL_PX
from training.world.dialogues.talk import Dialogue, Picture
from training.world.scenes.caption import caption
from training.world.scenes.sample import sample_scene
from training.world.scenes.scene import Background
from wanimage import tokens
from wanimage.models.understanding import vision_tokens
from wanimage.tokens import Vocabulary

GRIDS: tuple[tuple[int, int], ...] = (
    (8, 8), (8, 8), (8, 8), (6, 10), (10, 6), (5, 12), (12, 5), (4, 16), (16, 4), (3, 24), (24, 3),
    (7, 9), (9, 7),
)  # fmt: skip


@dataclass
class Item:
    """One token row. `group[i]` numbers the assistant turn token i belongs to; -1 carries no loss."""

    ids: list[int] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def say(self, ids: list[int], group: int = -1) -> None:
        """Append tokens; `group` >= 0 puts loss on them, as part of that turn."""
        self.ids += ids
        self.group += [group] * len(ids)

    def show(self, picture: Picture, vocabulary: Vocabulary, preprocessor: dict) -> None:
        """Append a picture's vision tokens, without loss."""
        count = vision_tokens(picture.grid[0] * CELL_PX, picture.grid[1] * CELL_PX, preprocessor)
        control = vocabulary.control
        self.say(
            [control[tokens.VISION_START], *[control[tokens.IMAGE_PAD]] * count, control[tokens.VISION_END]]
        )
        self.pictures.append(picture)


def write_assistant(
    item: Item,
    markup: str,
    pictures: Sequence[Picture],
    vocabulary: Vocabulary,
    preprocessor: dict,
    group: int,
    see: bool,
) -> None:
    """Append an assistant turn: its markup with loss, and its pictures where the planner will see them."""
    control = vocabulary.control
    ids = vocabulary.encode_markup(markup)
    waiting, in_series, digits, reading = [], 1, "", False
    remaining = iter(pictures)
    for token in ids:
        item.say([token], group)
        if token == control[tokens.SERIES]:
            digits, reading = "", True
        elif token == control[tokens.END_SERIES]:
            in_series, reading = int(digits), False
        elif reading:
            digits += vocabulary.decode_bytes([token]).decode()
        elif token == control[tokens.BOI]:
            waiting.append(next(remaining))
            in_series -= 1
            if in_series == 0:
                for picture in waiting if see else ():
                    item.show(picture, vocabulary, preprocessor)
                waiting, in_series = [], 1
    item.say([control[tokens.IM_END]], group)


def dialogue_item(dialogue: Dialogue, vocabulary: Vocabulary, preprocessor: dict, see: bool) -> Item:
    """A whole conversation; `see` says whether the planner sees the pictures it has asked for."""
    item = Item()
    control = vocabulary.control
    opening = {role: vocabulary.encode_user_text(f"{role}\n") for role in ("user", "assistant")}
    for number, turn in enumerate(dialogue.turns):
        item.say([control[tokens.IM_START], *opening[turn.role]])
        if turn.role == "user":
            for picture in turn.pictures:
                item.show(picture, vocabulary, preprocessor)
            item.say([*vocabulary.encode_user_text(turn.text), control[tokens.IM_END]])
        else:
            write_assistant(item, turn.text, turn.pictures, vocabulary, preprocessor, number, see)
        item.say(vocabulary.encode_user_text("\n"))
    return item


def prefix_item(rng: np.random.Generator, split: str, vocabulary: Vocabulary, preprocessor: dict) -> Item:
    """The visualizer's own prefix: reference pictures of some objects, then the markup of one picture."""
    item = Item()
    control = vocabulary.control
    grid = GRIDS[rng.integers(len(GRIDS))]
    scene = sample_scene(rng, split, aspect=grid)
    if rng.random() < 0.5:
        for chosen in scene.objects[: int(rng.integers(1, 4))]:
            ground = Background.transparent() if rng.random() < 0.3 else None
            reference = sample_scene(rng, "train", concepts=[chosen.concept], background=ground)
            item.show(Picture(reference), vocabulary, preprocessor)
    item.say([control[tokens.IMAGINE]])
    item.say(vocabulary.encode_user_text(caption(scene, rng)), 0)
    item.say([control[tokens.END_IMAGINE]], 0)
    item.say([control[tokens.SIZE], *vocabulary.encode_user_text(f"{grid[0]}*{grid[1]}")])
    item.say([control[tokens.END_SIZE], control[tokens.BOI]], 0)
    return item
