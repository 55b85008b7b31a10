"""Intervals of a share and of the difference of two, in closed form: Wilson's score and Newcombe's hybrid of two of them.

Good at small counts and near 0 and 1, where the bootstrap has no width. Rows are taken as independent. Knows nothing of models.

Sources: Wilson, Probable inference (JASA, 1927); Newcombe, Interval estimation for the difference between independent proportions
(Statistics in Medicine, 1998), method 10; Agresti and Coull, Approximate is better than "exact" (American Statistician, 1998).
"""

import math
from statistics import NormalDist

from evergreen.evaluation.intervals import Interval

NOWHERE = Interval(math.nan, math.nan, math.nan)


def share(successes: float, rows: float, *, level: float) -> Interval:
    """Return a share (0-1) with its Wilson interval; NaN without rows. Counts of weighted rows need not be whole."""
    if not rows:
        return NOWHERE
    z = _z(level)
    found = successes / rows
    middle = (found + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(found * (1 - found) / rows + z * z / (4 * rows * rows))
    return Interval(found, max(0.0, middle - half), min(1.0, middle + half))


def difference(successes: float, rows: float, other_successes: float, other_rows: float, *, level: float) -> Interval:
    """Return the first share minus the second (-1 to 1), of independent rows, with Newcombe's interval; NaN where either has no rows."""
    first, second = share(successes, rows, level=level), share(other_successes, other_rows, level=level)
    value = first.value - second.value
    if math.isnan(value):
        return NOWHERE
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, max(-1.0, low), min(1.0, high))


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
