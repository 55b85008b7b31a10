"""How fast one caller may ask: a token bucket per API key, counted in texts.

Knows nothing of the load on the service as a whole; see pressure.py.
"""

import time
from collections.abc import Callable
from math import ceil

from serving.api.refusals import Refusal


class Rate:
    """Token buckets that hold `burst` texts and gain `per_second`. A request larger than what is left may pass once, on credit.

    Keys are those of the key file, so their number is bounded.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_second, float(burst), clock
        self._buckets: dict[str, tuple[float, float]] = {}  # key id -> texts left, as of when

    def check(self, key_id: str) -> None:
        """Refuse a caller who has nothing left, before the request is read."""
        left = self._left(key_id)
        if left <= 0:
            raise self._refusal(left)

    def take(self, key_id: str, texts: int) -> None:
        """Take these texts from the caller's bucket, or refuse them."""
        left = self._left(key_id)
        if left < min(texts, self.burst):
            raise self._refusal(left - min(texts, self.burst))
        self._buckets[key_id] = (left - texts, self.clock())

    def _left(self, key_id: str) -> float:
        now = self.clock()
        left, since = self._buckets.get(key_id, (self.burst, now))
        return min(self.burst, left + (now - since) * self.per_second)

    def _refusal(self, lack: float) -> Refusal:
        wait = max(1, ceil(-lack / self.per_second))
        message = f"this API key may send {self.per_second:g} texts per second; come back in {wait} s"
        return Refusal(429, message, reason="rate", headers=[(b"retry-after", str(wait).encode())])
