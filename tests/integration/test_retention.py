"""Idle sessions go, blobs that nobody names go with them, and nothing that anybody names is ever lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from tests.conftest import eventually
from tests.golden.record import TENANT, Studio, taking
from tests.house import FAMILY, House, open_house
from tests.scripted import InstantDrawing, ScriptedEngine
from wanimage.blobs import ASK_BYTES, Blobs
from wanimage.config import Settings
from wanimage.errors import Conflict, DataLoss, InvalidInput, NotFound
from wanimage.jobs import Jobs, make_job
from wanimage.retention import Account, Collector, check_grace, delete_session
from wanimage.sessions import Sessions, new_session_id
from wanimage.stack import NatsServer
from wanimage.subjects import ATTEMPT_HEADER
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2

DAY = 86400.0
SEED = 20261124


@pytest.fixture
async def house(settings: Settings, nats_server: NatsServer, tenant: str) -> AsyncIterator[House]:
    async with open_house(settings, nats_server, tenant) as opened:
        yield opened


async def test_a_blob_that_nobody_names_goes_to_the_trash_and_then_for_good(house: House) -> None:
    kept, lost = await house.put(b"named"), await house.put(b"not named")
    await house.session(kept)

    young = await house.collect(days=0.5)
    assert (young.kept, young.young, young.collected) == (1, 1, 0)

    collected = await house.collect(days=2)
    assert (collected.kept, collected.collected, collected.collected_bytes) == (1, 1, len(b"not named"))
    assert [key.split("/")[1] for key in house.stored()] == [kept.sha256]
    assert [key.split("/")[2] for key in house.stored(".trash/")] == [lost.sha256]

    assert (await house.collect(days=2.5)).destroyed == 0
    emptied = await house.collect(days=3.5)
    assert (emptied.destroyed, emptied.destroyed_bytes) == (1, len(b"not named"))
    assert house.stored(".trash/") == []
    assert await house.read(kept) == b"named"
    with pytest.raises(NotFound):
        await house.read(lost)


async def test_a_dry_run_counts_and_changes_nothing(house: House) -> None:
    await house.put(b"not named")
    await house.session()
    before = house.stored()

    account = await house.collect(days=40, dry_run=True, session_ttl=30 * DAY)

    assert (account.collected, account.sessions, account.sessions_deleted) == (1, 1, 1)
    assert house.stored() == before
    assert await Sessions(house.bus).list(house.tenant)


async def test_what_waits_in_queues_results_and_dead_letters_is_kept(house: House) -> None:
    refs = [await house.put(name) for name in (b"queued", b"result", b"dead")]
    jobs = Jobs(house.bus)
    waiting = make_job(house.tenant, FAMILY, jobs_pb2.DecodeJob(latent=refs[0]), 600)
    await jobs.submit(waiting)
    done = jobs_pb2.JobResult(job_id="a" * 64, render=jobs_pb2.RenderResult(latents=[refs[1]]))
    await jobs.commit(done, 1)
    dead = make_job(house.tenant, FAMILY, jobs_pb2.EncodeJob(image=refs[2]), 600)
    await house.bus.store(f"wan.dlq.encode.{house.tenant}", dead.SerializeToString())

    account = await house.collect(days=2)

    assert (account.kept, account.collected) == (3, 0)


async def test_a_reference_written_after_the_blob_was_collected_holds(house: House) -> None:
    ref = await house.put(b"seen just before")
    assert (await house.collect(days=2)).collected == 1

    await house.session(ref)  # whoever writes it saw the blob before it was collected
    assert await house.read(ref) == b"seen just before"
    assert [key.split("/")[1] for key in house.stored()] == [ref.sha256]


async def test_a_collected_blob_that_is_named_comes_back_by_itself(house: House) -> None:
    ref = await house.put(b"never read")
    await house.collect(days=2)
    await house.session(ref)

    assert (await house.collect(days=4)).put_back == 1
    assert [key.split("/")[1] for key in house.stored()] == [ref.sha256]
    assert (await house.collect(days=4)).destroyed == 1  # the copy in the trash
    assert await house.read(ref) == b"never read"


async def test_a_process_does_not_believe_its_cache_for_ever(house: House) -> None:
    async with await Blobs.connect(house.settings, vouched_seconds=0) as forgetful:
        ref = await forgetful.put(house.tenant, b"cached", "image/png")
        await house.collect(days=2)
        await house.collect(days=4)
        assert house.stored(".trash/") == house.stored() == []
        assert await forgetful.put(house.tenant, b"cached", "image/png") == ref
    assert await house.read(ref) == b"cached"


async def test_a_clock_that_is_set_back_does_not_make_a_cache_believed_longer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Blobs.connect(house.settings, vouched_seconds=0.2) as blobs:
        ref = await blobs.put(house.tenant, b"cached", "image/png")
        house.bucket.remove_all([f"{house.tenant}/{ref.sha256}"])
        at = time.time() - 10 * DAY
        monkeypatch.setattr(time, "time", lambda: at)

        async def stored_again() -> bool:
            await blobs.put(house.tenant, b"cached", "image/png")
            return bool(house.stored())

        await eventually(stored_again)


async def test_a_log_of_a_newer_version_keeps_its_tenant_untouched(house: House) -> None:
    await house.put(b"perhaps named in a field of next year")
    session_id = await house.session()
    event = ev.Event(seq=4, session_id=session_id, text_delta=ev.TextDelta(text="x")).SerializeToString()
    unknown = event + b"\xfa\x3f\x02hi"  # field 1023
    await house.bus.store(f"wan.session.{house.tenant}.{session_id}", unknown, headers={"Wan-Seq": "4"})

    account = await house.collect(days=2)

    assert "unknown fields [1023] of Event" in account.left_alone
    assert account.collected == 0


async def test_a_result_that_names_no_digest_stops_the_collection_with_its_name(house: House) -> None:
    result = jobs_pb2.JobResult(job_id="a" * 64)
    result.decode.image.sha256 = "no digest"
    await house.bus.store(f"$KV.RESULTS.{result.job_id}", result.SerializeToString())
    with pytest.raises(DataLoss, match=r"RESULTS\.aaa"):
        await house.collect(days=2)


async def test_idle_sessions_are_deleted_and_their_blobs_follow(house: House) -> None:
    ref = await house.put(b"of an old session")
    session_id = await house.session(ref)

    assert (await house.collect(days=20, session_ttl=30 * DAY)).sessions_deleted == 0
    gone = await house.collect(days=31, session_ttl=30 * DAY)

    assert (gone.sessions, gone.sessions_deleted, gone.collected) == (1, 1, 1)
    assert await Sessions(house.bus).list(house.tenant) == []
    with pytest.raises(NotFound):
        await Sessions(house.bus).open(house.tenant, session_id)


async def test_a_session_with_a_running_turn_is_not_deleted(house: House) -> None:
    sessions = Sessions(house.bus)
    log = await sessions.create(house.tenant, "busy", FAMILY)
    started = ev.TurnStarted(text="hello")
    started.deadline.GetCurrentTime()
    started.deadline.seconds += 60
    await log.append(ev.Event(turn_id="t1", turn_started=started))

    with pytest.raises(Conflict, match="busy with turn t1"):
        await delete_session(house.bus, house.tenant, "busy", "operator")
    await log.append(ev.Event(turn_id="t1", turn_cancelled=ev.TurnCancelled()))
    await delete_session(house.bus, house.tenant, "busy", "operator")
    with pytest.raises(Conflict):  # a writer that was still open is fenced off
        await log.append(ev.Event(turn_id="t1", text_delta=ev.TextDelta(text="late")))
    with pytest.raises(NotFound):
        await delete_session(house.bus, house.tenant, "busy", "operator")


async def test_a_deletion_that_broke_off_is_finished_by_the_next_run(house: House) -> None:
    session_id = await house.session()
    log = await Sessions(house.bus).open(house.tenant, session_id)
    await log.append(ev.Event(session_deleted=ev.SessionDeleted(reason="operator")))
    with pytest.raises(NotFound):
        await Sessions(house.bus).open(house.tenant, session_id)

    assert (await house.collect()).sessions_deleted == 1
    assert await Sessions(house.bus).list(house.tenant) == []


async def test_a_result_whose_blobs_are_gone_is_not_served(house: House) -> None:
    jobs = Jobs(house.bus, holds=house.blobs.holds)
    ref = await house.put(b"a picture")
    job = make_job(house.tenant, FAMILY, jobs_pb2.DecodeJob(latent=ref), 60)
    first = await jobs.submit(job)
    await jobs.commit(
        jobs_pb2.JobResult(job_id=job.id, decode=jobs_pb2.DecodeResult(image=ref)), first.attempt
    )
    assert (await jobs.submit(job)).result is not None

    house.bucket.remove_all(house.stored())
    again = await jobs.submit(job)

    assert again.result is None
    assert again.attempt == first.attempt + 1
    queued = await house.bus.last("JOBS", f"wan.jobs.decode.{house.tenant}")
    assert queued is not None
    assert queued.headers[ATTEMPT_HEADER] == "2"


def test_a_grace_shorter_than_a_reference_takes_is_refused() -> None:
    check_grace(DAY, 3600)
    with pytest.raises(InvalidInput, match="10800 s"):
        check_grace(7200, 3600)


async def test_a_turn_comes_to_its_end_while_everything_unnamed_is_collected(house: House) -> None:
    jobs = Jobs(house.bus, holds=house.blobs.holds)
    drawing = InstantDrawing(house.blobs)
    studio = Studio(house.bus, house.blobs, jobs, Sessions(house.bus), drawing)
    log = await studio.sessions.create(TENANT, new_session_id(), FAMILY)
    done = asyncio.Event()
    moved = 0

    async def collect() -> None:
        nonlocal moved
        while not done.is_set():
            collector = Collector(house.bus, house.bucket)
            collector._collect = _eager(collector)  # type: ignore[method-assign]
            (account,) = await collector.run(TENANT)
            moved += account.collected

    collecting = asyncio.create_task(collect())
    async with taking(jobs, "render", drawing.render), taking(jobs, "decode", drawing.decode):
        for number in range(4):
            prompt = f"<imagine>fox {number} of {log.session_id}</imagine><size>8*8</size><BOI>"
            await studio.turn(log, f"t{number}", "a fox", ScriptedEngine(f"Look:{prompt}Done."))
            await house.blobs.put(TENANT, f"{number} of {log.session_id}".encode(), "image/png")
    done.set()
    await collecting

    events = [event async for event in studio.sessions.replay(TENANT, log.session_id)]
    assert [event.HasField("turn_finished") for event in events].count(True) == 4
    pictures = [event.image_ready.image.base for event in events if event.HasField("image_ready")]
    async with await Blobs.connect(house.settings) as fresh:
        assert all([await fresh.get(TENANT, ref) for ref in pictures])
    assert len(pictures) == 4
    assert moved


@pytest.mark.timeout(600)
async def test_collecting_races_writers_without_losing_a_blob(house: House, scale: str) -> None:
    """Collectors that think everything old, two at a time, against writers that put, skip and name blobs.

    The grace is 4 s; a writer names a blob at most 1 s after it put it, and believes its cache for 1 s.
    """
    seconds, grace = (60.0, 4.0) if scale == "full" else (5.0, 4.0)
    chance = random.Random(SEED)
    contents = [bytes([number]) * size for number in range(6) for size in (100, ASK_BYTES + number)]
    named: list[types_pb2.BlobRef] = []
    stop = time.monotonic() + seconds
    moved = destroyed = 0

    async def write(number: int) -> None:
        log = await Sessions(house.bus).create(house.tenant, f"w{number}", FAMILY)
        async with await Blobs.connect(house.settings, vouched_seconds=1.0) as blobs:
            while time.monotonic() < stop:
                data = chance.choice(contents) + bytes([chance.randrange(3)])
                ref = await blobs.put(house.tenant, data, "image/png")
                await asyncio.sleep(chance.random() * 0.9)
                image = types_pb2.Image(base=ref)
                await log.append(ev.Event(turn_id="t", image_ready=ev.ImageReady(image=image)))
                named.append(ref)
                assert await blobs.get(house.tenant, ref) == data
                if (
                    chance.random() < 0.3
                ):  # the session goes, and its blobs with it, while others name them too
                    await delete_session(house.bus, house.tenant, log.session_id, "operator")
                    log = await Sessions(house.bus).create(house.tenant, new_session_id(), FAMILY)

    async def collect() -> None:
        nonlocal moved, destroyed
        while time.monotonic() < stop:
            # Every blob looks old enough to be moved; the trash is emptied by the real age.
            collector = Collector(house.bus, house.bucket, grace=grace)
            collector._collect = _eager(collector)  # type: ignore[method-assign]
            (account,) = await collector.run(house.tenant)
            moved, destroyed = moved + account.collected, destroyed + account.destroyed

    await asyncio.gather(*(write(number) for number in range(4)), collect(), collect())

    alive = {
        ref.sha256: ref
        for session_id in await Sessions(house.bus).list(house.tenant)
        async for event in Sessions(house.bus).replay(house.tenant, session_id)
        if (ref := event.image_ready.image.base).sha256
    }
    for ref in alive.values():
        assert len(await house.read(ref)) == ref.size
    print(f"race: {len(named)} references, {moved} blobs moved, {destroyed} destroyed, {len(alive)} alive")
    assert moved > 10
    assert alive


def _eager(collector: Collector):
    """`_collect` without the protection of a blob's age."""
    collect = Collector._collect

    async def eager(account: Account, live: object, began: float) -> None:
        await collect(collector, account, live, began + 10 * DAY)  # type: ignore[arg-type]

    return eager
