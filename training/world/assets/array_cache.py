"""A cache of arrays that is bounded by their bytes: a thousand thumbnails cost less than ten posters."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, ParamSpec

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")


class _Kept(Generic[P]):
    def __init__(self, make: Callable[P, NDArray[np.float32]], max_bytes: int) -> None:
        functools.update_wrapper(self, make)
        self._make = make
        self._max_bytes = max_bytes
        self._arrays: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()
        self.nbytes = 0

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> NDArray[np.float32]:
        key = (args, tuple(kwargs.items()))
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
                return found
        made = self._make(*args, **kwargs)
        made.setflags(write=False)
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = made
                self.nbytes += made.nbytes
            while self.nbytes > self._max_bytes:
                self.nbytes -= self._arrays.popitem(last=False)[1].nbytes
        return made

    def cache_clear(self) -> None:
        """Forget all, as after a change of the folder that the arrays come from."""
        with self._lock:
            self._arrays.clear()
            self.nbytes = 0


def keep_arrays(max_bytes: int) -> Callable[[Callable[P, NDArray[np.float32]]], _Kept[P]]:
    """As `functools.lru_cache`, for a function that makes arrays: what it made is kept, read-only, up to
    `max_bytes` in all; the arrays that were not asked for the longest go first."""
    return lambda make: _Kept(make, max_bytes)
