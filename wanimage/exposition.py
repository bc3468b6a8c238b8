"""`/metrics` of a process, in Prometheus' text format, on WAN_METRICS_PORT; nothing without a port.

The server is prometheus-client's own, a thread that sleeps between scrapes. How many jobs wait is asked of
JetStream when a scrape comes, and not between: two requests a scrape, whatever the load.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from wanimage import metrics, telemetry
from wanimage.bus import Bus
from wanimage.config import Settings
from wanimage.errors import Unavailable
from wanimage.jobs import KINDS
from wanimage.subjects import DEAD_LETTERS, JOBS

ASK_SECONDS = 2.0
"""How long a scrape waits for JetStream before it goes without the queues: none beats old numbers."""

COUNTS_DEAD_LETTERS = "planner"
"""The one service that may look at the stream DLQ (deploy/nats.conf); the others count their queues alone."""

log = telemetry.logger(__name__)


class Queues(Collector):
    """Jobs and dead letters as JetStream holds them. `collect` is called on the server's thread."""

    def __init__(self, bus: Bus, service: str) -> None:
        """Called on the event loop of `bus`."""
        self._bus, self._loop = bus, asyncio.get_running_loop()
        self._counts_dead_letters = service == COUNTS_DEAD_LETTERS

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The families without values."""
        return (
            GaugeMetricFamily(
                "wan_queue_jobs", "Jobs waiting or being worked on.", labels=("kind", "tenant")
            ),
            GaugeMetricFamily("wan_dlq_jobs", "Jobs in the stream DLQ.", labels=("kind",)),
        )

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The families with the numbers of now; none when NATS does not answer."""
        asked = asyncio.run_coroutine_threadsafe(self.ask(), self._loop)
        try:
            jobs, letters = asked.result(ASK_SECONDS)
        except (Unavailable, TimeoutError) as error:
            asked.cancel()
            log.info("queues_unknown", error=repr(error))
            return
        queued, dead = self.describe()
        for (kind, tenant), count in jobs.items():
            queued.add_metric((kind, tenant), count)
        for kind, count in letters.items():
            dead.add_metric((kind,), count)
        yield from (queued, dead)

    async def ask(self) -> tuple[Counter[tuple[str, str]], Counter[str]]:
        """Jobs by kind and tenant, dead letters by kind. Raises Unavailable."""
        jobs: Counter[tuple[str, str]] = Counter()
        letters: Counter[str] = Counter()
        for subject, count in (await self._bus.subjects(JOBS, "wan.jobs.*.*")).items():
            kind, tenant = subject.split(".")[2:]
            jobs[kind, metrics.tenant(tenant)] += count
        if not self._counts_dead_letters:
            return jobs, letters
        letters.update(dict.fromkeys(KINDS, 0))
        for subject, count in (await self._bus.subjects(DEAD_LETTERS, "wan.dlq.*.*")).items():
            letters[subject.split(".")[2]] += count
        return jobs, letters


@asynccontextmanager
async def exposed(settings: Settings, bus: Bus, service: str) -> AsyncIterator[None]:
    """Serve this process's metrics for the length of the block, when the settings say where.

    Raises RuntimeError when the port is taken.
    """
    if settings.metrics_port is None:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.host, metrics.REGISTRY)
    except OSError as error:
        where = f"{settings.host}:{settings.metrics_port}"
        raise RuntimeError(f"cannot serve metrics on {where}: {error}; set WAN_METRICS_PORT") from error
    queues = Queues(bus, service)
    metrics.REGISTRY.register(queues)
    log.info("metrics_served", port=server.server_port)
    try:
        yield
    finally:
        metrics.REGISTRY.unregister(queues)
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
