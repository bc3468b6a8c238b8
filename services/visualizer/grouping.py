"""Which renders of a step are evaluated together.

One evaluation pads its rows to the longest, and a picture of 64 cells padded to 256 costs four times what it
should; an evaluation of its own costs some fixed time instead. Both are counted in tokens here, and the
grouping with the least sum is taken.
"""

from collections.abc import Sequence

CALL_TOKENS = 128
"""What one more evaluation costs, in tokens that would take as long (measured: benchmarks/README.md)."""
GROUP_TOKENS = 1024
"""Most tokens of one evaluation: beyond, activations leave the cache and nothing is gained."""


def group(lengths: Sequence[int], rows: Sequence[int]) -> list[list[int]]:
    """Indices of renders by evaluation, given each render's tokens a row and its rows.

    A render that alone has more than GROUP_TOKENS gets an evaluation of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    # best[n]: the least cost of the n shortest renders, and where their last group starts.
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(order) + 1):
        width, height = lengths[order[end - 1]], 0
        options = []
        for start in range(end - 1, -1, -1):
            height += rows[order[start]]
            if width * height > GROUP_TOKENS and start < end - 1:
                break
            options.append((best[start][0] + CALL_TOKENS + width * height, start))
        best.append(min(options))
    groups, end = [], len(order)
    while end:
        start = best[end][1]
        groups.append(order[start:end])
        end = start
    return groups
