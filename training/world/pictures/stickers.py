"""Stickers: one cut-out on transparency with an outline, a soft shadow, a glow, or a see-through body.

Effects are drawn in numpy from the sprite's opacity, so that soft edges have exact values to check against.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from training.world.assets.concepts import CATALOGUE, is_held_out
from training.world.assets.sprites import sprite
from training.world.kinds import Kind, Pixels
from training.world.pixels import planes_of, straight
from training.world.report import Finding, Report
from training.world.scenes.caption import noun_phrase
from training.world.scenes.matching import (
    FAINT,
    Floats,
    View,
    alike,
    around,
    checked,
    resized,
    search,
    templates,
)
from training.world.scenes.render import sprite_px
from training.world.scenes.rich import colors_of, differs, style_shows
from training.world.scenes.sample import SPLITS, pick, split_of_key
from training.world.scenes.scene import Background, ObjectSpec, make_spec
from training.world.scenes.sighting import Reader, Sight
from wanimage.conditions import COLORS, TRANSPARENT

STYLES = ("flat", "gradient", "noto")
EFFECTS = ("plain", "outlined", "shadowed", "glowing", "see-through")
GLOWS = ("red", "yellow", "green", "blue", "purple", "white")
OPACITIES = (40, 50, 60, 70)
"""Percent of a see-through body."""
_EFFECT_COLORS = {"outlined": tuple(COLORS), "glowing": GLOWS}
SIZES = (0.6, 0.66)
"""Diameter in short sides; effects reach beyond it."""
_OUTLINE, _SHADOW, _GLOW = 0.055, 0.035, 0.05  # widths, in diameters
_SHADOW_SHIFT, _SHADOW_ALPHA, _GLOW_ALPHA = (0.045, 0.02), 0.5, 0.9
_ALIGNED_PX = 128
_SOFTNESS = (0.0, 1.0, 2.0)
_TRIED, _TRIED_FINELY = (0.59, 0.63, 0.67), (0.6, 0.615, 0.63, 0.645, 0.66)
ALPHA_ERROR = 0.06
"""Most difference of opacity from the truth, as a share of all opacity."""


@dataclass(frozen=True)
class Sticker:
    """One object and its effect. `effect_color` is that of an outline or a glow, `opacity` that of a body."""

    concept: str
    color: str | None = None
    style: str = "flat"
    effect: str = "plain"
    effect_color: str | None = None
    opacity: int = 100
    size: float = 0.63

    def __post_init__(self) -> None:
        colored = self.effect in ("outlined", "glowing")
        if self.effect not in EFFECTS or colored != (self.effect_color is not None):
            raise ValueError(f"not an effect: {self.effect!r} in {self.effect_color}; one of {EFFECTS}")
        if (self.opacity in OPACITIES) != (self.effect == "see-through") or not 0 < self.opacity <= 100:
            raise ValueError(
                f"opacity {self.opacity} of a {self.effect} sticker; see-through ones have {OPACITIES}"
            )

    @property
    def item(self) -> ObjectSpec:
        """The object, as captions of scenes know it."""
        return ObjectSpec(self.concept, self.color, "", "", self.style)

    @property
    def effect_phrase(self) -> str:
        """`with a thick white outline`."""
        return {
            "plain": "with clean edges",
            "outlined": f"with a thick {self.effect_color} outline",
            "shadowed": "with a soft drop shadow",
            "glowing": f"with a soft {self.effect_color} glow",
            "see-through": f"see-through at {self.opacity}% opacity",
        }[self.effect]

    @property
    def phrase(self) -> str:
        """Its caption: "a sticker of a cat, with a soft drop shadow, on a transparent background"."""
        style = "" if self.style == "flat" else f", drawn in {self.style} style"
        noun = noun_phrase(replace(self.item, style="flat"))
        return f"a sticker of {noun}, {self.effect_phrase}, {TRANSPARENT}{style}"


def sample(rng: np.random.Generator, split: str, aspect: tuple[int, int] = (1, 1)) -> Sticker:
    """A random sticker of a split, whatever its aspect; splits are by concept and effect."""
    if split not in (*SPLITS, "heldout_concepts"):
        raise ValueError(f"no split {split!r}; one of {(*SPLITS, 'heldout_concepts')}")
    while True:
        name, style, effect = pick(rng, tuple(CATALOGUE)), pick(rng, STYLES), pick(rng, EFFECTS)
        if split_of(name, effect) == split and style_shows(name, style):
            break
    colors = colors_of(name, style)
    color = pick(rng, colors) if colors else None
    around = tuple(c for c in _EFFECT_COLORS.get(effect, ()) if differs(name, color, style, COLORS[c]))
    opacity = int(rng.choice(OPACITIES)) if effect == "see-through" else 100
    return Sticker(
        name, color, style, effect, pick(rng, around) if around else None, opacity, float(rng.uniform(*SIZES))
    )


def split_of(name: str, effect: str) -> str:
    """The one split of a concept with an effect."""
    return "heldout_concepts" if is_held_out(name) else split_of_key(f"{effect} {name}")


def draw(sticker: Sticker, height: int, width: int) -> Pixels:
    """The sticker in the middle of a picture: straight RGBA uint8 `[height, width, 4]`."""
    side = sprite_px(sticker.size * min(height, width))
    center = (height / 2, width / 2)
    return straight(_drawn(sticker, height, width, center, side))


def _drawn(sticker: Sticker, height: int, width: int, center: tuple[float, float], side: int) -> Floats:
    """Premultiplied colour 0..255, opacity 0..1: the effect below the body."""
    body = _body(sticker, height, width, center, side)
    return _joined(sticker, body, _effect(sticker, body[..., 3], side))


def _joined(sticker: Sticker, body: Floats, layer: Floats) -> Floats:
    """A body, as opaque as it shall be, over its effect; changes the effect's array."""
    part = np.float32(sticker.opacity / 100)
    layer *= 1 - part * body[..., 3:]
    layer += part * body
    return layer


