"""The planner's RPCs as the CLI uses them: a deadline, errors as `Stop`, streams that survive a lost line."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import grpc

from wanimage import rpc
from wanimage.cli.connecting import channel
from wanimage.cli.report import Stop, err, explain
from wanimage.cli.turn import ENDS
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc, types_pb2

Answer = TypeVar("Answer")

RESUMES = 5
"""How often a turn's stream may break without any news between, before the command gives up."""
RESUME_SECONDS = 1.0
"""Pause before the first reconnection; doubles."""


class PlannerClient:
    """An async context manager over one channel. RPC errors come out as `Stop` or `BadInput`."""

    def __init__(self, address: str, api_key: str | None = None, timeout: float = 600.0) -> None:
        self.address, self.timeout = address, timeout
        self._channel = channel(address, api_key)
        self._stub = planner_pb2_grpc.PlannerServiceStub(self._channel)

    async def __aenter__(self) -> "PlannerClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close(None)

    async def turn(
        self,
        text: str,
        *,
        session: str = "",
        images: Sequence[types_pb2.ImageInput] = (),
        options: types_pb2.TurnOptions | None = None,
    ) -> AsyncIterator[events_pb2.Event]:
        """Run one turn; yields its events, to the one that ends it.

        A turn outlives its stream: a line that breaks after the first stored event is taken up with `Watch`.
        One that is refused because the service is full is sent again when the service says, while time is
        left for it.
        """
        user = types_pb2.UserMessage(text=text, images=images)
        request = planner_pb2.GenerateRequest(session_id=session, user=user, options=options)
        deadline = time.monotonic() + self.timeout
        seen = _Seen(session)
        stream: Any = self._stub.Generate(request, timeout=self.timeout)
        while True:
            broken: grpc.RpcError | None = None
            try:
                async for response in stream:
                    if seen.takes(response.event):
                        yield response.event
                    if seen.ended:
                        return
            except grpc.RpcError as error:
                broken = error
            if broken is not None and await self._waited_for_room(seen, broken, deadline):
                stream = self._stub.Generate(request, timeout=max(0.001, deadline - time.monotonic()))
                continue
            await self._pause_or_raise(seen, broken)
            watch = planner_pb2.WatchRequest(session_id=seen.session, after_seq=seen.seq, until_idle=True)
            stream = self._stub.Watch(watch, timeout=max(0.001, deadline - time.monotonic()))

    async def _waited_for_room(self, seen: "_Seen", error: grpc.RpcError, deadline: float) -> bool:
        """Whether the turn was refused for the load, and the wait that was asked for is over."""
        wait = rpc.error_details(error).retry_after
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or seen.seq or wait is None:
            return False
        if time.monotonic() + wait >= deadline:
            return False
        err().print(f"the service is full; trying again in {wait:.1f} s")
        await asyncio.sleep(wait)
        return True

    async def _pause_or_raise(self, seen: "_Seen", broken: grpc.RpcError | None) -> None:
        resumable = bool(seen.seq) and seen.breaks < RESUMES
        if broken is not None and not (resumable and broken.code() is grpc.StatusCode.UNAVAILABLE):
            raise explain(broken, self.address) from None
        if not resumable:
            raise Stop(
                f"{self.address} ended the stream before the turn; see `wan sessions show {seen.session}`"
            )
        await asyncio.sleep(RESUME_SECONDS * 2**seen.breaks)
        seen.breaks += 1

    async def watch(
        self, session: str, after: int = 0, *, until_idle: bool = False
    ) -> AsyncIterator[events_pb2.Event]:
        """A session's events after sequence number `after`, then live."""
        request = planner_pb2.WatchRequest(session_id=session, after_seq=after, until_idle=until_idle)
        try:
            async for response in self._stub.Watch(request, timeout=self.timeout):
                yield response.event
        except grpc.RpcError as error:
            raise explain(error, self.address) from None

    async def session(self, session: str) -> planner_pb2.Session:
        """What a session holds."""
        request = planner_pb2.GetSessionRequest(session_id=session)
        return (await self._call(self._stub.GetSession(request, timeout=self.timeout))).session

    async def sessions(self, limit: int) -> list[planner_pb2.Session]:
        """The newest `limit` sessions."""
        found: list[planner_pb2.Session] = []
        token = ""
        while len(found) < limit:
            request = planner_pb2.ListSessionsRequest(
                page_size=min(200, limit - len(found)), page_token=token
            )
            page = await self._call(self._stub.ListSessions(request, timeout=self.timeout))
            found += page.sessions
            token = page.next_page_token
            if not token:
                break
        return found

    async def fork(self, session: str, at: int = 0) -> planner_pb2.Session:
        """A new session with the history up to event `at` (0: all)."""
        request = planner_pb2.ForkRequest(session_id=session, at_seq=at)
        return (await self._call(self._stub.Fork(request, timeout=self.timeout))).session

    async def cancel(self, session: str, reason: str) -> str:
        """Cancel the running turn; returns its id, empty when none was running."""
        request = planner_pb2.CancelRequest(session_id=session, reason=reason)
        return (await self._call(self._stub.Cancel(request, timeout=self.timeout))).turn_id

    async def fetch(self, blob: types_pb2.BlobRef) -> bytes:
        """The bytes of a blob; raises Stop when they are not what its name says."""
        stream = self._stub.FetchBlob(planner_pb2.FetchBlobRequest(blob=blob), timeout=self.timeout)
        try:
            data = b"".join([response.chunk async for response in stream])
        except grpc.RpcError as error:
            raise explain(error, self.address) from None
        actual = hashlib.sha256(data).hexdigest()
        if actual != blob.sha256:
            problem = f"{len(data):,} bytes with SHA-256 {actual[:12]}"
            raise Stop(f"blob {blob.sha256[:12]} came as {problem}; nothing was saved, try again")
        return data

    async def _call(self, call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except grpc.RpcError as error:
            raise explain(error, self.address) from None


@dataclass
class _Seen:
    """How far a turn was followed."""

    session: str
    turn: str = ""
    seq: int = 0
    """Last stored event."""
    breaks: int = 0
    """Broken streams since."""
    ended: bool = False

    def takes(self, event: events_pb2.Event) -> bool:
        """Whether `event` is news of this turn; a resumed watch may run into the next one."""
        self.session = event.session_id or self.session
        self.turn = self.turn or event.turn_id
        if event.turn_id not in ("", self.turn) or 0 < event.seq <= self.seq:
            return False
        if event.seq:
            self.seq, self.breaks = event.seq, 0
        self.ended = event.WhichOneof("kind") in ENDS
        return True
