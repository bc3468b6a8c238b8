"""What the C library does with memory that torch gives back.

glibc returns large pieces to the kernel at once and gets them anew, zeroed page by page, at the next
operation: thousands of page faults in a batched step of the visualizer. A model that runs all day wants them
again.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of `mallopt`, from malloc.h."""
KEPT_BYTES = 512 * 2**20
"""Free memory at the end of the heap that is kept."""
LARGEST_BYTES = 32 * 2**20
"""Pieces up to this size come from the heap; glibc takes no more."""


def keep_freed_memory() -> None:
    """Keep freed memory in this process from now on. Does nothing where the C library is another."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGEST_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
