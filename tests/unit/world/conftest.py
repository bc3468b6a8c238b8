"""Scenes of procedural shapes need no icons; tests of the real world need them fetched."""

import os

import pytest

from training.world import assets
from training.world.concepts import STYLES
from training.world.packages import COMMAND


@pytest.fixture(scope="session")
def icons() -> None:
    """The fetched icons: without them the test skips on a laptop and fails where CI=true."""
    files = [assets.icons_path(), *(assets.catalogue_path(style) for style in STYLES)]
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        reason = f"no icons at {', '.join(missing)}; run `{COMMAND}`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
