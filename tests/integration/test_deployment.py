"""deploy/nats.conf and deploy/s3.sh under real servers: each service can do its work and nothing else."""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import nats
import nats.errors
import pytest
import urllib3
from minio import Minio
from minio.error import S3Error
from nats.aio.msg import Msg
from urllib3.exceptions import HTTPError

from tests.conftest import eventually
from wanimage import exposition
from wanimage.blobs import Blobs
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.errors import NotFound, Unavailable
from wanimage.jobs import KINDS, Jobs, make_job
from wanimage.keys import Keyring, KeyStore, new_key
from wanimage.sessions import Sessions
from wanimage.stack import find_binary, free_ports
from wanimage.v1 import jobs_pb2
from wanimage.v1.types_pb2 import BlobRef
from wanimage.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("planner", "enhancer", "visualizer", "vae", "refiner")
USERS = (*SERVICES, "operator")
PASSWORDS = {name: f"secret-of-{name}" for name in USERS}
START_SECONDS = 60.0
FAMILY = "0" * 64

WORK = {
    "turn": ("planner", jobs_pb2.TurnJob(session_id="s"), jobs_pb2.TurnResult(last_seq=7)),
    "enhance": ("enhancer", jobs_pb2.EnhanceJob(prompt="a fox"), jobs_pb2.EnhanceResult()),
    "render": ("visualizer", jobs_pb2.RenderJob(), jobs_pb2.RenderResult()),
    "encode": ("vae", jobs_pb2.EncodeJob(), jobs_pb2.EncodeResult()),
    "decode": ("vae", jobs_pb2.DecodeJob(), jobs_pb2.DecodeResult()),
    "refine": ("refiner", jobs_pb2.RefineJob(), jobs_pb2.RefineResult()),
}
"""Job kind to who takes it, what is asked and what is answered."""


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the deployed configuration; only port, monitoring and folder differ."""
    folder = tmp_path_factory.mktemp("nats")
    (port,) = free_ports(1)
    text = (ROOT / "deploy" / "nats.conf").read_text()
    for pattern, replacement in (
        (r"^port: 4222$", f'host: "127.0.0.1"\nport: {port}'),
        (r"^http_port: 8222$", ""),
        (r"store_dir: /data$", f'store_dir: "{folder}"'),
    ):
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count == 1, pattern
    (folder / "nats.conf").write_text(text)
    environment = {f"{name.upper()}_NATS_PASSWORD": password for name, password in PASSWORDS.items()}
    command = [find_binary("nats-server"), "-c", folder / "nats.conf", "--log", folder / "log"]
    with subprocess.Popen(command, env=os.environ | environment) as process:
        yield f"nats://127.0.0.1:{port}"
        process.terminate()


def settings(nats_url: str, user: str, password: str | None = None) -> Settings:
    secret = PASSWORDS[user] if password is None else password
    makes = user == "planner"
    return Settings(nats_url=nats_url, nats_user=user, nats_password=secret, nats_makes_streams=makes)


async def connect(nats_url: str, user: str) -> Bus:
    """A connection once the server is up."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                return await Bus.connect(settings(nats_url, user))
            except Unavailable:
                continue  # Bus.connect itself has waited


@pytest.fixture
async def buses(nats_url: str) -> AsyncIterator[dict[str, Bus]]:
    """One connection a service."""
    opened = {
        name: await connect(nats_url, name) for name in USERS
    }  # the planner first: it makes the streams
    yield opened
    for bus in opened.values():
        await bus.close()


@pytest.mark.parametrize("kind", WORK)
async def test_service_does_the_jobs_that_the_planner_submits(buses: dict[str, Bus], kind: str) -> None:
    service, payload, answer = WORK[kind]
    job = make_job("acme", FAMILY, payload, 30.0)
    jobs = Jobs(buses["planner"])
    async with Worker(Jobs(buses[service]), kind, family=FAMILY) as worker:
        submission = await jobs.submit(job)
        taken = await worker.take(10.0)
        assert taken is not None
        await taken.progress(jobs_pb2.JobProgress())
        await taken.commit(answer)
        result = await jobs.result(submission)
    assert result.job_id == job.id
    assert getattr(result, kind) == answer


