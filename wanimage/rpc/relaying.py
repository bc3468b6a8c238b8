"""What a front streams while a job is worked on: its progress, then its result."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from wanimage.v1.jobs_pb2 import JobProgress

MAX_UNREAD = 8
"""Progress messages kept for a client that reads slowly; older ones are dropped."""

Result = TypeVar("Result")
Response = TypeVar("Response")
Work = Callable[[Callable[[JobProgress], Awaitable[None]]], Coroutine[Any, Any, Result]]
"""Reports progress to the function it is given, and returns its result."""


async def responses(response: Callable[..., Response], work: Work[Any]) -> AsyncGenerator[Response, None]:
    """`relayed`, as the answers of a call: `response(progress=...)` while it lasts, then
    `response(output=...)`."""
    async with aclosing(relayed(work)) as answers:
        async for answer in answers:
            yield response(**{"progress" if isinstance(answer, JobProgress) else "output": answer})


async def relayed(work: Work[Result]) -> AsyncGenerator[JobProgress | Result, None]:
    """The progress that `work` reports to the function it is given, and last what it returns.

    Raises what it raises. Close it (`contextlib.aclosing`): the caller may have left, and its jobs end then.
    """
    unread: asyncio.Queue[JobProgress] = asyncio.Queue()

    async def keep(progress: JobProgress) -> None:
        if unread.qsize() >= MAX_UNREAD:
            unread.get_nowait()
        unread.put_nowait(progress)

    working, waiting = asyncio.create_task(work(keep)), asyncio.create_task(unread.get())
    try:
        while not working.done():
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                yield waiting.result()
                waiting = asyncio.create_task(unread.get())
        yield await working
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.wait({working, waiting})
