"""Cancellations that are not lost under the NATS client.

The client waits with `asyncio.wait_for`, which up to Python 3.11 returns its result when that arrives
together with the task's cancellation; the cancellation is then gone (python/cpython#86296), and a task in a
loop never ends. Whatever waits for the client goes through `heeding`.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeding(operation: Awaitable[T]) -> T:
    """Await `operation`; raise CancelledError if this task was cancelled meanwhile, whatever came of it."""
    task = asyncio.current_task()
    assert task is not None, "await this in a task"
    before = task.cancelling()
    try:
        return await operation
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError
