"""Scenes of procedural shapes need no icons; tests of the real world need them fetched."""

import os

import pytest

from training.world import assets


@pytest.fixture(scope="session")
def icons() -> None:
    """The fetched icons: without them the test skips on a laptop and fails where CI=true."""
    if not assets.icons_path().exists():
        reason = f"no icons at {assets.icons_path()}; run `{assets.COMMAND}`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
