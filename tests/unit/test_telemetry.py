"""Logs are one format whoever writes them, and a trace crosses a header."""

import json
import logging

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from wanimage import telemetry


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_logs_carry_bound_fields_and_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("vae", json=True)
    with telemetry.bound(job="j1", tenant="acme"):
        telemetry.logger("wanimage.test").info("job_taken", attempt=2)
        logging.getLogger("library").warning("foreign %s", "words")
    telemetry.logger("wanimage.test").info("afterwards")

    own, foreign, after = lines(capsys.readouterr().err)
    assert (own["event"], own["attempt"], own["level"], own["logger"]) == (
        "job_taken", 2, "info", "wanimage.test",
    )  # fmt: skip
    assert foreign["event"] == "foreign words"
    for each in (own, foreign):
        assert (each["job"], each["tenant"], each["service"]) == ("j1", "acme", "vae")
    assert "job" not in after


def test_logs_inside_a_span_carry_its_ids(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("vae", json=True)
    with trace.use_span(TracerProvider().get_tracer("test").start_span("work")) as span:
        telemetry.logger("wanimage.test").info("inside")

    (entry,) = lines(capsys.readouterr().err)
    assert entry["trace_id"] == trace.format_trace_id(span.get_span_context().trace_id)


def test_level_silences_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("vae", level="warning", json=True)
    telemetry.logger("wanimage.test").info("quiet")
    telemetry.logger("wanimage.test").error("loud")

    assert [each["event"] for each in lines(capsys.readouterr().err)] == ["loud"]


def test_unknown_level_names_the_setting() -> None:
    with pytest.raises(ValueError, match="WAN_LOG_LEVEL"):
        telemetry.configure("vae", level="chatty")


def test_trace_goes_on_through_headers() -> None:
    with trace.use_span(TracerProvider().get_tracer("test").start_span("sender")) as span:
        headers = telemetry.inject_headers({"Wan-Attempt": "1"})

    assert headers["Wan-Attempt"] == "1"
    with telemetry.continued_span("receiver", headers):
        assert trace.get_current_span().get_span_context().trace_id == span.get_span_context().trace_id
    assert not trace.get_current_span().get_span_context().is_valid


def test_headers_outside_of_a_trace_are_left_alone() -> None:
    assert telemetry.inject_headers({"Wan-Attempt": "1"}) == {"Wan-Attempt": "1"}
