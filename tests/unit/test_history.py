"""The fold from a session's log to its turns and pictures."""

from datetime import UTC, datetime

import pytest

from services.planner.history import fold
from wanimage.errors import DataLoss, InvalidInput
from wanimage.markup import ImageSpec, Text, Think
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import types_pb2


def log(*bodies: dict) -> list[ev.Event]:
    """Events with dense sequence numbers; each body is the keyword of one kind."""
    events = []
    for seq, body in enumerate(bodies, start=1):
        event = ev.Event(seq=seq, session_id="s", turn_id="t", **body)
        event.time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
        events.append(event)
    return events


def planned(turn_index: int, index: int, series: int = 0, length: int = 0) -> dict:
    grid = types_pb2.Grid(height_cells=8, width_cells=8)
    plan = ev.ImagePlanned(
        turn_index=turn_index, index=index, prompt="a fox", grid=grid, series=series, series_length=length
    )
    return {"image_planned": plan}


def ready(turn_index: int, index: int) -> dict:
    return {"image_ready": ev.ImageReady(turn_index=turn_index, image=picture(index))}


def picture(index: int, height: int = 128) -> types_pb2.Image:
    return types_pb2.Image(index=index, size=types_pb2.Size(height=height, width=128))


CREATED = {"session_created": ev.SessionCreated(family="f")}
STARTED = {"turn_started": ev.TurnStarted(text="a story", images=[picture(0)])}


def test_deltas_join_and_pictures_stand_between_them():
    history = fold(
        "s",
        log(
            CREATED, STARTED,
            {"think_delta": ev.ThinkDelta(text="hm")}, {"think_delta": ev.ThinkDelta(text="m")},
            {"text_delta": ev.TextDelta(text="Once ")}, {"text_delta": ev.TextDelta(text="upon")},
            planned(0, 1), ready(0, 1),
            {"text_delta": ev.TextDelta(text="The end.")},
        ),
    )  # fmt: skip
    turn = history.turns[0]
    assert turn.items == [Think("hmm"), Text("Once upon"), ImageSpec("a fox", (8, 8)), Text("The end.")]
    assert history.running is turn
    assert history.last_seq == 9
    assert history.family == "f"
    assert [image.index for image in history.images if image] == [0, 1]


def test_a_planned_picture_is_pending_until_it_is_ready():
    events = log(CREATED, STARTED, planned(0, 1), planned(1, 2), ready(0, 1))
    history = fold("s", events)
    assert [plan.index for plan in history.turns[0].pending] == [2]
    assert history.image(1, "user.images[0].session_image").index == 1
    with pytest.raises(InvalidInput, match="picture 2 does not exist"):
        history.image(2, "user.images[0].session_image")


def test_series_pictures_know_their_position():
    history = fold("s", log(CREATED, STARTED, planned(0, 1, 1, 2), planned(1, 2, 1, 2)))
    specs = history.turns[0].items
    assert [(spec.series, spec.series_length, spec.position) for spec in specs] == [(1, 2, 0), (1, 2, 1)]


@pytest.mark.parametrize(
    "end",
    [
        {"turn_finished": ev.TurnFinished()},
        {"turn_failed": ev.TurnFailed()},
        {"turn_cancelled": ev.TurnCancelled()},
    ],
)
def test_a_turn_runs_until_an_event_ends_it(end):
    running = log(CREATED, STARTED)
    assert fold("s", running).running is not None
    ended = fold("s", log(CREATED, STARTED, end))
    assert ended.running is None
    assert ended.turns[0].ended_seq == 3


def test_a_gap_in_the_log_is_never_folded_over():
    events = log(CREATED, STARTED)
    events[1].seq = 3
    with pytest.raises(DataLoss, match="event 3 follows 1"):
        fold("s", events)


def test_a_picture_without_a_size_is_a_damaged_log():
    empty = ev.ImageReady(image=picture(1, height=0))
    for events in (
        log(CREATED, STARTED, planned(0, 1), {"image_ready": empty}),
        log(CREATED, {"turn_started": ev.TurnStarted(images=[picture(0, height=0)])}),
    ):
        with pytest.raises(DataLoss, match=r"damaged: event .* 128 x 0 pixels"):
            fold("s", events)
