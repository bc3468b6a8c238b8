"""Prints what every campaign did, with exact counts, at the end of a run."""

import pytest

from tests.fuzz.campaign import SEED, TALLIES


@pytest.fixture
def ground() -> None:
    """What a campaign's test works on; a file that needs something overrides it."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TALLIES:
        return
    terminalreporter.section(f"fuzzing, seed {SEED}")
    for tally in TALLIES:
        terminalreporter.write_line(
            f"{tally.name:<44}{tally.examples:>9,} examples {tally.seconds:>8.1f} s, "
            f"slowest {1000 * tally.slowest:.0f} ms of CPU"
        )
