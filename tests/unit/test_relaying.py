"""What is left behind of a stream whose caller leaves: nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from tests.conftest import eventually
from wanimage.rpc.relaying import relayed
from wanimage.v1.jobs_pb2 import JobProgress


async def test_a_caller_who_leaves_while_it_waits_leaves_no_task_behind() -> None:
    async def work(tell: Callable[[JobProgress], Awaitable[None]]) -> None:
        await tell(JobProgress(step=1))
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with aclosing(relayed(work)) as answers:
        first = await anext(answers)
        assert isinstance(first, JobProgress)
        second = asyncio.ensure_future(anext(answers))
        # The work, the call, and what waits for more progress.
        await eventually(lambda: len(asyncio.all_tasks() - before) == 3)
        second.cancel()
        await asyncio.wait({second})
    assert asyncio.all_tasks() == before
