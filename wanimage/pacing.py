"""HTTP requests that end: uploads as fast as the link, but never slower than is worth waiting for.

urllib3 limits the silence within a request, not its length: on a link that lets a few bytes through every
second, a request would hold its thread for hours. And it sends a body in one piece, for which it allows no
longer than for connecting, so a large one never got over a link that was only slow.
"""

import io
import socket
import time
from typing import Any

import urllib3

GRACE_SECONDS = 5.0
"""For a request of any size."""
SLOWEST = 256 * 1024
"""Bytes a second below which a server is as good as away."""
BLOCK_BYTES = 64 * 1024
"""Sent and read at once; each within the pool's own time limits."""
SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # Linux doubles it. What is sent but has not left must leave within the time an answer may take.
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024),
]


class Pace:
    """The time a transfer of so many bytes may take, from now."""

    def __init__(self, size: int) -> None:
        self._seconds = GRACE_SECONDS + size / SLOWEST
        self._due = time.monotonic() + self._seconds

    def check(self) -> None:
        """Raises TimeoutError once it is over."""
        if time.monotonic() > self._due:
            raise TimeoutError(f"slower than {SLOWEST // 1024} KiB/s: not done after {self._seconds:.0f} s")


class PacedPool(urllib3.PoolManager):
    """Sends bodies block by block, and gives up on those that take too long."""

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **given: Any
    ) -> urllib3.BaseHTTPResponse:
        """As PoolManager.urlopen; a body that is too slow ends as any broken connection does."""
        if isinstance(given.get("body"), bytes) and given["body"]:
            given["body"] = _Body(given["body"])
        return super().urlopen(method, url, redirect, **given)


class _Body(io.BytesIO):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._pace = Pace(len(data))

    def read(self, size: int | None = -1, /) -> bytes:
        self._pace.check()
        return super().read(size)


def read(response: urllib3.BaseHTTPResponse, size: int) -> bytes:
    """Up to `size` bytes of a response's body. Raises TimeoutError when they come too slowly."""
    pace, blocks, left = Pace(size), [], size
    while left and (block := response.read(min(left, BLOCK_BYTES))):
        blocks.append(block)
        left -= len(block)
        pace.check()
    return b"".join(blocks)


def broke(error: BaseException) -> bool:
    """Whether the request failed because its connection did: worth one more try on another."""
    seen: list[object] = [error]
    while seen:
        each = seen.pop()
        if isinstance(each, ConnectionResetError | BrokenPipeError | urllib3.exceptions.IncompleteRead):
            return True
        if isinstance(each, BaseException):
            seen += [getattr(each, "reason", None), *each.args]
    return False
