"""Where are the objects that a caption names, and what stands there? Analysis by synthesis on `matching`.

Each object is searched where its place says, or everywhere; of two that overlap, each is read again with the
other explained. What was seen is drawn into an expected picture, which says what remains unexplained.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from training.world.assets.concepts import CATALOGUE, CONCEPTS, SHAPES, STYLES, colorable
from training.world.scenes import grounds
from training.world.scenes.grounds import MIDDLES
from training.world.scenes.matching import (
    ALL,
    FAINT,
    Floats,
    Key,
    Match,
    Templates,
    View,
    around,
    everywhere,
    search,
    templates,
)
from training.world.scenes.ordering import Piece, lay, piece_of
from training.world.scenes.relations import OVERLAPPING
from training.world.scenes.scene import GROUP_SIZES, Background, ObjectSpec, RelationSpec, Spec
from wanimage.conditions import PLACES, place_of

EXPLAINED = 0.5  # least share of a window's energy that a present object explains
REACH = 0.11  # how far from the middle of its place an object may stand
CLEARLY = 0.6  # the same where an object is searched everywhere, so that chance has more tries
WEIGHTY = 0.3  # least energy that it explains, as a share of its own
SURROUND = 1.7  # the box around an object, in its sizes, whose energy it must mostly explain, too
SIZES = {"small": (0.21, 0.235), "medium": (0.32, 0.35), "large": (0.47, 0.515)}
"""Diameters at which every size word is tried."""
EVERY_SIZE = tuple(size for sizes in SIZES.values() for size in sizes)
AHEAD, FAR_AHEAD, LARGER = 0.032, 0.1, 1.25
"""How much better a rival must explain an object, and one so many times larger, which reaches into others."""
_GROUPED = tuple(sorted(set(GROUP_SIZES.values())))
_HIDES = 25  # opacity (0..255) from which an object hides what is behind it
_IN_FRONT = {"inside": "subject", "holding": "target", "behind": "target", "in front of": "subject"}


@dataclass(frozen=True)
class Sight:
    """What stands where an object is wanted: the best of its own sprites, and the best of all."""

    match: Match
    best: Key  # of all sprites in that style
    color: str | None  # of the wanted concept's sprites, as the style
    style: str
    box: tuple[slice, slice]  # the surroundings, in the picture
    weight: float = 1.0  # explained energy, as a share of what the wanted sprite has on that background
    misfits: tuple[float, ...] = ()  # least errors by style, in the order of the reader's styles
    members: tuple[Match, ...] = ()  # of a group

    @property
    def concept(self) -> str:
        """What stands there."""
        return self.best.concept

    @property
    def present(self) -> bool:
        """Whether the wanted concept explains what is there."""
        return self.match.explained > EXPLAINED


class Reader:
    """Reads the wanted objects from a picture, and draws what it sees into `expected`."""

    def __init__(
        self,
        picture: Floats,
        ground: Background,
        wanted: Spec,
        strict: bool,
        sizes: tuple[float, ...] = EVERY_SIZE,
    ) -> None:
        """`picture` is premultiplied; `strict` is that of `verify`; `sizes` are the diameters to try."""
        self.picture, self.wanted, self.strict, self.sizes = picture, wanted, strict, sizes
        self.view = View(picture, grounds.drawn(ground, *picture.shape[:2]))
        self.expected = self.view.ground.copy()
        said = {item.style for item in wanted.objects}
        self.styles = STYLES if strict or said - {"flat"} else ("flat",)
        plain = self.styles == ("flat",) and all(item.concept in CONCEPTS for item in wanted.objects)
        self.names = tuple(CONCEPTS if plain else CATALOGUE)

    def sights(self) -> list[Sight]:
        """One for each wanted object, in order; objects of one style are read in that which fits best."""
        seen = self._read()
        alike = len({item.style for item in self.wanted.objects}) == 1 < len(self.styles)
        present = [sight for sight in seen if sight.present and len(sight.misfits) == len(self.styles)]
        if alike and present:
            voted = self.styles[int(np.argmin(np.sum([sight.misfits for sight in present], 0)))]
            if any(sight.style != voted for sight in seen):
                self.styles = (voted,)
                seen = self._read()
        return seen

    def _drawn(self, ground: Floats, *pairs: tuple[ObjectSpec, Sight]) -> Floats:
        """A background with some objects, in order."""
        canvas = ground.copy()
        for item, sight in pairs:
            self._draw(canvas, item, sight)
        return canvas

    def _read(self) -> list[Sight]:
        """What has a place of its own first; then the rest, with all that was seen explained."""
        self.expected = self.view.ground.copy()
        found: dict[int, Sight] = {}
        index = self.wanted.objects.index
        pairs = [r for r in self.wanted.relations if r.kind in OVERLAPPING]
        paired = {index(item) for relation in pairs for item in (relation.subject, relation.target)}
        for at, item in enumerate(self.wanted.objects):
            if at not in paired and item.place and item.count == 1:
                sight = self._challenged(self.view, self._look_near(self.view, item), item)
                if self._right(sight, item) or not self.strict:
                    found[at] = sight
                    self._draw(self.expected, item, sight)
        for relation in pairs:
            found |= self._overlapping(View(self.picture, self.expected.copy()), relation)
        groups_first = sorted(enumerate(self.wanted.objects), key=lambda each: -each[1].count)
        for at, item in groups_first:
            if at not in found:
                view = View(self.picture, self.expected.copy())
                found[at] = self._challenged(view, self._look(view, item), item)
                self._draw(self.expected, item, found[at])
        return [found[at] for at in range(len(self.wanted.objects))]

    @staticmethod
    def _right(sight: Sight, item: ObjectSpec) -> bool:
        return sight.present and sight.concept == item.concept and sight.weight > WEIGHTY

    # --- one object --------------------------------------------------------------------------------------

    def _look(self, view: View, item: ObjectSpec) -> Sight:
        """An object at its place, or everywhere when it has none or is not there."""
        if item.count > 1:
            return self._look_for_group(view, item, self._own(item))
        near = self._look_near(view, item) if item.place else None
        if near and (self._right(near, item) or not self.strict):
            return near
        sight = self._look_everywhere(view, item, self._own(item))
        return sight if near is None or self._right(sight, item) else near

    def _look_near(self, view: View, item: ObjectSpec) -> Sight:
        own = self._own(item)
        match = max((_near_place(view, item.place, size, own) for size in self.sizes), key=_score)
        if place_at(view, *_uphill(view, match, own).center(view)) != item.place:
            match = replace(match, explained=0.0)  # a part of one that stands elsewhere
        return self.identify(view, match, item)

    def _look_everywhere(self, view: View, item: ObjectSpec, own: Templates) -> Sight:
        """The best window that shows the wanted concept, or the best of all."""
        matches = sorted((_anywhere(view, size, own) for size in self.sizes), key=_score, reverse=True)
        sights = [self.identify(view, match, item) for match in matches if match.explained > CLEARLY]
        right = next((sight for sight in sights if self._right(sight, item)), None)
        return right or replace(
            self.identify(view, matches[0], item), match=replace(matches[0], explained=0.0)
        )

    def _look_for_group(self, view: View, item: ObjectSpec, own: Templates) -> Sight:
        best = max((_anywhere(view, size, own) for size in _GROUPED), key=_score)
        sight = self.identify(view, best, item)
        named = templates((item.concept,), (sight.style,))
        found = [
            match
            for match in everywhere(view, best.size, named, EXPLAINED)
            if self.identify(view, match, item).concept == item.concept
        ]
        return replace(sight, members=tuple(found))

    def identify(self, view: View, match: Match, item: ObjectSpec) -> Sight:
        """The nearest style and colour of the wanted concept, and the nearest concept in that style."""
        windows = match.windows(view)
        own = self._own(item)
        every_error = own.errors(windows)
        errors = every_error.min(0)
        styles = np.array([key.style for key in own.keys])
        misfits = tuple(float(errors[styles == style].min()) for style in dict.fromkeys(styles))
        style = own.keys[int(np.argmin(errors))].style
        asked = item.color is not None and colorable(item.concept, style)
        named = [
            index
            for index, key in enumerate(own.keys)
            if key.style == style and (key.color is not None or not asked)
        ]
        color = own.keys[named[int(np.argmin(errors[named]))]].color
        best, least = None, np.inf
        for every in self._drawings(self._names(item), item, style, color):
            fits = every.errors(windows).min(0)
            if fits.min() < least:
                best, least = every.keys[int(np.argmin(fits))], float(fits.min())
        assert best is not None, "every style has templates"
        at, column = divmod(int(np.argmin(every_error)), len(own.keys))
        weight = -float(every_error[at, column]) / own.energy(windows[at], column)
        return Sight(match, best, color, style, _box(view, match, SURROUND), weight, misfits)

    def _challenged(self, view: View, sight: Sight, item: ObjectSpec) -> Sight:
        """The sight, or another noun that at another size explains better what stands there.

        Such a noun may hold a part that the wanted one fits as well as any of that part's size. The core
        nouns alone are told apart without.
        """
        wanted = sight.present and sight.concept == item.concept
        if not wanted or len(self.names) == len(CONCEPTS):
            return sight
        lead = lambda match: FAR_AHEAD if match.size > LARGER * sight.match.size else AHEAD  # noqa: E731
        own = max(
            [sight.match.score, *(match.score for match, _ in self._fits(view, sight, item, (item.concept,)))]
        )
        fits = self._fits(view, sight, item, self._names(item))
        match, drawings = max(fits, key=lambda fit: fit[0].score - lead(fit[0]))
        if match.score - lead(match) <= own:
            return sight
        best = drawings.keys[int(np.argmin(drawings.errors(match.windows(view, reach=0))))]
        return replace(sight, match=match, best=best)

    def _fits(
        self, view: View, sight: Sight, item: ObjectSpec, names: tuple[str, ...]
    ) -> list[tuple[Match, Templates]]:
        """How well some nouns explain each size of window around what was seen."""
        y, x = sight.match.center(view)
        return [
            (_near(view, y / view.height, x / view.width, 2, size, drawings), drawings)
            for drawings in self._drawings(names, item, sight.style, sight.color)
            for size in (self.sizes if item.count == 1 else _GROUPED)
        ]

    def _names(self, item: ObjectSpec) -> tuple[str, ...]:
        """The nouns that an object is told from."""
        return tuple(SHAPES) if item.concept in SHAPES else self.names

    def _drawings(
        self, names: tuple[str, ...], item: ObjectSpec, style: str, color: str | None
    ) -> list[Templates]:
        """Nouns in the style that was read and in the wanted one.

        Every noun takes every ink: comparing in the ink that was read is as good and 13 times faster.
        """
        return [
            templates(names, (each,), (color,) if each == "outline" else ALL)
            for each in dict.fromkeys((style, self._style_of(item)))
        ]

    def _style_of(self, item: ObjectSpec) -> str:
        return "flat" if item.concept in SHAPES else item.style

    def _own(self, item: ObjectSpec) -> Templates:
        return templates((item.concept,), ("flat",) if item.concept in SHAPES else self.styles)

    # --- two objects, one before the other ---------------------------------------------------------------

    def _overlapping(self, view: View, relation: RelationSpec) -> dict[int, Sight]:
        """Both objects, whichever is found first: the reading that leaves less of the picture open."""
        pair = relation.target, relation.subject
        back, front = pair if _IN_FRONT[relation.kind] == "subject" else pair[::-1]
        readings = [self._back_first(view, back, front), self._front_first(view, back, front)]
        first, second = min(readings, key=lambda seen: self._unread(view, (back, seen[0]), (front, seen[1])))
        self._draw(self.expected, back, first)
        self._draw(self.expected, front, second)
        index = self.wanted.objects.index
        return {index(back): first, index(front): second}

    def _unread(self, view: View, *pair: tuple[ObjectSpec, Sight]) -> float:
        drawn = (self._drawn(view.ground, *order) for order in (pair, pair[::-1]))
        return min(float(np.abs(canvas - self.picture).sum()) for canvas in drawn)

    def _back_first(self, view: View, back: ObjectSpec, front: ObjectSpec) -> tuple[Sight, Sight]:
        """The one behind, the one before it, and the first again without what hides it."""
        first = self._look(view, back)
        under = self._drawn(view.ground, (back, first))
        second = self._look(View(self.picture, under), front)
        return self._again(self._without(front, second, under), view.ground, first, back), second

    def _front_first(self, view: View, back: ObjectSpec, front: ObjectSpec) -> tuple[Sight, Sight]:
        """The one before, the one behind in what is left, and both again, each with the other explained."""
        second = self._look(view, front)
        first = self._look(View(self._without(front, second, view.ground), view.ground), back)
        under = self._drawn(view.ground, (back, first))
        second = self._again(self.picture, under, second, front)
        return self._again(self._without(front, second, under), view.ground, first, back), second

    def _without(self, item: ObjectSpec, sight: Sight, under: Floats) -> Floats:
        """The picture with what is known to be `under` an object in its place."""
        cover = np.zeros_like(under)
        self._draw(cover, item, sight)
        return np.where(cover[..., 3:] > _HIDES, under, self.picture)

    def _again(self, picture: Floats, ground: Floats, sight: Sight, item: ObjectSpec) -> Sight:
        """The same place in another picture, at any size."""
        view, own = View(picture, ground), self._own(item)
        y, x = sight.match.center(self.view)
        matches = [_near(view, y / view.height, x / view.width, 2, size, own) for size in self.sizes]
        return self.identify(view, max(matches, key=_score), item)

    def _draw(self, canvas: Floats, item: ObjectSpec, sight: Sight) -> None:
        """Draw what was found, if anything was."""
        if sight.present:
            lay(self.pieces(item, sight), canvas)

    def pieces(self, item: ObjectSpec, sight: Sight) -> list[Piece]:
        """The sprites that explain what was found."""
        own = sight.concept == item.concept
        key = Key(item.concept, sight.color, sight.style) if own else sight.best
        return [piece_of(self.view, match, key) for match in sight.members or (sight.match,)]


def place_at(view: View, y: float, x: float) -> str:
    """The place word of a point in picture pixels."""
    return place_of(min(x / view.width, 0.99), min(y / view.height, 0.99))


_score: Callable[[Match], float] = lambda match: match.score  # noqa: E731


def _near_place(view: View, place: str, size: float, own: Templates) -> Match:
    """The window near the middle of a place that the object's own sprites explain best."""
    height, width = view.places(size)
    row, column = divmod(PLACES.index(place), 3)
    rows = around(MIDDLES[row] * height, REACH * height, height)
    columns = around(MIDDLES[column] * width, REACH * width, width)
    return search(view, size, own, rows, columns)


def _uphill(view: View, match: Match, own: Templates) -> Match:
    """Where a match comes to rest that may move on as long as a window beside it is explained better."""
    height, width = view.places(match.size)
    while True:
        beside = around(match.row, 1, height), around(match.column, 1, width)
        best = search(view, match.size, own, *beside, step=1)
        if best.explained <= match.explained:
            return match
        match = best


def _near(view: View, y: float, x: float, reach: int, size: float, own: Templates) -> Match:
    """The best window within some template pixels of a point, given in fractions of the picture."""
    height, width = view.places(size)
    rows, columns = around(y * height, reach, height), around(x * width, reach, width)
    return search(view, size, own, rows, columns, step=1, least=FAINT)


def _anywhere(view: View, size: float, own: Templates) -> Match:
    """The best window of all."""
    height, width = view.places(size)
    return search(view, size, own, range(height + 1), range(width + 1), step=3, least=FAINT)


def _box(view: View, match: Match, factor: float) -> tuple[slice, slice]:
    """Rows and columns of the picture within `factor` sizes around a match."""
    half = factor * match.size * view.unit / 2
    y, x = match.center(view)
    return slice(max(0, round(y - half)), round(y + half)), slice(max(0, round(x - half)), round(x + half))
