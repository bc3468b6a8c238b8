"""Clients as they are out there: they retry what may be retried and take a broken stream up with Watch."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from wanimage import rpc
from wanimage.sessions import ENDINGS
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc, types_pb2

TURN_SECONDS = 300.0
WATCH_SECONDS = 10.0
"""A watch that brings no end is asked for again: the service looks after a silent turn when it is."""
PAUSE_SECONDS = 0.1
PASSING = (
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
)  # fmt: skip
"""What a client tries again after: outages, a full queue, a session that is still busy."""
REFUSALS = ("Unavailable", "Overloaded", "Conflict")


@dataclass
class Person:
    """One session's client. `seen` is every stored event it was shown, across all its streams."""

    name: str
    stub: planner_pb2_grpc.PlannerServiceStub
    pictures: int = 4
    session: str = ""
    seen: list[events_pb2.Event] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    """Ids of turns that ended well."""
    refused: int = 0
    """Turns that were in the log but failed at their start, as the caller was told."""
    lost: list[str] = field(default_factory=list)
    """What was said of turns that ended otherwise."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failed calls by status."""

    async def talk(self, until: float) -> None:
        """Ask for one story after the other until the loop's clock says `until`; the last is heard out."""
        clock, number = asyncio.get_running_loop().time, 0
        while clock() < until:
            await self.turn(f"{self.pictures} pictures for {self.name} in turn {number}")
            number += 1

    async def turn(self, text: str) -> None:
        """One story, from asking to its end, through whatever happens meanwhile."""
        while True:
            before = len(self.seen)
            if self._running() is None:
                user = types_pb2.UserMessage(text=text)
                request = planner_pb2.GenerateRequest(session_id=self.session, user=user)
                refused = await self._hear(self.stub.Generate(request, timeout=TURN_SECONDS))
            while self.session and (refused or self._running()):
                await asyncio.sleep(PAUSE_SECONDS)
                watch = planner_pb2.WatchRequest(
                    session_id=self.session, after_seq=self._seq, until_idle=True
                )
                again = await self._hear(self.stub.Watch(watch, timeout=WATCH_SECONDS))
                if not again and self._running() is None:
                    break
            if self._judge(self.seen[before:], bool(refused)):
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _judge(self, events: list[events_pb2.Event], told: bool) -> bool:
        """Whether the turn is over for good; a refused one is asked for again."""
        ends = [event for event in events if event.WhichOneof("kind") in ENDINGS]
        if not ends:
            return False  # nothing of it is in the log
        if ends[-1].HasField("turn_finished"):
            self.finished.append(ends[-1].turn_id)
            return True
        begun = any(event.HasField("image_planned") or event.HasField("text_delta") for event in events)
        if told and not begun and ends[-1].turn_failed.failure.reason in REFUSALS:
            self.refused += 1
            return False
        self.lost.append(f"{self.name}: {ends[-1]}".replace("\n", " "))
        return True

    async def _hear(self, stream: Any) -> str:
        """Take a stream's events; returns the status it broke with, "" when it ended by itself."""
        try:
            async for response in stream:
                event = response.event
                self.session = event.session_id
                if event.seq:
                    self.seen.append(event)
        except grpc.aio.AioRpcError as error:
            self.errors[error.code().name] += 1
            if error.code() not in PASSING:
                self.lost.append(f"{self.name}: {rpc.error_details(error)}")
            return error.code().name
        return ""

    @property
    def _seq(self) -> int:
        return self.seen[-1].seq if self.seen else 0

    def _running(self) -> str | None:
        """The turn that has begun and not ended, as far as was heard."""
        for event in reversed(self.seen):
            kind = event.WhichOneof("kind")
            if kind in ENDINGS or kind == "session_created":
                return None
            if event.turn_id:
                return event.turn_id
        return None


async def sessions_of(stub: planner_pb2_grpc.PlannerServiceStub) -> AsyncIterator[planner_pb2.Session]:
    """All of the tenant's sessions."""
    token = ""
    while True:
        request = planner_pb2.ListSessionsRequest(page_size=10, page_token=token)  # whole logs are read
        page = await stub.ListSessions(request, timeout=60)
        for session in page.sessions:
            yield session
        token = page.next_page_token
        if not token:
            return
