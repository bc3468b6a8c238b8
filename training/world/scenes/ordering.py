"""Which of two overlapping objects is in front: both orders are laid on the picture, fitted, and compared.

Objects are found to a sixteenth of their size, and the strip that tells their order is hardly wider. So each
order is first moved and resized, a pixel at a time, to where it leaves least of the picture open.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from training.world.assets.sprites import sprite
from training.world.pixels import paste
from training.world.scenes.matching import Floats, Key, Match, View

REACH = 0.3
"""Beyond both objects is compared, too, as a share of the larger one."""
SOFT = (0.0, 1.0, 2.0)
"""Standard deviations, in pixels of a picture of 128, of the blur that the picture may have."""
ROUNDS = 6
"""Of single moves of both objects, at most."""


@dataclass(frozen=True)
class Piece:
    """A sprite on a picture, in whole pixels; its side is even."""

    key: Key
    top: int
    left: int
    side: int

    def moved(self, down: int, right: int) -> "Piece":
        """The piece so much further."""
        return replace(self, top=self.top + down, left=self.left + right)

    def grown(self, by: int) -> "Piece":
        """The piece so much larger on every side."""
        return replace(self, top=self.top - by, left=self.left - by, side=self.side + 2 * by)

    def moves(self) -> list["Piece"]:
        """All that is a step away: a pixel further, or larger."""
        steps = [self.moved(*by) for by in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        return steps + [self.grown(by) for by in (1, -1) if self.side + 2 * by > 2]


def lay(pieces: Sequence[Piece], planes: Floats) -> None:
    """Draw pieces in order over premultiplied planes `[H, W, 4]`, all 0..255, in place."""
    planes[..., 3] /= 255
    for piece in pieces:
        key = piece.key
        paste(planes, sprite(key.concept, key.color, piece.side, key.style), piece.top, piece.left)
    planes[..., 3] *= 255


def piece_of(view: View, match: Match, key: Key) -> Piece:
    """A sprite where it was found."""
    side = max(2, 2 * round(match.size * view.unit / 2))
    y, x = match.center(view)
    return Piece(key, round(y - side / 2), round(x - side / 2), side)


def in_order(view: View, back: Sequence[Piece], front: Sequence[Piece]) -> bool:
    """Whether the picture is explained no worse with `front` before `back` than the other way round; so too
    of two that nowhere hide each other."""
    return left_open(view, (*back, *front)) <= left_open(view, (*front, *back))


def left_open(view: View, laid: tuple[Piece, ...]) -> float:
    """Squared error around pieces laid in this order, moved and resized in turn for as long as that helps."""
    window = _Window.around(view, laid)
    least, soft = min((window.error(laid, each), each) for each in SOFT)
    for _ in range(ROUNDS):
        before = laid
        for at in range(len(laid)):
            for piece in laid[at].moves():
                trial = (*laid[:at], piece, *laid[at + 1 :])
                if (error := window.error(trial, soft)) < least:
                    laid, least = trial, error
        if laid == before:
            break
    return least


@dataclass(frozen=True)
class _Window:
    """What is compared: a part of a picture, and of its background."""

    seen: Floats
    ground: Floats
    top: int
    left: int
    pixel: float
    """Of a picture of 128, in pixels of this one."""

    @classmethod
    def around(cls, view: View, pieces: Sequence[Piece]) -> "_Window":
        reach = round(REACH * max(piece.side for piece in pieces))
        top = max(0, min(piece.top for piece in pieces) - reach)
        left = max(0, min(piece.left for piece in pieces) - reach)
        bottom = max(piece.top + piece.side for piece in pieces) + reach
        right = max(piece.left + piece.side for piece in pieces) + reach
        box = slice(top, bottom), slice(left, right)
        return cls(view.picture[box], view.ground[box], top, left, view.unit / 128)

    def error(self, pieces: Sequence[Piece], soft: float) -> float:
        laid, sigma = self.ground.copy(), soft * self.pixel
        lay([piece.moved(-self.top, -self.left) for piece in pieces], laid)
        return float(np.square(gaussian_filter(laid, (sigma, sigma, 0)) - self.seen).sum())
