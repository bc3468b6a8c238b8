"""Byte-level damage, drawn by hypothesis: flips, cuts, insertions, copies and numbers at their limits."""

import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

_NUMBERS = tuple(
    struct.pack(layout, value)
    for layout, values in (
        (">I", (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)),
        ("<I", (1, 0xFFFFFFFF)),
        (">H", (0, 0xFFFF)),
    )
    for value in values
)
_VARINTS = (b"\xff" * 9 + b"\x01", b"\x80" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f", b"\x00")

place = st.integers(0, 2**20)
change = st.one_of(
    st.tuples(st.just("flip"), place, st.integers(0, 7)),
    st.tuples(st.just("set"), place, st.integers(0, 255)),
    st.tuples(st.just("put"), place, st.sampled_from(_NUMBERS + _VARINTS)),
    st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("cut"), place, st.integers(1, 64)),
    st.tuples(st.just("copy"), place, place),
    st.tuples(st.just("end"), place, st.just(0)),
)
changes = st.lists(change, min_size=1, max_size=6)


def mutations(count: int) -> st.SearchStrategy[tuple[int, list[Any]]]:
    """(which of `count` originals, what is done to it), for `mutated`."""
    return st.tuples(st.integers(0, count - 1), changes)


def mutated(originals: Sequence[bytes], case: tuple[int, list[Any]]) -> bytes:
    """The bytes a case describes."""
    which, steps = case
    data = bytearray(originals[which])
    for kind, where, what in steps:
        at = where % (len(data) + 1)
        if kind == "flip" and data:
            data[at % len(data)] ^= 1 << what
        elif kind == "set" and data:
            data[at % len(data)] = what
        elif kind == "put":
            data[at : at + len(what)] = what
        elif kind == "insert":
            data[at:at] = what
        elif kind == "cut":
            del data[at : at + what]
        elif kind == "copy":
            start = what % (len(data) + 1)
            data[at:at] = data[start : start + 64]
        elif kind == "end":
            del data[at:]
    return bytes(data)
