"""One turn from its log to its end: decode, draw at each <BOI>, go on with the picture in the context.

The log is the only state. A turn that lost its worker is run again from the log: finished pictures are in
it, a picture under way is found by its job's content, and the text goes on after the last event. Appends are
fenced, so two workers that believe they own the turn cannot both write.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai

from services.planner.context import LEAST_ROOM, Assembled, assemble
from services.planner.drawing import Drawer, drawn_together
from services.planner.engine import Part, PlannerEngine
from services.planner.enhancing import Enhancing
from services.planner.history import History, fold
from services.planner.referring import references
from wanimage import clock, metrics, spans
from wanimage.blobs import Blobs
from wanimage.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    JobFailed,
    Overloaded,
    Unavailable,
    WanError,
)
from wanimage.jobs import Jobs, failure
from wanimage.limits import MAX_OUTPUT_IMAGES, MAX_SEED
from wanimage.markup import ImageSpec, Item, MarkupError, Parser, Tag, Text, Think
from wanimage.sessions import ENDINGS, SessionLog, Sessions
from wanimage.takenjob import TakenJob
from wanimage.turnwriter import TurnWriter
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2

DEFAULT_MAX_TOKENS = 1500
"""Tokens a turn may write when the client names no limit."""

MAX_ENHANCED_TOKENS = 2560
"""Tokens of a rewritten request that leave room for nine pictures and an answer."""

StopReason = ev.TurnFinished.StopReason
STOPS = {"end": ev.TurnFinished.STOP_REASON_END, "length": ev.TurnFinished.STOP_REASON_LENGTH}


@dataclass(frozen=True)
class TurnRunner:
    """Handles `turn` jobs."""

    engine: PlannerEngine
    sessions: Sessions
    jobs: Jobs
    blobs: Blobs
    family: str

    async def run(self, taken: TakenJob) -> jobs_pb2.TurnResult:
        """Bring the turn to its end, in the log; returns at once when it has one.

        Raises Unavailable and Overloaded: the job is begun again, and goes on from its log; with the
        last try it ends there as failed. Raises Conflict when another worker writes the turn.
        """
        job = taken.job.turn
        session = await self.sessions.open(taken.tenant, job.session_id)
        events = [event async for event in self.sessions.replay(taken.tenant, job.session_id)]
        history = fold(job.session_id, events)
        turn = history.turn(job.turn_id)
        if turn.ended_seq:
            return jobs_pb2.TurnResult(last_seq=turn.ended_seq)
        work = _TurnWork(self, taken, session, history)
        try:
            async with asyncio.TaskGroup() as work.tasks:
                await work.finish()
        except asyncio.CancelledError:
            await asyncio.shield(work.end_early())
            raise
        except BaseExceptionGroup as group:
            error = _first(group)
            if isinstance(error, Conflict) or (
                isinstance(error, WanError) and taken.will_be_tried_again(error)
            ):
                raise error from group
            known = error if isinstance(error, WanError) else JobFailed("the planner met an unexpected error")
            await work.end(known, ev.TurnFailed(failure=failure(known)))
            if known is not error:
                raise error from group
        return jobs_pb2.TurnResult(last_seq=history.last_seq)


class _TurnWork:
    """The turn while one worker holds it."""

    tasks: asyncio.TaskGroup

    def __init__(self, runner: TurnRunner, taken: TakenJob, session: SessionLog, history: History) -> None:
        self.runner, self.taken, self.session, self.history = runner, taken, session, history
        self.turn = history.turns[-1]
        self.options = self.turn.options
        self.parser = Parser()
        for _ in self.turn.written(self.parser):
            pass  # the parser stands where the answer does
        self.drawer = Drawer(
            runner.jobs,
            taken.tenant,
            runner.family,
            runner.engine.base_cells,
            self.options,
            self.turn.images,
            runner.blobs,
            lambda: max(taken.seconds_left, 0.0),
            self._handed_on,
        )
        self._started = time.perf_counter()
        self._usage = types_pb2.Usage()
        self._handed = len(self.turn.ready)
        self._drawn: dict[int, ev.ImageReady] = {}  # by turn index: drawn, and not in the log
        self._last_drawing: asyncio.Task[None] | None = None
        self.writer = TurnWriter(session, self.turn.turn_id, on_append=self._heard)
        self._opening: list[Tag] = []
        self._dropped = (0, 0)

    # Text -------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Decode and draw until the planner ends its answer."""
        if self.turn.enhanced is None and not self.turn.items:
            await self._enhance()
        stop: StopReason | None = None
        while stop is None:
            if not self.parser.series_left:
                await self._draw_planned()
            self._open_as_asked()
            stop = await self._decode()
            if stop == STOPS["end"] and self._owed > 0:
                self._open(Tag.IMAGINE)  # a client who asked for n pictures gets n
                stop = None
        if self._last_drawing:
            await self._last_drawing
        await self.append(ev.TurnFinished(usage=self.usage(), stop_reason=stop))

    async def _enhance(self) -> None:
        """Hear the prompt enhancer about the request, and note what came of it."""
        began = time.perf_counter()
        asker = Enhancing(self.runner.jobs, self.taken.tenant, self.runner.family, self._handed_on)
        event = await asker.of(self.history, max(self.taken.seconds_left, 0.0))
        if event is not None:
            if self.runner.engine.count([event.request]) > MAX_ENHANCED_TOKENS:
                event.ClearField("request")
                event.rewritten, event.pass_through_reason = False, "the rewrite is too long for the planner"
            self._usage.stage_seconds["enhance"] += time.perf_counter() - began
            await self.append(event)

    async def _decode(self) -> StopReason | None:
        """Write tokens until a <BOI> (None) or until the answer ends (why)."""
        left = (self.options.max_tokens or DEFAULT_MAX_TOKENS) - self._usage.generated_tokens
        if left <= 0:
            return STOPS["length"]
        assembled = await self._context()
        if assembled.room < LEAST_ROOM:
            return STOPS["length"]
        context = [*assembled.parts, *self._opening]
        self._opening = []
        with spans.generation("chat", self.runner.family, "text", **self._request(left)):
            return STOPS.get(await self._write(context, left))

    def _request(self, left: int) -> dict[str, str | int]:
        return {
            gen_ai.GEN_AI_CONVERSATION_ID: self.history.session_id,
            gen_ai.GEN_AI_REQUEST_MAX_TOKENS: left,
            gen_ai.GEN_AI_REQUEST_SEED: self.options.sampling.seed + len(self.turn.items),
        }

    async def _write(self, context: Sequence[Part], left: int) -> str:
        """Decode into the log, at most `left` tokens; returns why the planner stopped."""
        began, stop, stretch = time.perf_counter(), "", types_pb2.Usage()
        try:
            async for delta in self.runner.engine.decode(
                context,
                max_tokens=left,
                temperature=self.options.temperature if self.options.HasField("temperature") else None,
                seed=self.options.sampling.seed + len(self.turn.items),
                request_id=f"{self.turn.turn_id}-{self.history.last_seq}-{self.taken.delivery}.{self.taken.tries}",
                banned=self._banned(),
            ):
                for piece in delta.pieces:
                    for item in self.parser.feed(piece):
                        await self._emit(item)
                if not self._usage.generated_tokens and not self.turn.items:
                    metrics.FIRST_TOKEN_SECONDS.observe(-clock.seconds_until(self.turn.started))
                stop = delta.stop or stop
                for usage in (stretch, self._usage):
                    usage.generated_tokens += delta.generated_tokens
                    usage.prompt_tokens += delta.prompt_tokens
                    usage.cached_tokens += delta.cached_tokens
            await self.writer.flush()
            if stop == "end":
                self.parser.finish()
        except MarkupError as error:
            raise JobFailed(f"the planner wrote malformed markup: {error}") from error
        finally:
            self._usage.stage_seconds["plan"] += time.perf_counter() - began
            metrics.tokens(stretch)
            spans.generated(stretch, stop)
        return stop

    @property
    def _wanted(self) -> int:
        """Pictures the client asked for by number, or that the enhancer described; 0: the planner decides."""
        enhanced = self.turn.enhanced
        described = len(enhanced.descriptions) if enhanced and enhanced.rewritten else 0
        return self.options.image_count or (described if described > 1 else 0)

    @property
    def _owed(self) -> int:
        """Of them, those that did not come yet; never negative."""
        return max(self._wanted - self.parser.images, 0)

    def _open(self, tag: Tag) -> None:
        self._opening.append(tag)
        self.parser.feed(tag)

    def _open_as_asked(self) -> None:
        if self.options.think == types_pb2.THINK_MODE_ON and not self.turn.items:
            self._open(Tag.THINK)

    def _banned(self) -> frozenset[Tag]:
        """Tags the client's options rule out from here on."""
        banned: set[Tag] = set()
        if self._wanted and not self.parser.series_left:
            # An enhancer's series may be drawn as one; its planner then ends it by itself.
            one_by_one = self.options.HasField("image_count")
            banned |= {Tag.SERIES, Tag.IMAGINE} if not self._owed else {Tag.SERIES} if one_by_one else set()
        elif self.parser.images >= MAX_OUTPUT_IMAGES and not self.parser.series_left:
            banned |= {Tag.SERIES, Tag.IMAGINE}
        if self.options.think == types_pb2.THINK_MODE_OFF or self.turn.items:
            banned.add(Tag.THINK)
        return frozenset(banned)

    async def _context(self) -> Assembled:
        """Everything said and drawn so far, fitted to the planner's window."""
        see = self.options.feedback != types_pb2.FEEDBACK_TEXT
        assembled = await assemble(
            self.runner.engine, self.runner.blobs, self.taken.tenant, self.history, see=see
        )
        dropped = (assembled.dropped_images, assembled.dropped_turns)
        if dropped > self._dropped:
            self._dropped = dropped
            await self.append(ev.ContextTrimmed(dropped_images=dropped[0], dropped_turns=dropped[1]))
        return assembled

    async def _emit(self, item: Item) -> None:
        if isinstance(item, Text):
            await self.writer.text(item.text)
        elif isinstance(item, Think):
            await self.writer.think(item.text)
        else:
            await self._plan(item)

    # Pictures ---------------------------------------------------------------------------------------------

    async def _plan(self, spec: ImageSpec) -> None:
        grid = types_pb2.Grid(height_cells=spec.grid[0], width_cells=spec.grid[1])
        if self.options.HasField("size"):
            grid = self.runner.engine.grid_asked_for(self.options.size)
        turn_index = len(self.turn.planned)
        plan = ev.ImagePlanned(
            turn_index=turn_index,
            index=len(self.history.images),
            prompt=spec.prompt.strip(),
            grid=grid,
            series=spec.series,
            series_length=spec.series_length,
            seed=(self.options.sampling.seed + turn_index) % (MAX_SEED + 1),
        )
        if spec.position:  # a series is drawn as one, from the same pictures
            plan.references.extend(self.turn.planned[-1].references)
            plan.reference_reasons.extend(self.turn.planned[-1].reference_reasons)
        else:
            for chosen in references(self.history, spec.prompt):
                plan.references.append(chosen.index)
                plan.reference_reasons.add(kind=chosen.reason, words=chosen.words)
        await self.append(plan)

    async def _draw_planned(self) -> None:
        """Draw what is planned and not handed on; with feedback=text, go on while it is being drawn."""
        plans = self.turn.planned[self._handed :]
        for group in drawn_together(plans):
            self._last_drawing = self.tasks.create_task(self._draw(group, self._last_drawing))
        self._handed += len(plans)
        if plans and self.options.feedback != types_pb2.FEEDBACK_TEXT and self._last_drawing:
            await self._last_drawing

    async def _draw(self, group: Sequence[ev.ImagePlanned], before: asyncio.Task[None] | None) -> None:
        async def relay(stage: str, position: int, progress: jobs_pb2.JobProgress) -> None:
            previews = {preview.index: preview.png for preview in progress.previews}
            notice = ev.ImageProgress(
                index=group[position].index, step=progress.step, steps=progress.steps,
                preview_png=previews.get(position, b""), stage=stage,
            )  # fmt: skip
            await self.writer.tell(event_of(notice))

        try:
            chosen = [self.history.image(index, "references") for index in group[0].references]
            ready = await self.drawer.draw(group, chosen, relay)
        except WanError as error:
            if not isinstance(error, Unavailable | Overloaded):
                for plan in group:
                    await self.append(ev.ImageFailed(index=plan.index, failure=failure(error)))
            raise
        self._drawn |= {each.turn_index: each for each in ready}
        if self.options.HasField("refine"):
            await self.drawer.refine(ready, relay, self.taken.will_be_tried_again)
        if before:
            await before  # pictures are announced in order
        for each in ready:
            await self._hand_over(each, len(ready))

    async def _hand_over(self, ready: ev.ImageReady, together: int) -> None:
        """Log a finished picture, one of those that were drawn `together`."""
        await self.append(ready)
        del self._drawn[ready.turn_index]
        for stage, seconds in ready.stage_seconds.items():
            self._usage.stage_seconds[stage] += seconds / together

    # The log ----------------------------------------------------------------------------------------------

    def usage(self) -> types_pb2.Usage:
        """What the turn cost up to now, in this worker; pictures count wherever they were drawn."""
        usage = types_pb2.Usage()
        usage.CopyFrom(self._usage)
        usage.images = len(self.turn.ready)
        usage.pixel_steps = sum(each.pixel_steps for each in self.turn.ready.values())
        usage.seconds = time.perf_counter() - self._started
        return usage

    async def end(self, why: WanError, ending: ev.TurnFailed | ev.TurnCancelled) -> None:
        """Log what is drawn and waits to be refined, or for the pictures before it; then the end."""
        await self.writer.flush()  # first what was on its way to the log: it may be the end
        if self.turn.ended_seq:
            return
        for index in sorted(self._drawn.keys() - self.turn.ready.keys()):
            ready = self._drawn[index]
            unsettled = not (ready.image.HasField("refined") or ready.HasField("refine_failure"))
            if self.options.HasField("refine") and unsettled:
                ready.refine_failure.CopyFrom(failure(why))
            await self._hand_over(ready, 1)
        ending.usage.CopyFrom(self.usage())
        await self.append(ending)

    async def end_early(self) -> None:
        """The worker was told to stop: log why, unless it only hands the turn to another worker."""
        if self.taken.given_back:
            return
        if self.taken.cancelled.is_set():
            cancelled = Cancelled("the turn was cancelled before the picture was refined")
            await self.end(cancelled, ev.TurnCancelled(reason=self.taken.why_cancelled or "client"))
        elif self.taken.seconds_left <= 0:
            late = DeadlineExceeded("the turn did not finish before its deadline; ask again with more time")
            await self.end(late, ev.TurnFailed(failure=failure(late)))

    async def append(self, body: Message) -> None:
        """Append an event of this turn to the log, and so to the history."""
        await self.writer.append(event_of(body))

    def _heard(self, event: ev.Event) -> None:
        """An event of this turn is in the log."""
        self.history.apply(event)
        if outcome := ENDINGS.get(event.WhichOneof("kind") or ""):
            metrics.turn_ended(outcome, self.taken.tenant, self.usage())
        elif event.HasField("image_ready"):
            metrics.PICTURES.inc()

    def _handed_on(self) -> bool:
        """Whether another worker has the turn, or will: it finds the jobs under way by their content."""
        return self.taken.given_back or self.session.lost


def event_of(body: Message) -> ev.Event:
    """An event around `body`, whose kind follows from its type; the rest is the log's to fill in."""
    event = ev.Event()
    for each in ev.Event.DESCRIPTOR.oneofs_by_name["kind"].fields:
        if each.message_type is body.DESCRIPTOR:
            getattr(event, each.name).CopyFrom(body)
            return event
    raise AssertionError(f"{body.DESCRIPTOR.full_name} is not an event")


def _first(group: BaseExceptionGroup) -> BaseException:
    """The first plain error of a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
