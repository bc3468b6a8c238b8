"""`wan gc` and `wan sessions export|import|delete` over real servers."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.house import open_house
from wanimage.cli.main import app
from wanimage.config import Settings
from wanimage.stack import NatsServer


@pytest.fixture
def environment(settings: Settings, nats_server: NatsServer) -> dict[str, str]:
    return {
        "WAN_NATS_URL": nats_server.url,
        "WAN_S3_ENDPOINT": settings.s3_endpoint,
        "WAN_S3_ACCESS_KEY": settings.s3_access_key,
        "WAN_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
    }


def wan(environment: dict[str, str], *arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments], env=environment)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_session_is_exported_imported_deleted_and_collected(
    settings: Settings, nats_server: NatsServer, environment: dict[str, str], tenant: str, tmp_path: Path
) -> None:
    async def prepare() -> str:
        async with open_house(settings, nats_server, tenant) as house:
            return await house.session(await house.put(b"a picture"))

    session_id, mine = asyncio.run(prepare()), ["--tenant", tenant, "--json"]
    path = tmp_path / "kept.wan.zip"
    exported = wan(environment, "sessions", "export", session_id, "--out", str(path), *mine)
    assert (exported["events"], exported["blobs"], exported["blob_bytes"]) == (3, 1, 9)
    imported = wan(environment, "sessions", "import", str(path), "--as", "copy", *mine)
    assert imported["session_id"] == "copy"
    assert wan(environment, "sessions", "delete", session_id, *mine)["deleted"] is True

    (account,) = wan(environment, "gc", "--dry-run", *mine)
    assert (account["sessions"], account["kept"], account["collected"]) == (1, 1, 0)


def test_what_is_wrong_ends_with_status_2_and_a_way_out(environment: dict[str, str], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(b"no zip")
    for arguments, said in (
        (["sessions", "import", str(damaged)], "export the session again"),
        (["sessions", "export", "nobody"], "no session 'nobody'"),
        (["sessions", "delete", "nobody"], "no session 'nobody'"),
        (["gc", "--grace", "1"], "give at least that"),
        (["gc", "--session-ttl", "0.01"], "less than a turn may take"),
    ):
        result = CliRunner().invoke(app, arguments, env=environment)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
