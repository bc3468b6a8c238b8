"""Which renders share an evaluation: the cheapest grouping, checked against all of them."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from services.visualizer.grouping import CALL_TOKENS, GROUP_TOKENS, group

RENDERS = st.lists(st.tuples(st.integers(1, 900), st.integers(1, 3)), min_size=1, max_size=6)


def cost(groups: list[list[int]], renders: list[tuple[int, int]]) -> float:
    total = 0.0
    for each in groups:
        tokens = max(renders[i][0] for i in each) * sum(renders[i][1] for i in each)
        total += CALL_TOKENS + tokens if tokens <= GROUP_TOKENS or len(each) == 1 else float("inf")
    return total


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for index, each in enumerate(rest):
            yield [*rest[:index], [items[0], *each], *rest[index + 1 :]]


@given(RENDERS)
def test_every_render_is_in_one_group(renders):
    groups = group([n for n, _ in renders], [rows for _, rows in renders])
    assert sorted(i for each in groups for i in each) == list(range(len(renders)))


@given(RENDERS)
def test_groups_are_never_dearer_than_one_each(renders):
    groups = group([n for n, _ in renders], [rows for _, rows in renders])
    assert cost(groups, renders) <= cost([[i] for i in range(len(renders))], renders)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=6))
def test_no_grouping_of_equal_branches_is_cheaper(lengths):
    renders = [(n, 2) for n in lengths]
    found = cost(group(lengths, [2] * len(lengths)), renders)
    assert found == min(cost(each, renders) for each in partitions(list(range(len(lengths)))))


def test_sizes_far_apart_are_not_padded_to_each_other():
    assert sorted(map(sorted, group([64, 256, 64, 256], [2] * 4))) == [[0, 2], [1, 3]]


def test_a_small_picture_joins_a_slightly_larger_one():
    assert [sorted(each) for each in group([64, 72], [2, 2])] == [[0, 1]]
