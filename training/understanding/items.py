"""From the world's dialogues to token rows with pictures: what one training item is.

Pictures follow the markup as the planner meets them (DESIGN, one turn): after a single `<BOI>` comes that
picture, after the last `<BOI>` of a `<series>` come all of its pictures. The planner service appends them, so
they carry no loss. Loss falls on what the assistant writes; every assistant turn is one item (report 4.1).
"""

from dataclasses import dataclass, field

import numpy as np

from training.world.assets.concepts import CONCEPTS, SHAPES
from training.world.dialogues.talk import Dialogue
from training.world.scenes.caption import caption
from training.world.scenes.render import box_of, render
from training.world.scenes.sample import sample_scene
from training.world.scenes.scene import Background, Scene
from wanimage import tokens
from wanimage.conditions import COLORS, SETTINGS, TIMES
from wanimage.models.understanding import VisionInput, pixel_patches, vision_tokens, vision_view
from wanimage.tokens import Vocabulary

CELL_PX = 16
PROBE_NAMES: tuple[str, ...] = (
    *CONCEPTS, *SHAPES, *COLORS, *(f"ground {name}" for name in (*SETTINGS, *TIMES, *COLORS, "transparent")),
)  # fmt: skip
"""What the vision probe predicts for every vision token (see `probe_targets`)."""
_PROBE_INDEX = {name: index for index, name in enumerate(PROBE_NAMES)}
GRIDS: tuple[tuple[int, int], ...] = (
    (8, 8), (8, 8), (8, 8), (6, 10), (10, 6), (5, 12), (12, 5), (4, 16), (16, 4), (3, 24), (24, 3),
    (7, 9), (9, 7),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture in the context: the scene it shows and its grid of 16-px cells."""

    scene: Scene
    height: int
    width: int


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
        count = vision_tokens(picture.height * CELL_PX, picture.width * CELL_PX, preprocessor)
        control = vocabulary.control
        self.say(
            [control[tokens.VISION_START], *[control[tokens.IMAGE_PAD]] * count, control[tokens.VISION_END]]
        )
        self.pictures.append(picture)


def write_assistant(
    item: Item,
    markup: str,
    pictures: list[Picture],
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
        pictures = [Picture(p.scene, *p.grid) for p in turn.pictures]
        if turn.role == "user":
            for picture in pictures:
                item.show(picture, vocabulary, preprocessor)
            item.say([*vocabulary.encode_user_text(turn.text), control[tokens.IM_END]])
        else:
            write_assistant(item, turn.text, pictures, vocabulary, preprocessor, number, see)
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
            item.show(Picture(reference, 8, 8), vocabulary, preprocessor)
    item.say([control[tokens.IMAGINE]])
    item.say(vocabulary.encode_user_text(caption(scene, rng)), 0)
    item.say([control[tokens.END_IMAGINE]], 0)
    item.say([control[tokens.SIZE], *vocabulary.encode_user_text(f"{grid[0]}*{grid[1]}")])
    item.say([control[tokens.END_SIZE], control[tokens.BOI]], 0)
    return item


def pixels_of(picture: Picture, preprocessor: dict, rng: np.random.Generator) -> VisionInput:
    """Render a picture as the tower sees it, with a little noise, since drawn pictures are never exact."""
    drawn = vision_view(render(picture.scene, picture.height * CELL_PX, picture.width * CELL_PX))
    seen = pixel_patches(drawn, preprocessor)
    if rng.random() < 0.6:
        noise = rng.standard_normal((seen.height * seen.width, 768), dtype=np.float32) * rng.uniform(0, 0.12)
        noise = noise.reshape(-1, 3, 1, CELL_PX, CELL_PX)
        shaken = seen.patches.view(-1, 3, 2, CELL_PX, CELL_PX).numpy() + noise  # the two frames stay equal
        seen = VisionInput(_clamped(shaken).view(seen.patches.shape), seen.height, seen.width)
    return seen


def _clamped(values: np.ndarray):
    import torch

    return torch.from_numpy(values).clamp_(-1, 1)


def probe_targets(picture: Picture, rows: int, columns: int) -> np.ndarray:
    """What each vision token shows, multi-hot `[rows*columns, len(PROBE_NAMES)]` fp32.

    Concepts and colours are on where an object's sprite covers the token's centre; the ground everywhere.
    """
    found = np.zeros((rows, columns, len(PROBE_NAMES)), np.float32)
    height, width = picture.height * CELL_PX, picture.width * CELL_PX
    y = (np.arange(rows) + 0.5)[:, None] * height / rows
    x = (np.arange(columns) + 0.5)[None] * width / columns
    for thing in picture.scene.objects:
        top, left, side = box_of(thing, height, width)
        inside = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
        found[inside, _PROBE_INDEX[thing.concept]] = 1
        if thing.color:
            found[inside, _PROBE_INDEX[thing.color]] = 1
    ground = picture.scene.background
    names = [ground.setting, ground.time, ground.color, *(color for color, _ in ground.bands)]
    names += ["transparent"] if ground.kind == "transparent" else []
    for name in names:
        if name:
            found[..., _PROBE_INDEX[f"ground {name}"]] = 1
    return found.reshape(rows * columns, -1)