def _body(sticker: Sticker, height: int, width: int, center: tuple[float, float], side: int) -> Floats:
    canvas = np.zeros((height, width, 4), np.float32)
    top, left = round(center[0] - side / 2), round(center[1] - side / 2)
    y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + side), min(width, left + side)
    pixels = sprite(sticker.concept, sticker.color, side, sticker.style)
    canvas[y0:y1, x0:x1] = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    return canvas


def _effect(sticker: Sticker, alpha: Floats, side: int) -> Floats:
    """What is under the body, from the body's opacity; premultiplied."""
    return _tinted(sticker, _cover(sticker.effect, alpha, side))


def _cover(effect: str, alpha: Floats, side: int) -> Floats:
    """The opacity of what is under a body."""
    if effect == "outlined":
        solid = ndimage.binary_fill_holes(alpha > 0.5)
        away = ndimage.distance_transform_edt(~solid).astype(np.float32)
        return np.clip(_OUTLINE * side + 0.5 - away, 0, 1)
    if effect == "shadowed":
        moved = np.roll(alpha, [round(each * side) for each in _SHADOW_SHIFT], (0, 1))
        return np.asarray(_SHADOW_ALPHA * ndimage.gaussian_filter(moved, _SHADOW * side), np.float32)
    if effect == "glowing":
        wide = ndimage.maximum_filter(alpha, 2 * round(_GLOW * side / 2) + 1)
        return np.asarray(_GLOW_ALPHA * ndimage.gaussian_filter(wide, _GLOW * side), np.float32)
    return np.zeros_like(alpha)


def _tinted(sticker: Sticker, cover: Floats) -> Floats:
    tint = COLORS[sticker.effect_color] if sticker.effect_color else (0, 0, 0)
    layer = np.empty((*cover.shape, 4), np.float32)
    layer[..., :3], layer[..., 3] = cover[..., None] * np.array(tint, np.float32), cover
    return layer


