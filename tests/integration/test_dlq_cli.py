"""`wan dlq` against a real nats-server: list, show, retry, drop, and what it says when it cannot."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.decode_jobs import decode_job, decoded, running
from wanimage.bus import Bus
from wanimage.cli.report import BAD_INPUT, FAILED
from wanimage.config import Settings
from wanimage.errors import JobFailed
from wanimage.jobs import Jobs
from wanimage.stack import NatsServer, find_binary, free_ports
from wanimage.takenjob import TakenJob
from wanimage.v1.jobs_pb2 import DecodeResult

pytestmark = pytest.mark.slow


async def wan(url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`wan dlq ...` in a process of its own."""
    command = [sys.executable, "-m", "wanimage.cli", "dlq", *arguments]
    variables = os.environ | {"WAN_NATS_URL": url} | environment
    return await asyncio.to_thread(
        subprocess.run, command, env=variables, capture_output=True, text=True, timeout=60
    )


async def crash(taken: TakenJob) -> DecodeResult:
    raise ZeroDivisionError(taken.job.id)


@pytest.fixture
async def letters(jobs: Jobs) -> list[str]:
    """Two jobs given up: their ids, oldest first."""
    given_up = [decode_job("a"), decode_job("b")]
    async with running(jobs, crash):
        for job in given_up:
            with pytest.raises(JobFailed):
                await jobs.run(job)
    return [job.id for job in given_up]


async def test_list_and_show_name_job_reason_and_time(nats_server: NatsServer, letters: list[str]) -> None:
    listed, filtered, shown, table = await asyncio.gather(
        wan(nats_server.url, "list", "--json"),
        wan(nats_server.url, "list", "--json", "--tenant", "nobody"),
        wan(nats_server.url, "show", letters[0][:8]),
        wan(nats_server.url, "list", "--kind", "decode"),
    )
    records = json.loads(listed.stdout)
    assert [record["id"] for record in records] == letters[::-1]
    assert "unexpected error" in records[0]["reason"]
    assert records[0]["time"] > records[1]["time"]
    assert json.loads(filtered.stdout) == []
    assert json.loads(shown.stdout)["job"]["decode"]["latent"]["sha256"] == "a" * 64
    assert letters[0][:12] in table.stdout


async def test_retry_queues_the_job_and_drop_forgets_it(
    nats_server: NatsServer, letters: list[str], jobs: Jobs
) -> None:
    retried = await wan(nats_server.url, "retry", letters[0], "--json")
    assert json.loads(retried.stdout) == {"id": letters[0], "attempt": 2, "done_already": False}

    async def succeed(taken: TakenJob) -> DecodeResult:
        return decoded()

    async with running(jobs, succeed):
        assert (await jobs.run(decode_job("a"))).decode == decoded()
    dropped = await wan(nats_server.url, "drop", letters[1], "--json")
    assert json.loads(dropped.stdout) == {"id": letters[1], "dropped": 1}
    assert (await wan(nats_server.url, "list")).stdout == "no dead letters\n"


async def test_an_unknown_id_is_refused_by_name(bus: Bus, nats_server: NatsServer) -> None:
    for command in ("show", "retry", "drop"):
        refused = await wan(nats_server.url, command, "0123456789ab")
        assert refused.returncode == BAD_INPUT
        assert "no dead letter '0123456789ab'" in refused.stderr
        assert refused.stdout == ""


@pytest.fixture
def guarded_url(tmp_path: Path) -> Iterator[str]:
    """A server whose user `service` may do what services may: add letters and read them, remove none."""
    port = free_ports(1)[0]
    config = tmp_path / "guarded.conf"
    config.write_text(
        f"host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: {json.dumps(str(tmp_path))} }}\n"
        "authorization { users = [{ user: service, password: secret, permissions { "
        'publish { deny: ["$JS.API.STREAM.MSG.DELETE.>"] } } }] }\n'
    )
    server = subprocess.Popen([find_binary("nats-server"), "-c", config], stderr=subprocess.DEVNULL)
    yield f"nats://127.0.0.1:{port}"
    server.kill()
    server.wait()


async def test_a_user_without_the_right_is_told_which_one_is_missing(guarded_url: str) -> None:
    settings = Settings(_env_file=None, nats_url=guarded_url, nats_user="service", nats_password="secret")
    async with await Bus.connect(settings) as bus, running(Jobs(bus), crash):
        with pytest.raises(JobFailed):
            await Jobs(bus).run(decode_job())
    who = {"WAN_NATS_USER": "service", "WAN_NATS_PASSWORD": "secret"}
    refused = await wan(guarded_url, "drop", decode_job().id, **who)
    assert refused.returncode == FAILED
    assert "$JS.API.STREAM.MSG.DELETE.DLQ" in refused.stderr, refused.stderr
    assert "operator" in refused.stderr
