"""Collages: two to four scenes in panels of one picture, side by side, stacked, or in a square.

Panels are pictures of their own: each is drawn at its own size and read where it lies.
"""

from dataclasses import dataclass, replace

import numpy as np

from training.world.kinds import Kind, Pixels
from training.world.report import Finding, Report
from training.world.scenes.caption import caption, join
from training.world.scenes.render import render
from training.world.scenes.sample import SPLITS, sample_scene, split_of_key
from training.world.scenes.scene import Scene
from training.world.scenes.verify import verify as verify_scene

LAYOUTS: dict[str, tuple[int, int]] = {"row": (1, 2), "column": (2, 1), "strip": (1, 3), "square": (2, 2)}
"""(rows, columns) of panels."""
GUTTER = 0.03
"""Between panels, in short sides of the picture."""
PAPER = 250
"""Grey level of the gutters."""
_NAMES = {
    "row": ("left", "right"),
    "column": ("upper", "lower"),
    "strip": ("left", "middle", "right"),
    "square": ("upper left", "upper right", "lower left", "lower right"),
}
_WORDS = {2: "two", 3: "three", 4: "four"}
_PLAIN_SEED = 4  # with it captions keep the plain wording of places
_TRIES = 400


@dataclass(frozen=True)
class Collage:
    """Scenes in reading order."""

    layout: str
    panels: tuple[Scene, ...]

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS or len(self.panels) != len(_NAMES[self.layout]):
            raise ValueError(f"not a collage: {len(self.panels)} panels as {self.layout!r}; see LAYOUTS")


def sample(rng: np.random.Generator, split: str = "train", aspect: tuple[int, int] = (1, 1)) -> Collage:
    """A random collage; a composition is its layout and who is in its panels."""
    if split not in SPLITS:
        raise ValueError(f"no collage of the split {split!r}; one of {SPLITS}")
    height, width = aspect
    fair = [
        name for name, (rows, columns) in LAYOUTS.items() if 0.4 < height * columns / (width * rows) < 2.5
    ]
    fair = fair or ["row" if width > height else "column"]
    for _ in range(_TRIES):
        layout = fair[int(rng.integers(len(fair)))]
        rows, columns = LAYOUTS[layout]
        panel = (height * columns, width * rows)
        scenes = tuple(
            sample_scene(rng, "train", n_objects=int(rng.integers(1, 3)), aspect=panel)
            for _ in _NAMES[layout]
        )
        opaque = all(scene.background.kind != "transparent" for scene in scenes)
        found = Collage(layout, scenes)
        if opaque and split_of_key(key(found)) == split:
            return found
    raise ValueError(f"no collage of the split {split!r} for aspect {aspect} in {_TRIES} tries")


def key(collage: Collage) -> str:
    """What its split is decided by."""
    return f"collage {collage.layout} {[[o.concept for o in scene.objects] for scene in collage.panels]}"


def draw(collage: Collage, height: int, width: int) -> Pixels:
    """Opaque RGBA `[height, width, 4]`."""
    canvas = np.full((height, width, 4), PAPER, np.uint8)
    canvas[..., 3] = 255
    for scene, (rows, columns) in zip(collage.panels, _boxes(collage.layout, height, width), strict=True):
        canvas[rows, columns] = render(scene, rows.stop - rows.start, columns.stop - columns.start)
    return canvas


def verify(collage: Collage, image: Pixels) -> Report:
    """Every panel's scene where it belongs, and clear gutters between them."""
    height, width = image.shape[:2]
    findings = []
    gutters = np.ones((height, width), bool)
    names = _NAMES[collage.layout]
    boxes = _boxes(collage.layout, height, width)
    for scene, name, (rows, columns) in zip(collage.panels, names, boxes, strict=True):
        report = verify_scene(scene, np.ascontiguousarray(image[rows, columns]))
        findings += [replace(f, about=f"{f.about} in the {name} panel") for f in report.findings]
        gutters[rows, columns] = False
    error = float(np.abs(image[..., :3][gutters].astype(float) - PAPER).mean())
    findings.append(Finding("panels", "the gutters", error < 40, f"mean difference {error:.0f}"))
    return Report(tuple(findings))


def phrase(collage: Collage) -> str:
    """`a collage of two panels; left: a fox in the center, in a meadow by day; right: ...`."""
    said = [
        f"{name}: {_said(scene)}" for name, scene in zip(_NAMES[collage.layout], collage.panels, strict=True)
    ]
    return f"a collage of {_WORDS[len(said)]} panels; {'; '.join(said)}"


def attributes(collage: Collage) -> dict[str, str]:
    """Sentences for its structured caption."""
    names, scenes = _NAMES[collage.layout], collage.panels
    pairs = list(zip(names, scenes, strict=True))
    nouns = [f"the {name} one shows {join([o.concept for o in scene.objects])}" for name, scene in pairs]
    return {
        "global_semantics": f"A collage of {_WORDS[len(names)]} panels.",
        "panels": " ".join(f"The {name} panel shows {_said(scene)}." for name, scene in pairs),
        "objects": f"Of the panels {', '.join(nouns)}.",
        "background": " ".join(f"The {name} panel is {scene.background.phrase}." for name, scene in pairs),
        "spatial_layout": f"The panels are arranged as a {collage.layout}.",
        "composition": "White gutters part the panels.",
        "style": "It is drawn in flat style.",
    }


def _said(scene: Scene) -> str:
    return caption(scene, np.random.default_rng(_PLAIN_SEED))


def _boxes(layout: str, height: int, width: int) -> list[tuple[slice, slice]]:
    """(rows, columns) of every panel in pixels."""
    rows, columns = LAYOUTS[layout]
    gap = max(2, round(GUTTER * min(height, width)))
    tall, wide = (height - gap * (rows - 1)) // rows, (width - gap * (columns - 1)) // columns
    return [
        (slice(r * (tall + gap), r * (tall + gap) + tall), slice(c * (wide + gap), c * (wide + gap) + wide))
        for r in range(rows)
        for c in range(columns)
    ]


KIND = Kind("collage", "multi-image", sample, draw, verify, phrase, attributes)
