"""Session logs against a real nats-server: one unbroken sequence, whoever writes and whatever restarts."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from nats.js.api import PubAck

from tests.conftest import eventually
from wanimage.bus import Bus
from wanimage.errors import Conflict, InvalidInput, NotFound, Unavailable
from wanimage.sessions import SessionLog, Sessions, new_session_id
from wanimage.stack import NatsServer
from wanimage.turnwriter import TurnWriter
from wanimage.v1.events_pb2 import Event, ImageProgress, TextDelta, TurnFinished, TurnStarted


@pytest.fixture
def sessions(bus: Bus) -> Sessions:
    return Sessions(bus)


def said(text: str) -> Event:
    return Event(turn_id="turn-1", text_delta=TextDelta(text=text))


async def write(log: SessionLog, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await log.append(said(f"word {number}"))


async def replayed(sessions: Sessions, session_id: str, after: int = 0) -> list[Event]:
    return [each async for each in sessions.replay("acme", session_id, after)]


def texts(events: list[Event]) -> list[str]:
    return [each.text_delta.text for each in events if each.HasField("text_delta")]


async def test_events_are_numbered_without_gaps_in_each_session(sessions: Sessions) -> None:
    one = await sessions.create("acme", "one", family="f1")
    two = await sessions.create("acme", "two", family="f1")
    for number in range(5):
        await one.append(said(f"one {number}"))
        await two.append(said(f"two {number}"))

    for session_id in ("one", "two"):
        events = await replayed(sessions, session_id)
        assert [each.seq for each in events] == [1, 2, 3, 4, 5, 6]
        assert {each.session_id for each in events} == {session_id}
        assert events[0].session_created.family == "f1"
        assert texts(events) == [f"{session_id} {number}" for number in range(5)]
        assert all(each.HasField("time") for each in events)


async def test_replay_after_starts_behind_what_was_seen(sessions: Sessions) -> None:
    log = await sessions.create("acme", "s", family="f1")
    await write(log, 300)

    events = await replayed(sessions, "s", after=290)

    assert [each.seq for each in events] == list(range(291, 302))


async def test_create_refuses_an_existing_session(sessions: Sessions) -> None:
    await sessions.create("acme", "s", family="f1")
    with pytest.raises(Conflict):
        await sessions.create("acme", "s", family="f1")


async def test_unknown_sessions_are_not_found(sessions: Sessions) -> None:
    await sessions.create("other", "s", family="f1")

    assert not await sessions.exists("acme", "s")
    for attempt in (sessions.open("acme", "s"), sessions.first("acme", "s"), replayed(sessions, "s")):
        with pytest.raises(NotFound, match="'s'"):
            await attempt


async def test_a_name_with_a_dot_cannot_reach_another_session(sessions: Sessions) -> None:
    with pytest.raises(InvalidInput, match="session_id"):
        await sessions.open("acme", "s.other")


async def test_second_writer_wins_and_the_first_stays_locked_out(sessions: Sessions) -> None:
    first = await sessions.create("acme", "s", family="f1")
    second = await sessions.open("acme", "s")
    await second.append(said("mine"))

    for _ in range(2):
        with pytest.raises(Conflict, match="somebody else wrote first"):
            await first.append(said("stale"))
    await first.refresh()
    await first.append(said("after refresh"))

    assert texts(await replayed(sessions, "s")) == ["mine", "after refresh"]


async def test_of_many_racing_writers_exactly_one_appends(sessions: Sessions) -> None:
    await sessions.create("acme", "s", family="f1")
    writers = [await sessions.open("acme", "s") for _ in range(8)]

    outcomes = await asyncio.gather(*(each.append(said("mine")) for each in writers), return_exceptions=True)

    assert sum(isinstance(each, Event) for each in outcomes) == 1
    assert sum(isinstance(each, Conflict) for each in outcomes) == 7
    assert [each.seq for each in await replayed(sessions, "s")] == [1, 2]


async def test_follow_is_gapless_while_the_log_is_being_written(sessions: Sessions) -> None:
    log = await sessions.create("acme", "s", family="f1")
    await write(log, 40)
    writing = asyncio.create_task(write(log, 200, first=40))

    seen: list[int] = []
    async with aclosing(sessions.follow("acme", "s", after=3)) as events:
        async for event in events:
            seen.append(event.seq)
            if event.seq == 241:
                break
    await writing

    assert seen == list(range(4, 242))


async def test_follow_goes_on_without_gap_after_nats_was_restarted(
    sessions: Sessions, nats_server: NatsServer
) -> None:
    log = await sessions.create("acme", "s", family="f1")
    seen: list[int] = []

    async def follow() -> None:
        async with aclosing(sessions.follow("acme", "s")) as events:
            async for event in events:
                seen.append(event.seq)

    following = asyncio.create_task(follow())
    await write(log, 5)
    await eventually(lambda: len(seen) == 6)
    nats_server.kill()
    await asyncio.to_thread(nats_server.start)
    await write(log, 5)
    await eventually(lambda: len(seen) == 11)
    following.cancel()

    assert seen == list(range(1, 12))


async def test_an_append_whose_caller_was_cancelled_is_waited_for_by_the_next(
    bus: Bus, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await sessions.create("acme", "s", family="f1")
    sent, arrives = asyncio.Event(), asyncio.Event()
    publish = bus.jetstream.publish

    async def on_its_way(*message: Any, **options: Any) -> PubAck:
        monkeypatch.setattr(bus.jetstream, "publish", publish)
        sent.set()
        await arrives.wait()
        return await publish(*message, **options)

    monkeypatch.setattr(
        bus.jetstream,
        "publish",
        lambda *message, **options: asyncio.shield(asyncio.ensure_future(on_its_way(*message, **options))),
    )
    first = asyncio.create_task(log.append(said("first")))
    await sent.wait()
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.create_task(log.append(said("second")))
    asyncio.get_running_loop().call_soon(arrives.set)
    await second

    assert first.cancelled()
    assert texts(await replayed(sessions, "s")) == ["first", "second"]


async def test_follow_shows_live_only_events_that_replay_does_not(sessions: Sessions) -> None:
    log = await sessions.create("acme", "s", family="f1")
    notice = Event(turn_id="turn-1", image_progress=ImageProgress(index=0, step=3, steps=8))

    async with aclosing(sessions.follow("acme", "s")) as events:
        assert (await anext(events)).HasField("session_created")
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await log.tell(notice)
        shown = await waiting

    assert (shown.seq, shown.session_id, shown.image_progress.step) == (0, "s", 3)
    assert len(await replayed(sessions, "s")) == 1


async def test_append_in_doubt_is_stored_once_when_repeated(
    sessions: Sessions, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await sessions.create("acme", "s", family="f1")
    real_store = bus.store

    async def store_and_lose_the_answer(*args, **kwargs) -> int:
        await real_store(*args, **kwargs)
        raise Unavailable("NATS", "the answer was lost")

    monkeypatch.setattr(bus, "store", store_and_lose_the_answer)
    with pytest.raises(Unavailable):
        await log.append(said("once"))
    monkeypatch.setattr(bus, "store", real_store)

    assert (await log.append(said("once"))).seq == 2
    assert (await log.append(said("next"))).seq == 3
    assert texts(await replayed(sessions, "s")) == ["once", "next"]


async def test_append_after_an_outage_continues_the_sequence(
    sessions: Sessions, nats_server: NatsServer
) -> None:
    log = await sessions.create("acme", "s", family="f1")
    nats_server.kill()
    with pytest.raises(Unavailable):
        await log.append(said("lost"))
    await asyncio.to_thread(nats_server.start)

    assert (await log.append(said("kept"))).seq == 2


async def test_list_shows_only_the_tenants_sessions_newest_first(sessions: Sessions) -> None:
    ids = [new_session_id(), "f" * 20, "0" * 20]
    for session_id in ids:
        await sessions.create("acme", session_id, family="f1")
    await sessions.create("other", "hidden", family="f1")

    assert await sessions.list("acme") == ["f" * 20, ids[0], "0" * 20]


async def test_fork_copies_a_prefix_and_leaves_the_source_alone(sessions: Sessions) -> None:
    log = await sessions.create("acme", "source", family="f1")
    await write(log, 5)
    before = await replayed(sessions, "source")

    fork = await sessions.fork("acme", "source", 4, "target")
    await fork.append(said("a new way"))

    events = await replayed(sessions, "target")
    assert [each.seq for each in events] == [1, 2, 3, 4, 5]
    assert texts(events) == ["word 0", "word 1", "word 2", "a new way"]
    assert (events[0].session_created.forked_from, events[0].session_created.forked_at) == ("source", 4)
    assert {each.session_id for each in events} == {"target"}
    assert await replayed(sessions, "source") == before


async def test_fork_that_broke_off_goes_on_where_it_stopped(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(await sessions.create("acme", "source", family="f1"), 5)
    real_append, appended = SessionLog.append, []

    async def append_three(self: SessionLog, event: Event) -> Event:
        if len(appended) == 3:
            raise Unavailable("NATS", "gone in the middle")
        appended.append(event)
        return await real_append(self, event)

    monkeypatch.setattr(SessionLog, "append", append_three)
    with pytest.raises(Unavailable):
        await sessions.fork("acme", "source", 0, "target")
    monkeypatch.undo()
    with pytest.raises(NotFound):  # what is there of it is no session
        await sessions.open("acme", "target")
    await sessions.fork("acme", "source", 0, "target")

    assert texts(await replayed(sessions, "target")) == texts(await replayed(sessions, "source"))
    assert (await sessions.open("acme", "target")).last_seq == 6
    await sessions.fork("acme", "source", 0, "target")  # once more changes nothing


async def test_fork_refuses_a_target_with_other_content(sessions: Sessions) -> None:
    await sessions.create("acme", "source", family="f1")
    await sessions.create("acme", "target", family="f1")

    with pytest.raises(Conflict, match="no fork of 'source'"):
        await sessions.fork("acme", "source", 1, "target")
    with pytest.raises(InvalidInput, match="at_seq: 9 of 1 events"):
        await sessions.fork("acme", "source", 9, "elsewhere")


async def test_turn_writer_joins_fast_deltas_and_keeps_the_order(sessions: Sessions) -> None:
    log = await sessions.create("acme", "s", family="f1")
    async with TurnWriter(log, "turn-1", seconds=60) as turn:
        await turn.append(Event(turn_started=TurnStarted(text="draw")))
        await turn.think("a ")
        await turn.think("fox")
        await turn.text("Here ")
        await turn.text("it is")
        await turn.append(Event(turn_finished=TurnFinished()))

    events = (await replayed(sessions, "s"))[1:]
    assert [each.WhichOneof("kind") for each in events] == [
        "turn_started",
        "think_delta",
        "text_delta",
        "turn_finished",
    ]
    assert (events[1].think_delta.text, events[2].text_delta.text) == ("a fox", "Here it is")
    assert {each.turn_id for each in events} == {"turn-1"}


async def test_turn_writer_holds_words_only_after_words(sessions: Sessions) -> None:
    log = await sessions.create("acme", "s", family="f1")
    async with TurnWriter(log, "turn-1", seconds=60) as turn:
        await turn.append(Event(turn_started=TurnStarted(text="draw")))
        await turn.text("Once")

        async def arrived() -> bool:
            return texts(await replayed(sessions, "s")) == ["Once"]

        await eventually(arrived)
        await turn.text(" upon")
        await turn.text(" a time")
    assert texts(await replayed(sessions, "s")) == ["Once", " upon a time"]


async def test_turn_writer_appends_held_text_by_itself(sessions: Sessions) -> None:
    log = await sessions.create("acme", "s", family="f1")
    async with TurnWriter(log, "turn-1", seconds=0.01) as turn:
        await turn.text("soon")

        async def arrived() -> bool:
            return texts(await replayed(sessions, "s")) == ["soon"]

        await eventually(arrived)


async def test_turn_writer_loses_and_doubles_no_text_over_an_outage(
    sessions: Sessions, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await sessions.create("acme", "s", family="f1")
    turn = TurnWriter(log, "turn-1", seconds=60)
    await turn.text("stored, ")
    real_store = bus.store

    async def store_and_lose_the_answer(*args, **kwargs) -> int:
        await real_store(*args, **kwargs)
        raise Unavailable("NATS", "the answer was lost")

    monkeypatch.setattr(bus, "store", store_and_lose_the_answer)
    with pytest.raises(Unavailable):
        await turn.flush()
    monkeypatch.setattr(bus, "store", real_store)
    await turn.text("and more")
    await turn.flush()

    assert texts(await replayed(sessions, "s")) == ["stored, ", "and more"]


async def test_turn_writer_raises_the_error_of_a_delayed_append(sessions: Sessions) -> None:
    log = await sessions.create("acme", "s", family="f1")
    other = await sessions.open("acme", "s")
    await other.append(said("taken over"))
    turn = TurnWriter(log, "turn-1", seconds=0)
    await turn.text("too late")

    async def refused() -> bool:
        try:
            await turn.text("")
        except Conflict:
            return True
        return False

    await eventually(refused)
