"""Real servers for the tests: NATS and S3 on free ports in temporary directories.

`nats_server` and `bus` are new for each test (a NATS starts in 60 ms), so a test may kill them. `stack` holds
one NATS and one S3 for the whole run (weed needs 3 s); tests keep apart there by `tenant`. A missing binary
skips the test on a laptop and fails it where CI=true.
"""

import asyncio
import gc
import logging
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.jobs import Jobs
from wanimage.stack import LocalStack, NatsServer, StackError, free_ports

if TYPE_CHECKING:
    from tests.vllm_server import VllmServer

WAIT_SECONDS = 30.0
SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "nano"
"""The family that ships."""
SHIPPED_PLANNER = SHIPPED / ("planner" if (SHIPPED / "planner").is_dir() else "understanding")
"""Its planner's model."""

# How long an example takes says something of the machine, not of the property; pytest-timeout bounds tests.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")

SCALES = ("slice", "full")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale", choices=SCALES, default="slice",
        help="how much the fault and fuzz suites do: what `make test` has time for, or all of it",
    )  # fmt: skip


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    # A traceback is laid out with the parser of Python, and a destructor that parses, too, while that runs
    # (one that logs an exception does) breaks Python 3.11's (its issue 106905): the run would end there, with
    # no word of what failed.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(autouse=True)
def _no_handler_stays() -> Iterator[None]:
    """A handler that a command installs writes to what this test sees as stderr, which then is closed."""
    before = list(logging.root.handlers)
    yield
    for handler in logging.root.handlers[:]:
        if handler not in before and type(handler) is logging.StreamHandler:
            logging.root.removeHandler(handler)


for _name in [each for each in os.environ if each.startswith("WAN_")]:
    del os.environ[_name]  # a developer's own settings must not reach a test


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> str:
    """One of `SCALES`; the numbers that docs/reliability.md states are those of `full`."""
    return str(pytestconfig.getoption("scale"))


@pytest.fixture
def tenant() -> str:
    """A tenant nobody else uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS of this test's own; `kill()` and `start()` it freely."""
    with _or_skip():
        server = NatsServer(tmp_path / "nats", free_ports(1)[0])
        server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """NATS and S3 for the whole run."""
    with _or_skip():
        servers = LocalStack(tmp_path_factory.mktemp("stack"))
        servers.start()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["VllmServer"]:
    """An OpenAI-compatible server for the whole run; a test must not stop it."""
    pytest.importorskip("vllm")
    # The checkpoint needs torch, which most tests do without.
    from tests.families import build_checkpoint
    from tests.vllm_server import VllmServer

    folder = tmp_path_factory.mktemp("vllm")
    server = VllmServer(build_checkpoint(folder / "checkpoint"), folder / "server.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    """Settings of a service that uses `stack`."""
    return stack_settings(stack)


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A connection to this test's own NATS."""
    async with await Bus.connect(nats_settings(nats_server)) as connected:
        yield connected


@pytest.fixture
def jobs(bus: Bus) -> Jobs:
    return Jobs(bus)


def nats_settings(server: NatsServer) -> Settings:
    return Settings(_env_file=None, nats_url=server.url)


def stack_settings(stack: LocalStack) -> Settings:
    values = {name.removeprefix("WAN_").lower(): value for name, value in stack.environment.items()}
    return Settings(_env_file=None, port=0, **values)


async def eventually(condition: Callable[[], bool | Awaitable[bool]], timeout: float = WAIT_SECONDS) -> None:
    """Wait until `condition()` (plain or async) holds; fails with its name after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while True:
            outcome = condition()
            if await outcome if isinstance(outcome, Awaitable) else outcome:
                return
            await asyncio.sleep(0.01)


class _or_skip:
    """Turns a missing server binary into a skip, except in CI."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _tb: object) -> None:
        if isinstance(error, StackError) and "pip install" in str(error) and os.environ.get("CI") != "true":
            pytest.skip(str(error))
