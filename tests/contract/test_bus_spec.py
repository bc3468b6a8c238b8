"""docs/bus.md is true: its examples and tables, reproduced."""

import asyncio
import hashlib
import re
from pathlib import Path

import pytest

from wanimage import subjects
from wanimage.blobs import key_of
from wanimage.bus import Bus
from wanimage.jobs import KINDS, Jobs, make_job
from wanimage.sessions import Sessions
from wanimage.v1.events_pb2 import Event, TextDelta
from wanimage.v1.jobs_pb2 import DecodeJob, JobProgress
from wanimage.v1.types_pb2 import BlobRef

SPEC = (Path(__file__).parents[2] / "docs" / "bus.md").read_text()
FAMILY = "f" * 64


def example(label: str, section: str) -> str:
    """The value beside `label` in the section's code block."""
    text = SPEC.split(f"## {section}\n")[1].split("\n## ")[0]
    found = re.search(rf"^(?:headers)?\s*{re.escape(label)}:? +(.+)$", text, re.MULTILINE)
    assert found, f"{label!r} is not in section {section!r}"
    return found[1].strip()


def decode_job():
    return make_job("acme", FAMILY, DecodeJob(latent=BlobRef(sha256="a" * 64)), 60)


def test_version_is_the_codes() -> None:
    assert f"Version {subjects.SPEC_VERSION} (" in SPEC


def test_streams_of_the_table_are_the_streams_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)`[^|]*\| `([^`]+)` \|", SPEC, re.MULTILINE)
    written = {stream: re.sub(r"<[^>]+>", "*", pattern) for stream, pattern in rows}
    coded = {config.name: config.subjects[0].replace(">", "*") for config in subjects.streams()}
    assert written == coded


def test_kinds_are_the_payloads_of_a_job() -> None:
    assert ", ".join(f"`{kind}`" for kind in KINDS) in SPEC


@pytest.mark.parametrize("name", [each for each in dir(subjects) if each.endswith("_HEADER")])
def test_every_header_is_specified(name: str) -> None:
    assert f"| `{getattr(subjects, name)}` |" in SPEC


def test_job_id_is_the_examples() -> None:
    parts = [
        "acme",
        FAMILY,
        "decode",
        DecodeJob(latent=BlobRef(sha256="a" * 64)).SerializeToString(deterministic=True),
    ]
    by_hand = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        by_hand.update(len(raw).to_bytes(8, "big") + raw)

    assert decode_job().id == example("id", "A job is named by its content") == by_hand.hexdigest()


def test_blob_key_is_the_examples() -> None:
    assert key_of("acme", hashlib.sha256(b"hello").hexdigest()) in SPEC


async def test_submitted_job_looks_like_the_example(jobs: Jobs, bus: Bus) -> None:
    section = "A job is named by its content"
    submission = await jobs.submit(decode_job())

    stored = await bus.jetstream.get_last_msg(subjects.JOBS, example("subject", section))
    headers = stored.headers
    assert headers["Nats-Msg-Id"] == example("Nats-Msg-Id", section).replace("<id>", submission.job.id)
    assert headers["Wan-Attempt"] == example("Wan-Attempt", section)
    assert headers["Wan-Family"] == example("Wan-Family", section)


async def test_appended_event_looks_like_the_example(bus: Bus) -> None:
    section = "A session is its log"
    log = await Sessions(bus).create("acme", "s1", family=FAMILY)
    await log.append(Event(turn_id="t1", text_delta=TextDelta(text="Hello")))

    stored = await bus.last(subjects.SESSIONS, example("subject", section))
    assert stored is not None
    fence = example("Nats-Expected-Last-Subject-Sequence", section)
    assert (stored.headers["Nats-Expected-Last-Subject-Sequence"], stored.headers["Wan-Seq"]) == (fence, "2")
    event = Event.FromString(stored.data)
    assert (event.seq, event.session_id, event.turn_id, event.text_delta.text) == (2, "s1", "t1", "Hello")


async def test_wake_ups_come_on_the_specified_subjects(jobs: Jobs, bus: Bus) -> None:
    job = decode_job()
    heard: dict[str, bytes] = {}
    everything = asyncio.Event()
    wanted = {
        "wan.live.acme.s1.log",
        "wan.live.acme.s1.notice",
        "wan.queued.decode.acme",
        f"wan.result.{job.id}",
        f"wan.progress.{job.id}",
        f"wan.cancel.{job.id}",
    }

    async def note(message) -> None:
        heard[message.subject] = message.data
        if wanted <= set(heard):
            everything.set()

    await bus.on("wan.>", note)
    log = await Sessions(bus).create("acme", "s1", family=FAMILY)
    await log.tell(Event())
    await jobs.submit(job)
    await bus.tell(f"wan.progress.{job.id}", JobProgress(job_id=job.id).SerializeToString())
    await jobs.cancel(job.id, "enough")
    await asyncio.wait_for(everything.wait(), 10)

    assert Event.FromString(heard["wan.live.acme.s1.log"]).seq == 1
    assert Event.FromString(heard["wan.live.acme.s1.notice"]).seq == 0
    assert heard["wan.queued.decode.acme"] == heard[f"wan.result.{job.id}"] == b""