def verify(sticker: Sticker, image: Pixels) -> Report:
    """Object, colour, style, effect, and the opacity of every pixel against the truth where it was found."""
    picture = planes_of(checked(image))
    solid = picture * (100 / _opacity(picture))
    item = sticker.item
    reader = Reader(solid, Background(), make_spec([item], Background()), strict=True, sizes=_TRIED)
    sight = reader.sights()[0]
    for _ in range(2):  # a second time when the object looks different with its effect explained
        before = (sight.color, sight.style)
        found, fit = _fitted(replace(sticker, color=sight.color, style=sight.style), picture)
        sight = _again(found, fit, solid, reader)
        if before == (sight.color, sight.style):
            break
    same = sight.style == item.style or alike(item.concept, sight.style, item.style)
    effect = (found.effect, found.effect_color, found.opacity)
    passed = effect == (sticker.effect, sticker.effect_color, sticker.opacity)
    error = _alpha_error(sticker, _shrunk(picture)[..., 3] / np.float32(255))
    right = sight.present and sight.concept == item.concept
    findings = [
        Finding("object", "the sticker", right, sight.concept),
        Finding("style", item.concept, same, sight.style),
        Finding("effect", "the sticker", passed, found.effect_phrase),
        Finding("alpha", "the sticker", error < ALPHA_ERROR, f"alpha error {error:.3f}"),
    ]
    if item.color is not None:
        findings.append(Finding("color", item.concept, sight.color == item.color, str(sight.color)))
    return Report(tuple(findings))


def _opacity(picture: Floats) -> float:
    """Percent of opacity that the most opaque parts have."""
    alpha = picture[..., 3]
    inside = alpha[alpha > 0.5 * alpha.max()]
    return max(20.0, float(np.percentile(inside, 75)) / 2.55) if inside.size else 100.0


@dataclass(frozen=True)
class _Fit:
    """How a body stands in the middle: its diameter in short sides, and the softness of the picture."""

    size: float
    soft: float
    """Deviation in pixels of a picture with a short side of `_ALIGNED_PX`."""


def _placed(sticker: Sticker, fit: _Fit, height: int, width: int) -> Floats:
    short = min(height, width)
    drawn = _drawn(sticker, height, width, (height / 2, width / 2), sprite_px(fit.size * short))
    soft = fit.soft * min(1.0, short / _ALIGNED_PX)
    return np.asarray(ndimage.gaussian_filter(drawn, (soft, soft, 0)), np.float32) if soft else drawn


def _fitted(shown: Sticker, picture: Floats) -> tuple[Sticker, _Fit]:
    """The effect with which an object in the middle looks most like the picture, where it is, and how soft.

    Effect, size and softness are read from opacity alone, then the effect's colour from colours.
    """
    seen = _shrunk(picture)
    height, width = seen.shape[:2]
    alpha = seen[..., 3] / 255
    errors: dict[tuple[Sticker, _Fit], float] = {}
    for size in _TRIED_FINELY:
        side = sprite_px(size * min(height, width))
        body = _body(shown, height, width, (height / 2, width / 2), side)[..., 3]
        covers = {effect: _cover(effect, body, side) for effect in EFFECTS}
        for soft in _SOFTNESS:
            dim = _soft(body, soft)
            for variant in _forms(shown):
                part = variant.opacity / 100 * dim
                error = part + (1 - part) * _soft(covers[variant.effect], soft) - alpha
                errors[variant, _Fit(size=size, soft=soft)] = float(np.vdot(error, error))
    form, fit = min(errors, key=lambda each: errors[each])
    found = min(_tints(form), key=lambda each: _difference(_placed(each, fit, height, width), seen))
    return found, fit


def _soft(values: Floats, sigma: float) -> Floats:
    return np.asarray(ndimage.gaussian_filter(values, sigma) if sigma else values, np.float32)


