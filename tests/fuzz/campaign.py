"""How the fuzz suite is run: a counted number of examples from a fixed seed, each within a CPU limit.

`campaign(...)` makes a test of a function `(case, ground)`, where hypothesis draws `case` and `ground` is the
file's fixture of that name. Every example is counted, explicit ones (the corpus of what was found) as well.
The limit is CPU seconds of this process, so a busy machine makes no false alarm and an endless loop is caught
inside.
"""

import gc
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

SEED = 20261124
"""Of every campaign; the same examples on every machine with this version of hypothesis."""
CPU_SECONDS = 5.0
"""Longest an example may compute."""
FULL_TIMEOUT = 3600.0


class Hang(AssertionError):
    """An example computed for longer than its limit."""


@dataclass
class Tally:
    """What a campaign did."""

    name: str
    examples: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    """CPU seconds of the slowest example."""


TALLIES: list[Tally] = []
"""Of this run, for the summary at its end."""


def campaign(
    name: str,
    strategy: st.SearchStrategy[Any],
    *,
    few: int,
    full: int,
    corpus: Sequence[Any] = (),
    cpu_seconds: float = CPU_SECONDS,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate `test(case, ground)`: `few` examples in `make test`, `full` in `make fuzz`.

    `corpus` holds cases that once failed; they come first, on top of the number.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.timeout(FULL_TIMEOUT)
        def run(scale: str, ground: Any) -> None:
            tally = Tally(name)
            TALLIES.append(tally)

            def once(case: Any) -> None:
                tally.examples += 1
                with limited(cpu_seconds) as spent:
                    test(case, ground)
                tally.slowest = max(tally.slowest, spent[0])

            examples = full if scale == "full" else few
            once.__qualname__ = once.__name__ = test.__name__
            counted: Any = hypothesis.given(strategy)(once)
            for case in corpus:
                counted = hypothesis.example(case)(counted)
            counted = hypothesis.seed(SEED)(
                hypothesis.settings(
                    max_examples=examples, database=None, suppress_health_check=list(hypothesis.HealthCheck)
                )(counted)
            )
            gc.collect()
            gc.freeze()  # else a full collection of all that is loaded would count as an example's time
            started = time.perf_counter()
            try:
                counted()
            finally:
                tally.seconds = time.perf_counter() - started
            assert tally.examples >= examples, f"{tally.examples} of {examples} examples: the space is small"

        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        return run

    return decorate


@contextmanager
def limited(cpu_seconds: float) -> Iterator[list[float]]:
    """Raise `Hang` inside the block once it has computed that long; the list holds what it took."""
    spent = [0.0]

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Hang(f"still computing after {cpu_seconds} s of CPU")

    before = signal.signal(signal.SIGVTALRM, ring)
    started = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield spent
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        spent[0] = time.process_time() - started
