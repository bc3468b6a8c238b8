"""`wan top` on processes that run: every number a script asks for, every table a person reads."""

import io
import time
from pathlib import Path

import pytest
from prometheus_client import Metric
from rich.console import Console

from tests.observability.conftest import Observed
from wanimage.cli import stackfile
from wanimage.cli.main import app
from wanimage.cli.readings import read
from wanimage.cli.topsummary import Top, summary
from wanimage.cli.topview import shown

pytestmark = pytest.mark.timeout(240)


def record(observed: Observed) -> stackfile.Stack:
    """The stack's record as `wan up` would keep it."""
    stack = stackfile.mine()
    stack.state = stackfile.READY
    for name, process in observed.services.items():
        assert process.process
        stack.parts[name] = stackfile.Part(
            name, process.address, str(process.log), stackfile.READY, time.time(),
            pid=process.process.pid, metrics=f"127.0.0.1:{observed.metrics_ports[name]}",
        )  # fmt: skip
    return stack


def rendered(found: Top) -> str:
    """As a terminal of 110 columns shows it."""
    console = Console(file=io.StringIO(), width=110)
    console.print(shown(found))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
async def found(observed: Observed, scraped: list[Metric], tmp_path: Path) -> Top:
    """What there is to show after a few turns."""
    stack = record(observed)
    reading = await read({part.name: part.metrics for part in stack.parts.values()})
    return summary(tmp_path, stack, reading, None)


def test_top_knows_services_jobs_stages_batches_and_caches(found: Top) -> None:
    assert [(each["name"], each["ready"]) for each in found.services] == [
        ("planner", True), ("visualizer", True), ("vae", True),
    ]  # fmt: skip
    assert all(each["memory_bytes"] > 2**26 and len(each["family"]) == 12 for each in found.services)
    assert {each["kind"] for each in found.jobs} == {"turn", "render", "encode", "decode"}
    done = {each["kind"]: each for each in found.jobs}
    assert done["turn"]["settled"] >= 2
    assert done["render"]["work_p50"] > 0
    assert {"plan", "render", "decode"} <= {each["stage"] for each in found.stages}
    assert {each["kind"]: each["mean_size"] for each in found.batches} == {"render": 1.0, "decode": 1.0}
    assert found.caches["results"] > 0
    assert found.turns["finished"] >= 2
    assert found.turns["seconds_p50"] > 0
    assert found.tenants[0]["pixel_steps"] > 0


def test_top_fits_a_terminal_and_names_what_it_shows(found: Top) -> None:
    text = rendered(found)
    for word in ("planner", "ready", "render", "first token", "prefix", "pixel-steps", "default"):
        assert word in text
    assert len(text.splitlines()) < 45


async def test_a_service_that_does_not_answer_is_shown_without_numbers(
    observed: Observed, tmp_path: Path
) -> None:
    stack = record(observed)
    stack.parts["vae"].metrics = "127.0.0.1:1"
    reading = await read({part.name: part.metrics for part in stack.parts.values()})
    found = summary(tmp_path, stack, reading, None)
    assert [each["ready"] for each in found.services] == [True, True, None]
    assert "vae" in rendered(found)


def test_top_without_a_stack_says_what_to_start(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["top", "--once", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "wan up" in result.stderr
