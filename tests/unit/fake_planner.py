"""A PlannerService in this process whose turns are scripts: the real protos, the real wire, no models.

with FakePlanner(story) as planner: ...      # story(turn) yields event kinds; planner.address is host:port
"""

import hashlib
import io
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import numpy as np
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image

from wanimage.errors import Overloaded, WanError
from wanimage.rpc.details import DETAILS_KEY, details_of
from wanimage.v1 import events_pb2, planner_pb2, planner_pb2_grpc, types_pb2

CHUNK = 1000
"""Bytes a FetchBlob chunk; small, so that pictures come in several."""


class Broken(Exception):
    """A script raises this to cut the stream with `code`; what was yielded stays in the log."""

    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "cut") -> None:
        self.code, self.details = code, details


class LoseLine(Exception):
    """A script raises this to cut the stream; the rest of the turn, `rest`, is still written to the log."""

    def __init__(self, rest: list) -> None:
        self.rest = rest


@dataclass
class ScriptedTurn:
    """What a script knows of the turn it plays."""

    planner: "FakePlanner"
    session: str
    id: str
    request: planner_pb2.GenerateRequest
    cancelled: threading.Event = field(default_factory=threading.Event)


Script = Callable[[ScriptedTurn], Iterator]


class FakePlanner(planner_pb2_grpc.PlannerServiceServicer):
    """Sessions in dictionaries; `requests` and `keys` record what came in."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[planner_pb2.GenerateRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.logs: dict[str, list[events_pb2.Event]] = {}
        self.blobs: dict[str, bytes] = {}
        self.turns: dict[str, ScriptedTurn] = {}
        self.corrupt = False
        self.full_for = 0
        """Turns to refuse because of the load."""
        self.retry_after = 0.01
        self._names = itertools.count(1)

    def __enter__(self) -> "FakePlanner":
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool)
        planner_pb2_grpc.add_PlannerServiceServicer_to_server(self, self._server)
        servicer = health.HealthServicer()
        servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
        self._pool.shutdown()

    def png(self, color: tuple[int, int, int, int], height: int = 128, width: int = 128) -> types_pb2.BlobRef:
        """Store a picture of one colour."""
        buffer = io.BytesIO()
        pixels = np.full((height, width, 4), color, np.uint8)
        Image.fromarray(pixels, "RGBA").save(buffer, "PNG", compress_level=0)
        data = buffer.getvalue()
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return types_pb2.BlobRef(
            sha256=name, size=len(data), media_type="image/png", dtype="uint8", shape=[height, width, 4]
        )

    def image(self, index: int, prompt: str, seed: int = 0, **options: int) -> types_pb2.Image:
        """A finished picture, its colour given by its index."""
        blob = self.png((50 * index % 256, 80, 120, 255), **options)
        size = types_pb2.Size(height=blob.shape[0], width=blob.shape[1])
        return types_pb2.Image(index=index, base=blob, size=size, prompt=prompt, seed=seed, family="f" * 64)

    def event(self, session: str, turn: str, kind: object) -> events_pb2.Event:
        """Wrap a kind; everything but progress is stored in the session's log."""
        fields = events_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields
        name = next(field.name for field in fields if field.message_type == kind.DESCRIPTOR)
        event = events_pb2.Event(session_id=session, turn_id=turn, **{name: kind})
        event.time.GetCurrentTime()
        if name != "image_progress":
            log = self.logs.setdefault(session, [])
            event.seq = len(log) + 1
            log.append(event)
        return event

    def Converse(self, requests, context):
        session = next(requests).start.session_id
        for request in requests:
            message = planner_pb2.GenerateRequest(session_id=session, user=request.message.user)
            for response in self.Generate(message, context):
                session = response.event.session_id
                yield planner_pb2.ConverseResponse(event=response.event)

    def Generate(self, request, context):
        self.requests.append(request)
        self.metadata.append({key: value for key, value in context.invocation_metadata()})
        if self.full_for:
            self.full_for -= 1
            refused = Overloaded("the turn queue", 1, self.retry_after)
            context.set_trailing_metadata(((DETAILS_KEY, trailer(refused, "r1").SerializeToString()),))
            context.abort(refused.status, str(refused))
        if request.session_id and request.session_id not in self.logs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no session {request.session_id!r}; list them")
        session = request.session_id or f"s{next(self._names)}"
        turn = ScriptedTurn(self, session, f"t{next(self._names)}", request)
        self.turns[session] = turn
        if session not in self.logs:
            yield planner_pb2.GenerateResponse(event=self.event(session, "", events_pb2.SessionCreated()))
        try:
            started = events_pb2.TurnStarted(text=request.user.text, options=request.options)
            for kind in itertools.chain([started], self.script(turn)):
                yield planner_pb2.GenerateResponse(event=self.event(session, turn.id, kind))
        except Broken as broken:
            context.abort(broken.code, broken.details)
        except LoseLine as lost:
            for kind in lost.rest:
                self.event(session, turn.id, kind)
            context.abort(grpc.StatusCode.UNAVAILABLE, "the line broke")

    def Watch(self, request, context):
        for event in self._log(request.session_id, context)[request.after_seq :]:
            yield planner_pb2.WatchResponse(event=event)

    def GetSession(self, request, context):
        self._log(request.session_id, context)
        return planner_pb2.GetSessionResponse(session=self._session(request.session_id))

    def ListSessions(self, request, context):
        names = sorted(self.logs, reverse=True)
        start = int(request.page_token or 0)
        page = names[start : start + request.page_size]
        following = str(start + len(page)) if start + len(page) < len(names) else ""
        return planner_pb2.ListSessionsResponse(
            sessions=[self._session(name) for name in page], next_page_token=following
        )

    def Fork(self, request, context):
        kept = self._log(request.session_id, context)[: request.at_seq or None]
        name = f"f{next(self._names)}"
        self.logs[name] = list(kept)
        return planner_pb2.ForkResponse(session=self._session(name))

    def Cancel(self, request, context):
        turn = self.turns[request.session_id]
        turn.cancelled.set()
        return planner_pb2.CancelResponse(turn_id=turn.id)

    def FetchBlob(self, request, context):
        data = self.blobs[request.blob.sha256]
        if self.corrupt:
            data = data[:-1]
        for start in range(0, len(data), CHUNK):
            yield planner_pb2.FetchBlobResponse(chunk=data[start : start + CHUNK])

    def _log(self, session: str, context: grpc.ServicerContext) -> list[events_pb2.Event]:
        if session not in self.logs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no session {session!r}; list them")
        return self.logs[session]

    def _session(self, name: str) -> planner_pb2.Session:
        log = self.logs[name]
        started = [event.turn_started for event in log if event.WhichOneof("kind") == "turn_started"]
        images = [event.image_ready.image for event in log if event.WhichOneof("kind") == "image_ready"]
        title = started[0].text[:80] if started else ""
        return planner_pb2.Session(
            session_id=name, last_seq=len(log), turns=len(started), images=images, title=title
        )


