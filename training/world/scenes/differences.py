"""What two pictures have in common: the same character in both, and everything outside of an edit."""

import numpy as np
from numpy.typing import NDArray

from training.world.kinds import Pixels
from training.world.pictures.portraits import Portrait, read
from training.world.pixels import planes_of
from training.world.report import Finding
from training.world.scenes import grounds
from training.world.scenes.matching import checked, resized
from training.world.scenes.scene import ObjectSpec, Scene
from training.world.scenes.sighting import Reader, Sight
from training.world.scenes.verify import RADII

Box = tuple[int, int, int, int]
FEATURES = ("hair", "hair_color", "skin", "beard")
"""What makes a portrait's person the same one; expression, clothes and glasses may change."""
OUTSIDE = 2.0
"""Mean difference (0..255) outside of an edit that softening alone makes."""


def same_identity(
    image_a: Pixels, graph_a: Scene | Portrait, image_b: Pixels, graph_b: Scene | Portrait
) -> Finding:
    """Whether a character that two graphs share is the same one in both pictures, by their pixels.

    Of scenes that is the first noun that both hold: its concept, colour and style are read from each picture
    and compared with each other. Of portraits it is `FEATURES`. Raises ValueError when nothing is shared.
    """
    if isinstance(graph_a, Portrait) and isinstance(graph_b, Portrait):
        people = [
            tuple(getattr(read(image, graph), name) for name in FEATURES)
            for image, graph in ((image_a, graph_a), (image_b, graph_b))
        ]
        return Finding("identity", "the person", people[0] == people[1], " / ".join(map(", ".join, people)))
    if not (isinstance(graph_a, Scene) and isinstance(graph_b, Scene)):
        raise ValueError("a scene and a portrait share no character; compare two scenes or two portraits")
    shared = [item for item in graph_a.spec.objects if _named(graph_b, item.concept)]
    if not shared:
        raise ValueError("the scenes share no noun, so there is no character to compare")
    about = shared[0].concept
    seen = [_seen(image_a, graph_a, about), _seen(image_b, graph_b, about)]
    known = [(s.concept, s.color, s.style) for s in seen]
    passed = known[0] == known[1] and known[0][0] == about and all(sight.present for sight in seen)
    return Finding("identity", about, passed, " / ".join(" ".join(map(str, each)) for each in known))


def outside_difference(before: Pixels, after: Pixels, edited: Box | NDArray[np.bool_]) -> float:
    """Mean absolute difference (0..255, premultiplied, all channels) outside of an edited region.

    `edited` is a box (x0, y0, x1, y1) in pixels, or a mask `[H, W]` that is true where the edit is; both are
    of the size of `before`. A picture of another size is resized to it first. 0.0 when nothing is outside.
    """
    old, new = planes_of(checked(before)), planes_of(checked(after))
    height, width = old.shape[:2]
    if new.shape != old.shape:
        new = resized(new, height, width)
    if isinstance(edited, tuple):
        inside = np.zeros((height, width), bool)
        x0, y0, x1, y1 = edited
        inside[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    else:
        inside = edited
        if inside.shape != (height, width):
            raise ValueError(f"the mask is {inside.shape}, the picture {(height, width)}; they must be equal")
    return float(np.abs(old - new)[~inside].mean()) if not inside.all() else 0.0


def _named(scene: Scene, name: str) -> ObjectSpec | None:
    return next((item for item in scene.spec.objects if item.concept == name), None)


def _seen(image: Pixels, scene: Scene, name: str) -> Sight:
    """What stands where a scene has an object of that name."""
    picture = planes_of(checked(image))
    ground, _ = grounds.nearest(scene.spec, picture, RADII, weathers=True)
    sights = Reader(picture, ground, scene.spec, strict=True).sights()
    index = next(i for i, item in enumerate(scene.spec.objects) if item.concept == name)
    return sights[index]
