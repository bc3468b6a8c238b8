"""What a stack's processes export at one moment, and what changed between two: sums, shares and quantiles."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import urllib3
from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS = 3.0
"""Longest answer of a process; one that computes hard answers late."""

Series = tuple[str, frozenset[tuple[str, str]]]
"""Name and labels."""


@dataclass(frozen=True)
class Reading:
    """The values of every series, a process each, at a time."""

    at: float
    """`time.monotonic()`."""
    processes: Mapping[str, Mapping[Series, float]] = field(default_factory=dict)
    """By the process's name; one that did not answer is missing."""

    def since(self, older: "Reading") -> "Reading":
        """What counters and histograms gained. A process that was started again counts from its start."""
        gained: dict[str, dict[Series, float]] = {}
        for process, values in self.processes.items():
            before = older.processes.get(process, {})
            # A counter that fell was started again: all it has is new.
            gained[process] = {
                series: value - then if (then := before.get(series, 0.0)) <= value else value
                for series, value in values.items()
            }
        return Reading(self.at, gained)

    def total(self, name: str, **labels: str) -> float:
        """The sum over all processes and over labels that are not given."""
        return sum(value for _, value in self._matching(name, labels))

    def largest(self, name: str, by: tuple[str, ...]) -> dict[tuple[str, ...], float]:
        """For what every process reports alike (the queues): the largest report, by the labels `by`."""
        found: dict[tuple[str, ...], float] = {}
        for series, value in self._matching(name, {}):
            key = tuple(series.get(label, "") for label in by)
            found[key] = max(value, found.get(key, 0.0))
        return found

    def values(self, name: str, label: str) -> list[str]:
        """The values that a label of a metric takes."""
        return sorted({series[label] for series, _ in self._matching(name, {}) if label in series})

    def share(self, part: float, whole: float) -> float | None:
        """A quotient, or None of nothing."""
        return part / whole if whole else None

    def mean(self, name: str, **labels: str) -> float | None:
        """Of a histogram."""
        return self.share(self.total(f"{name}_sum", **labels), self.total(f"{name}_count", **labels))

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """Of a histogram, linear within its bucket as Prometheus has it; None without observations."""
        buckets: dict[float, float] = {}
        for series, value in self._matching(f"{name}_bucket", labels):
            bound = float(series["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        bounds = sorted(buckets)
        if not bounds or not buckets[bounds[-1]]:
            return None
        wanted, low, below = share * buckets[bounds[-1]], 0.0, 0.0
        for bound in bounds:
            if buckets[bound] >= wanted:
                if bound == float("inf"):
                    return low
                inside = buckets[bound] - below
                return low + (bound - low) * ((wanted - below) / inside if inside else 1.0)
            low, below = bound, buckets[bound]
        return low

    def _matching(self, name: str, labels: Mapping[str, str]) -> list[tuple[dict[str, str], float]]:
        wanted = labels.items()
        return [
            (dict(series), value)
            for values in self.processes.values()
            for (found, series), value in values.items()
            if found == name and wanted <= dict(series).items()
        ]


async def read(addresses: Mapping[str, str]) -> Reading:
    """Scrape every process (name to host:port) side by side."""
    at = time.monotonic()
    texts = await asyncio.gather(*(asyncio.to_thread(_text, address) for address in addresses.values()))
    found = {name: _parsed(text) for name, text in zip(addresses, texts, strict=True) if text is not None}
    return Reading(at, found)


def _text(address: str) -> str | None:
    try:
        answer = urllib3.request("GET", f"http://{address}/metrics", retries=False, timeout=SCRAPE_SECONDS)
    except urllib3.exceptions.HTTPError:
        return None
    return answer.data.decode() if answer.status == 200 else None


def _parsed(text: str) -> dict[Series, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
