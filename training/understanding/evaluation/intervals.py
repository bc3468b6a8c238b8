"""How sure a share is: Wilson intervals, and paired differences between two models on the same items."""

import math
from collections.abc import Sequence

Z = 1.96
"""95 %."""


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The interval of a share, in percent; (0, 100) when nothing was asked."""
    if not asked:
        return 0.0, 100.0
    share, spread = right / asked, Z * Z / asked
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / asked + spread / (4 * asked)) / (1 + spread)
    return round(100 * (middle - half), 1), round(100 * (middle + half), 1)


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """(second - first, low, high) of two models' shares on the same items, in percent points.

    The interval is of the mean of the items' differences, by the normal approximation.
    """
    gaps = [100 * (b - a) for a, b in zip(first, second, strict=True)]
    if not gaps:
        return 0.0, -100.0, 100.0
    mean = sum(gaps) / len(gaps)
    half = Z * math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / max(1, len(gaps) - 1) / len(gaps))
    return round(mean, 1), round(mean - half, 1), round(mean + half, 1)
