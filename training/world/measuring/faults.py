"""One planted fault a picture, by kind: what the verifiers are measured with.

A fault changes a graph, which is then drawn, or None where it does not apply. It goes by the property that
must fail when the picture is checked against the graph it was asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from training.world.assets.concepts import CATALOGUE, STYLES, colorable
from training.world.kinds import Graph
from training.world.pictures import palettes, portraits, stickers
from training.world.pictures.palettes import Palette
from training.world.pictures.portraits import Portrait
from training.world.pictures.stickers import OPACITIES, Sticker
from training.world.scenes import rich
from training.world.scenes.matching import alike
from training.world.scenes.relations import OVERLAPPING, Relation
from training.world.scenes.sample import allowed_places, apart, pick, place_object
from training.world.scenes.scene import SIZE_RANGES, WEATHERS, Scene, SceneObject, object_spec
from wanimage.conditions import COLORS

Rng = np.random.Generator
Fault = Callable[[Graph, Rng], Graph | None]
T = TypeVar("T")


def _other(rng: Rng, options: object, own: object) -> str:
    assert isinstance(options, tuple | list | dict)
    return pick(rng, [each for each in options if each != own])


# --- scenes ----------------------------------------------------------------------------------------------


def _any(scene: Scene, rng: Rng, fair: Callable[[int], bool] = lambda index: True) -> int | None:
    indices = [index for index in range(len(scene.objects)) if fair(index)]
    return indices[int(rng.integers(len(indices)))] if indices else None


def _with(scene: Scene, index: int, item: SceneObject) -> Scene | None:
    """The scene with another object in a place, if that is seen well."""
    objects = list(scene.objects)
    objects[index] = item
    return replace(scene, objects=tuple(objects)) if rich.stands_out(item, scene.background) else None


def missing(scene: Scene, rng: Rng) -> Scene | None:
    """One object is not drawn."""
    index = _any(scene, rng)
    kept = tuple(item for at, item in enumerate(scene.objects) if at != index)
    return replace(scene, objects=kept, relations=())


def concept(scene: Scene, rng: Rng) -> Scene | None:
    """One object is drawn as another noun."""
    index = int(_any(scene, rng) or 0)
    item = scene.objects[index]
    name = _other(rng, CATALOGUE, item.concept)
    color = item.color or pick(rng, list(COLORS)) if colorable(name, item.style) else None
    return _with(scene, index, replace(item, concept=name, color=color))


def color(scene: Scene, rng: Rng) -> Scene | None:
    """One object has another colour."""
    index = _any(scene, rng, lambda at: scene.objects[at].color is not None)
    if index is None:
        return None
    item = scene.objects[index]
    return _with(scene, index, replace(item, color=_other(rng, COLORS, item.color)))


def style(scene: Scene, rng: Rng) -> Scene | None:
    """Everything is drawn in another style."""
    new = _other(rng, STYLES, scene.objects[0].style)
    items = [replace(o, style=new, color=_inked(o, new, rng)) for o in scene.objects]
    shown = all(not alike(o.concept, o.style, new) for o in scene.objects)
    seen = all(rich.stands_out(item, scene.background) for item in items)
    return replace(scene, objects=tuple(items)) if shown and seen else None


def _inked(item: SceneObject, new: str, rng: Rng) -> str | None:
    return (item.color or pick(rng, list(COLORS))) if colorable(item.concept, new) else None


def place(scene: Scene, rng: Rng) -> Scene | None:
    """One object stands somewhere else."""
    related = {at for r in scene.relations for at in (r.subject, r.target)}
    index = _any(scene, rng, lambda at: scene.objects[at].count == 1 and at not in related)
    if index is None:
        return None
    item = scene.objects[index]
    word = _other(rng, allowed_places((1, 1)), item.place)
    return _moved(scene, index, place_object(rng, item.concept, None, word, item.size_word))


def size(scene: Scene, rng: Rng) -> Scene | None:
    """One object is as large as another word says."""
    related = {at for r in scene.relations for at in (r.subject, r.target)}
    index = _any(scene, rng, lambda at: bool(object_spec(scene, at).size) and at not in related)
    if index is None:
        return None
    item = scene.objects[index]
    word = _other(rng, SIZE_RANGES, item.size_word)
    return _moved(scene, index, place_object(rng, item.concept, None, item.place, word))


def _moved(scene: Scene, index: int, spot: SceneObject) -> Scene | None:
    item = replace(scene.objects[index], cx=spot.cx, cy=spot.cy, size=spot.size)
    others = [o for at, o in enumerate(scene.objects) if at != index]
    clear = all(o.count == 1 and apart(item, o) for o in others)
    return _with(scene, index, item) if clear else None


def count(scene: Scene, rng: Rng) -> Scene | None:
    """A group has one more or one less."""
    index = _any(scene, rng, lambda at: scene.objects[at].count > 1)
    if index is None:
        return None
    item = scene.objects[index]
    new = item.count + (1 if item.count == 2 or (item.count < 9 and rng.random() < 0.5) else -1)
    other = replace(item, count=new)
    return _with(scene, index, other) if rich.inside(other, 1, 1) else None


def relation(scene: Scene, rng: Rng) -> Scene | None:
    """The related objects change places, sizes or order, or are torn apart."""
    if not scene.relations:
        return None
    said: Relation = scene.relations[0]
    items = list(scene.objects)
    subject, target = items[said.subject], items[said.target]
    if said.kind in ("behind", "in front of"):
        items[said.subject], items[said.target] = target, subject
        return replace(scene, objects=tuple(items), relations=())
    if said.kind in OVERLAPPING:
        free = said.target if said.kind == "holding" else said.subject
        word = pick(rng, allowed_places((1, 1)))
        spot = place_object(rng, items[free].concept, None, word, "small")
        return _moved(scene, free, spot)
    if said.kind == "bigger than":
        items[said.subject] = replace(subject, size=target.size)
        items[said.target] = replace(target, size=subject.size)
    else:
        items[said.subject] = replace(subject, cx=target.cx, cy=target.cy)
        items[said.target] = replace(target, cx=subject.cx, cy=subject.cy)
    fair = all(rich.stands_out(item, scene.background) for item in items)
    inside = all(item.size / 2 <= min(item.cx, item.cy, 1 - item.cx, 1 - item.cy) for item in items)
    clear = all(apart(a, b) for at, a in enumerate(items) for b in items[:at])
    return replace(scene, objects=tuple(items)) if fair and inside and clear else None


def weather(scene: Scene, rng: Rng) -> Scene | None:
    """A setting has other weather."""
    if scene.background.kind != "setting":
        return None
    other = replace(
        scene.background, weather=_other(rng, ["", *WEATHERS], scene.background.weather or "") or None
    )
    return _before(scene, other)


def background(scene: Scene, rng: Rng) -> Scene | None:
    """Another setting, time, colour or palette."""
    other = rich.rich_background(rng)
    same = replace(other.key, weather=None) == replace(scene.background.key, weather=None)
    return None if same else _before(scene, other)


def _before(scene: Scene, ground: object) -> Scene | None:
    other = replace(scene, background=ground)  # type: ignore[arg-type]
    return other if all(rich.stands_out(item, other.background) for item in scene.objects) else None


# --- other kinds -----------------------------------------------------------------------------------------


def sticker_concept(sticker: Sticker, rng: Rng) -> Sticker | None:
    """Another object."""
    name = _other(rng, CATALOGUE, sticker.concept)
    return replace(
        sticker, concept=name, color=pick(rng, list(COLORS)) if colorable(name, sticker.style) else None
    )


def sticker_color(sticker: Sticker, rng: Rng) -> Sticker | None:
    """The object in another colour."""
    return replace(sticker, color=_other(rng, COLORS, sticker.color)) if sticker.color else None


def sticker_style(sticker: Sticker, rng: Rng) -> Sticker | None:
    """The object in another style."""
    new = _other(rng, stickers.STYLES, sticker.style)
    return None if alike(sticker.concept, sticker.style, new) else replace(sticker, style=new)


def sticker_effect(sticker: Sticker, rng: Rng) -> Sticker | None:
    """Another effect, or the same in another colour or opacity."""
    new = stickers.sample(rng, "train")
    effect = (new.effect, new.effect_color, new.opacity)
    tint = COLORS[new.effect_color] if new.effect_color else None
    if effect == (sticker.effect, sticker.effect_color, sticker.opacity):
        return None
    if tint and not rich.differs(sticker.concept, sticker.color, sticker.style, tint):
        return None
    return replace(sticker, effect=effect[0], effect_color=effect[1], opacity=effect[2])


def sticker_opacity(sticker: Sticker, rng: Rng) -> Sticker | None:
    """A body that is as see-through as it should not be."""
    opacity = int(_other(rng, [str(each) for each in (*OPACITIES, 100)], str(sticker.opacity)))
    if abs(opacity - sticker.opacity) < 15 or sticker.effect not in ("plain", "see-through"):
        return None
    return replace(sticker, opacity=opacity, effect="plain" if opacity == 100 else "see-through")


def palette_color(palette: Palette, rng: Rng) -> Palette | None:
    """One colour is another."""
    at = int(rng.integers(len(palette.colors)))
    new = "#" + "".join(f"{int(v):02X}" for v in rng.integers(8, 248, 3))
    if any(palettes.distance(new, color) < palettes.LEAST_APART / 2 for color, _ in palette.colors):
        return None
    listed = [(new if index == at else color, part) for index, (color, part) in enumerate(palette.colors)]
    return replace(palette, colors=tuple(listed))


def palette_share(palette: Palette, rng: Rng) -> Palette | None:
    """One colour has seven points or more of another's."""
    a, b = (int(each) for each in rng.choice(len(palette.colors), 2, replace=False))
    parts = [part for _, part in palette.colors]
    most = parts[b] - palettes.LEAST_PERCENT
    if most < 7:
        return None
    moved = int(rng.integers(7, most + 1))
    parts[a], parts[b] = parts[a] + moved, parts[b] - moved
    return replace(palette, colors=tuple((c, p) for (c, _), p in zip(palette.colors, parts, strict=True)))