def trailer(error: WanError, request_id: str) -> status_pb2.Status:
    """What the services send beside an error's status."""
    details = []
    for each in details_of(error, request_id):
        details.append(AnyMessage())
        details[-1].Pack(each)
    return status_pb2.Status(code=error.status.value[0], message=str(error), details=details)


def story(turn: ScriptedTurn) -> Iterator:
    """A turn as the planner plays it: thinking, words, two pictures with progress, usage."""
    yield events_pb2.ThinkDelta(text="two pictures will do")
    for index, words in enumerate(("Once a fox ", "found a balloon. ")):
        yield events_pb2.TextDelta(text=words)
        yield from picture(turn, index, f"a fox, scene {index}")
    yield events_pb2.TextDelta(text="The end.")
    yield finished(images=2)


def picture(turn: ScriptedTurn, index: int, prompt: str) -> Iterator:
    """Planned, two steps of progress, ready."""
    seed = turn.request.options.sampling.seed + index
    grid = types_pb2.Grid(height_cells=8, width_cells=8)
    yield events_pb2.ImagePlanned(turn_index=index, index=index, prompt=prompt, grid=grid, seed=seed)
    for step in (1, 2):
        yield events_pb2.ImageProgress(index=index, step=step, steps=2)
    image = turn.planner.image(index, prompt, seed)
    seconds = {"queue": 0.01, "render": 0.5, "decode": 0.25}
    yield events_pb2.ImageReady(
        image=image, turn_index=index, stage_seconds=seconds, pixel_steps=128 * 128 * 2
    )


def finished(images: int = 0) -> events_pb2.TurnFinished:
    """The event that ends a whole turn."""
    usage = types_pb2.Usage(
        prompt_tokens=20, generated_tokens=40, images=images, pixel_steps=2**40, seconds=1.5,
        stage_seconds={"plan": 0.5, "render": 1.0},
    )  # fmt: skip
    return events_pb2.TurnFinished(usage=usage, stop_reason=events_pb2.TurnFinished.STOP_REASON_END)
