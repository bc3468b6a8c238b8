"""The common clock: what it makes of its looks at the server's."""

from datetime import UTC, datetime, timedelta

import pytest

from wanimage import clock
from wanimage.clock import DRIFT, Reading


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    monkeypatch.setattr(clock, "_reading", None)


def test_surer_reading_replaces_an_unsure_one_and_not_the_other_way() -> None:
    unsure, sure = Reading(100.0, 0.5, 0.0), Reading(100.3, 0.01, 1.0)
    assert unsure.or_better(sure) is sure
    assert sure.or_better(Reading(100.0, 0.5, 2.0)) is sure


def test_reading_that_cannot_be_true_beside_the_old_one_is_believed() -> None:
    old = Reading(100.0, 0.01, 0.0)
    stepped = Reading(105.0, 0.5, 1.0)
    assert old.or_better(stepped) is stepped


def test_sure_reading_grows_old() -> None:
    old = Reading(100.0, 0.01, 0.0)
    newer = Reading(100.0, 0.05, 0.04 / DRIFT + 1)
    assert old.or_better(newer) is newer


def test_now_is_the_servers_time_whatever_the_wall_clock_says() -> None:
    there = datetime(2031, 1, 1, tzinfo=UTC)
    sent = clock.time.monotonic()
    clock.observe(there, sent, sent)
    assert timedelta(0) <= clock.now() - there < timedelta(seconds=5)
    assert 3595 < clock.seconds_until(there + timedelta(hours=1)) <= 3600


def test_now_is_the_wall_clock_before_any_server_was_asked() -> None:
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
