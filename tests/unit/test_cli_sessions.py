"""`wan sessions`, `wan chat`, `wan vae`, `wan doctor` and the doors to training."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from tests.unit.fake_planner import FakePlanner, finished, story
from wanimage.cli import doctor, training, vae
from wanimage.cli.main import app
from wanimage.cli.report import BadInput
from wanimage.v1 import events_pb2, types_pb2


@pytest.fixture
def planner():
    with FakePlanner(story) as fake:
        yield fake


def wan(planner: FakePlanner, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--address", planner.address])


def draw(planner: FakePlanner, tmp_path) -> dict:
    result = wan(planner, "generate", "two foxes", "--json", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_list_shows_titles_and_pages_through(planner, tmp_path, monkeypatch):
    for _ in range(3):
        draw(planner, tmp_path)
    listed = json.loads(wan(planner, "sessions", "list", "--json", "--limit", "2").stdout)
    assert [session["title"] for session in listed] == ["two foxes"] * 2
    assert wan(planner, "sessions", "list").stdout.count("two foxes") == 3


def test_show_tells_the_conversation(planner, tmp_path):
    session = draw(planner, tmp_path)["session"]
    shown = wan(planner, "sessions", "show", session).stdout
    assert "› two foxes" in shown
    assert "[picture 0: a fox, scene 0]" in shown
    record = json.loads(wan(planner, "sessions", "show", session, "--json").stdout)
    assert [image["index"] for image in record["images"]] == [0, 1]


def test_watch_replays_events_as_json_lines(planner, tmp_path):
    session = draw(planner, tmp_path)["session"]
    watch = ("sessions", "watch", session, "--json", "--until-idle", "--after", "2")
    lines = wan(planner, *watch).stdout.splitlines()
    assert [int(json.loads(line)["seq"]) for line in lines] == list(range(3, len(lines) + 3))
    assert "turn_finished" in json.loads(lines[-1])


def test_watch_for_people_names_the_pictures(planner, tmp_path):
    session = draw(planner, tmp_path)["session"]
    watched = wan(planner, "sessions", "watch", session, "--until-idle").stdout
    assert "✓ picture 1" in watched
    assert "The end." in watched


def test_fork_prints_the_new_session(planner, tmp_path):
    session = draw(planner, tmp_path)["session"]
    forked = json.loads(wan(planner, "sessions", "fork", session, "--at", "3", "--json").stdout)
    assert forked["session"] != session
    assert forked["last_seq"] == 3


@pytest.mark.parametrize("command", [["show"], ["watch", "--until-idle"], ["fork"]])
def test_an_unknown_session_ends_with_2(planner, command):
    result = wan(planner, "sessions", *command, "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr


def test_chat_runs_turns_and_commands(planner, tmp_path, monkeypatch):
    reference = tmp_path / "a b.png"
    reference.write_bytes(planner.blobs[planner.png((9, 9, 9, 255)).sha256])
    talk = ["/help", "hello", f"/image '{reference}'", "with a picture", "/sessions", "/fork", "/fork x"]
    typed = iter([*talk, "/open nowhere", "/new", "/what", "again", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    result = wan(planner, "chat", "--out", str(tmp_path), "--seed", "3")
    assert result.exit_code == 0, result.output
    first, second, third = planner.requests
    assert (first.session_id, third.session_id) == ("", "")
    assert second.session_id == "s1"
    assert [image.data for image in second.user.images] == [reference.read_bytes()]
    assert not third.user.images
    assert {request.options.sampling.seed for request in planner.requests} == {3}
    for said in ("/image PATH", "a copy up to event", "no command /what", "/fork x", "no session 'nowhere'"):
        assert said in result.stdout
    assert f"wan chat --session {max(planner.turns)}" in result.stdout
    assert len(list(tmp_path.glob("s*.png"))) == 6


def test_chat_goes_on_after_a_failed_turn(tmp_path, monkeypatch):
    def fails(turn):
        failure = types_pb2.Failure(reason="JobFailed", message="no worker left", code=13)
        yield events_pb2.TurnFailed(failure=failure)

    typed = iter(["one", "two"])

    def read(prompt):
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    with FakePlanner(fails) as planner:
        result = wan(planner, "chat", "--out", str(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.count("no worker left") == 2


def test_one_ctrl_c_at_the_prompt_does_not_leave(planner, tmp_path, monkeypatch):
    typed = iter([KeyboardInterrupt, "one", KeyboardInterrupt, KeyboardInterrupt, "never"])

    def read(prompt):
        answer = next(typed)
        if answer is KeyboardInterrupt:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("builtins.input", read)
    result = wan(planner, "chat", "--out", str(tmp_path))
    assert result.exit_code == 0
    assert [request.user.text for request in planner.requests] == ["one"]


def test_demo_saves_pictures_and_times_each_stage(planner, tmp_path):
    for number in (1, 2):
        result = wan(planner, "demo", "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
        folder = tmp_path / f"demo-{number}"
        record = json.loads((folder / "turn.json").read_text())
        assert record["prompt"] == "Tell a three-picture story about a fox who finds a red balloon."
        assert len(list(folder.glob("*.png"))) == len(record["images"]) == 2
        for stage in ("render", "decode", "plan", "whole turn"):
            assert stage in result.stdout


def test_demo_without_a_picture_fails(tmp_path):
    with FakePlanner(lambda turn: iter([events_pb2.TextDelta(text="No."), finished()])) as planner:
        result = wan(planner, "demo", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "without a picture" in result.stderr


@pytest.mark.parametrize("form", ["text", "file", "bare"])
def test_decode_reads_what_encode_prints(tmp_path, form):
    blob = types_pb2.BlobRef(
        sha256="a" * 64, size=2**33, media_type="application/x-safetensors", dtype="float32", shape=[48, 8, 8]
    )
    text = json.dumps({"latent": vae.blob_record(blob), "grid": [8, 8], "path": None})
    if form == "file":
        (tmp_path / "blob.json").write_text(text)
        text = str(tmp_path / "blob.json")
    if form == "bare":
        assert vae.read_blob("a" * 64).sha256 == blob.sha256
    else:
        assert vae.read_blob(text) == blob


@pytest.mark.parametrize("text", ["{}x", "no-such-file", '{"latent": {"colour": 1}}', '{"latent": 3}'])
def test_decode_refuses_what_is_no_blob(text):
    with pytest.raises(BadInput, match="wan vae encode"):
        vae.read_blob(text)


def test_doctor_names_a_fix_for_everything_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("WAN_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setattr(doctor, "torchvision", lambda: [])
    monkeypatch.setattr(doctor, "ENGINES", ("no-such-engine",))
    result = CliRunner().invoke(app, ["doctor", "--json", "--data-dir", str(tmp_path / ".wan")])
    assert result.exit_code == 1
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert findings["weights"]["state"] == "missing"
    assert "wan train nano" in findings["weights"]["fix"]
    assert findings["packages"]["fix"] == "make setup"
    assert findings["stack"]["fix"] == "wan up"
    assert all(finding["fix"] for finding in findings.values() if finding["state"] != "ok")


def test_doctor_asks_the_named_planner(planner, tmp_path):
    assert [finding.state for finding in doctor.running(tmp_path, planner.address)] == ["ok"]
    assert [finding.state for finding in doctor.running(tmp_path, "127.0.0.1:1")] == ["missing"]


def test_training_commands_say_when_training_is_absent(monkeypatch):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["data", "world", "fetch"])
    assert result.exit_code == 1
    assert "not installed here" in result.stderr


def test_train_refuses_an_unknown_stage():
    result = CliRunner().invoke(app, ["train", "stage", "painter"])
    assert result.exit_code == 2
    assert "painter" in result.stderr


def test_help_of_every_command_works_without_loading_torch():
    code = "import sys, wanimage.cli.main; print('torch' in sys.modules, 'vllm' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]
    for command in (
        "up",
        "down",
        "demo",
        "chat",
        "generate",
        "doctor",
        "eval",
        "sessions",
        "vae",
        "data",
        "train",
    ):
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0, command
