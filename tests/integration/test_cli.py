"""The `wan` command, the example and reflection against the whole running system."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image

from tests.conftest import eventually
from tests.integration.running import Running, up
from wanimage.cli import stackfile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHORT = ("--steps", "2", "--options", '{"max_tokens": 200, "think": "THINK_MODE_OFF"}')
"""Keeps the turns of a planner short that may not know when to stop."""


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    with up(tmp_path_factory.mktemp("running")) as system:
        yield system


@pytest.fixture(scope="module")
def drawn(running, tmp_path_factory) -> dict:
    """A turn with one picture."""
    folder = tmp_path_factory.mktemp("drawn")
    return running.json(
        "generate", "draw a fox", "--n", "1", "--seed", "5", "--json", "--out", str(folder), *SHORT
    )


def test_every_part_is_ready_with_its_seconds(running):
    assert running.stack.state == stackfile.READY
    assert {name: part.state for name, part in running.stack.parts.items()} == dict.fromkeys(
        ("nats", "s3", "enhancer", "planner", "refiner", "vae", "visualizer"), stackfile.READY
    )
    assert all(part.seconds > 0 for part in running.stack.parts.values())


def test_generate_saves_the_picture_it_reports(drawn):
    (image,) = drawn["images"]
    path = Path(image["path"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == image["sha256"]
    with Image.open(path) as picture:
        assert picture.size == (image["width"], image["height"])
        assert picture.mode == "RGBA"
    assert image["seed"] == 5
    assert drawn["usage"]["images"] == 1
    assert drawn["usage"]["generated_tokens"] > 0
    assert drawn["usage"]["pixel_steps"] >= image["width"] * image["height"] * 2


def test_the_same_seed_draws_the_same_picture_in_another_session(running, drawn, tmp_path):
    options = '{"max_tokens": 200, "think": "THINK_MODE_OFF", "temperature": 0}'
    command = ("generate", "draw a fox", "--n", "1", "--seed", "6", "--steps", "2", "--options", options)
    first, second = (running.json(*command, "--json", "--out", str(tmp_path / n)) for n in "ab")
    assert first["session"] != second["session"]
    assert first["images"][0]["sha256"] == second["images"][0]["sha256"]


def test_enhance_rewrites_a_poster_and_leaves_a_scene_alone(running):
    poster = running.json("enhance", 'A poster that says "Big Sale"', "--variant", "quality", "--json")
    assert poster["rewritten"]
    assert poster["descriptions"][0]["texts"] == ["Big Sale"]
    assert poster["thinking"]
    scene = running.json("enhance", "a fox in the snow", "--json")
    assert (scene["rewritten"], scene["category"]) == (False, "CATEGORY_GENERAL")


def test_generate_draws_what_the_enhancer_made_of_the_request(running, tmp_path):
    command = ("generate", "a fox", "--enhance", "fast", "--n", "1", "--json", "--out", str(tmp_path), *SHORT)
    record = running.json(*command)
    assert record["enhanced"]["rewritten"]
    assert "fox" in record["enhanced"]["request"]
    assert record["usage"]["stage_seconds"]["enhance"] > 0
    assert len(record["images"]) == 1


def test_size_and_transparency_reach_the_picture(running, tmp_path):
    record = running.json(
        "generate", "a sticker", "--n", "1", "--size", "160x96", "--background", "transparent", "--json",
        "--out", str(tmp_path), *SHORT,
    )  # fmt: skip
    (image,) = record["images"]
    assert (image["width"], image["height"]) == (160, 96)
    assert "transparent background" in image["prompt"]


def test_a_session_goes_on_and_is_shown_forked_and_watched(running, drawn, tmp_path):
    session = drawn["session"]
    reference = drawn["images"][0]["path"]
    running.json(
        "generate", "now at night", "--session", session, "--ref", reference, "--n", "1", "--json",
        "--out", str(tmp_path), *SHORT,
    )  # fmt: skip
    shown = running.json("sessions", "show", session, "--json")
    assert shown["turns"] == 2
    assert [image["index"] for image in shown["images"]] == [0, 1, 2], "drawn, uploaded, drawn"
    assert "› now at night" in running.wan("sessions", "show", session).stdout
    events = running.wan("sessions", "watch", session, "--json", "--until-idle").stdout.splitlines()
    assert len(events) == shown["last_seq"]
    assert session in running.wan("sessions", "list").stdout
    forked = running.json("sessions", "fork", session, "--json")
    assert (forked["turns"], forked["forked_from"]) == (2, session)


@pytest.mark.parametrize("arguments", [("--session", "nowhere"), ("--size", "2048x2048")])
def test_what_the_server_refuses_ends_with_2(running, arguments, tmp_path):
    result = running.wan("generate", "x", "--json", *arguments, "--out", str(tmp_path), ok=False)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""


def test_vae_encodes_and_decodes(running, drawn, tmp_path):
    path = drawn["images"][0]["path"]
    (tmp_path / "blob.json").write_text(
        running.wan("vae", "encode", path, "--out", str(tmp_path / "latent.safetensors")).stdout
    )
    running.wan("vae", "decode", str(tmp_path / "blob.json"), "--out", str(tmp_path / "back.png"))
    with Image.open(path) as before, Image.open(tmp_path / "back.png") as after:
        assert before.size == after.size
    assert (tmp_path / "latent.safetensors").stat().st_size > 48 * 64 * 4


def test_doctor_finds_every_part_serving(running):
    findings = {
        finding["what"]: finding["state"]
        for finding in running.json("doctor", "--json", "--data-dir", str(running.data_dir))
    }
    assert {findings[part] for part in running.stack.parts} == {"ok"}


def test_the_example_converses(running, tmp_path):
    command = [sys.executable, EXAMPLES / "converse.py", running.address("planner"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(" s)\n") == 2, "both turns finished"


def test_a_client_without_stubs_talks_through_reflection(running, drawn):
    with grpc.insecure_channel(running.address("planner")) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "wanimage.v1.PlannerService" in database.get_services()
        pool = DescriptorPool(database)
        method = pool.FindServiceByName("wanimage.v1.PlannerService").FindMethodByName("GetSession")
        request_class, response_class = map(GetMessageClass, (method.input_type, method.output_type))
        call = channel.unary_unary(
            "/wanimage.v1.PlannerService/GetSession",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        response = call(request_class(session_id=drawn["session"]), timeout=30)
    record = json_format.MessageToDict(response)["session"]
    assert record["sessionId"] == drawn["session"]
    assert record["title"] == "draw a fox"


def test_ctrl_c_cancels_the_turn_on_the_server(running, tmp_path):
    command = [sys.executable, "-m", "wanimage.cli", "generate", "draw cats", "--n", "6", "--steps", "100"]
    command += ["--address", running.address("planner"), "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        while "drawing picture 0" not in (line := client.stdout.readline()):
            assert line, client.stderr.read()
        client.send_signal(signal.SIGINT)
        _, errors = client.communicate(timeout=120)
    assert client.returncode == 130, errors
    assert "the turn was cancelled" in errors
    session = json.loads(running.wan("sessions", "list", "--json", "--limit", "1").stdout)[0]["session"]
    events = running.wan("sessions", "watch", session, "--json", "--until-idle").stdout.splitlines()
    assert "turn_cancelled" in json.loads(events[-1])


async def test_a_killed_service_is_restarted_and_serves_again(running, drawn, tmp_path):
    before = running.stack.parts["vae"]
    os.killpg(before.pid, signal.SIGKILL)

    def back() -> bool:
        part = running.stack.parts["vae"]
        return part.state == stackfile.READY and part.restarts == before.restarts + 1

    await eventually(back, timeout=300)
    running.wan("vae", "encode", drawn["images"][0]["path"])


async def test_a_killed_nats_is_restarted(running, drawn):
    os.kill(running.stack.parts["nats"].pid, signal.SIGKILL)
    await eventually(lambda: running.stack.parts["nats"].restarts > 0, timeout=60)
    await eventually(lambda: running.stack.parts["nats"].state == stackfile.READY, timeout=60)
    await eventually(
        lambda: running.wan("sessions", "show", drawn["session"], ok=False).returncode == 0, timeout=120
    )


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_down_leaves_no_process_behind(tmp_path):
    with_servers = [sys.executable, "-m", "wanimage.cli"]
    data = ["--data-dir", str(tmp_path / ".wan")]
    subprocess.run([*with_servers, "up", "--detach", "--only", "nats,s3", *data], check=True, timeout=120)
    stack = stackfile.load(tmp_path / ".wan")
    pids = [stack.pid, *(part.pid for part in stack.parts.values())]
    assert all(lives(pid) for pid in pids)
    subprocess.run([*with_servers, "down", *data], check=True, timeout=120)
    assert not any(lives(pid) for pid in pids)
    assert stackfile.load(tmp_path / ".wan").state == stackfile.STOPPED
