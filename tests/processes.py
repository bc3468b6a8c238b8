"""The real services as child processes of a test, to be started, stopped and killed."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wanimage.stack import die_with_parent, free_ports

READY_SECONDS = 180.0
"""vLLM loads in about 40 s on two idle cores; a test machine may be busy."""
LOG_TAIL = 30


@dataclass
class ServiceProcess:
    """`python -m services.<name>`, or what `command` says, on a port of its own, kept over restarts."""

    name: str
    environment: dict[str, str]
    folder: Path
    command: tuple[str, ...] = ()
    """Arguments of Python in place of the service's own."""
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}-{self.port}.log"

    def start(self) -> None:
        """Start it; `ready` waits for it."""
        environment = os.environ | self.environment | {"WAN_PORT": str(self.port)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*die_with_parent(), sys.executable, *(self.command or ("-m", f"services.{self.name}"))],
                env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    async def ready(self) -> None:
        """Wait until its health check says SERVING; fails with the end of its log."""
        async with asyncio.timeout(READY_SECONDS), grpc.aio.insecure_channel(self.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while True:
                assert self.process is not None
                assert self.process.poll() is None, self.tail()
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                except grpc.aio.AioRpcError:
                    pass
                await asyncio.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL the service and everything it started, at once."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for it to drain."""
        self._signal(signal.SIGTERM, patience=40)

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"{self.name}:\n" + "\n".join(lines[-LOG_TAIL:])

    def _signal(self, number: int, patience: float = 10) -> None:
        if self.process is None:
            return
        try:
            # A killed planner must take vLLM's own process with it.
            target = os.killpg if number == signal.SIGKILL else os.kill
            target(self.process.pid, number)
            self.process.wait(patience)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        self.process = None
