"""Secrets reach no log line, error or report: real fronts run into errors with canaries for secrets."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.echo import Echo, encode, refused, serving
from wanimage import rpc, telemetry
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.cli.main import app
from wanimage.config import Settings
from wanimage.errors import Unavailable
from wanimage.keys import new_key
from wanimage.stack import NatsServer
from wanimage.v1.types_pb2 import BlobRef

CANARIES = {
    "nats_password": "canary-nats-password",
    "s3_secret_key": "canary-s3-secret",
    "api_keys": {"acme": "canary-api-key"},
}
IN_URL = "canary-url-password"
SENT = "canary-sent-key"
LEAK = "canary"


@pytest.fixture
def loud() -> None:
    """Everything is logged."""
    telemetry.configure("test", level="DEBUG", json=True)


@pytest.fixture
def settings_with_canaries(nats_server: NatsServer) -> Settings:
    url = nats_server.url.replace("//", f"//user:{IN_URL}@")
    return Settings(_env_file=None, nats_url=url, nats_user="vae", s3_endpoint="127.0.0.1:1", **CANARIES)


def test_settings_show_no_secret(settings_with_canaries: Settings) -> None:
    without_url = settings_with_canaries.model_copy(update={"nats_url": "nats://127.0.0.1:4222"})
    assert LEAK not in repr(without_url) + str(without_url) + without_url.model_dump_json()


async def test_failing_connections_name_no_secret(
    settings_with_canaries: Settings, nats_server: NatsServer, capsys: pytest.CaptureFixture[str], loud: None
) -> None:
    said = []
    async with await Bus.connect(settings_with_canaries) as bus:
        said.append(repr(bus))
        nats_server.kill()
        with pytest.raises(Unavailable) as caught:
            await bus.check()
        said.append(str(caught.value))
    with pytest.raises(Unavailable) as caught:
        await Bus.connect(settings_with_canaries, patience=0.5)
    said.append(str(caught.value))
    with pytest.raises(Unavailable) as caught:
        await Blobs.connect(settings_with_canaries)
    said.append(str(caught.value))
    out, err = capsys.readouterr()
    assert "nats_disconnected" in err
    assert LEAK not in out + err + "".join(said)


async def test_a_front_in_trouble_tells_no_secret(capsys: pytest.CaptureFixture[str], loud: None) -> None:
    echo = Echo()
    key, _ = new_key("acme", "user")
    details: list[rpc.ErrorDetails] = []
    async with serving(echo, **CANARIES) as (address, _, _):
        for metadata in ((("authorization", f"Bearer {SENT}"),), (("x-api-key", key),)):
            details.append(await refused(encode(address, metadata=metadata)))
        echo.error = RuntimeError("something else")
        details.append(await refused(encode(address, key="canary-api-key")))
    out, err = capsys.readouterr()
    assert "call_refused" in err
    assert "call_crashed" in err
    told = out + err + repr(details)
    assert LEAK not in told
    assert key.rpartition("_")[2] not in told


def test_doctor_and_the_record_of_the_stack_tell_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wanimage.cli import stackfile

    for name, value in (
        ("NATS_PASSWORD", "canary-n"),
        ("S3_SECRET_KEY", "canary-s"),
        ("API_KEYS", "a=canary-a"),
    ):
        monkeypatch.setenv(f"WAN_{name}", value)
    monkeypatch.setenv("WAN_NATS_URL", f"nats://user:{IN_URL}@127.0.0.1:1")
    monkeypatch.setenv("WAN_S3_ENDPOINT", "127.0.0.1:1")
    stack = stackfile.mine()
    stack.save(tmp_path)
    assert (tmp_path / stackfile.NAME).stat().st_mode & 0o077 == 0
    assert LEAK not in (tmp_path / stackfile.NAME).read_text()
    result = CliRunner().invoke(app, ["doctor", "--json", "--data-dir", str(tmp_path / "none")])
    assert json.loads(result.stdout)
    assert LEAK not in result.output


async def test_a_missing_blob_names_no_secret(settings: Settings, tenant: str) -> None:
    async with await Blobs.connect(settings) as blobs:
        with pytest.raises(Exception, match="no blob") as caught:
            await blobs.get(tenant, BlobRef(sha256="0" * 64, size=1))
    assert settings.s3_secret_key.get_secret_value() not in str(caught.value)
