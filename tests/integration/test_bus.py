"""The bus against a real nats-server: fences, batches, wake-ups, and a server that goes away."""

import asyncio
import time
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from tests.conftest import eventually, nats_settings
from tests.decode_jobs import decode_job, decoded, running
from wanimage.bus import Bus
from wanimage.errors import Conflict, InvalidInput, Unavailable
from wanimage.jobs import Jobs
from wanimage.stack import NatsServer
from wanimage.subjects import JOBS, SESSIONS, stream_of, streams, token
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeResult

PROMISED_SECONDS = 5.0


async def test_store_refuses_a_stale_writer(bus: Bus) -> None:
    first = await bus.store("wan.session.acme.s1", b"one", expected_last=0, msg_id="a")
    await bus.store("wan.session.acme.s1", b"two", expected_last=first, msg_id="b")

    with pytest.raises(Conflict, match=r"ends at 2, not at 1"):
        await bus.store("wan.session.acme.s1", b"other two", expected_last=first, msg_id="c")

    held = await bus.read(SESSIONS, "wan.session.acme.s1", 1)
    assert [each.data for each in held] == [b"one", b"two"]


async def test_store_repeated_with_its_fence_is_stored_once(bus: Bus) -> None:
    # As after a lost acknowledgement: the server checks the fence before the message id.
    first = await bus.store("wan.session.acme.s1", b"one", expected_last=0, msg_id="a")
    again = await bus.store("wan.session.acme.s1", b"one", expected_last=0, msg_id="a")

    assert again == first
    assert await bus.subjects(SESSIONS, "wan.session.acme.*") == {"wan.session.acme.s1": 1}


async def test_read_pages_through_one_subject_in_order(bus: Bus) -> None:
    for number in range(20):
        await bus.store(f"wan.session.acme.{'mine' if number % 2 else 'other'}", str(number).encode())

    page = await bus.read(SESSIONS, "wan.session.acme.mine", 1, batch=6)
    rest = await bus.read(SESSIONS, "wan.session.acme.mine", page[-1].seq + 1, batch=6)

    assert [int(each.data) for each in page + rest] == list(range(1, 20, 2))
    assert await bus.read(SESSIONS, "wan.session.acme.mine", rest[-1].seq + 1) == []


async def test_last_is_none_for_an_unknown_subject(bus: Bus) -> None:
    await bus.store("wan.session.acme.s1", b"one")

    held = await bus.last(SESSIONS, "wan.session.acme.s1")
    assert held is not None
    assert held.data == b"one"
    assert await bus.last(SESSIONS, "wan.session.acme.s2") is None


async def test_listener_hears_what_was_stored_after_it_was_entered(bus: Bus) -> None:
    async with bus.listen("wan.live.acme.s1.log") as listener:
        await bus.store("wan.session.acme.s1", b"one")
        heard = await listener.next(5)

    assert heard is not None
    assert (heard.data, heard.headers["Nats-Sequence"], heard.headers["Nats-Last-Sequence"]) == (
        b"one",
        "1",
        "0",
    )


async def test_streams_survive_a_second_connection_with_the_same_settings(
    bus: Bus, nats_server: NatsServer
) -> None:
    await bus.store("wan.session.acme.s1", b"one")
    async with await Bus.connect(nats_settings(nats_server)) as second:
        assert await second.last(SESSIONS, "wan.session.acme.s1") is not None


async def test_every_operation_is_unavailable_in_time_when_nats_was_killed(
    bus: Bus, nats_server: NatsServer
) -> None:
    nats_server.kill()
    operations = {
        "store": lambda: bus.store("wan.session.acme.s1", b"lost"),
        "last": lambda: bus.last(SESSIONS, "wan.session.acme.s1"),
        "read": lambda: bus.read(SESSIONS, "wan.session.acme.s1", 1),
        "subjects": lambda: bus.subjects(JOBS, "wan.jobs.render.*"),
        "check": bus.check,
        "connect": lambda: Bus.connect(nats_settings(nats_server)),
    }

    async def seconds_until_unavailable(operation) -> float:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="NATS does not answer"):
            await operation()
        return time.monotonic() - started

    seconds = await asyncio.gather(*(seconds_until_unavailable(each) for each in operations.values()))

    assert max(seconds) < PROMISED_SECONDS, dict(zip(operations, seconds, strict=True))
    assert await bus.tell("wan.progress.x") is False


async def test_bus_works_again_by_itself_after_nats_came_back(bus: Bus, nats_server: NatsServer) -> None:
    await bus.store("wan.session.acme.s1", b"before")
    async with bus.listen("wan.live.acme.s1.log") as listener:
        nats_server.kill()
        with pytest.raises(Unavailable):
            await bus.check()
        nats_server.start()

        second = await bus.store("wan.session.acme.s1", b"after", expected_last=1)
        heard = await listener.next(5)

    assert second == 2
    assert heard is not None
    assert heard.data == b"after"
    assert [each.data for each in await bus.read(SESSIONS, "wan.session.acme.s1", 1)] == [b"before", b"after"]


