"""The time all processes agree on: the NATS server's, as this process reckons it.

Deadlines and the times of events are written by one process and compared by another, on machines whose clocks
may differ by minutes. So none of them comes from a machine's own wall clock: every process measures how far
the NATS server's clock is from its own monotonic one (`Bus` feeds `observe` at each connect and each health
check), and `now()` is the server's time. It is good to half a round trip.

A process has one such clock, as it has one wall clock. Until a `Bus` is connected it shows the wall clock.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DRIFT = 1e-3
"""By how much a measurement is trusted less with each second of its age. Quartz drifts 5e-5; the rest lets a
slewed clock be followed."""


@dataclass(frozen=True)
class Reading:
    """One look at the server's clock."""

    offset: float
    """Seconds from the monotonic clock to the epoch of the server's."""
    error: float
    """Half the round trip: the truth lies within so many seconds of `offset`."""
    taken: float
    """When, by the monotonic clock."""

    def doubt(self, at: float) -> float:
        """Largest error of the reading by the monotonic time `at`, seconds."""
        return self.error + max(at - self.taken, 0.0) * DRIFT

    def or_better(self, newer: "Reading") -> "Reading":
        """The reading to go by: a newer one that is surer, or that shows that the server's clock was set."""
        doubt = self.doubt(newer.taken)
        if newer.error <= doubt or abs(newer.offset - self.offset) > newer.error + doubt:
            return newer
        return self


_reading: Reading | None = None


def observe(server: datetime, sent: float, received: float) -> None:
    """Take note that the server's clock showed `server` between two moments of `time.monotonic()`."""
    global _reading
    newer = Reading(server.timestamp() - (sent + received) / 2, (received - sent) / 2, received)
    _reading = _reading.or_better(newer) if _reading else newer


def now() -> datetime:
    """The time that deadlines and events are written in, aware, in UTC."""
    if _reading is None:
        return datetime.now(UTC)
    return datetime.fromtimestamp(time.monotonic() + _reading.offset, UTC)


def seconds_until(moment: datetime) -> float:
    """From now to `moment`; negative once it has passed."""
    return (moment - now()) / timedelta(seconds=1)
