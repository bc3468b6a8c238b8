"""Sessions recorded by earlier versions replay to the same history, and go on."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.planner.history import fold
from tests.golden.record import FAMILY, HERE, Studio, described, taking
from tests.house import House, open_house
from tests.scripted import InstantDrawing, ScriptedEngine
from wanimage.archive import Archive, import_session
from wanimage.config import Settings
from wanimage.errors import DataLoss, SchemaMismatch
from wanimage.jobs import Jobs
from wanimage.sessions import SCHEMA, Sessions, read_event
from wanimage.stack import NatsServer
from wanimage.v1 import events_pb2 as ev

FILES = sorted(HERE.glob("*.wan.zip"))


def expected(path: Path) -> object:
    return json.loads(path.with_name(path.name.replace(".wan.zip", ".json")).read_text())


def test_every_kind_of_event_but_the_live_and_planned_ones_is_recorded() -> None:
    recorded = set()
    for path in FILES:
        with Archive(path) as archive:
            recorded |= {event.WhichOneof("kind") for event in archive.events()}
    kinds = {field.name for field in ev.Event.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert kinds - recorded == {"image_progress", "prompt_enhanced", "session_deleted"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_recorded_log_replays_to_the_same_history(path: Path) -> None:
    with Archive(path) as archive:
        history = fold(archive.session_id, archive.events())
    assert json.loads(json.dumps(described(history))) == expected(path)


@pytest.fixture
async def house(settings: Settings, nats_server: NatsServer) -> AsyncIterator[House]:
    async with open_house(settings, nats_server, "golden") as opened:
        yield opened


async def test_recorded_sessions_are_imported_and_go_on(house: House) -> None:
    jobs, sessions, drawing = Jobs(house.bus), Sessions(house.bus), InstantDrawing(house.blobs)
    studio = Studio(house.bus, house.blobs, jobs, sessions, drawing)
    for path in FILES:
        with Archive(path) as archive:
            done = await import_session(house.bus, house.blobs, archive, house.tenant)
        log = await sessions.open(house.tenant, done.session_id)
        script = "More.<imagine>a heron</imagine><size>8*8</size><BOI>Done."
        async with (
            taking(jobs, "render", drawing.render),
            taking(jobs, "encode", drawing.encode),
            taking(jobs, "decode", drawing.decode),
        ):
            await studio.turn(log, "next", "Go on.", ScriptedEngine(script))
        events = [event async for event in sessions.replay(house.tenant, done.session_id)]
        history = fold(done.session_id, events)
        assert history.running is None
        assert events[-1].HasField("turn_finished"), path.name
        before = expected(path)
        assert isinstance(before, dict)
        after = json.loads(json.dumps(described(history)))
        assert after["turns"][:-1] == before["turns"]
        assert len(after["images"]) == len(before["images"]) + 1


def test_a_newer_schema_is_refused_and_a_newer_field_is_not() -> None:
    event = ev.Event(seq=1, session_id="s", schema=SCHEMA, text_delta=ev.TextDelta(text="x"))
    assert read_event(event.SerializeToString() + b"\xfa\x3f\x02hi").text_delta.text == "x"  # field 1023
    event.schema = SCHEMA + 1
    with pytest.raises(SchemaMismatch, match=f"reads up to {SCHEMA}; update it"):
        read_event(event.SerializeToString())
    event.schema = 0  # before the field was there
    assert read_event(event.SerializeToString()) == event
    with pytest.raises(DataLoss):
        read_event(b"\xff")


async def test_events_are_written_with_the_schema_of_their_writer(house: House) -> None:
    session_id = await house.session()
    events = [event async for event in Sessions(house.bus).replay(house.tenant, session_id)]
    assert {event.schema for event in events} == {SCHEMA}
    assert events[0].session_created.family == FAMILY
