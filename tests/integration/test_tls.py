"""TLS and mTLS of fronts, of NATS and of S3, with certificates made on the fly."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
import trustme
from pydantic import ValidationError

from tests.echo import Echo, encode, refused, serving
from wanimage import tls
from wanimage.blobs import Blobs
from wanimage.bucket import Bucket
from wanimage.bus import Bus
from wanimage.cli import report, supervise
from wanimage.config import Settings
from wanimage.errors import Unavailable
from wanimage.stack import NatsServer, free_ports

SECONDS = 5.0


@dataclass(frozen=True)
class Files:
    """Paths of PEM files."""

    ca: Path
    cert: Path
    key: Path

    @property
    def identity(self) -> dict[str, Path]:
        return {"tls_cert": self.cert, "tls_key": self.key}


def issue(folder: Path) -> Files:
    """A new authority and a certificate of it for this machine."""
    folder.mkdir()
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    files = Files(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(str(files.ca))
    issued.private_key_pem.write_to_path(str(files.key))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(files.cert), append=True)
    return files


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return issue(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Of an authority that nobody here trusts."""
    return issue(tmp_path_factory.mktemp("tls") / "theirs")


def client(**settings: Path) -> grpc.ChannelCredentials:
    return tls.of_client(Settings(_env_file=None, **settings))


async def explained(address: str, credentials: grpc.ChannelCredentials | None = None) -> str:
    """What `wan` says of a call that must fail."""
    try:
        await encode(address, timeout=SECONDS, credentials=credentials)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
        return str(report.explain(error, address))
    raise AssertionError("the call was answered")


async def test_a_front_with_a_certificate_answers_those_who_trust_it(ours: Files) -> None:
    async with serving(Echo(), **ours.identity) as (address, _, _):
        answer = await encode(f"https://{address}", credentials=client(tls_ca=ours.ca))
    assert answer.latent.sha256 == "default"


async def test_plain_text_and_a_wrong_authority_get_no_answer(ours: Files, theirs: Files) -> None:
    async with serving(Echo(), **ours.identity) as (address, _, _):
        plain = await explained(address)
        stranger = await explained(f"https://{address}", client(tls_ca=theirs.ca))
    assert "WAN_TLS_CA" in plain
    assert "not trusted" in stranger
    assert "WAN_TLS_CA" in stranger


async def test_mtls_lets_in_whom_its_authority_signed_and_nobody_else(ours: Files, theirs: Files) -> None:
    async with serving(Echo(), **ours.identity, tls_client_ca=ours.ca) as (address, _, _):
        secure = f"https://{address}"
        known = client(tls_ca=ours.ca, **ours.identity)
        assert (await encode(secure, credentials=known)).latent.sha256 == "default"
        without = await explained(secure, client(tls_ca=ours.ca))
        strange = await explained(secure, client(tls_ca=ours.ca, **theirs.identity))
    assert "WAN_TLS_CERT" in without
    assert "WAN_TLS_CERT" in strange


async def test_a_certificate_does_not_stand_for_a_key(ours: Files) -> None:
    settings = {**ours.identity, "tls_client_ca": ours.ca, "api_keys": {"acme": "k"}}
    async with serving(Echo(), **settings) as (address, _, _):
        known = client(tls_ca=ours.ca, **ours.identity)
        details = await refused(encode(f"https://{address}", credentials=known))
    assert details.code is grpc.StatusCode.UNAUTHENTICATED


async def test_health_probes_speak_tls_where_the_settings_say_so(
    ours: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.healthcheck import trouble

    for name, path in (("CA", ours.ca), ("CERT", ours.cert), ("KEY", ours.key)):
        monkeypatch.setenv(f"WAN_TLS_{name}", str(path))
    async with serving(Echo(), **ours.identity, tls_client_ca=ours.ca) as (address, health, _):
        await health.set(True)
        assert await supervise.serving(address)
        assert await asyncio.to_thread(trouble, address) == ""
        monkeypatch.delenv("WAN_TLS_CERT")
        assert "UNAVAILABLE" in await asyncio.to_thread(trouble, address)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("tls_cert",), "WAN_TLS_CERT and WAN_TLS_KEY"),
        (("tls_key",), "WAN_TLS_CERT and WAN_TLS_KEY"),
        (("tls_client_ca",), "WAN_TLS_CLIENT_CA needs"),
    ],
)
def test_half_a_configuration_fails_at_start(ours: Files, given: tuple[str, ...], says: str) -> None:
    paths = {"tls_cert": ours.cert, "tls_key": ours.key, "tls_client_ca": ours.ca}
    with pytest.raises(ValidationError, match=says):
        Settings(_env_file=None, **{name: paths[name] for name in given})


def test_a_missing_file_fails_at_start_naming_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="WAN_TLS_CA: no file"):
        Settings(_env_file=None, tls_ca=tmp_path / "absent.pem")


class SecureNats(NatsServer):
    """NATS that demands a client certificate."""

    files: Files

    def command(self) -> list[str]:
        found = super().command()
        config = self.directory / "nats.conf"
        files = self.files
        block = f'cert_file: "{files.cert}", key_file: "{files.key}", ca_file: "{files.ca}", verify: true'
        config.write_text(config.read_text() + f"tls {{ {block} }}\n")
        return found


@pytest.fixture
def secure_nats(tmp_path: Path, ours: Files) -> Iterator[str]:
    server = SecureNats(tmp_path / "nats", free_ports(1)[0])
    server.files = ours
    server.start()
    yield server.url.replace("nats://", "tls://")
    server.stop()


async def test_nats_over_tls_is_spoken_with_a_trusted_certificate_alone(
    secure_nats: str, ours: Files, theirs: Files
) -> None:
    good = Settings(_env_file=None, nats_url=secure_nats, tls_ca=ours.ca, **ours.identity)
    async with await Bus.connect(good) as bus:
        await bus.check()
    for bad in ({"tls_ca": theirs.ca}, {"tls_ca": ours.ca}):
        with pytest.raises(Unavailable, match=r"(?i)certificate|tls|ssl"):
            await Bus.connect(Settings(_env_file=None, nats_url=secure_nats, **bad), patience=1.0)


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as says that everything is there."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: stderr belongs to the test."""


@pytest.fixture
def secure_s3(ours: Files) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bucket) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ours.cert, ours.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_s3_over_tls_is_spoken_by_services_and_by_the_keeper(
    secure_s3: str, ours: Files, theirs: Files
) -> None:
    good = Settings(_env_file=None, s3_endpoint=secure_s3, s3_secure=True, tls_ca=ours.ca)
    async with await Blobs.connect(good):
        assert await asyncio.to_thread(Bucket(good).has, "acme/x")
    bad = good.model_copy(update={"tls_ca": theirs.ca})
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        await Blobs.connect(bad)