@pytest.mark.parametrize("service", SERVICES)
async def test_service_may_count_what_its_metrics_count(buses: dict[str, Bus], service: str) -> None:
    _, letters = await exposition.Queues(buses[service], service).ask()
    assert set(letters) == (set(KINDS) if service == exposition.COUNTS_DEAD_LETTERS else set())


async def test_planner_tells_other_planners_what_is_live(nats_url: str, buses: dict[str, Bus]) -> None:
    replica = await connect(nats_url, "planner")
    async with replica, replica.listen("wan.live.acme.s.notice") as live:
        assert await buses["planner"].tell("wan.live.acme.s.notice", b"preview")
        message = await live.next(10.0)
    assert message is not None
    assert message.data == b"preview"


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("visualizer", "wan.session.acme.s"),
        ("visualizer", "wan.jobs.turn.acme"),
        ("visualizer", "wan.live.acme.s.notice"),
        ("vae", "wan.live.acme.s.log"),
        ("visualizer", "$JS.API.CONSUMER.CREATE.JOBS.turn-acme.wan.jobs.turn.acme"),
        ("visualizer", "$JS.API.DIRECT.GET.SESSIONS.wan.session.acme.s"),
        ("vae", "wan.session.acme.s"),
        ("vae", "wan.jobs.render.acme"),
        ("vae", "$JS.API.CONSUMER.CREATE.JOBS.render-acme.wan.jobs.render.acme"),
        ("refiner", "$JS.API.CONSUMER.CREATE.JOBS.decode-acme.wan.jobs.decode.acme"),
        ("planner", "wan.dlq.render.acme"),
        ("planner", "$JS.API.CONSUMER.CREATE.JOBS.render-acme.wan.jobs.render.acme"),
        *((user, "$JS.API.STREAM.DELETE.SESSIONS") for user in SERVICES),
        *((user, "$JS.API.STREAM.PURGE.SESSIONS") for user in SERVICES),
        *((user, "$JS.API.STREAM.MSG.DELETE.SESSIONS") for user in SERVICES),
    ],
)
async def test_user_may_not_publish_beyond_its_role(
    nats_url: str, buses: dict[str, Bus], user: str, subject: str
) -> None:
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def note(error: Exception) -> None:
        refused.put_nowait(str(error).lower())

    client = await nats.connect(nats_url, user=user, password=PASSWORDS[user], error_cb=note)
    try:
        await client.publish(subject, b"")
        message = await asyncio.wait_for(refused.get(), 10.0)
    finally:
        await client.close()
    assert "permissions violation for publish" in message
    assert subject.lower() in message


SESSION_READS = (
    "$JS.API.DIRECT.GET.SESSIONS",
    "$JS.API.DIRECT.GET.SESSIONS.wan.session.acme.s",
    "$JS.API.STREAM.MSG.GET.SESSIONS",
    "$JS.API.STREAM.INFO.SESSIONS",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.SNAPSHOT.SESSIONS",
    "$JS.API.CONSUMER.CREATE.SESSIONS",
    "$JS.API.CONSUMER.CREATE.SESSIONS.spy.wan.session.acme.s",
    "$JS.API.CONSUMER.DURABLE.CREATE.SESSIONS.spy",
    "$JS.API.CONSUMER.MSG.NEXT.SESSIONS.spy",
    # A stream that sources SESSIONS, or SESSIONS republished to where one may listen.
    "$JS.API.STREAM.CREATE.SPY",
    "$JS.API.STREAM.UPDATE.SESSIONS",
    "$JS.API.STREAM.UPDATE.JOBS",
)
BEYOND = (
    "$KV.KEYS.000000000000",
    "$JS.API.STREAM.PURGE.KV_RESULTS",
    "$JS.API.STREAM.DELETE.KV_KEYS",
    "$JS.API.STREAM.MSG.DELETE.DLQ",
    "$JS.API.DIRECT.GET.DLQ",
    "$JS.API.DIRECT.GET.KV_RESULTS",
    "$JS.API.CONSUMER.DELETE.JOBS.turn-acme",
    "wan.session.acme.s",
    "wan.live.acme.s.log",
)
HEARD = ("wan.live.>", "wan.session.>", "wan.>", ">", "_INBOX.>", "_INBOX_planner.>", "$JS.>", "$KV.>")


