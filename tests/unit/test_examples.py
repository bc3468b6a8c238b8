"""Every example runs as its README says, here against scripted turns."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.fake_planner import FakePlanner, story
from wanimage.v1 import events_pb2, types_pb2

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / example), *arguments], capture_output=True, text=True, timeout=60
    )


def test_converse_holds_two_turns_and_saves_their_pictures(tmp_path):
    with FakePlanner(story) as planner:
        result = run("converse.py", planner.address, str(tmp_path / "out"))
        assert result.returncode == 0, result.stderr
        assert [request.session_id for request in planner.requests] == ["", "s1"]
    assert result.stdout.count("The end.") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s1-0.png", "s1-1.png"]


def test_converse_fails_when_a_turn_fails(tmp_path):
    failure = types_pb2.Failure(reason="JobFailed", message="no worker left", code=13)
    with FakePlanner(lambda turn: iter([events_pb2.TurnFailed(failure=failure)])) as planner:
        result = run("converse.py", planner.address, str(tmp_path))
    assert result.returncode == 1
    assert "no worker left" in result.stderr


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_readme_lists_every_example(path):
    assert f"]({path.name})" in (EXAMPLES / "README.md").read_text()
