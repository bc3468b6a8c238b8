"""Pictures as the planner meets them: drawn from their graphs, of whatever kind, and made into patches."""

import numpy as np
import torch

from training.world.dialogues.talk import Picture
from training.world.scenes.render import render
from training.world.tasks.sample import Frame
from wanimage.models.understanding import VisionInput, pixel_patches, vision_view

CELL_PX = 16
NOISY = 0.5
"""Share of pictures that get a little noise, since what a visualizer draws is never exact."""
MOST_NOISE = 0.12
"""Deviation, in units of the tower's [-1, 1]."""


def kind_name(picture: Picture) -> str:
    """The kind of a picture, one of `training.world.tasks.pictures.KINDS`."""
    return picture.kind if isinstance(picture, Frame) else "scene"


def drawn(picture: Picture) -> np.ndarray:
    """Its pixels, straight RGBA uint8."""
    if isinstance(picture, Frame):
        return picture.draw(CELL_PX)
    return render(picture.scene, picture.grid[0] * CELL_PX, picture.grid[1] * CELL_PX)


def pixels_of(picture: Picture, preprocessor: dict, rng: np.random.Generator) -> VisionInput:
    """A picture as the tower takes it."""
    seen = pixel_patches(vision_view(drawn(picture)), preprocessor)
    if rng.random() >= NOISY:
        return seen
    noise = rng.standard_normal((len(seen.patches), 3, 1, CELL_PX, CELL_PX), dtype=np.float32)
    shaken = seen.patches.view(-1, 3, 2, CELL_PX, CELL_PX) + torch.from_numpy(
        noise * np.float32(rng.uniform(0, MOST_NOISE))
    )
    return VisionInput(shaken.clamp_(-1, 1).view(seen.patches.shape), seen.height, seen.width)
