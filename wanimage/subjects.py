"""Every name on the wire: streams, subjects and headers, as docs/bus.md specifies them."""

import re

from nats.js import api

from wanimage.errors import InvalidInput

SPEC_VERSION = 1
"""Version of docs/bus.md; raised when a subject, header or key changes its meaning."""

SESSIONS = "SESSIONS"
JOBS = "JOBS"
DEAD_LETTERS = "DLQ"
RESULTS = "KV_RESULTS"
"""The stream under the KV bucket `RESULTS`."""
KEYS = "KV_KEYS"
"""The stream under the KV bucket `KEYS`: API keys, hashed (keys.py)."""
FAMILY_HEADER = "Wan-Family"
ATTEMPT_HEADER = "Wan-Attempt"
SEQ_HEADER = "Wan-Seq"
REASON_HEADER = "Wan-Reason"
MSG_ID_HEADER = "Nats-Msg-Id"
EXPECTED_LAST_HEADER = "Nats-Expected-Last-Subject-Sequence"

JOB_MAX_AGE_SECONDS = 2 * 3600.0
"""Longer than any deadline: a job that old has nobody waiting."""
JOB_DEDUPE_SECONDS = JOB_MAX_AGE_SECONDS
"""As long as an equal job may be queued or worked on: nothing else says that it is. No more is allowed."""
RESULT_MAX_AGE_SECONDS = 7 * 86400.0
DEAD_LETTER_MAX_AGE_SECONDS = 30 * 86400.0


_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def token(name: str, value: str) -> str:
    """`value`, fit to be one token of a subject; raises InvalidInput naming the field otherwise."""
    if not _TOKEN.fullmatch(value):
        raise InvalidInput(
            name, f"{value[:80]!r} is not a name", "use 1 to 64 of the characters A-Z a-z 0-9 _ -"
        )
    return value


def streams() -> list[api.StreamConfig]:
    """The five streams. `republish` repeats a message on a plain subject once it is stored: a wake-up, not
    data."""
    file = api.StorageType.FILE
    return [
        api.StreamConfig(
            name=SESSIONS,
            subjects=["wan.session.*.*"],
            storage=file,
            retention=api.RetentionPolicy.LIMITS,
            allow_direct=True,
            duplicate_window=120.0,
            republish=api.RePublish(
                src="wan.session.*.*", dest="wan.live.{{wildcard(1)}}.{{wildcard(2)}}.log"
            ),
        ),
        api.StreamConfig(
            name=JOBS,
            subjects=["wan.jobs.*.*"],
            storage=file,
            retention=api.RetentionPolicy.WORK_QUEUE,
            discard=api.DiscardPolicy.NEW,
            allow_direct=True,
            duplicate_window=JOB_DEDUPE_SECONDS,
            max_age=JOB_MAX_AGE_SECONDS,
            republish=api.RePublish(
                src="wan.jobs.*.*", dest="wan.queued.{{wildcard(1)}}.{{wildcard(2)}}", headers_only=True
            ),
        ),
        api.StreamConfig(
            name=DEAD_LETTERS,
            subjects=["wan.dlq.*.*"],
            storage=file,
            allow_direct=True,
            max_age=DEAD_LETTER_MAX_AGE_SECONDS,
        ),
        api.StreamConfig(
            name=RESULTS,
            subjects=["$KV.RESULTS.>"],
            storage=file,
            max_msgs_per_subject=1,
            discard=api.DiscardPolicy.NEW,
            deny_delete=True,
            allow_rollup_hdrs=True,
            allow_direct=True,
            max_age=RESULT_MAX_AGE_SECONDS,
            republish=api.RePublish(
                src="$KV.RESULTS.*", dest="wan.result.{{wildcard(1)}}", headers_only=True
            ),
        ),
        api.StreamConfig(
            name=KEYS,
            subjects=["$KV.KEYS.>"],
            storage=file,
            max_msgs_per_subject=1,
            discard=api.DiscardPolicy.NEW,
            deny_delete=True,
            deny_purge=True,
            allow_direct=True,
            republish=api.RePublish(src="$KV.KEYS.*", dest="wan.keys.{{wildcard(1)}}", headers_only=True),
        ),
    ]


def stream_of(subject: str) -> str:
    """The stream that stores a subject."""
    prefixes = {
        "wan.session.": SESSIONS,
        "wan.jobs.": JOBS,
        "wan.dlq.": DEAD_LETTERS,
        "$KV.RESULTS.": RESULTS,
        "$KV.KEYS.": KEYS,
    }
    return next(stream for prefix, stream in prefixes.items() if subject.startswith(prefix))
