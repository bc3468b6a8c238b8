"""What a step is computed from: its micro-batches, which process computes which, and making them in time."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Batch = Any


class Pieces(list[Any]):
    """A step's batch that its maker cut into micro-batches, whose losses and numbers add up to the step's.

    The maker weighs them, since it alone knows what a mean is taken over: tokens, items, pictures.
    """


@dataclass(frozen=True)
class MicroBatch:
    """What one forward and backward pass is of."""

    batch: Batch
    number: int
    """Which of its step's it is, from 0: seeds its randomness, wherever it is computed."""
    weight: float
    """Factor of its loss and its numbers."""


def micro_batches(
    batch_at: Callable[[int], Batch], step: int, accumulate: int, rank: int, size: int
) -> list[MicroBatch]:
    """The micro-batches of a step that process `rank` of `size` computes; at least one.

    `batch_at` is asked for batches `step * accumulate` and on, `accumulate` of them, equally weighted.
    Processes take them by turns, or, where a step is one batch, its `Pieces`. Raises ValueError where that is
    too few.
    """
    found = []
    for turn in range(accumulate) if accumulate == 1 else range(rank, accumulate, size):
        batch = batch_at(step * accumulate + turn)
        pieces = batch if isinstance(batch, Pieces) else Pieces([batch])
        numbers = range(rank, len(pieces), size) if accumulate == 1 else range(len(pieces))
        found += [MicroBatch(pieces[i], i * accumulate + turn, 1 / accumulate) for i in numbers]
        if not found and isinstance(batch, Pieces):  # a short step: help with the exchange, count for nothing
            found.append(MicroBatch(pieces[0], 0, 0.0))
    if not found:
        raise ValueError(
            f"a step of {accumulate} batches cannot be shared by {size} processes; raise `accumulate`"
        )
    return found


def in_turn(make: Callable[[int], Any], start: int, stop: int) -> Iterator[Any]:
    """Yield `make(start..stop)`, each made when it is asked for."""
    return map(make, range(start, stop))


def prefetch(make: Callable[[int], Any], start: int, stop: int) -> Iterator[Any]:
    """Yield `make(start..stop)` made two ahead in a thread (numpy and torch release the GIL)."""
    ready: queue.Queue[Any] = queue.Queue(maxsize=2)
    closed = threading.Event()

    def produce() -> None:
        for step in range(start, stop):
            try:
                item = make(step)
            except Exception as error:  # handed to the consumer, which raises it
                item = error
            while not closed.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if closed.is_set() or isinstance(item, Exception):
                return

    threading.Thread(target=produce, name="batches", daemon=True).start()
    try:
        for _ in range(start, stop):
            item = ready.get()
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        closed.set()
