"""Servers that a fault test may kill: nothing else of the run leans on them."""

from collections.abc import Iterator

import pytest

from wanimage.stack import LocalStack


@pytest.fixture(scope="module")
def breakable(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """NATS and S3 of this module's own. (`stack` comes first: it skips where a binary is missing.)"""
    servers = LocalStack(tmp_path_factory.mktemp("breakable"))
    servers.start()
    yield servers
    servers.stop()
