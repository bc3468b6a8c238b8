"""Settings: what they refuse, and what a refusal does not tell."""

import pytest
from pydantic import ValidationError

from wanimage.config import Settings
from wanimage.subjects import JOB_MAX_AGE_SECONDS


@pytest.mark.parametrize(
    "wrong",
    [
        {"WAN_API_KEYS": "acme=canary,beta"},
        {"WAN_API_KEYS": '{"acme": "canary"'},
        {"WAN_TLS_CERT": "/nowhere.pem", "WAN_NATS_PASSWORD": "canary", "WAN_S3_SECRET_KEY": "canary"},
    ],
)
def test_a_refused_setting_shows_no_secret(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None)
    assert "canary" not in str(caught.value)


def test_no_deadline_outlasts_the_jobs_that_are_made_for_it() -> None:
    with pytest.raises(ValidationError, match="less than 7200"):
        Settings(_env_file=None, max_deadline=JOB_MAX_AGE_SECONDS)
