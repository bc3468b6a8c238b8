"""Scenes of procedural shapes need no icons; tests of the real world need them fetched."""

import os

import pytest

from training.world.assets.fetching import missing
from training.world.assets.packages import COMMAND


@pytest.fixture(scope="session")
def icons() -> None:
    """The fetched drawings and fonts: without them the test skips on a laptop and fails where CI=true."""
    lacking = [str(path) for path in missing()]
    if lacking:
        reason = f"no files {', '.join(lacking)}; run `{COMMAND}`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
