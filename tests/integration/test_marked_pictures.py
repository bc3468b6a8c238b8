"""Cues on the pictures of a turn and of a request, on the real S3."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from services.planner.intake import Intake
from tests.conftest import eventually
from tests.scripted import ScriptedEngine
from tests.threads import callers_of
from tests.turns import FAMILY, Bench, open_bench
from wanimage import cues
from wanimage.cues import changeable, mark_uploads
from wanimage.errors import InvalidInput
from wanimage.images import decode, encode
from wanimage.sessions import SessionLog
from wanimage.uploads import Upload
from wanimage.v1 import types_pb2 as pb

GREY = np.full((64, 64, 4), (90, 90, 90, 255), np.uint8)
BOX = pb.Box(x=0.2, y=0.2, width=0.5, height=0.5)


@pytest.fixture
async def bench(settings, tenant):
    async with open_bench(settings, tenant) as opened:
        yield opened


def pointing(cue: "pb.Region.Cue.ValueType", **fields: object) -> pb.Region:
    return pb.Region(box=BOX, prompt="a key", reference=0, cue=cue, **fields)


def grey() -> Upload:
    return Upload(*encode(GREY), 64, 64, opaque=True)


KEY = "<imagine>a key</imagine><size>8*8</size><BOI>"


async def ended(bench: Bench, session_id: str, answer: str = KEY) -> None:
    """The session's turn is over: one that is left behind would be taken by the planners of other tests."""

    async def idle() -> bool:
        return (await bench.history(session_id)).running is None

    async with bench.planner(ScriptedEngine(answer)):
        await eventually(idle)


async def test_a_turn_shows_its_picture_with_the_cues_that_point_at_it(bench: Bench):
    family = SimpleNamespace(digest=FAMILY, base_cells=64, max_cells=256)
    intake = Intake(bench.sessions, bench.jobs, bench.blobs, family, None)
    user = pb.UserMessage(text="put a key there", images=[pb.ImageInput(data=encode(GREY)[0])])
    options = pb.TurnOptions(regions=[pointing(pb.Region.CUE_MASK)])
    log, _, _ = await intake.accept(bench.tenant, "", user, options, 60)
    await ended(bench, log.session_id)

    image, _ = (await bench.history(log.session_id)).images
    seen = decode(await bench.blobs.get(bench.tenant, image.base), "image")
    assert seen.shape == GREY.shape
    assert (seen[29, 29] != GREY[29, 29]).any()
    assert (seen[60, 60] == GREY[60, 60]).all()


async def test_the_mask_of_a_turn_reaches_its_render(bench: Bench):
    family = SimpleNamespace(digest=FAMILY, base_cells=64, max_cells=256)
    intake = Intake(bench.sessions, bench.jobs, bench.blobs, family, None)
    user = pb.UserMessage(text="put a key there", images=[pb.ImageInput(data=encode(GREY)[0])])
    options = pb.TurnOptions(regions=[pointing(pb.Region.CUE_MASK)])
    log, _, _ = await intake.accept(bench.tenant, "", user, options, 60)
    await ended(bench, log.session_id)
    (reference,) = bench.drawing.rendered[0].references
    free = np.array(list(reference.changeable)).reshape(8, 8)
    assert free[2:5, 2:5].all()
    assert not free[[0, 7]].any()


async def pointed_at(bench: Bench, answer: str) -> SessionLog:
    """A session whose turn came with a picture and a box on it."""
    family = SimpleNamespace(digest=FAMILY, base_cells=64, max_cells=256)
    intake = Intake(bench.sessions, bench.jobs, bench.blobs, family, None)
    user = pb.UserMessage(text="put a key there", images=[pb.ImageInput(data=encode(GREY)[0])])
    options = pb.TurnOptions(regions=[pointing(pb.Region.CUE_BOX)])
    log, _, _ = await intake.accept(bench.tenant, "", user, options, 60)
    await ended(bench, log.session_id, answer)
    return log


