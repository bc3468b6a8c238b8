"""From a scene to pixels."""

import numpy as np
from numpy.typing import NDArray

from training.world.assets.sprites import sprite
from training.world.pixels import paste, straight
from training.world.scenes import scenery
from training.world.scenes.scene import Scene, SceneObject, members, unit_px


def render(scene: Scene, height: int, width: int) -> NDArray[np.uint8]:
    """The scene as straight RGBA uint8 `[height, width, 4]`, any size and aspect.

    Raises NotFound (of wanimage.errors) when the icons have not been fetched.
    """
    under = scenery.draw(scene.background, height, width)
    if scene.background.kind == "transparent":
        return straight(_composite(scene, np.zeros((height, width, 4), np.float32)))
    canvas = under.astype(np.float32)
    canvas[..., 3] = 1.0
    canvas = _composite(scene, canvas)
    canvas[..., 3] = 255
    canvas += 0.5
    return canvas.astype(np.uint8)


def box_of(item: SceneObject, height: int, width: int) -> tuple[int, int, int]:
    """(top, left, side) of an object's sprite in pixels; it may reach over the edge."""
    side = sprite_px(item.size * unit_px(height, width))
    return round(item.cy * height - side / 2), round(item.cx * width - side / 2), side


def drawing(item: SceneObject, side: int) -> NDArray[np.float32]:
    """An object as premultiplied RGBA `[side, side, 4]`, in its guise where it has one."""
    guise = item.guise
    if guise is None:
        return sprite(item.concept, item.color, side, item.style)
    upper, lower = (sprite(name, item.color, side, item.style) for name in (guise.upper, guise.lower))
    drawn = np.concatenate([upper[: side // 2], lower[side // 2 :]])[..., [*guise.channels, 3]]
    return np.rot90(drawn[:, ::-1] if guise.mirrored else drawn, guise.turns)


def sprite_px(exact: float) -> int:
    """The even side in pixels that stands for an exact one, so that few sprites are rasterised."""
    return max(2, 2 * round(exact / 2)) if exact < 96 else 4 * round(exact / 4)


def _composite(scene: Scene, canvas: NDArray[np.float32]) -> NDArray[np.float32]:
    """Premultiplied "over", object by object, in place."""
    height, width = canvas.shape[:2]
    for item in (each for some in scene.objects for each in members(some, height, width)):
        top, left, side = box_of(item, height, width)
        paste(canvas, drawing(item, side), top, left)
    return canvas
