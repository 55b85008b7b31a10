"""Quantiles of a stream in little memory: a histogram whose buckets grow by a constant factor.

The answer to any quantile is within 1% of the true one, however many values there were and whatever their order; memory grows
with the logarithm of the values' range (about 1,200 buckets from a microsecond to a day). Knows nothing of what it counts.

Source: Masson, Rim and Lee, DDSketch: a fast and fully-mergeable quantile sketch (VLDB 2019).
"""

import math
from collections import Counter

ERROR = 0.01
FACTOR = (1 + ERROR) / (1 - ERROR)
LEAST = 1e-6  # smaller values count as this


class Quantiles:
    """Positive values, added one by one."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count a value."""
        self.count += 1
        self._buckets[math.ceil(math.log(max(value, LEAST), FACTOR))] += 1

    def at(self, share: float) -> float:
        """Return the value below which this share (0 to 1) of the values lies, within 1%; NaN where there are none."""
        rank = share * (self.count - 1)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen > rank:
                return float(2 * FACTOR**bucket / (FACTOR + 1))
        return math.nan
