"""`wan refine`, and turns with `--refine`, as people and scripts meet them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from tests.unit.fake_planner import FakePlanner, ScriptedTurn, finished, picture, story
from wanimage.cli import view
from wanimage.cli.main import app
from wanimage.v1 import events_pb2, jobs_pb2, refiner_pb2, refiner_pb2_grpc, types_pb2


class FakeRefiner(refiner_pb2_grpc.RefinerServiceServicer):
    """Answers everything with one picture, after a tile; its blob lies with the planner."""

    def __init__(self, planner: FakePlanner) -> None:
        self.requests: list[refiner_pb2.RefineRequest] = []
        self.image = planner.png((7, 8, 9, 255), 256, 512)
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.silent = False
        self.server = grpc.server(ThreadPoolExecutor(1))
        refiner_pb2_grpc.add_RefinerServiceServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def Refine(
        self, request: refiner_pb2.RefineRequest, context: grpc.ServicerContext
    ) -> Iterator[refiner_pb2.RefineResponse]:
        self.requests.append(request)
        yield refiner_pb2.RefineResponse(progress=jobs_pb2.JobProgress(step=1, steps=4))
        if self.refusal:
            context.abort(*self.refusal)
        if not self.silent:
            size = types_pb2.Size(height=256, width=512)
            output = refiner_pb2.RefineOutput(image=self.image, size=size)
            yield refiner_pb2.RefineResponse(output=output)


def told(turn: ScriptedTurn) -> Iterator:
    """A turn with a picture that has a latent."""
    *shape, ready = picture(turn, 0, "a fox")
    ready.image.latent.sha256 = "1" * 64
    yield from shape
    yield ready
    yield finished(images=1)


@pytest.fixture
def planner() -> Iterator[FakePlanner]:
    with FakePlanner(told) as fake:
        yield fake


@pytest.fixture
def refiner(planner: FakePlanner, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRefiner]:
    fake = FakeRefiner(planner)
    fake.server.start()
    monkeypatch.setenv("WAN_ADDRESS", planner.address)
    monkeypatch.setenv("WAN_REFINER_ADDRESS", fake.address)
    yield fake
    fake.server.stop(0).wait()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def refine(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["refine", *arguments])


def generate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["generate", "a fox", "--seed", "5", *arguments])


def session(planner: FakePlanner, here: Path) -> str:
    """One with a picture."""
    command = ["--json", "--out", str(here.parent / "out"), "--address", planner.address]
    return json.loads(generate(*command).stdout)["session"]


@pytest.fixture
def photo(planner: FakePlanner, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(planner.blobs[planner.png((1, 2, 3, 255)).sha256])
    return path


def test_a_picture_of_a_session_is_refined_from_its_latent_prompt_and_seed(planner, refiner, here):
    name = session(planner, here)
    result = refine(f"{name}:0")
    assert result.exit_code == 0, result.output
    (request,) = refiner.requests
    assert request.latent.sha256 == "1" * 64
    assert (request.prompt, request.seed) == ("a fox", 5)
    assert request.options.mode == types_pb2.REFINE_MODE_HIGH_FIDELITY
    assert request.options.target_long_edge == 2048
    path = here / f"{name}-0-refined.png"
    assert path.read_bytes() == planner.blobs[refiner.image.sha256]
    assert [each.name for each in here.iterdir()] == [path.name]
    for said in (path.name, "512x256", "high-fidelity", " s"):
        assert said in result.stdout


def test_a_file_is_refined_as_it_is(planner, refiner, here, photo):
    result = refine(
        str(photo), "--mode", "repair", "--prompt", "a shop", "--size", "4096", "--seed", "9",
        "--out", "deep/shop.webp", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (request,) = refiner.requests
    assert request.image.data == photo.read_bytes()
    assert (request.prompt, request.seed) == ("a shop", 9)
    assert request.options.mode == types_pb2.REFINE_MODE_REPAIR
    assert request.options.target_long_edge == 4096
    assert request.format == types_pb2.IMAGE_FORMAT_WEBP
    record = json.loads(result.stdout)
    assert (record["path"], record["height"], record["width"]) == ("deep/shop.webp", 256, 512)
    assert record["sha256"] == refiner.image.sha256
    assert record["seconds"] >= 0
    assert (here / "deep/shop.webp").is_file()


def test_a_picture_that_a_user_brought_is_refined_from_its_pixels(planner, refiner, here):
    planner.script = story  # its pictures have no latents, as uploads have none
    name = session(planner, here)
    assert refine(f"{name}:1", "--prompt", "two foxes").exit_code == 0
    (request,) = refiner.requests
    base = next(e.image_ready.image.base for e in planner.logs[name][::-1] if e.HasField("image_ready"))
    assert request.image.blob == base
    assert request.prompt == "two foxes"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["{session}:1"], "no picture 1; its finished pictures are 0"),
        (["nowhere:0"], "no session 'nowhere'"),
        (["nowhere:x"], "neither a file nor SESSION:IMAGE"),
        (["no-such.png"], "no-such.png"),
        (["{photo}", "--size", "2047"], "--size"),
        (["{photo}", "--size", "4097"], "--size"),
        (["{photo}", "--seed", "-1"], "--seed"),
        (["{photo}", "--prompt", " "], "--prompt"),
        (["{photo}", "--mode", "repair"], "--prompt"),
        (["{photo}", "--out", "x.png", "--format", "jpeg"], "--format"),
        (["{photo}", "--out", "."], "--out"),
        (["{torn}"], "torn.png"),
    ],
)
def test_bad_input_ends_with_2_names_its_cause_and_writes_nothing(
    planner, refiner, here, photo, arguments, named
):
    torn = photo.with_name("torn.png")
    torn.write_bytes(photo.read_bytes()[:-1000])
    places = {"session": session(planner, here), "photo": photo, "torn": torn}
    result = refine(*(each.format(**places) for each in arguments))
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert not refiner.requests
    assert not list(here.iterdir())


def test_what_the_refiner_refuses_decides_the_exit_status_and_writes_nothing(planner, refiner, here, photo):
    (here / "old.png").write_bytes(b"precious")
    refiner.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "format: JPEG has no alpha channel; ask for PNG")
    result = refine(str(photo), "--out", "old.png")
    assert result.exit_code == 2
    assert "ask for PNG" in result.stderr
    refiner.refusal = None
    planner.corrupt = True
    damaged = refine(str(photo), "--out", "old.png")
    assert damaged.exit_code == 1
    assert "nothing was saved" in damaged.stderr
    planner.corrupt, refiner.silent = False, True
    assert "ended the stream" in refine(str(photo), "--out", "old.png").stderr
    assert [(each.name, each.read_bytes()) for each in here.iterdir()] == [("old.png", b"precious")]


def test_a_file_that_cannot_be_written_leaves_nothing_half_done(planner, refiner, here, photo, monkeypatch):
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = refine(str(photo), "--out", "x.png")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert not list(here.iterdir())


def test_without_a_refiner_the_command_says_what_to_run(photo):
    result = refine(str(photo), "--address", "127.0.0.1:1", "--planner-address", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "wan up" in result.stderr


@pytest.mark.parametrize(
    ("flags", "mode", "edge"),
    [
        (["--refine", "repair"], types_pb2.REFINE_MODE_REPAIR, 2048),
        (["--refine", "high-fidelity", "--refine-size", "4096"], types_pb2.REFINE_MODE_HIGH_FIDELITY, 4096),
        (["--refine-size", "3000"], types_pb2.REFINE_MODE_HIGH_FIDELITY, 3000),
    ],
)
def test_flags_of_refinement_reach_the_turn(planner, here, flags, mode, edge):
    assert generate("--json", "--address", planner.address, *flags).exit_code == 0
    (request,) = planner.requests
    assert (request.options.refine.mode, request.options.refine.target_long_edge) == (mode, edge)


@pytest.mark.parametrize("size", ["2047", "4097", "-1"])
def test_a_size_of_refinement_beyond_the_limits_names_its_flag(planner, here, size):
    result = generate("--address", planner.address, "--refine-size", size)
    assert result.exit_code == 2
    assert "--refine-size" in result.stderr
    assert not planner.requests


def test_the_refined_picture_is_the_one_that_is_saved_and_listed(planner, here):
    def refined(turn: ScriptedTurn) -> Iterator:
        *shape, ready = picture(turn, 0, "a fox")
        ready.image.refined.CopyFrom(turn.planner.png((1, 1, 1, 255), 256, 512))
        yield from shape
        yield events_pb2.ImageProgress(index=0, step=1, steps=4, stage="refine")
        yield ready
        yield finished(images=1)

    planner.script = refined
    record = json.loads(generate("--json", "--address", planner.address, "--out", "out").stdout)
    (image,) = record["images"]
    assert image["refined"]
    assert (image["height"], image["width"]) == (256, 512)
    assert Path(image["path"]).read_bytes() == planner.blobs[image["sha256"]]
    command = ["sessions", "show", record["session"], "--json", "--address", planner.address]
    (listed,) = json.loads(CliRunner().invoke(app, command).stdout)["images"]
    assert listed["refined"] == {"height": 256, "width": 512, "sha256": image["sha256"]}
    assert listed["sha256"] != image["sha256"]


def test_a_picture_that_was_not_refined_is_saved_and_the_command_fails_with_the_reason(planner, here):
    def unrefined(turn: ScriptedTurn) -> Iterator:
        *shape, ready = picture(turn, 0, "a fox")
        ready.refine_failure.message = "format: JPEG has no alpha channel"
        yield from shape
        yield ready
        yield finished(images=1)

    planner.script = unrefined
    result = generate("--address", planner.address, "--out", "out")
    assert result.exit_code == 1
    assert "1 picture not refined: format: JPEG has no alpha channel" in result.stderr
    assert f"wan refine {max(planner.turns)}:0" in result.stdout
    assert len(list((here / "out").iterdir())) == 1
    scripted = generate("--json", "--address", planner.address, "--out", "out")
    assert scripted.exit_code == 1
    (image,) = json.loads(scripted.stdout)["images"]
    assert (image["refined"], image["refine_failure"]) == (False, "format: JPEG has no alpha channel")


def test_a_bar_says_when_its_picture_is_being_refined():
    bar = view._Bar(0, "a fox", "128x128")
    bar.advance(events_pb2.ImageProgress(step=25, steps=25, stage="render"))
    assert "25/25" in [str(cell) for cell in bar.cells()]
    bar.advance(events_pb2.ImageProgress(step=3, steps=18, stage="refine"))
    assert "refining 3/18" in [str(cell) for cell in bar.cells()]
