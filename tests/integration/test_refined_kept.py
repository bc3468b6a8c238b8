"""A refined picture is kept, moved and removed with its session, as base and latent are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.planner.history import fold
from tests.house import FAMILY, House, open_house
from wanimage.archive import Archive, export_session, import_session
from wanimage.config import Settings
from wanimage.jobs import Jobs, make_job
from wanimage.retention import delete_session
from wanimage.sessions import Sessions, new_session_id
from wanimage.stack import NatsServer
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2


@pytest.fixture
async def house(settings: Settings, nats_server: NatsServer, tenant: str) -> AsyncIterator[House]:
    async with open_house(settings, nats_server, tenant) as opened:
        yield opened


async def drawn(house: House) -> tuple[str, types_pb2.Image]:
    """A session with one finished picture: base, latent and refined version."""
    log = await Sessions(house.bus).create(house.tenant, new_session_id(), FAMILY)
    image = types_pb2.Image(
        base=await house.put(b"base"), latent=await house.put(b"latent"), refined=await house.put(b"refined"),
        size=types_pb2.Size(height=128, width=128), prompt="a fox",
    )  # fmt: skip
    for event in (
        ev.Event(turn_started=ev.TurnStarted(text="a fox")),
        ev.Event(image_planned=ev.ImagePlanned(prompt="a fox")),
        ev.Event(image_ready=ev.ImageReady(image=image)),
        ev.Event(turn_finished=ev.TurnFinished()),
    ):
        event.turn_id = "t"
        await log.append(event)
    return log.session_id, image


async def test_an_export_holds_the_refined_picture_and_an_import_brings_it_back(
    house: House, tmp_path: Path
) -> None:
    session_id, image = await drawn(house)
    path = tmp_path / "session.wan.zip"
    contents = await export_session(house.bus, house.blobs, house.tenant, session_id, path)
    assert contents.blobs == 3
    other = f"{house.tenant}-b"
    with Archive(path) as archive:
        await import_session(house.bus, house.blobs, archive, other)
    events = [event async for event in Sessions(house.bus).replay(other, session_id)]
    (back,) = fold(session_id, events).images
    assert back == image
    for ref, data in ((back.base, b"base"), (back.latent, b"latent"), (back.refined, b"refined")):
        assert await house.blobs.get(other, ref) == data


async def test_a_refined_picture_stays_as_long_as_its_session_and_goes_with_it(house: House) -> None:
    session_id, image = await drawn(house)
    account = await house.collect(days=2)
    assert (account.kept, account.collected) == (3, 0)
    assert await house.read(image.refined) == b"refined"
    await delete_session(house.bus, house.tenant, session_id, "operator")
    assert (await house.collect(days=2)).collected == 3


async def test_what_a_refinement_needs_and_made_is_kept_while_its_job_and_result_are(house: House) -> None:
    latent, made = await house.put(b"latent"), await house.put(b"refined")
    jobs = Jobs(house.bus)
    await jobs.submit(make_job(house.tenant, FAMILY, jobs_pb2.RefineJob(latent=latent), 600))
    await jobs.commit(jobs_pb2.JobResult(job_id="a" * 64, refine=jobs_pb2.RefineResult(image=made)), 1)
    account = await house.collect(days=2)
    assert (account.kept, account.collected) == (2, 0)