@pytest.mark.parametrize("user", ["visualizer", "vae", "refiner"])
async def test_a_compromised_worker_reaches_no_session_and_no_key(
    nats_url: str, buses: dict[str, Bus], user: str
) -> None:
    await Sessions(buses["planner"]).create("acme", f"read-by-{user}", FAMILY)
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error).lower())

    client = await nats.connect(
        nats_url, user=user, password=PASSWORDS[user], error_cb=note, inbox_prefix=f"_INBOX_{user}"
    )
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    try:
        for subject in HEARD:
            await client.subscribe(subject, cb=hear)
        for subject in SESSION_READS + BEYOND:
            await client.publish(subject, b'{"last_by_subj":"wan.session.acme.s"}', reply=client.new_inbox())
        await eventually(lambda: len(refused) >= len(SESSION_READS + BEYOND + HEARD))
        await Sessions(buses["planner"]).open("acme", f"read-by-{user}")  # its answer goes to the planner
        await client.rtt()
    finally:
        await client.close()
    for subject in SESSION_READS + BEYOND:
        assert any("publish" in text and f'"{subject.lower()}"' in text for text in refused), subject
    for subject in HEARD:
        assert any("subscription" in text and f'"{subject.lower()}"' in text for text in refused), subject
    assert heard == []


async def test_a_consumer_of_ones_own_kind_shows_no_other_kind(buses: dict[str, Bus]) -> None:
    config = {
        "name": "spy",
        "durable_name": "spy",
        "ack_policy": "explicit",
        "filter_subject": "wan.jobs.turn.a",
    }
    answer = await buses["vae"].client.request(
        "$JS.API.CONSUMER.CREATE.JOBS.spy.wan.jobs.decode.a",
        json.dumps({"stream_name": "JOBS", "config": config}).encode(),
        timeout=10,
    )
    assert "did not match filtered subject" in json.loads(answer.data)["error"]["description"]


async def test_operator_makes_keys_that_every_front_reads(buses: dict[str, Bus]) -> None:
    key, kept = new_key("acme", "user")
    await KeyStore(buses["operator"]).add(kept)
    for service in SERVICES:
        ring = Keyring({}, needed=True)
        following = asyncio.create_task(ring.follow(buses[service]))
        try:
            await eventually(lambda ring=ring: bool(ring.known))
        finally:
            following.cancel()
        assert ring.find(key) == kept
    await KeyStore(buses["operator"]).revoke(kept.id)


async def test_operator_deletes_dead_letters_and_purges_sessions(buses: dict[str, Bus]) -> None:
    position = await buses["planner"].store("wan.dlq.turn.acme", b"not a job")
    operator = buses["operator"]
    assert await operator.jetstream.delete_msg("DLQ", position)
    await Sessions(buses["planner"]).create("acme", "gone", FAMILY)
    await operator.jetstream.purge_stream("SESSIONS", subject="wan.session.acme.gone")
    assert not await Sessions(operator).exists("acme", "gone")


async def test_wrong_password_is_refused(nats_url: str, buses: dict[str, Bus]) -> None:
    with pytest.raises(Unavailable, match=r"(?i)authorization"):
        await Bus.connect(settings(nats_url, "vae", "guess"), patience=2.0)


@contextmanager
def running_s3(folder: Path, ports: dict[str, int]) -> Iterator[str]:
    """SeaweedFS started by deploy/s3.sh, with its bucket; killed at the end, its data kept."""
    environment = {
        "PATH": f"{find_binary('weed').parent}:{os.environ['PATH']}",
        "S3_DATA": str(folder),
        "S3_CONFIG": str(folder / "s3.json"),
        "S3_BUCKET_MADE": str(folder / "bucket-made"),
        "S3_BIND": "127.0.0.1",
        "S3_PORT": str(ports["s3"]),
        "S3_MASTER": f"127.0.0.1:{ports['master']}.{ports['master.grpc']}",
    }
    for name in USERS:
        environment |= {
            f"{name.upper()}_S3_ACCESS_KEY": name,
            f"{name.upper()}_S3_SECRET_KEY": PASSWORDS[name],
        }
    flags = [f"-{name}.port={ports[name]}" for name in ("master", "filer", "volume")]
    flags += [f"-{name}.port.grpc={ports[name + '.grpc']}" for name in ("s3", "master", "filer", "volume")]
    (folder / "bucket-made").unlink(missing_ok=True)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            ["/bin/sh", ROOT / "deploy" / "s3.sh", *flags], env=os.environ | environment, stderr=log
        ) as process,
    ):
        endpoint = f"127.0.0.1:{ports['s3']}"
        try:
            await_healthy(folder / "bucket-made", endpoint, folder / "log")
            yield endpoint
        finally:
            process.kill()  # weed waits seconds for its own streams


