"""One whole system for the tests of what its users touch: `wan up` with the shipped family.

vLLM runs no model of the size of `tests.families`; FAMILY_UNDER_TEST names another full-sized folder.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from wanimage.cli import stackfile
from wanimage.config import ROOT
from wanimage.weights import MANIFEST

START_SECONDS = 900
"""vLLM loads in about 40 s on two idle cores; a test machine may be busy."""
CALL_SECONDS = 300


@dataclass(frozen=True)
class Running:
    """A stack that answers, and the `wan` of its users."""

    data_dir: Path
    family: Path

    @property
    def stack(self) -> stackfile.Stack:
        """Its record as it is now."""
        found = stackfile.load(self.data_dir)
        assert found is not None, self.data_dir
        return found

    def address(self, service: str) -> str:
        return self.stack.parts[service].address

    def wan(self, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `wan` in a process of its own; with `ok` it must succeed."""
        environment = os.environ | {
            "WAN_WEIGHTS": str(self.family),
            "WAN_ADDRESS": self.address("planner"), "WAN_VAE_ADDRESS": self.address("vae"),
            "WAN_ENHANCER_ADDRESS": self.address("enhancer"),
        }  # fmt: skip
        result = _wan(*arguments, environment=environment, timeout=CALL_SECONDS)
        assert not ok or result.returncode == 0, result.stderr
        return result

    def json(self, *arguments: str) -> dict:
        """`wan ... ` whose stdout is one JSON object."""
        return json.loads(self.wan(*arguments).stdout)


@contextmanager
def up(folder: Path) -> Iterator[Running]:
    """Start everything with `wan up --detach`; end it with `wan down`."""
    family = Path(os.environ.get("FAMILY_UNDER_TEST", ROOT / "weights" / "nano"))
    if not (family / MANIFEST).is_file() and os.environ.get("CI") != "true":
        pytest.skip(f"{family} is not trained yet")
    data_dir = folder / ".wan"
    environment = os.environ | {"WAN_WEIGHTS": str(family)}
    started = _wan(
        "up", "--detach", "--data-dir", str(data_dir), environment=environment, timeout=START_SECONDS,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    try:
        yield Running(data_dir, family)
    finally:
        stopped = _wan("down", "--data-dir", str(data_dir), environment=environment, timeout=CALL_SECONDS)
    assert stopped.returncode == 0, stopped.stderr


def _wan(*arguments: str, environment: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wanimage.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