async def test_what_an_edit_leaves_alone_is_held_to_the_picture_without_its_cues(bench: Bench):
    log = await pointed_at(bench, KEY)
    image = (await bench.history(log.session_id)).images[0]
    (reference,) = bench.drawing.rendered[0].references
    assert reference.image == reference.latent == image.base, "what the planner and the visualizer see"
    assert reference.kept == image.unmarked != image.base
    bare = decode(await bench.blobs.get(bench.tenant, image.unmarked), "image")
    assert (bare == GREY).all()


async def test_cues_are_of_one_turn_and_gone_from_the_picture_in_the_next(bench: Bench):
    log = await pointed_at(bench, "Where?")
    edit = await bench.go_on(log, "Make it blue.", "edit")
    history = await bench.finish(ScriptedEngine(KEY), edit)
    (reference,) = bench.drawing.rendered[0].references
    assert reference.image == reference.latent == history.images[0].unmarked
    assert not reference.HasField("kept")


async def test_only_pictures_with_cues_are_drawn_on(bench: Bench):
    plain = grey()
    regions = [pointing(pb.Region.CUE_BOX), pointing(pb.Region.CUE_UNSPECIFIED)]
    marked, other = await mark_uploads(bench.blobs, bench.tenant, [plain, plain], regions, "regions")
    assert other is plain
    assert marked.bare is plain
    assert (decode(marked.data, "image") != GREY).any()
    assert (marked.height, marked.width) == (64, 64)


async def test_a_mask_lies_where_its_picture_is_white(bench: Bench):
    white_above = np.zeros_like(GREY)
    white_above[:20] = 255
    blob = await bench.blobs.put(bench.tenant, *encode(white_above))
    masked = pointing(pb.Region.CUE_MASK, mask=blob)
    (marked,) = await mark_uploads(bench.blobs, bench.tenant, [grey()], [masked], "regions")
    differs = (decode(marked.data, "image") != GREY).any(-1)
    assert differs[:20].all()
    assert not differs[20:].any()


async def test_masks_are_read_beside_the_event_loop(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    readers = callers_of(monkeypatch, cues, "decode")
    blob = await bench.blobs.put(bench.tenant, *encode(GREY))
    await cells(bench, pointing(pb.Region.CUE_MASK, mask=blob))
    assert readers
    assert threading.main_thread() not in readers


async def test_a_mask_of_another_size_is_refused_by_name(bench: Bench):
    blob = await bench.blobs.put(bench.tenant, *encode(GREY[:32]))
    wrong = pointing(pb.Region.CUE_MASK, mask=blob)
    with pytest.raises(InvalidInput, match=r"64x32, its picture is 64x64") as caught:
        await mark_uploads(bench.blobs, bench.tenant, [grey()], [wrong], "regions")
    assert caught.value.field == "regions[0].mask"


async def cells(bench: Bench, *regions: pb.Region, grid: tuple[int, int] = (4, 4)) -> list[int]:
    cells = pb.Grid(height_cells=grid[0], width_cells=grid[1])
    return list(await changeable(bench.blobs, bench.tenant, (64, 64), regions, 0, cells, "regions"))


async def test_every_cell_that_a_mask_touches_may_change(bench: Bench):
    drawn = np.zeros_like(GREY)
    drawn[0, 0] = drawn[40, 20] = 255
    blob = await bench.blobs.put(bench.tenant, *encode(drawn))
    found = await cells(bench, pointing(pb.Region.CUE_MASK, mask=blob))
    assert [divmod(i, 4) for i, free in enumerate(found) if free] == [(0, 0), (2, 1)]


async def test_a_mask_without_a_picture_frees_the_ellipse_of_its_box(bench: Bench):
    found = await cells(bench, pointing(pb.Region.CUE_MASK), grid=(8, 8))
    free = np.array(found).reshape(8, 8)
    assert free[2:5, 2:5].all()
    assert not free[[0, 7]].any()
    assert not free[:, [0, 7]].any()


@pytest.mark.parametrize("cue", [pb.Region.CUE_BOX, pb.Region.CUE_ARROW], ids=pb.Region.Cue.Name)
async def test_a_cue_that_only_points_frees_everything(bench: Bench, cue: "pb.Region.Cue.ValueType"):
    assert await cells(bench, pointing(cue)) == []
    assert await cells(bench, pointing(pb.Region.CUE_MASK), pointing(cue)) == []
    assert await cells(bench) == []