def portrait_word(name: str) -> Fault:
    """Another word of one attribute."""

    def change(portrait: Portrait, rng: Rng) -> Portrait | None:
        word = _other(rng, portraits.WORDS[name], getattr(portrait, name))
        black = portraits.BLACK_HAIR
        fits = name != "hair" or word not in black or portrait.hair_color == "black"
        fits = fits and (name != "hair_color" or portrait.hair not in black)
        return replace(portrait, **{name: word}) if fits else None

    return change


FAULTS: dict[str, dict[str, tuple[str, Fault]]] = {  # by kind: what is wrong -> (property, fault)
    "scene": {
        "missing object": ("object", missing), "wrong concept": ("object", concept),
        "wrong colour": ("color", color), "wrong style": ("style", style), "wrong place": ("place", place),
        "wrong size": ("size", size), "wrong count": ("count", count),
        "wrong relation": ("relation", relation), "wrong weather": ("weather", weather),
        "wrong background": ("background", background),
    },
    "sticker": {
        "wrong concept": ("object", sticker_concept), "wrong colour": ("color", sticker_color),
        "wrong style": ("style", sticker_style), "wrong effect": ("effect", sticker_effect),
        "wrong opacity": ("alpha", sticker_opacity),
    },
    "palette": {"wrong colour": ("color", palette_color), "wrong proportion": ("proportion", palette_share)},
    "portrait": {f"wrong {name}": (name, portrait_word(name)) for name in portraits.WORDS},
}  # fmt: skip