def s3_ports() -> dict[str, int]:
    names = ("s3", "master", "filer", "volume", "s3.grpc", "master.grpc", "filer.grpc", "volume.grpc")
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="module")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_s3(tmp_path_factory.mktemp("s3"), s3_ports()) as endpoint:
        yield endpoint


async def test_s3_is_healthy_again_after_a_restart_with_its_blobs(tmp_path: Path) -> None:
    ports = s3_ports()
    with running_s3(tmp_path, ports) as endpoint:
        async with await Blobs.connect(s3_settings(endpoint, "vae")) as blobs:
            ref = await blobs.put("acme", b"kept", "image/png")
    with running_s3(tmp_path, ports) as endpoint:
        async with await Blobs.connect(s3_settings(endpoint, "planner")) as blobs:
            assert await blobs.get("acme", ref) == b"kept"


def s3_settings(endpoint: str, user: str) -> Settings:
    return Settings(s3_endpoint=endpoint, s3_access_key=user, s3_secret_key=PASSWORDS[user])


def client(endpoint: str, user: str, secret: str | None = None) -> Minio:
    return Minio(
        endpoint, access_key=user, secret_key=secret or PASSWORDS[user], secure=False, region="us-east-1"
    )


def await_healthy(made: Path, endpoint: str, log: Path) -> None:
    """Return once what compose.yaml asks of S3's health is so: the bucket is made and the gateway answers."""
    deadline = time.monotonic() + START_SECONDS
    while not (made.exists() and answers(endpoint)):
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def answers(endpoint: str) -> bool:
    with suppress(HTTPError):
        return urllib3.request("GET", f"http://{endpoint}/healthz", retries=False, timeout=2.0).status == 200
    return False


@pytest.mark.parametrize("user", SERVICES)
async def test_identity_stores_blobs_that_others_read(s3_endpoint: str, user: str) -> None:
    async with await Blobs.connect(s3_settings(s3_endpoint, user)) as mine:
        await mine.check()
        stored = await mine.put("acme", f"by {user}".encode(), "text/plain")
    async with await Blobs.connect(s3_settings(s3_endpoint, "planner")) as others:
        assert await others.get("acme", stored) == f"by {user}".encode()


async def test_a_blob_that_is_not_there_is_missing_and_not_forbidden(s3_endpoint: str) -> None:
    absent = BlobRef(sha256="0" * 64, size=1)
    async with await Blobs.connect(s3_settings(s3_endpoint, "vae")) as blobs:
        with pytest.raises(NotFound):
            await blobs.get("acme", absent)


@pytest.mark.parametrize("prefix", ["", "acme/", "acme"])
@pytest.mark.parametrize("user", SERVICES)
def test_a_service_may_not_list_what_it_was_not_told_of(s3_endpoint: str, user: str, prefix: str) -> None:
    held = client(s3_endpoint, user)
    with pytest.raises(S3Error, match="AccessDenied"):
        list(held.list_objects("wanimage", prefix=prefix, recursive=True))


async def test_operator_lists_every_blob(s3_endpoint: str) -> None:
    async with await Blobs.connect(s3_settings(s3_endpoint, "vae")) as blobs:
        stored = await blobs.put("acme", b"listed", "text/plain")
    listed = client(s3_endpoint, "operator").list_objects("wanimage", prefix="acme/", recursive=True)
    assert f"acme/{stored.sha256}" in [each.object_name for each in listed]


def test_identity_may_not_make_a_bucket(s3_endpoint: str) -> None:
    with pytest.raises(S3Error, match="AccessDenied"):
        client(s3_endpoint, "visualizer").make_bucket("elsewhere")


@pytest.mark.parametrize(("user", "secret"), [("vae", "guess"), ("stranger", "guess")])
def test_wrong_key_is_refused(s3_endpoint: str, user: str, secret: str) -> None:
    with pytest.raises(S3Error) as refusal:
        client(s3_endpoint, user, secret).put_object("wanimage", "x", BytesIO(b"x"), 1)
    assert refusal.value.code in ("SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied")
