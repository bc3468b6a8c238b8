"""How many calls a tenant may make to this front: a leaky bucket each, kept by aiolimiter."""

from collections import OrderedDict

from aiolimiter import AsyncLimiter

from wanimage.errors import Overloaded

MAX_TENANTS = 10_000
"""Buckets kept; the one not used for longest goes first, and is as good as a fresh one by then."""


class Allowance:
    """`burst` calls at once, `rate` a second over time, for each tenant.

    It is one process's: a tenant that reaches three fronts has three allowances.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, AsyncLimiter] = OrderedDict()

    async def spend(self, tenant: str) -> None:
        """Count a call. Raises Overloaded when the tenant has made too many."""
        bucket = self._buckets.setdefault(tenant, AsyncLimiter(self._burst, self._burst / self._rate))
        self._buckets.move_to_end(tenant)
        if len(self._buckets) > MAX_TENANTS:
            self._buckets.popitem(last=False)
        if not bucket.has_capacity():
            what = f"the allowance of tenant {tenant} ({self._rate:g} calls a second)"
            raise Overloaded(what, self._burst, retry_after=1 / self._rate)
        await bucket.acquire()  # at once: there is room
