"""`<data dir>/stack.json`: what `wan up` runs and where; it alone writes it, every other command reads it."""

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from wanimage.cli.report import Stop
from wanimage.config import PORTS, ROOT

NAME = "stack.json"
FORMAT = 1
DATA_DIR = Path(".wan")
"""Default data directory, in the working folder."""
CONNECT_SECONDS = 0.5

WAITING, STARTING, READY, RESTARTING, FAILED, STOPPED = (
    "waiting", "starting", "ready", "restarting", "failed", "stopped",
)  # fmt: skip
"""States of a part; those of the whole are STARTING, READY, FAILED and STOPPED."""


@dataclass
class Part:
    """One server or service of the stack."""

    name: str
    address: str
    log: str
    state: str = WAITING
    since: float = 0.0
    """When its last start began, seconds since 1970."""
    seconds: float = 0.0
    """From start to ready."""
    pid: int = 0
    restarts: int = 0
    detail: str = ""
    """Why it is not ready, in a line."""
    metrics: str = ""
    """host:port of a service's `/metrics`."""


@dataclass
class Stack:
    """The whole: a supervisor and its parts."""

    pid: int
    """The supervisor's."""
    created: float
    """The supervisor's start as the kernel counts it, so that a reused pid is not taken for it."""
    state: str = STARTING
    parts: dict[str, Part] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """What another process needs to use the same NATS and S3; holds the S3 key, hence the file mode."""

    @property
    def alive(self) -> bool:
        """Whether its supervisor still runs."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        return False

    def save(self, directory: Path) -> None:
        """Write atomically; readable by the owner only."""
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / f".{NAME}.{os.getpid()}"
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump({"format": FORMAT, **asdict(self)}, stream, indent=1)
        temporary.replace(directory / NAME)


def mine() -> Stack:
    """A new record of this process."""
    return Stack(os.getpid(), psutil.Process().create_time())


def load(directory: Path) -> Stack | None:
    """The stack recorded in `directory` (its supervisor may be gone, see `alive`); None without a record."""
    try:
        record = json.loads((directory / NAME).read_text())
        if record.pop("format") != FORMAT:
            return None
        parts = {name: Part(**part) for name, part in record.pop("parts").items()}
        return Stack(parts=parts, **record)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running(directory: Path | None = None) -> tuple[Path, Stack] | None:
    """The first running stack of `directory`, or of ./.wan and the checkout's .wan."""
    for candidate in [directory] if directory else [DATA_DIR, ROOT / DATA_DIR]:
        if (stack := load(candidate)) and stack.alive and stack.state in (STARTING, READY):
            return candidate, stack
    return None


def listening(address: str) -> bool:
    """Whether something accepts connections at host:port."""
    host, _, port = address.rpartition(":")
    with suppress(OSError, ValueError), socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS):
        return True
    return False


def find(service: str, address: str | None = None, directory: Path | None = None) -> str:
    """host:port of a service: as given, else of the running stack, else its default port if that answers.

    Raises Stop saying what to run.
    """
    if address:
        return address
    if found := running(directory):
        where, stack = found
        part = stack.parts.get(service)
        if part is None:
            raise Stop(f"the stack of {where} runs without {service}; start one with it: `wan up`")
        if part.state != READY:
            raise Stop(
                f"{service} is {part.state}; try again when `wan up` shows it ready (its log: {part.log})"
            )
        return part.address
    default = f"127.0.0.1:{PORTS[service]}"
    if listening(default):
        return default
    raise Stop(
        "no running stack found; start one with `wan up` in another terminal (or name one with --address)"
    )


def elapsed(since: float) -> float:
    """Seconds since a `time.monotonic()`."""
    return time.monotonic() - since