async def test_a_short_restart_of_nats_is_not_seen(bus: Bus, nats_server: NatsServer) -> None:
    nats_server.kill()
    pending = asyncio.create_task(bus.store("wan.session.acme.s1", b"patient", expected_last=0, msg_id="a"))
    await asyncio.sleep(0)
    await asyncio.to_thread(nats_server.start)

    assert await pending == 1


async def test_streams_are_made_again_when_nats_came_back_empty(
    bus: Bus, nats_server: NatsServer, tmp_path
) -> None:
    nats_server.kill()
    (nats_server.directory / "jetstream").rename(tmp_path / "lost")
    await asyncio.to_thread(nats_server.start)

    assert await bus.store("wan.session.acme.s1", b"new life", expected_last=0) == 1


async def test_worker_outlives_a_nats_that_came_back_empty(nats_server: NatsServer, tmp_path: Path) -> None:
    async def handler(taken: TakenJob) -> DecodeResult:
        return decoded()

    settings = nats_settings(nats_server)
    async with await Bus.connect(settings):
        guest = await Bus.connect(settings.model_copy(update={"nats_makes_streams": False}))
    async with guest, running(Jobs(guest), handler):
        nats_server.kill()
        (nats_server.directory / "jetstream").rename(tmp_path / "lost")
        await asyncio.to_thread(nats_server.start)
        with pytest.raises(Unavailable):
            await guest.subjects(JOBS, "wan.jobs.decode.*")
        async with await Bus.connect(settings) as maker:
            assert (await Jobs(maker).run(decode_job())).decode == decoded()


async def test_a_bus_that_cannot_be_made_ready_leaves_no_connection(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in ("_ensure_streams", "check"):
        made: list[Bus] = []

        async def fail(bus: Bus, made: list[Bus] = made) -> None:
            made.append(bus)
            raise Unavailable("NATS", "its disk is gone")

        with monkeypatch.context() as patched:
            patched.setattr(Bus, step, fail)
            with pytest.raises(Unavailable, match="its disk is gone"):
                await Bus.connect(nats_settings(nats_server))
        assert made[0].client.is_closed, step


@pytest.mark.parametrize("turns", range(1, 8))
async def test_a_listener_that_is_cancelled_as_it_begins_costs_no_other_its_connection(
    bus: Bus, turns: int
) -> None:
    async def listen() -> None:
        async with bus.listen("wan.result.x"):
            await asyncio.Event().wait()

    listening = asyncio.create_task(listen())
    for _ in range(turns):
        await asyncio.sleep(0)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    async with asyncio.timeout(1):
        assert await bus.store("wan.session.acme.s1", b"one") == 1


async def test_bus_works_again_after_its_client_gave_up(bus: Bus) -> None:
    # What the client does on an error from the server that it takes for final.
    heard: list[bytes] = []

    async def note(message) -> None:
        heard.append(message.data)

    await bus.on("wan.cancel.*", note)
    before = bus.client.client_id
    await bus.client._process_err("'authentication timeout'")
    await eventually(lambda: bus.client.client_id not in (before, None))

    async def stores() -> bool:
        return await bus.store("wan.session.acme.s1", b"one", msg_id="a") == 1

    await eventually(stores)
    await bus.tell("wan.cancel.x", b"heard")
    await eventually(lambda: heard == [b"heard"])


@pytest.mark.parametrize("bad", ["", "a.b", "a b", "*", ">", "a" * 65, "ä"])
def test_token_refuses_what_would_change_the_subject(bad: str) -> None:
    with pytest.raises(InvalidInput, match="tenant: "):
        token("tenant", bad)


def test_every_stored_subject_belongs_to_its_stream() -> None:
    for config in streams():
        for pattern in config.subjects:
            assert stream_of(pattern.replace("*", "x").replace(">", "x")) == config.name


@pytest.mark.parametrize("turns", range(8))
async def test_a_listener_that_is_cancelled_as_a_message_arrives_ends(bus: Bus, turns: int) -> None:
    # In Python 3.11 `asyncio.wait_for`, under the client's `next_msg`, returns the message and the
    # cancellation is gone: whoever waits for the task's end would wait for ever.
    async with bus.listen("wan.progress.x") as messages:
        queue = messages._subscription._pending_queue

        async def follow() -> None:
            while True:
                await messages.next(60)

        following = asyncio.create_task(follow())
        await eventually(lambda: bool(queue._getters))
        queue.put_nowait(Msg(bus.client))
        for _ in range(turns):
            await asyncio.sleep(0)
        following.cancel()
        done, _ = await asyncio.wait({following}, timeout=1)
        following.cancel()  # or this test would hang where it should fail
        assert done, "the cancellation was lost"


async def test_whether_anybody_listens_is_known_at_once(bus: Bus) -> None:
    assert not await bus.heard("wan.queued.enhance.acme")
    told: list[str] = []

    async def hear(message: Msg) -> None:
        told.append(message.subject)

    standing = await bus.on("wan.queued.enhance.*", hear)
    assert await bus.heard("wan.queued.enhance.acme")
    await eventually(lambda: told == ["wan.queued.enhance.acme"])
    await standing.unsubscribe()
    assert not await bus.heard("wan.queued.enhance.acme")
