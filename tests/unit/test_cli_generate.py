"""`wan generate` as a script meets it: what it prints, what it saves, how it ends."""

import hashlib
import json
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from tests.unit.fake_planner import Broken, FakePlanner, LoseLine, finished, picture, story
from wanimage.cli import client
from wanimage.cli.main import app
from wanimage.v1 import events_pb2, types_pb2


def generate(planner: FakePlanner, out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        app, ["generate", "a fox", "--address", planner.address, "--out", str(out), *arguments]
    )


@pytest.fixture
def planner():
    with FakePlanner(story) as fake:
        yield fake


def test_json_is_exactly_one_object_with_every_field(planner, tmp_path):
    result = generate(planner, tmp_path, "--json", "--seed", "7")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert result.stderr == ""
    assert set(record) == {"session", "turn", "text", "enhanced", "images", "usage", "seconds"}
    assert record["text"] == "Once a fox\nfound a balloon.\nThe end."
    assert [image["seed"] for image in record["images"]] == [7, 8]
    assert record["usage"]["pixel_steps"] == 2**40
    assert record["seconds"] == 1.5
    for image in record["images"]:
        facts = {"index", "path", "prompt", "height", "width", "seed", "sha256", "refined", "refine_failure"}
        assert set(image) == facts
        data = Path(image["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == image["sha256"]
        assert Path(image["path"]).name == f"{record['session']}-{record['turn']}-{image['index']}.png"
        assert (image["height"], image["width"]) == (128, 128)


def test_plain_output_tells_text_and_paths(planner, tmp_path):
    result = generate(planner, tmp_path)
    assert result.exit_code == 0, result.output
    assert "Once a fox" in result.stdout
    assert "The end." in result.stdout
    for path in tmp_path.glob("*.png"):
        assert str(path) in result.stdout
    assert len(list(tmp_path.iterdir())) == 2, "no temporary file is left"


def test_flags_reach_the_request(planner, tmp_path):
    reference = tmp_path / "reference.png"
    reference.write_bytes(planner.blobs[planner.png((1, 2, 3, 255)).sha256])
    result = generate(
        planner, tmp_path, "--json", "--size", "160x96", "--n", "2",
        "--palette", "#ff0000:0.6,#00FF00:0.4",
        "--background", "transparent", "--ref", str(reference), "--ref", str(reference), "--steps", "4",
        "--guidance", "3.5", "--enhance", "quality",
        "--options", '{"temperature": 0.5, "think": "THINK_MODE_OFF"}',
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    request = planner.requests[0]
    options = request.options
    assert (options.size.size.width, options.size.size.height) == (160, 96)
    assert options.image_count == 2
    assert [(color.hex, round(color.proportion, 3)) for color in options.palette.colors] == [
        ("#ff0000", 0.6), ("#00FF00", 0.4),
    ]  # fmt: skip
    assert options.background.kind == types_pb2.Background.KIND_TRANSPARENT
    assert [image.data for image in request.user.images] == [reference.read_bytes()] * 2
    assert (options.sampling.steps, options.sampling.guidance_scale) == (4, 3.5)
    assert (options.temperature, options.think) == (0.5, types_pb2.THINK_MODE_OFF)
    assert options.enhance.mode == types_pb2.EnhanceOptions.MODE_ON
    assert options.enhance.variant == types_pb2.ENHANCER_VARIANT_QUALITY
    assert not options.previews, "nobody looks at previews under --json"


def test_a_session_is_continued(planner, tmp_path):
    first = json.loads(generate(planner, tmp_path, "--json").stdout)
    second = json.loads(generate(planner, tmp_path, "--json", "--session", first["session"]).stdout)
    assert second["session"] == first["session"]
    assert second["turn"] != first["turn"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--size", "128"], "--size"),
        (["--size", "100x128"], "--size"),
        (["--size", "99999999999x128"], "--size"),
        (["--size", "128x128", "--aspect", "1:1"], "--aspect"),
        (["--aspect", "9:1"], "--aspect"),
        (["--n", "13"], "--n"),
        (["--n", "-1"], "--n"),
        (["--palette", "red"], "--palette"),
        (["--palette", "#ff0000:much"], "--palette"),
        (["--palette", "#ff0000:0.2,#00ff00:0.2"], "--palette"),
        (["--background", "blue"], "--background"),
        (["--steps", "0"], "--steps"),
        (["--guidance", "50"], "--guidance"),
        (["--seed", "-3"], "--seed"),
        (["--options", '{"colour": 1}'], "--options"),
        (["--options", "nonsense"], "--options"),
        (["--options", "3"], "--options"),
        (["--options", '["seed"]'], "--options"),
        (["--ref", "no-such-file.png"], "no-such-file.png"),
        (["--ref", __file__], "PNG"),
    ],
)
def test_bad_input_ends_with_2_and_names_the_flag(planner, tmp_path, arguments, named):
    result = generate(planner, tmp_path, "--json", *arguments)
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert result.stdout == ""
    assert planner.requests == [], "refused before anything is sent"


def test_an_empty_prompt_ends_with_2(planner):
    result = CliRunner().invoke(app, ["generate", " ", "--address", planner.address])
    assert result.exit_code == 2
    assert "PROMPT" in result.stderr


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.NOT_FOUND, 2),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 1),
        (grpc.StatusCode.UNAUTHENTICATED, 1),
        (grpc.StatusCode.UNAVAILABLE, 1),
        (grpc.StatusCode.INTERNAL, 1),
    ],
)
def test_a_refusal_of_the_server_decides_the_exit_status(tmp_path, code, status):
    class Refusing(FakePlanner):
        def Generate(self, request, context):
            context.abort(code, "options.size.height: 1, the limit is 48; raise it")

    with Refusing(story) as planner:
        result = generate(planner, tmp_path, "--json")
    assert result.exit_code == status, result.output
    assert "options.size.height: 1, the limit is 48; raise it" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("code", "status"), [(grpc.StatusCode.INVALID_ARGUMENT, 2), (grpc.StatusCode.INTERNAL, 1)]
)
def test_a_failed_turn_keeps_its_finished_picture(tmp_path, code, status):
    def half(turn):
        yield from picture(turn, 0, "a fox")
        failure = types_pb2.Failure(reason="JobFailed", message="the worker gave up", code=code.value[0])
        yield events_pb2.TurnFailed(failure=failure)

    with FakePlanner(half) as planner:
        result = generate(planner, tmp_path, "--json")
    assert result.exit_code == status
    assert "the worker gave up" in result.stderr
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_a_broken_line_is_taken_up_where_it_broke(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "RESUME_SECONDS", 0.0)

    def breaks(turn):
        yield events_pb2.TextDelta(text="Once ")
        rest = [events_pb2.TextDelta(text="more."), *picture(turn, 0, "a fox"), finished(images=1)]
        raise LoseLine(rest)

    with FakePlanner(breaks) as planner:
        result = generate(planner, tmp_path, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["text"] == "Once more."
    assert [image["index"] for image in record["images"]] == [0]


def test_a_line_that_stays_broken_ends_with_1(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "RESUME_SECONDS", 0.0)

    def breaks(turn):
        yield events_pb2.TextDelta(text="Once ")
        raise Broken

    with FakePlanner(breaks) as planner:
        result = generate(planner, tmp_path, "--json")
    assert result.exit_code == 1
    assert "wan sessions show" in result.stderr


def test_a_turn_refused_for_the_load_is_sent_again_when_the_service_says(tmp_path):
    with FakePlanner(story) as planner:
        planner.full_for = 2
        result = generate(planner, tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert len(planner.requests) == 3
    assert len(json.loads(result.stdout)["images"]) == 2
    assert "the service is full" in result.stderr


def test_a_wait_longer_than_the_deadline_is_not_begun(tmp_path):
    with FakePlanner(story) as planner:
        planner.full_for, planner.retry_after = 1, 10_000.0
        result = generate(planner, tmp_path, "--json")
    assert result.exit_code == 1
    assert len(planner.requests) == 1
    assert "retry after 10000 s" in result.stderr


def test_a_picture_whose_hash_differs_is_not_saved(planner, tmp_path):
    planner.corrupt = True
    result = generate(planner, tmp_path, "--json")
    assert result.exit_code == 1
    assert "SHA-256" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_stack_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wanimage.cli.stackfile.ROOT", tmp_path)
    monkeypatch.setattr("wanimage.cli.stackfile.listening", lambda address: False)
    result = CliRunner().invoke(app, ["generate", "a fox", "--json"])
    assert result.exit_code == 1
    assert "`wan up`" in result.stderr
    assert result.stdout == ""


def test_ids_of_a_server_cannot_leave_the_folder(tmp_path):
    class Escaping(FakePlanner):
        def event(self, session, turn, kind):
            event = super().event(session, turn, kind)
            event.session_id = "../../x"
            return event

    with Escaping(lambda turn: iter([*picture(turn, 0, "a fox"), finished(images=1)])) as planner:
        result = generate(planner, tmp_path / "deep" / "out", "--json")
    assert result.exit_code == 0, result.output
    assert [path.name.startswith("______x-") for path in tmp_path.rglob("*.png")] == [True]
    assert next(tmp_path.rglob("*.png")).parent == tmp_path / "deep" / "out"


def test_the_api_key_is_sent_as_a_bearer_token(planner, tmp_path):
    result = generate(planner, tmp_path, "--json", "--api-key", "k1")
    assert result.exit_code == 0, result.output
    assert planner.metadata[0]["authorization"] == "Bearer k1"
