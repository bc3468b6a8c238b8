"""From a client's message to a TurnStarted in the log and a `turn` job; checks all before it writes any."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta

from services.planner.history import History, Turn, fold
from wanimage import clock, limits, metrics
from wanimage.blobs import Blobs
from wanimage.cues import mark_uploads
from wanimage.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    Unavailable,
    WanError,
)
from wanimage.jobs import Jobs, error_of, failure, make_job, why_cancelled
from wanimage.sessions import ENDINGS, SessionLog, Sessions, new_session_id
from wanimage.tokens import Vocabulary
from wanimage.uploads import Upload, check_uploads, store_upload
from wanimage.v1 import events_pb2, jobs_pb2, types_pb2
from wanimage.weights import Family

SILENT_SECONDS = 30.0
"""A running turn without an event for so long may have lost its worker and its job."""


@dataclass(frozen=True)
class Intake:
    """Accepts turns. Knows the family's tokenizer but holds no model."""

    sessions: Sessions
    jobs: Jobs
    blobs: Blobs
    family: Family
    vocabulary: Vocabulary | None
    """None: another model plans than the family's, and its worker says what it can read."""

    async def history(self, tenant: str, session_id: str) -> tuple[SessionLog, History]:
        """Open a session and read its log; raises NotFound."""
        log = await self.sessions.open(tenant, session_id)
        return log, fold(session_id, [event async for event in self.sessions.replay(tenant, session_id)])

    async def accept(
        self,
        tenant: str,
        session_id: str,
        user: types_pb2.UserMessage,
        options: types_pb2.TurnOptions,
        seconds: float,
    ) -> tuple[SessionLog, str, int]:
        """Start a turn that ends within `seconds`; an empty `session_id` makes a session.

        Returns the session's log, the turn's id and the sequence number before its first event. Raises
        InvalidInput naming the field, NotFound for an unknown session, Conflict while another turn runs,
        Overloaded, Unavailable.
        """
        self._check(user, options)
        async with self.jobs.place("turn", tenant):
            return await self._start(tenant, session_id, user, options, seconds)

    async def _start(
        self,
        tenant: str,
        session_id: str,
        user: types_pb2.UserMessage,
        options: types_pb2.TurnOptions,
        seconds: float,
    ) -> tuple[SessionLog, str, int]:
        log, history = await self.history(tenant, session_id) if session_id else (None, None)
        if log and history and history.running and await self.resume(tenant, log, history):
            raise Conflict(
                f"session {session_id} is busy with turn {history.running.turn_id}; "
                "wait for its end with Watch, or stop it with Cancel"
            )
        uploads = await self._uploads(tenant, user, history)
        uploads = await mark_uploads(self.blobs, tenant, uploads, options.regions, "options.regions")
        known = len(history.images) if history else 0
        before = history.last_seq if history else 0
        images = [await self._image(tenant, upload, known + i) for i, upload in enumerate(uploads)]
        if log is None:  # last of all that may fail: an empty session must not stay behind
            log = await self.sessions.create(tenant, new_session_id(), family=self.family.digest)
        turn_id = uuid.uuid4().hex
        started = events_pb2.TurnStarted(
            text=user.text,
            images=images,
            options=self._settled(options, log.session_id, turn_id),
        )
        started.deadline.FromDatetime(clock.now() + timedelta(seconds=seconds))
        await log.append(events_pb2.Event(turn_id=turn_id, turn_started=started))
        await self._submit(tenant, log, turn_id, seconds)
        return log, turn_id, before

    async def resume(self, tenant: str, log: SessionLog, history: History) -> bool:
        """Whether a turn is running. One gone silent gets a worker again, or its end if its job has one.

        Idempotent.
        """
        turn = history.running
        if turn is None or -clock.seconds_until(history.last_time) < SILENT_SECONDS:
            return turn is not None
        over = await self._over(tenant, log.session_id, turn)
        if over is None:
            await self._submit(tenant, log, turn.turn_id, clock.seconds_until(turn.deadline))
            return True
        ended = events_pb2.Event(turn_id=turn.turn_id)
        if isinstance(over, Cancelled):
            ended.turn_cancelled.reason = why_cancelled(over) or "client"
        else:
            ended.turn_failed.failure.CopyFrom(failure(over))
        history.apply(await self.end(tenant, log, ended))
        return False

    async def end(self, tenant: str, log: SessionLog, ending: events_pb2.Event) -> events_pb2.Event:
        """End a turn in its log that no worker ends; the event as stored."""
        stored = await log.append(ending)
        outcome = ENDINGS[str(stored.WhichOneof("kind"))]
        metrics.TURNS.labels(outcome, metrics.tenant(tenant)).inc()
        return stored

    async def _over(self, tenant: str, session_id: str, turn: Turn) -> WanError | None:
        """Why nobody shall take the turn up again: its time is up, or its job ended with what does not pass.

        Its worker may have died before it wrote so into the log, or never have come to read it.
        """
        left = clock.seconds_until(turn.deadline)
        if left <= 0:
            return DeadlineExceeded("the turn did not finish before its deadline; ask again with more time")
        held = await self.jobs.held(self._job(tenant, session_id, turn.turn_id, left).id)
        error = error_of(held.result) if held else None
        return None if isinstance(error, Unavailable | Overloaded) else error

    def _check(self, user: types_pb2.UserMessage, options: types_pb2.TurnOptions) -> None:
        limits.check_prompt(user.text, "user.text")
        if self.vocabulary:
            limits.check_tokens(len(self.vocabulary.encode_user_text(user.text)), "user.text")
        limits.check_images(user.images, "user.images")
        limits.check_options(options)
        limits.grid_for(options.size, self.family.base_cells, self.family.max_cells, "options.size")
        if options.HasField("refine") and "refiner" not in self.family.parts:
            raise InvalidInput("options.refine", "this deployment has no refiner", "leave the field out")
        for index, region in enumerate(options.regions):
            if region.HasField("reference") and region.reference >= len(user.images):
                problem = f"picture {region.reference} of {len(user.images)}"
                raise InvalidInput(
                    f"options.regions[{index}].reference", problem, "use an index into user.images"
                )

    async def _uploads(
        self, tenant: str, user: types_pb2.UserMessage, history: History | None
    ) -> list[Upload]:
        resolved = []
        for index, picture in enumerate(user.images):
            if picture.WhichOneof("source") == "session_image":
                field = f"user.images[{index}].session_image"
                if history is None:
                    raise InvalidInput(
                        field, "a new session has no pictures", "send data, or name the session"
                    )
                picture = types_pb2.ImageInput(blob=history.image(picture.session_image, field).base)
            resolved.append(picture)
        return await check_uploads(self.blobs, tenant, resolved, "user.images")

    async def _image(self, tenant: str, upload: Upload, index: int) -> types_pb2.Image:
        size = types_pb2.Size(height=upload.height, width=upload.width)
        image = types_pb2.Image(index=index, base=await store_upload(self.blobs, tenant, upload), size=size)
        if upload.bare:
            image.unmarked.CopyFrom(await store_upload(self.blobs, tenant, upload.bare))
        return image

    @staticmethod
    def _settled(options: types_pb2.TurnOptions, session_id: str, turn_id: str) -> types_pb2.TurnOptions:
        """The options with a seed and a mode, so that a turn that is run again draws the same pictures."""
        settled = types_pb2.TurnOptions()
        settled.CopyFrom(options)
        if not settled.sampling.HasField("seed"):
            digest = hashlib.sha256(f"{session_id}/{turn_id}".encode()).digest()
            settled.sampling.seed = int.from_bytes(digest[:6])
        if settled.HasField("refine"):
            settled.refine.mode = limits.refine_mode(settled.refine)
        return settled

    def _job(self, tenant: str, session_id: str, turn_id: str, seconds: float) -> jobs_pb2.Job:
        payload = jobs_pb2.TurnJob(session_id=session_id, turn_id=turn_id)
        return make_job(tenant, self.family.digest, payload, seconds)

    async def _submit(self, tenant: str, log: SessionLog, turn_id: str, seconds: float) -> None:
        try:
            await self.jobs.submit(self._job(tenant, log.session_id, turn_id, seconds))
        except WanError as error:
            # The turn is in the log; it must not look as if it ran.
            failed = events_pb2.TurnFailed(failure=failure(error))
            await log.append(events_pb2.Event(turn_id=turn_id, turn_failed=failed))
            metrics.TURNS.labels("failed", metrics.tenant(tenant)).inc()
            raise
