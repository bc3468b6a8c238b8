"""PlannerService: accepts turns, streams a session's events, answers for sessions. Holds no model.

A stream of events is always read from the session's log, so it shows the same to the caller who started the
turn and to one who watches, and goes on when the planner that decodes is replaced.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc

from services.planner.history import History, fold
from services.planner.intake import SILENT_SECONDS, Intake
from wanimage import rpc
from wanimage.errors import DataLoss, InvalidInput, NotFound, Overloaded, SchemaMismatch, WanError
from wanimage.jobs import make_job
from wanimage.serve import Ground
from wanimage.sessions import ENDINGS, Sessions, new_session_id
from wanimage.tokens import Vocabulary
from wanimage.v1 import events_pb2, jobs_pb2, planner_pb2, planner_pb2_grpc, types_pb2

CHUNK_BYTES = 1_000_000
"""Most bytes of a blob in one message."""
DEFAULT_PAGE, MAX_PAGE = 50, 200
MAX_REASON = 200
MAX_WAITING = 4
"""Messages of a conversation that may wait for the turns before them; each may bring nine pictures."""
CANCEL_SECONDS = 5.0
"""How long Cancel waits for the worker to end the turn before it ends it in the log itself."""


def add_front(server: grpc.aio.Server, ground: Ground) -> None:
    """Serve PlannerService on `server`."""
    planner_pb2_grpc.add_PlannerServiceServicer_to_server(PlannerService.on(ground), server)


@dataclass(frozen=True)
class PlannerService(planner_pb2_grpc.PlannerServiceServicer):
    """The front."""

    ground: Ground
    sessions: Sessions
    intake: Intake
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def on(cls, ground: Ground) -> "PlannerService":
        """A front over one process's connections."""
        sessions = Sessions(ground.bus)
        vocabulary = None if ground.settings.own_planner else Vocabulary.load(ground.family.planner)
        intake = Intake(sessions, ground.jobs, ground.blobs, ground.family, vocabulary)
        return cls(ground, sessions, intake)

    # Turns ------------------------------------------------------------------------------------------------

    async def Generate(
        self, request: planner_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[planner_pb2.GenerateResponse]:
        """One turn, from its first event to its last."""
        caller = rpc.caller(context)
        async for event in self._turn(caller, request.session_id, request.user, request.options):
            yield planner_pb2.GenerateResponse(event=event)

    async def Converse(
        self, requests: AsyncIterator[planner_pb2.ConverseRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[planner_pb2.ConverseResponse]:
        """Turns one after the other. A reader task takes cancels while a turn's events go out."""
        caller = rpc.caller(context)
        start = await anext(aiter(requests), None)
        if start is None or start.WhichOneof("kind") != "start":
            raise InvalidInput(
                "start", "the first message does not start a conversation", "send `start` first"
            )
        conversation = _Conversation(start.start.session_id)
        reader = asyncio.create_task(self._read(caller, requests, conversation))
        try:
            while (message := await conversation.messages.get()) is not None:
                options = message.options if message.HasField("options") else start.start.options
                async for event in self._turn(caller, conversation.session_id, message.user, options):
                    conversation.session_id = event.session_id
                    yield planner_pb2.ConverseResponse(event=event)
                    if (reason := conversation.begun(event)) is not None:
                        await self._cancel(caller, event.session_id, reason)
            await reader  # raises what was wrong with the stream
        finally:
            reader.cancel()

    async def _read(
        self,
        caller: rpc.Caller,
        requests: AsyncIterator[planner_pb2.ConverseRequest],
        conversation: "_Conversation",
    ) -> None:
        try:
            async for request in requests:
                kind = request.WhichOneof("kind")
                if kind == "message":
                    conversation.take(request.message)
                elif kind == "cancel":
                    session_id, reason = conversation.session_id, request.cancel.reason
                    if not (session_id and await self._cancel(caller, session_id, reason)):
                        conversation.cancel_next(reason)
                elif kind == "start":
                    raise InvalidInput("start", "the conversation has started", "open another stream")
        finally:
            conversation.messages.put_nowait(None)

    async def _turn(
        self,
        caller: rpc.Caller,
        session_id: str,
        user: types_pb2.UserMessage,
        options: types_pb2.TurnOptions,
    ) -> AsyncIterator[events_pb2.Event]:
        log, turn_id, before = await self.intake.accept(
            caller.tenant, session_id, user, options, caller.seconds_left()
        )
        ended = False
        following = self.sessions.follow(caller.tenant, log.session_id, before)
        try:
            async with self._looked_after(caller.tenant, log.session_id), aclosing(following) as events:
                async for event in events:
                    yield event
                    ended = event.turn_id == turn_id and event.WhichOneof("kind") in ENDINGS
                    if ended:
                        return
        finally:
            if not ended and options.cancel_on_disconnect:
                task = asyncio.create_task(self._leave(caller, log.session_id))
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    @asynccontextmanager
    async def _looked_after(self, tenant: str, session_id: str) -> AsyncIterator[None]:
        """While somebody waits for a turn: one gone silent gets a worker again, or its end."""
        looking = asyncio.create_task(self._look_after(tenant, session_id))
        try:
            yield
        finally:
            looking.cancel()

    async def _look_after(self, tenant: str, session_id: str) -> None:
        while True:
            await asyncio.sleep(SILENT_SECONDS)
            with suppress(WanError):
                last = await self.sessions.last(tenant, session_id)
                if last.WhichOneof("kind") not in ENDINGS:  # else all of it would be read for nothing
                    log, history = await self.intake.history(tenant, session_id)
                    await self.intake.resume(tenant, log, history)

    async def _leave(self, caller: rpc.Caller, session_id: str) -> None:
        with suppress(WanError):
            await self._cancel(caller, session_id, "disconnect")

    async def Watch(
        self, request: planner_pb2.WatchRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[planner_pb2.WatchResponse]:
        """Replay, then live."""
        caller = rpc.caller(context)
        log, history = await self.intake.history(caller.tenant, request.session_id)
        await self.intake.resume(caller.tenant, log, history)
        if request.after_seq > history.last_seq:
            problem = f"{request.after_seq}, the session has {history.last_seq} events"
            raise InvalidInput("after_seq", problem, "send the last number you have seen")
        seen = fold(request.session_id, [])
        if request.until_idle and request.after_seq == history.last_seq and not history.running:
            return
        following = self.sessions.follow(caller.tenant, request.session_id)
        async with self._looked_after(caller.tenant, request.session_id), aclosing(following) as events:
            async for event in events:
                if event.seq:
                    seen.apply(event)
                if event.seq == 0 or event.seq > request.after_seq:
                    yield planner_pb2.WatchResponse(event=event)
                if request.until_idle and seen.last_seq >= history.last_seq and seen.running is None:
                    return

    async def Cancel(
        self, request: planner_pb2.CancelRequest, context: grpc.aio.ServicerContext
    ) -> planner_pb2.CancelResponse:
        """Stop the running turn."""
        caller = rpc.caller(context)
        turn_id = await self._cancel(caller, request.session_id, request.reason)
        return planner_pb2.CancelResponse(turn_id=turn_id)

    async def _cancel(self, caller: rpc.Caller, session_id: str, reason: str) -> str:
        if len(reason) > MAX_REASON:
            raise InvalidInput("reason", f"{len(reason)} characters, the limit is {MAX_REASON}", "shorten it")
        _, history = await self.intake.history(caller.tenant, session_id)
        turn = history.running
        if turn is None:
            return ""
        payload = jobs_pb2.TurnJob(session_id=session_id, turn_id=turn.turn_id)
        job = make_job(caller.tenant, self.ground.family.digest, payload, caller.seconds_left())
        await self.ground.jobs.cancel(job.id, reason or "client")
        with suppress(TimeoutError):
            following = self.sessions.follow(caller.tenant, session_id, history.last_seq)
            async with asyncio.timeout(CANCEL_SECONDS), aclosing(following) as events:
                async for event in events:
                    if event.turn_id == turn.turn_id and event.WhichOneof("kind") in ENDINGS:
                        return turn.turn_id
        # No worker holds the turn (it died, or never took it): it ends here, unless it has ended meanwhile.
        log, history = await self.intake.history(caller.tenant, session_id)
        if history.running is None or history.running.turn_id != turn.turn_id:
            return turn.turn_id
        cancelled = events_pb2.TurnCancelled(reason=reason or "client")
        ending = events_pb2.Event(turn_id=turn.turn_id, turn_cancelled=cancelled)
        await self.intake.end(caller.tenant, log, ending)
        return turn.turn_id

    # Sessions ---------------------------------------------------------------------------------------------

    async def GetSession(
        self, request: planner_pb2.GetSessionRequest, context: grpc.aio.ServicerContext
    ) -> planner_pb2.GetSessionResponse:
        """What a session holds."""
        _, history = await self.intake.history(rpc.caller(context).tenant, request.session_id)
        return planner_pb2.GetSessionResponse(session=history.summary(with_images=True))

    async def ListSessions(
        self, request: planner_pb2.ListSessionsRequest, context: grpc.aio.ServicerContext
    ) -> planner_pb2.ListSessionsResponse:
        """Newest first; the page token is the last session of the page before."""
        tenant = rpc.caller(context).tenant
        if request.page_size > MAX_PAGE:
            raise InvalidInput("page_size", f"{request.page_size}, the limit is {MAX_PAGE}", "ask for less")
        size = request.page_size or DEFAULT_PAGE
        names = [name for name in await self.sessions.list(tenant) if self._after(name, request.page_token)]
        page = await asyncio.gather(*(self._summary(tenant, name) for name in names[:size]))
        return planner_pb2.ListSessionsResponse(
            sessions=[summary for summary in page if summary is not None],
            next_page_token=names[size - 1] if len(names) > size else "",
        )

    @staticmethod
    def _after(name: str, page_token: str) -> bool:
        return not page_token or name < page_token

    async def _summary(self, tenant: str, session_id: str) -> planner_pb2.Session | None:
        """A session at a glance; None when it is not one: being imported, or just deleted."""
        try:
            return (await self._history(tenant, session_id)).summary(with_images=False)
        except NotFound:
            return None
        except (DataLoss, SchemaMismatch) as error:  # one that cannot be read must not hide the others
            return planner_pb2.Session(session_id=session_id, problem=str(error))

    async def _history(self, tenant: str, session_id: str) -> History:
        return (await self.intake.history(tenant, session_id))[1]

    async def Fork(
        self, request: planner_pb2.ForkRequest, context: grpc.aio.ServicerContext
    ) -> planner_pb2.ForkResponse:
        """A new session with the old one's events up to `at_seq`."""
        tenant = rpc.caller(context).tenant
        await self.sessions.open(tenant, request.session_id)  # raises unless it is whole
        events = [event async for event in self.sessions.replay(tenant, request.session_id)]
        if request.at_seq > len(events):
            problem = f"{request.at_seq}, the session has {len(events)} events"
            raise InvalidInput("at_seq", problem, "use the sequence number of one of its events")
        kept = fold(request.session_id, events[: request.at_seq or len(events)])
        if kept.running:
            problem = f"event {kept.last_seq} falls inside turn {kept.running.turn_id}"
            raise InvalidInput("at_seq", problem, f"use {kept.running.started_seq - 1}, or wait for its end")
        target = new_session_id()
        await self.sessions.fork(tenant, request.session_id, kept.last_seq, target)
        history = await self._history(tenant, target)
        return planner_pb2.ForkResponse(session=history.summary(with_images=True))

    async def FetchBlob(
        self, request: planner_pb2.FetchBlobRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[planner_pb2.FetchBlobResponse]:
        """A blob's bytes."""
        data = await self.ground.blobs.get(rpc.caller(context).tenant, request.blob)
        for start in range(0, len(data), CHUNK_BYTES):
            yield planner_pb2.FetchBlobResponse(chunk=data[start : start + CHUNK_BYTES])


class _Conversation:
    """What a Converse stream is about; None in `messages` ends it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.messages: asyncio.Queue[planner_pb2.ConverseMessage | None] = asyncio.Queue()
        self._unbegun = 0  # messages whose turns have no event yet
        self._cancelled: str | None = None  # why the next of them is, before it began

    def take(self, message: planner_pb2.ConverseMessage) -> None:
        """A message is next, or waits for the turns before it. Raises Overloaded where too many do."""
        if self.messages.qsize() >= MAX_WAITING:
            raise Overloaded("the conversation's queue of messages", MAX_WAITING, SILENT_SECONDS)
        self.messages.put_nowait(message)
        self._unbegun += 1

    def cancel_next(self, reason: str) -> None:
        """No turn runs: a cancel is meant for the one that begins next, if a message waits for it."""
        if self._unbegun:
            self._cancelled = reason

    def begun(self, event: events_pb2.Event) -> str | None:
        """Why a turn shall be cancelled that begins with this event; None for all other events."""
        if not event.HasField("turn_started"):
            return None
        self._unbegun -= 1
        reason, self._cancelled = self._cancelled, None
        return reason
