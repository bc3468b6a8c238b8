"""A stack without a terminal of its own: `wan up` as a child process, watched through its stack.json."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live

from wanimage.cli import report, stackfile, supervise
from wanimage.cli.parts import parts_table
from wanimage.cli.stackfile import Stack

POLL_SECONDS = 0.1
STOP_LIMIT = 120.0
"""Seconds a whole stack may take to drain before its end is no longer waited for."""


def start(data_dir: Path, names: list[str], console: Console, *, with_us: bool = False) -> Stack:
    """Start `wan up` detached and wait until all is ready. Raises Stop with the cause when it fails.

    `with_us`: the stack ends (in order) when this process dies.
    """
    data_dir = data_dir.resolve()
    log = data_dir / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    (data_dir / stackfile.NAME).unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "wanimage.cli",
        "up",
        "--data-dir",
        str(data_dir),
        "--only",
        ",".join(names),
    ]
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [*(supervise.with_parent() if with_us else []), *command],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
    try:
        return wait(data_dir, lambda: child.poll() is None, console)
    except BaseException:
        if child.poll() is None:
            child.terminate()
            child.wait(STOP_LIMIT)
        raise


def wait(data_dir: Path, alive: Callable[[], bool], console: Console) -> Stack:
    """Show a starting stack until it is ready. Raises Stop with the end of its log when it fails."""
    told: dict[str, str] = {}
    live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None
    with live or nullcontext():
        while True:
            stack = stackfile.load(data_dir)
            if stack is not None and live is not None:
                live.update(parts_table(stack))
            elif stack is not None:
                _tell(stack, told, console)
            if stack is not None and stack.state == stackfile.READY:
                return stack
            if not alive():
                log = data_dir / "logs" / "up.log"
                raise report.Stop(f"the stack did not start; {log} ends with:\n{supervise.tail(log)}")
            time.sleep(POLL_SECONDS)


def _tell(stack: Stack, told: dict[str, str], console: Console) -> None:
    for part in stack.parts.values():
        if told.get(part.name) != part.state and part.state != stackfile.WAITING:
            told[part.name] = part.state
            seconds = f" after {part.seconds:.1f} s" if part.state == stackfile.READY else ""
            console.print(f"{part.name}: {part.state}{seconds}")


def stop(data_dir: Path, stack: Stack) -> None:
    """Tell a supervisor to drain and wait for it. Raises Stop when it does not end."""
    os.kill(stack.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT
    while stack.alive:
        if time.monotonic() > deadline:
            raise report.Stop(
                f"process {stack.pid} did not end within {STOP_LIMIT:.0f} s; see {data_dir}/logs"
            )
        time.sleep(POLL_SECONDS)
