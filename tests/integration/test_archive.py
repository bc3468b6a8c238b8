"""A session in a file: it comes back the same, anywhere; a damaged file says what is wrong with it."""

import json
import random
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.planner.history import fold
from tests.house import FAMILY, House, open_house
from wanimage.archive import BLOBS, EVENTS, MANIFEST, Archive, export_session, import_session
from wanimage.config import Settings
from wanimage.errors import Conflict, InvalidInput, NotFound, SchemaMismatch, WanError
from wanimage.sessions import Sessions
from wanimage.stack import NatsServer
from wanimage.v1 import events_pb2 as ev

SEED = 20261124


@pytest.fixture
async def house(settings: Settings, nats_server: NatsServer, tenant: str) -> AsyncIterator[House]:
    async with open_house(settings, nats_server, tenant) as opened:
        yield opened


@pytest.fixture
async def exported(house: House, tmp_path: Path) -> Path:
    """A session of three events and two blobs."""
    refs = [await house.put(b"first picture"), await house.put(bytes(300_000))]
    session_id = await house.session(*refs)
    path = tmp_path / "session.wan.zip"
    contents = await export_session(house.bus, house.blobs, house.tenant, session_id, path)
    assert (contents.events, contents.blobs, contents.blob_bytes) == (3, 2, 300_013)
    return path


async def log_of(house: House, tenant: str, session_id: str) -> list[ev.Event]:
    """Events without what an import may change."""
    events = [event async for event in Sessions(house.bus).replay(tenant, session_id)]
    for event in events:
        event.session_id, event.more = "", False
    return events


async def test_a_session_comes_back_the_same_under_another_tenant_and_name(
    house: House, exported: Path
) -> None:
    other = f"{house.tenant}-b"
    with Archive(exported) as archive:
        original = archive.session_id
        await import_session(house.bus, house.blobs, archive, other, "elsewhere")
    events = await log_of(house, other, "elsewhere")
    assert events == await log_of(house, house.tenant, original)
    history = fold("elsewhere", events)
    assert len(history.images) == 2
    for image in history.images:
        assert image is not None
        assert len(await house.blobs.get(other, image.base)) == image.base.size
    log = await Sessions(house.bus).open(other, "elsewhere")
    await log.append(ev.Event(turn_id="u", turn_started=ev.TurnStarted(text="and now")))  # it goes on


async def test_importing_twice_changes_nothing_and_over_another_session_is_refused(
    house: House, exported: Path
) -> None:
    with Archive(exported) as archive:
        for _ in range(2):
            await import_session(house.bus, house.blobs, archive, house.tenant, "copy")
        before = await log_of(house, house.tenant, "copy")
        assert len(before) == 3
        other = await house.session()
        with pytest.raises(Conflict, match="choose another id"):
            await import_session(house.bus, house.blobs, archive, house.tenant, other)
        log = await Sessions(house.bus).open(house.tenant, "copy")
        await log.append(ev.Event(turn_id="u", turn_started=ev.TurnStarted(text="and now")))
        with pytest.raises(Conflict):
            await import_session(house.bus, house.blobs, archive, house.tenant, "copy")


async def test_an_import_that_breaks_off_is_no_session_until_it_is_finished(
    house: House, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Exception):
        pass

    calls = 0
    store = house.bus.store

    async def breaking(*args: object, **options: object) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Broken
        return await store(*args, **options)  # type: ignore[arg-type]

    sessions = Sessions(house.bus)
    with Archive(exported) as archive:
        monkeypatch.setattr(house.bus, "store", breaking)
        with pytest.raises(Broken):
            await import_session(house.bus, house.blobs, archive, house.tenant, "half")
        monkeypatch.undo()
        with pytest.raises(NotFound):
            await sessions.open(house.tenant, "half")
        await import_session(house.bus, house.blobs, archive, house.tenant, "half")
    await sessions.open(house.tenant, "half")
    assert [event.seq for event in await log_of(house, house.tenant, "half")] == [1, 2, 3]


async def test_an_imported_session_is_exported_to_the_same_file(
    house: House, exported: Path, tmp_path: Path
) -> None:
    with Archive(exported) as archive:
        session_id = archive.session_id
        other = f"{house.tenant}-b"
        await import_session(house.bus, house.blobs, archive, other)
    again = tmp_path / "again.wan.zip"
    await export_session(house.bus, house.blobs, other, session_id, again)
    with zipfile.ZipFile(exported) as one, zipfile.ZipFile(again) as two:
        assert one.read(EVENTS) == two.read(EVENTS)
        assert one.namelist() == two.namelist()


async def test_a_busy_session_is_not_exported(house: House, tmp_path: Path) -> None:
    log = await Sessions(house.bus).create(house.tenant, "busy", FAMILY)
    started = ev.TurnStarted(text="hello")
    started.deadline.GetCurrentTime()
    started.deadline.seconds += 60
    await log.append(ev.Event(turn_id="t1", turn_started=started))
    with pytest.raises(Conflict, match="busy with turn t1"):
        await export_session(house.bus, house.blobs, house.tenant, "busy", tmp_path / "x.zip")
    assert list(tmp_path.glob("*.zip*")) == list(tmp_path.glob(".*part")) == []


def rewritten(path: Path, target: Path, change: dict[str, bytes | None], compressed: bool = False) -> Path:
    """The archive with entries replaced, or left out (None)."""
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()} | change
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", method) as new:
        for name, data in entries.items():
            if data is not None:
                new.writestr(name, data)
    return target


async def test_a_damaged_file_is_refused_naming_the_entry(exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        events = archive.read(EVENTS)
    blob = BLOBS + next(iter(manifest["blobs"]))
    cases: list[tuple[str, dict[str, bytes | None]]] = [
        (blob, {blob: b"other bytes"}),
        (blob, {blob: None}),
        (EVENTS, {EVENTS: events[:-1]}),
        (EVENTS, {EVENTS: events + events}),
        (EVENTS, {EVENTS: b"\xff\xff\xff\xff"}),
        (MANIFEST, {MANIFEST: b"{}"}),
        (MANIFEST, {MANIFEST: b"[" * 100_000}),
        ("surprise", {"surprise": b"!"}),
    ]
    for named, change in cases:
        with pytest.raises(InvalidInput) as caught:
            Archive(rewritten(exported, tmp_path / "bad.zip", change))
        assert caught.value.field == named, change
    with pytest.raises(InvalidInput, match="compressed"):
        Archive(rewritten(exported, tmp_path / "bad.zip", {}, compressed=True))
    newer = json.dumps(manifest | {"format": 2}).encode()
    with pytest.raises(SchemaMismatch, match="reads up to 1"):
        Archive(rewritten(exported, tmp_path / "bad.zip", {MANIFEST: newer}))


async def test_random_damage_is_refused_or_harmless(exported: Path, tmp_path: Path, scale: str) -> None:
    original, chance = exported.read_bytes(), random.Random(SEED)
    with Archive(exported) as archive:
        events = list(archive.events())
    refused = 0
    for _ in range(2000 if scale == "full" else 60):
        data = bytearray(original)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(data)
        try:
            with Archive(damaged) as archive:
                assert list(archive.events()) == events  # a date, or the like
                assert isinstance(archive.blobs, dict)
        except WanError:
            refused += 1
    assert refused
