"""What tasks ask of their results beside that each picture shows its graph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.world.kinds import Pixels
from training.world.pixels import planes_of
from training.world.report import Finding
from training.world.scenes.differences import outside_difference, same_identity
from training.world.tasks.sample import Sample

CHANGED = 8
"""Least difference of a channel, 0..255, by which two true pictures differ somewhere."""


@dataclass(frozen=True)
class Kept:
    """Outside of what the edit changes, the result is the input: mean difference and spoilt share.

    `slack` is how far, in short sides, the change may reach beyond where the true pictures differ.
    """

    slack: float = 0.05
    most: float = 6.0
    source: int = 0

    def __call__(self, sample: Sample, images: Sequence[Pixels]) -> list[Finding]:
        """The verdict on the first result."""
        image = images[0]
        before = sample.inputs[self.source].bare.drawn(*image.shape[:2])
        mask = changed(before, target_of(sample, image), self.slack)
        difference = worst_outside(before, image, mask)
        return [
            Finding("outside", "the picture", difference < self.most, f"mean difference {difference:.1f}")
        ]


Region = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in fractions of the picture."""


@dataclass(frozen=True)
class Done:
    """In each region that the edit changes, the result is nearer to the true result than to the input.

    This is what notices an object that was to go: a verifier of graphs asks only for what is there.
    """

    regions: tuple[Region, ...] = ((0.0, 0.0, 1.0, 1.0),)
    source: int = 0

    def __call__(self, sample: Sample, images: Sequence[Pixels]) -> list[Finding]:
        """One verdict a region."""
        image = images[0]
        height, width = image.shape[:2]
        before, after = sample.inputs[self.source].bare.drawn(height, width), target_of(sample, image)
        mask = changed(before, after, 0.0)
        undone, done = (np.where(mask, _difference(image, true), 0.0) for true in (before, after))
        found = []
        for x0, y0, x1, y1 in self.regions:
            part = slice(round(y0 * height), round(y1 * height)), slice(round(x0 * width), round(x1 * width))
            ratio = float(done[part].sum() / max(undone[part].sum() + done[part].sum(), 1.0))
            about = f"the region at {(x0 + x1) / 2:.2f}, {(y0 + y1) / 2:.2f}"
            found.append(Finding("edit", about, ratio < 0.5, f"{100 * ratio:.0f} % of the way is left"))
        return found


@dataclass(frozen=True)
class SameCharacter:
    """The first and the last result of a series show the same character, compared with each other."""

    def __call__(self, sample: Sample, images: Sequence[Pixels]) -> list[Finding]:
        """One verdict."""
        first, last = sample.outputs[0].scene, sample.outputs[-1].scene
        return [same_identity(images[0], first, images[-1], last)]


@dataclass(frozen=True)
class Distinct:
    """Results of a series differ from one another: no picture is repeated."""

    least: float = 1.0

    def __call__(self, sample: Sample, images: Sequence[Pixels]) -> list[Finding]:
        """One verdict: the two nearest neighbours."""
        small = [_thumbnail(image) for image in images]
        pairs = [
            (float(np.abs(a - b).mean()), i, j)
            for i, a in enumerate(small, 1)
            for j, b in enumerate(small[i:], i + 1)
        ]
        difference, i, j = min(pairs)
        about = f"pictures {i} and {j}"
        return [Finding("progress", about, difference > self.least, f"mean difference {difference:.1f}")]


def changed(before: Pixels, after: Pixels, slack: float) -> NDArray[np.bool_]:
    """Where two true pictures differ, and `slack` short sides around, `[H, W]`."""
    differs = (np.abs(before.astype(np.int16) - after.astype(np.int16)) > CHANGED).any(-1)
    reach = 2 * round(slack * min(before.shape[:2])) + 1
    if reach < 3:
        return np.asarray(differs)
    grown = Image.fromarray(255 * differs.astype(np.uint8)).filter(ImageFilter.MaxFilter(reach))
    found: NDArray[np.bool_] = np.asarray(grown) > 0
    return found


def worst_outside(before: Pixels, after: Pixels, mask: NDArray[np.bool_]) -> float:
    """The worst of the ninths of the picture by their mean difference, 0..255, outside of the mask.

    A mean over all of it would drown an object that went missing.
    """
    height, width = mask.shape
    worst = 0.0
    for row in range(3):
        for column in range(3):
            beyond = np.ones(mask.shape, bool)
            rows = slice(row * height // 3, (row + 1) * height // 3)
            columns = slice(column * width // 3, (column + 1) * width // 3)
            beyond[rows, columns] = mask[rows, columns]
            if (~beyond).sum() > 0.1 * beyond[rows, columns].size:
                worst = max(worst, outside_difference(before, after, beyond))
    return worst


def target_of(sample: Sample, image: Pixels) -> Pixels:
    """The first output's true picture at an image's size."""
    return sample.outputs[0].drawn(*image.shape[:2])


def _difference(a: Pixels, b: Pixels) -> NDArray[np.float32]:
    """Mean difference over the channels, `[H, W]`, 0..255."""
    difference: NDArray[np.float32] = np.abs(planes_of(a) - planes_of(b)).mean(-1)
    return difference


def _thumbnail(image: Pixels) -> NDArray[np.float32]:
    small = Image.fromarray(image, "RGBA").convert("RGBa").resize((48, 48), Image.Resampling.BOX)
    return np.asarray(small, np.float32)
