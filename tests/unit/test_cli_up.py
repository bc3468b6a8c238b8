"""The supervisor and the stack's record, with small processes in place of services."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.conftest import eventually
from tests.unit.fake_planner import FakePlanner, story
from wanimage.cli import parts, report, stackfile, supervise, up
from wanimage.cli.main import app
from wanimage.cli.stackfile import Part
from wanimage.weights import write_manifest

LIVES = "import pathlib, signal, sys; pathlib.Path(sys.argv[1]).write_text('up'); signal.pause()"
"""Says `up` in a file and waits for a signal."""
STUBBORN = (
    "import pathlib, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).write_text('up')\nwhile True: signal.pause()"
)
DIES = "print('a bad setting: WAN_X'); raise SystemExit(3)"


def process(tmp_path: Path, code: str, *, stop_seconds: float = 10.0) -> supervise.Process:
    marker = tmp_path / "up"

    async def probe() -> bool:
        return marker.exists()

    part = Part("thing", "127.0.0.1:1", str(tmp_path / "logs" / "thing.log"))
    command = [sys.executable, "-c", code, str(marker)]
    return supervise.Process(part, command, dict, probe, stop_seconds, lambda: None)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(supervise, "POLL_SECONDS", 0.01)


async def test_a_process_becomes_ready_and_ends_on_sigterm(tmp_path):
    child = process(tmp_path, LIVES)
    child.start()
    await child.ready
    assert (child.part.state, child.part.pid > 0, child.part.seconds > 0) == (stackfile.READY, True, True)
    pid = child.part.pid
    await child.stop()
    assert child.part.state == stackfile.STOPPED
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_killed_process_is_started_again(tmp_path):
    child = process(tmp_path, LIVES)
    child.start()
    await child.ready
    first = child.part.pid
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: child.part.state == stackfile.READY and child.part.pid not in (0, first))
    assert child.part.restarts == 1
    await child.stop()


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path):
    child = process(tmp_path, STUBBORN, stop_seconds=0.05)
    child.start()
    await child.ready
    await child.stop()
    assert child.part.state == stackfile.STOPPED


async def test_a_process_that_never_gets_ready_is_given_up_with_its_log(tmp_path):
    child = process(tmp_path, DIES)
    child.start()
    with pytest.raises(supervise.GaveUp, match=r"ended 3 times(.|\n)*a bad setting: WAN_X"):
        await child.ready
    assert child.part.state == stackfile.FAILED
    await child.stop()


async def test_health_checks_tell_serving_from_listening():
    with FakePlanner(story) as planner:
        assert await supervise.serving(planner.address)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        assert not await supervise.serving(f"127.0.0.1:{mute.getsockname()[1]}")


def test_a_taken_port_is_replaced_by_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        host, _, another = up.still_free(f"127.0.0.1:{port}").rpartition(":")
        assert host == "127.0.0.1"
        assert int(another) not in (0, port)
    assert up.still_free(f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
    assert up.still_free("") == ""


async def test_a_service_whose_port_was_taken_before_it_listened_gets_another(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        part = Part("vae", f"127.0.0.1:{port}", str(tmp_path / "vae.log"))
        environment = up.Supervisor(tmp_path, ["vae"], Console(quiet=True)).environment_of_life(part)
    assert environment["WAN_PORT"] != str(port)
    assert part.address == f"127.0.0.1:{environment['WAN_PORT']}"


async def test_every_life_is_given_its_settings_anew(tmp_path):
    lives = iter(["first", "second"])
    child = process(tmp_path, LIVES)
    child.environment = lambda: {"WAN_LIFE": next(lives)}
    child.start()
    await child.ready
    os.kill(child.part.pid, signal.SIGKILL)
    await eventually(lambda: next(lives, None) is None)
    await child.stop()


def test_stack_json_is_private_and_read_back(tmp_path):
    stack = stackfile.mine()
    stack.parts["planner"] = Part("planner", "127.0.0.1:7", "x.log", stackfile.READY, seconds=1.5)
    stack.environment = {"WAN_S3_SECRET_KEY": "k"}
    stack.save(tmp_path)
    assert stackfile.load(tmp_path) == stack
    assert (tmp_path / stackfile.NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [stackfile.NAME]


def test_a_record_of_a_dead_supervisor_is_not_a_running_stack(tmp_path):
    stack = stackfile.mine()
    stack.state = stackfile.READY
    stack.created -= 100  # another process had this pid before
    stack.save(tmp_path)
    assert stackfile.running(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "parts": {}}'])
def test_an_unreadable_record_counts_as_none(tmp_path, text):
    (tmp_path / stackfile.NAME).write_text(text)
    assert stackfile.load(tmp_path) is None


def test_find_takes_the_running_stacks_address(tmp_path):
    stack = stackfile.mine()
    stack.parts["planner"] = Part("planner", "127.0.0.1:7", "x.log", stackfile.READY)
    stack.parts["vae"] = Part("vae", "127.0.0.1:8", "v.log", stackfile.STARTING)
    stack.save(tmp_path)
    assert stackfile.find("planner", directory=tmp_path) == "127.0.0.1:7"
    with pytest.raises(report.Stop, match="vae is starting"):
        stackfile.find("vae", directory=tmp_path)
    with pytest.raises(report.Stop, match="runs without refiner"):
        stackfile.find("refiner", directory=tmp_path)


def test_a_second_stack_in_one_folder_is_refused(tmp_path):
    stackfile.mine().save(tmp_path)
    result = CliRunner().invoke(app, ["up", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "runs already" in result.stderr


def test_only_refuses_names_that_do_not_exist(tmp_path):
    result = CliRunner().invoke(app, ["up", "--data-dir", str(tmp_path), "--only", "nats,painter"])
    assert result.exit_code == 2
    assert "painter" in result.stderr


def test_down_without_a_stack_says_so(tmp_path):
    result = CliRunner().invoke(app, ["down", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "no stack runs" in result.stderr


def test_every_part_has_a_row():
    stack = stackfile.mine()
    stack.parts = {name: Part(name, "a:1", "x.log") for name in ("nats", "planner")}
    assert parts.parts_table(stack).row_count == 2


async def test_drain_ends_planner_before_workers_before_vae(tmp_path, monkeypatch):
    order: list[str] = []

    class Recorded:
        def __init__(self, name: str) -> None:
            self.name = name

        async def stop(self) -> None:
            await asyncio.sleep(0)
            order.append(self.name)

    supervisor = up.Supervisor(tmp_path, [], report.err())
    supervisor.processes = {name: Recorded(name) for name in ("vae", "visualizer", "planner", "enhancer")}
    await supervisor._drain()
    assert order[0] == "planner"
    assert order[-1] == "vae"
    assert set(order) == {"vae", "visualizer", "planner", "enhancer"}


def test_of_itself_no_service_is_started_whose_weights_the_family_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vae.json").write_text("{}")
    write_manifest(tmp_path, "small", {})
    monkeypatch.setenv("WAN_WEIGHTS", str(tmp_path))
    assert "enhancer" not in up.choose(None)
    assert up.choose("enhancer") == ["enhancer"]
    (tmp_path / "enhancer").mkdir()
    (tmp_path / "enhancer" / "adapter_config.json").write_text("{}")
    write_manifest(tmp_path, "small", {})
    assert "enhancer" in up.choose(None)
