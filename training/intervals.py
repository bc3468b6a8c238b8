"""How sure a share is: Wilson intervals, and a bootstrap over samples for means and paired differences."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Z = 1.96
"""95 %."""
DRAWS = 2000
Marks = Mapping[str, tuple[int, int]]
"""(right, asked) by measure."""
Items = Mapping[str, Marks]
"""Marks by the name of a turn, `family/number/index`."""


def wilson(right: int, asked: int, digits: int = 1) -> tuple[float, float]:
    """The interval of a share, in percent, rounded to `digits`; (0, 100) when nothing was asked."""
    if not asked:
        return 0.0, 100.0
    share, spread = right / asked, Z * Z / asked
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / asked + spread / (4 * asked)) / (1 + spread)
    return round(max(0.0, 100 * (middle - half)), digits), round(100 * (middle + half), digits)


def difference(
    first: Items, second: Items, measures: Sequence[str]
) -> tuple[float, float, float, int] | None:
    """(second - first, low, high, samples): how much a mean of measures gains, in percent points.

    Only samples that both have count, and they are drawn again as a whole, so turns of one dialogue and
    pictures of one story are not taken for independent. None when a measure is in none of them.
    """
    names = sorted({_sample(name) for name in first} & {_sample(name) for name in second})
    before, after = _counts(first, names, measures), _counts(second, names, measures)
    if not names or (before[..., 1].sum(0) == 0).any() or (after[..., 1].sum(0) == 0).any():
        return None
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    gains = _mean(weights, after) - _mean(weights, before)
    once = np.ones((1, len(names)), int)
    gain = float((_mean(once, after) - _mean(once, before))[0])
    low, high = np.nanquantile(gains, (0.025, 0.975))
    return round(gain, 1), round(float(low), 1), round(float(high), 1), len(names)


def paired(gains: NDArray[np.float64]) -> tuple[float, float, float]:
    """(mean, low, high) of differences `[N]` on samples that stand each for itself."""
    drawn = np.random.default_rng(0).integers(len(gains), size=(DRAWS, len(gains)))
    low, high = np.quantile(gains[drawn].mean(1), (0.025, 0.975))
    return float(gains.mean()), float(low), float(high)


def _sample(name: str) -> str:
    """`family/number`, without the turn and what a further pass appends."""
    return "/".join(name.split(" ")[0].split("/")[:3])


def _counts(items: Items, names: Sequence[str], measures: Sequence[str]) -> NDArray[np.int64]:
    """`[sample, measure, 2]`: right and asked."""
    found = np.zeros((len(names), len(measures), 2), np.int64)
    row = {name: index for index, name in enumerate(names)}
    for name, marks in items.items():
        index = row.get(_sample(name))
        if index is not None:
            for column, measure in enumerate(measures):
                found[index, column] += marks.get(measure, (0, 0))
    return found


def _mean(weights: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean over measures of right / asked, in percent, for every draw of samples."""
    right, asked = (np.einsum("ds,sm->dm", weights, counts[..., i]) for i in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: NDArray[np.float64] = 100 * np.nanmean(right / asked, axis=1)
    return mean
