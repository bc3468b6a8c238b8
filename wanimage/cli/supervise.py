"""Keeps processes running: starts them, waits until they answer, restarts what crashes, ends them."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wanimage.cli import connecting, stackfile
from wanimage.cli.stackfile import Part

POLL_SECONDS = 0.2
"""Pause between two questions whether a starting process is ready."""
HEALTH_SECONDS = 2.0
"""Longest answer to a health check."""
FIRST_BACKOFF, LAST_BACKOFF = 1.0, 30.0
"""Seconds before the first restart, doubling up to the last."""
STEADY_SECONDS = 60.0
"""A process that was ready this long starts its next back-off from the first step again."""
START_ATTEMPTS = 3
"""A process that never became ready is given up after so many exits: its settings are wrong, not its luck."""
START_LIMIT = 900.0
"""A process that is alive but not ready for so long is given up, seconds; vLLM loads in 41 s on two
idle cores, in minutes on busy ones."""
LOG_TAIL_LINES = 12


class GaveUp(Exception):
    """A process never became ready; the message has the end of its log."""


@dataclass
class Process:
    """One supervised child. `part` is its public record, updated in place; `changed` is called each time."""

    part: Part
    command: list[str]
    environment: Callable[[], dict[str, str]]
    """What is added to this process's own; asked before every life."""
    probe: Callable[[], Awaitable[bool]]
    stop_seconds: float
    changed: Callable[[], None]

    def __post_init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Resolves at the first readiness, or with GaveUp."""

    def start(self) -> None:
        """Begin to supervise."""
        self._task = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """SIGTERM, then after `stop_seconds` SIGKILL; no restart follows."""
        self._stopping = True
        child = self._child
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), self.stop_seconds)
            except TimeoutError:
                _kill_group(child.pid)
                await child.wait()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self.ready.done():
            self.ready.exception()  # marks it retrieved
        self._set(stackfile.STOPPED)

    async def _supervise(self) -> None:
        exits, backoff, started = 0, FIRST_BACKOFF, time.monotonic()
        while True:
            ready_at = await self._run_once(started)
            if self._stopping:
                return
            if ready_at is not None and stackfile.elapsed(ready_at) > STEADY_SECONDS:
                backoff = FIRST_BACKOFF
            exits += 1
            if not self.ready.done() and exits >= START_ATTEMPTS:
                self._give_up(f"ended {exits} times before it was ready")
                return
            self.part.restarts += 1
            self._set(stackfile.RESTARTING)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LAST_BACKOFF)
            started = time.monotonic()

    async def _run_once(self, started: float) -> float | None:
        """One life of the child; returns when it became ready (monotonic), or None if it never did."""
        log = Path(self.part.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:  # noqa: ASYNC230  # opening a local file for the child
            self._child = child = await asyncio.create_subprocess_exec(
                *with_parent(),
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=os.environ | self.environment(),
                # Ctrl-C goes to a terminal's whole group; when and in which order children end we say.
                start_new_session=True,
            )
        self.part.pid, self.part.since = child.pid, time.time()
        self._set(stackfile.STARTING, f"again after {self.part.detail}" if self.part.restarts else "")
        gone = asyncio.create_task(child.wait())
        ready_at = None
        while not gone.done():
            if await self.probe():
                self.part.seconds = stackfile.elapsed(started)
                ready_at = time.monotonic()
                self._set(stackfile.READY, "")
                if not self.ready.done():
                    self.ready.set_result(None)
                break
            if not self.ready.done() and stackfile.elapsed(started) > START_LIMIT:
                self._stopping = True
                _kill_group(child.pid)
                self._give_up(f"not ready after {START_LIMIT:.0f} s")
                break
            await asyncio.wait([gone], timeout=POLL_SECONDS)
        status = await gone
        # What it started (vLLM's own process) must not outlive it, nor hold the memory its successor needs.
        _kill_group(child.pid)
        self.part.detail = (
            f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        )
        self.part.pid = 0
        return ready_at

    def _give_up(self, why: str) -> None:
        self._set(stackfile.FAILED, why)
        if not self.ready.done():
            self.ready.set_exception(
                GaveUp(f"{self.part.name} {why}; its log {self.part.log} ends with:\n{tail(self.part.log)}")
            )

    def _set(self, state: str, detail: str | None = None) -> None:
        self.part.state = state
        if detail is not None:
            self.part.detail = detail
        self.changed()


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def with_parent() -> list[str]:
    """Command prefix that drains the child when its parent dies without a word (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def tail(log: str | Path) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(Path(log).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    except OSError as error:
        return f"({error.strerror})"


async def serving(address: str) -> bool:
    """Whether the gRPC health service at host:port says SERVING for the whole server."""
    async with connecting.channel(address) as channel:
        try:
            request = health_pb2.HealthCheckRequest()
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=HEALTH_SECONDS)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        except grpc.RpcError:
            return False


async def accepting(address: str) -> bool:
    """Whether something listens at host:port; for services that speak no gRPC."""
    return await asyncio.to_thread(stackfile.listening, address)