def _difference(drawn: Floats, seen: Floats) -> float:
    """Squared error, all four channels on 0..255; changes what was drawn."""
    drawn[..., 3] *= 255
    drawn -= seen
    return float(np.vdot(drawn, drawn))


def _shrunk(picture: Floats) -> Floats:
    """The picture with a short side of no more than `_ALIGNED_PX`."""
    height, width = picture.shape[:2]
    scale = min(1.0, _ALIGNED_PX / min(height, width))
    return resized(picture, round(height * scale), round(width * scale))


def _forms(shown: Sticker) -> list[Sticker]:
    """The sticker with every effect and opacity, coloured anyhow."""
    effects = {"outlined": "white", "glowing": "white"}
    opaque = [effect for effect in EFFECTS if effect != "see-through"]
    forms = [replace(shown, effect=e, effect_color=effects.get(e), opacity=100) for e in opaque]
    clear = [
        replace(shown, effect="see-through", effect_color=None, opacity=opacity) for opacity in OPACITIES
    ]
    return forms + clear


def _tints(form: Sticker) -> list[Sticker]:
    """A form in every colour that its effect may have."""
    colors = _EFFECT_COLORS.get(form.effect)
    return [replace(form, effect_color=color) for color in colors] if colors else [form]


def _alpha_error(sticker: Sticker, alpha: Floats) -> float:
    """Difference of opacity from the truth, as a share of it, at the size and softness that suit best."""
    fits = [_Fit(size, soft) for size in _TRIED_FINELY for soft in _SOFTNESS]
    truths = [_placed(sticker, fit, alpha.shape[0], alpha.shape[1])[..., 3] for fit in fits]
    return min(float(np.abs(truth - alpha).sum() / truth.sum()) for truth in truths)


def _again(found: Sticker, fit: _Fit, solid: Floats, reader: Reader) -> Sight:
    """The object once more, before the effect that was read."""
    height, width = solid.shape[:2]
    side = sprite_px(fit.size * min(height, width))
    body = _body(found, height, width, (height / 2, width / 2), side)
    soft = fit.soft * min(height, width) / min(_ALIGNED_PX, height, width)
    under = _tinted(found, _soft(_cover(found.effect, body[..., 3], side), soft))
    under[..., 3] *= 255
    view = View(solid, under)
    size = min(_TRIED, key=lambda each: abs(each - fit.size))
    rows, columns = view.places(size)
    own = templates((found.concept,), STYLES)
    middle = around(rows / 2, 1, rows), around(columns / 2, 1, columns)
    return reader.identify(view, search(view, size, own, *middle, step=2, least=FAINT), found.item)


def attributes(sticker: Sticker) -> dict[str, str]:
    """Sentences by name of `captions.ATTRIBUTES`."""
    noun = noun_phrase(replace(sticker.item, style="flat"))
    soft = {
        "plain": "The edges are clean and nothing else is opaque.",
        "outlined": "The cut-out and its outline are opaque.",
        "shadowed": "The shadow fades out softly below the cut-out.",
        "glowing": "The glow fades out softly around the cut-out.",
        "see-through": f"The cut-out is {sticker.opacity}% opaque.",
    }[sticker.effect]
    found = {
        "global_semantics": f"A sticker of {noun}.",
        "subjects": f"{noun[0].upper()}{noun[1:]}.",
        "object_counts": "One object.",
        "object_attributes": f"The sticker is {sticker.effect_phrase}."
        if sticker.effect == "see-through"
        else f"It comes {sticker.effect_phrase}.",
        "background": "There is no background.",
        "composition": "The cut-out stands in the middle.",
        "style": f"Drawn in {sticker.style} style.",
        "medium": "A sticker.",
        "transparency": f"The background is transparent. {soft}",
    }
    if sticker.color:
        found["palette"] = f"Mostly {sticker.color}."
    return found


KIND = Kind("sticker", "non-photorealistic", sample, draw, verify, lambda sticker: sticker.phrase, attributes)
