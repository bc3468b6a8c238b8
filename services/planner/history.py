"""What a session's event log says: the fold from events to turns and pictures. Pure, without I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wanimage import clock
from wanimage.errors import DataLoss, InvalidInput, NotFound
from wanimage.markup import ImageSpec, Item, MarkupError, Parser, Tag, Text, Think, pieces
from wanimage.sessions import ENDINGS
from wanimage.v1 import events_pb2, planner_pb2, types_pb2

TITLE_CHARACTERS = 80
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass
class Turn:
    """One user message and what has been answered so far."""

    turn_id: str
    started_seq: int
    started: datetime
    """When its first event was appended."""
    text: str
    images: list[types_pb2.Image]
    """Uploaded pictures, in order."""
    options: types_pb2.TurnOptions
    deadline: datetime
    enhanced: events_pb2.PromptEnhanced | None = None
    """What the prompt enhancer made of the request, once it was heard."""
    items: list[Item] = field(default_factory=list)
    """The answer so far; adjacent deltas are joined."""
    planned: list[events_pb2.ImagePlanned] = field(default_factory=list)
    """Pictures whose <BOI> was written, by turn index."""
    ready: dict[int, events_pb2.ImageReady] = field(default_factory=dict)
    """Finished pictures by turn index."""
    ended_seq: int = 0
    """Sequence number of the event that ended it; 0 while it runs."""

    @property
    def asked(self) -> str:
        """What the planner reads as the user's words."""
        return (self.enhanced.request if self.enhanced else "") or self.text

    @property
    def pending(self) -> list[events_pb2.ImagePlanned]:
        """Planned pictures that are not finished."""
        return [plan for plan in self.planned if plan.turn_index not in self.ready]

    def say(self, item: Text | Think) -> None:
        """Add a delta, joining it with the last item of its kind."""
        last = self.items[-1] if self.items else None
        if isinstance(last, Text | Think) and type(last) is type(item):
            self.items[-1] = type(item)(last.text + item.text)
        else:
            self.items.append(item)

    def written(self, parser: Parser) -> Iterator[str | Tag]:
        """The answer so far, each piece once `parser` has taken it. Raises DataLoss when it is malformed."""
        for piece in pieces(self.items):
            try:
                parser.feed(piece)
            except MarkupError as error:
                raise DataLoss(f"turn {self.turn_id} is recorded as malformed markup: {error}") from error
            yield piece


@dataclass
class History:
    """A session as its log tells it."""

    session_id: str
    created: datetime
    family: str = ""
    forked_from: str = ""
    last_seq: int = 0
    last_time: datetime = LONG_AGO
    """When the last event was appended."""
    turns: list[Turn] = field(default_factory=list)
    images: list[types_pb2.Image | None] = field(default_factory=list)
    """All pictures by session index; None for one planned and not (yet) finished."""

    @property
    def running(self) -> Turn | None:
        """The turn that has not ended, if any; only the last one can be."""
        return self.turns[-1] if self.turns and not self.turns[-1].ended_seq else None

    def turn(self, turn_id: str) -> Turn:
        """Look a turn up."""
        for turn in self.turns:
            if turn.turn_id == turn_id:
                return turn
        raise NotFound("turn", turn_id, f"session {self.session_id} has {len(self.turns)} turns")

    def image(self, index: int, field_name: str) -> types_pb2.Image:
        """The finished picture with this session index; `field_name` is what a refusal names."""
        image = self.images[index] if index < len(self.images) else None
        if image is None:
            problem = f"picture {index} does not exist in session {self.session_id}"
            raise InvalidInput(
                field_name, problem, f"use an index below {len(self.images)} of a finished picture"
            )
        return image

    def summary(self, *, with_images: bool) -> planner_pb2.Session:
        """The session at a glance."""
        session = planner_pb2.Session(
            session_id=self.session_id,
            last_seq=self.last_seq,
            turns=len(self.turns),
            running_turn_id=self.running.turn_id if self.running else "",
            title=self.turns[0].text[:TITLE_CHARACTERS] if self.turns else "",
            forked_from=self.forked_from,
        )
        session.created.FromDatetime(self.created)
        if with_images:
            session.images.extend(image for image in self.images if image is not None)
        return session

    def apply(self, event: events_pb2.Event) -> None:
        """Take the next event of the log. Raises DataLoss when it cannot follow what came before."""
        if event.seq != self.last_seq + 1:
            raise self._loss(event, f"follows {self.last_seq}")
        try:
            self._apply(event)
        except (IndexError, ValueError, OverflowError) as error:
            raise self._loss(event, f"does not follow from those before it ({error})") from error

    def _loss(self, event: events_pb2.Event, problem: str) -> DataLoss:
        return DataLoss(f"the log of session {self.session_id} is damaged: event {event.seq} {problem}")

    def _apply(self, event: events_pb2.Event) -> None:
        self.last_seq = event.seq
        self.last_time = event.time.ToDatetime(UTC)
        kind = event.WhichOneof("kind")
        body = getattr(event, kind) if kind else None
        if isinstance(body, events_pb2.SessionCreated):
            self.created = self.last_time
            self.family, self.forked_from = body.family, body.forked_from
        elif isinstance(body, events_pb2.TurnStarted):
            self._start(event, body)
        elif isinstance(body, events_pb2.PromptEnhanced):
            self.turns[-1].enhanced = body
        elif isinstance(body, events_pb2.TextDelta):
            self.turns[-1].say(Text(body.text))
        elif isinstance(body, events_pb2.ThinkDelta):
            self.turns[-1].say(Think(body.text))
        elif isinstance(body, events_pb2.ImagePlanned):
            self._plan(body)
        elif isinstance(body, events_pb2.ImageReady):
            _require_size(body.image)
            self.turns[-1].ready[body.turn_index] = body
            self.images[body.image.index] = body.image
        elif kind in ENDINGS:
            self.turns[-1].ended_seq = event.seq

    def _start(self, event: events_pb2.Event, body: events_pb2.TurnStarted) -> None:
        for image in body.images:
            _require_size(image)
        self.images += body.images
        self.turns.append(
            Turn(
                turn_id=event.turn_id,
                started_seq=event.seq,
                started=self.last_time,
                text=body.text,
                images=list(body.images),
                options=body.options,
                deadline=body.deadline.ToDatetime(UTC),
            )
        )

    def _plan(self, body: events_pb2.ImagePlanned) -> None:
        turn = self.turns[-1]
        same = [plan for plan in turn.planned if plan.series and plan.series == body.series]
        grid = (body.grid.height_cells, body.grid.width_cells)
        turn.items.append(ImageSpec(body.prompt, grid, body.series, body.series_length, len(same)))
        turn.planned.append(body)
        self.images.append(None)
        if body.index != len(self.images) - 1:
            raise ValueError(f"picture {body.index} planned as number {len(self.images) - 1}")


def _require_size(image: types_pb2.Image) -> None:
    """What the planner sees of a picture, and how many tokens that takes, follow from its size."""
    if not (image.size.height and image.size.width):
        raise ValueError(f"picture {image.index} of {image.size.width} x {image.size.height} pixels")


def fold(session_id: str, events: Iterable[events_pb2.Event]) -> History:
    """The history after these events, which start at the first."""
    history = History(session_id, clock.now())
    for event in events:
        history.apply(event)
    return history
